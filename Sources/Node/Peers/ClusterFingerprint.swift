internal import Wire

/// What all nodes of one cluster must agree on, as names and values: two nodes that differ are not
/// of one cluster, and the first differing field says why.
///
/// Names and values are text, so that a node can name a field it has never heard of.
package struct ClusterFingerprint: Hashable, Sendable {
    package struct Field: Hashable, Sendable {
        package var name: String
        package var value: String

        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package struct Difference: Hashable, Sendable {
        package var field: String
        package var ours: String
        package var theirs: String
    }

    /// In the order in which they are compared.
    package var fields: [Field]
    /// Later versions of the rules: they may differ about times to come (`RuleDivergence`).
    package var rules: [RuleNotice]

    package init(_ fields: [Field], rules: [RuleNotice] = []) {
        self.fields = fields
        self.rules = rules
    }

    /// The first field that differs, or that only one side has. Versions of the rules are not among
    /// them.
    package func difference(from theirs: ClusterFingerprint) -> Difference? {
        differences(from: theirs).first
    }

    /// All fields that differ, or that only one side has. Bytes are compared: equal letters in
    /// another Unicode form are another value.
    package func differences(from theirs: ClusterFingerprint) -> [Difference] {
        let changed = fields.compactMap { field -> Difference? in
            let other = theirs.value(of: field.name)
            if let other, Array(other.utf8) == Array(field.value.utf8) { return nil }
            return Difference(
                field: field.name, ours: field.value, theirs: other ?? Self.absent)
        }
        let missing = theirs.fields.filter { value(of: $0.name) == nil }.map {
            Difference(field: $0.name, ours: Self.absent, theirs: $0.value)
        }
        return changed + missing
    }

    package func value(of name: String) -> String? {
        fields.first { $0.name == name }?.value
    }

    private static let absent = "(absent)"
}

extension ByteWriter {
    mutating func write(_ field: ClusterFingerprint.Field) {
        write(sized: field.name)
        write(sized: field.value)
    }
}

extension ByteReader {
    mutating func fingerprintField() throws(DecodeError) -> ClusterFingerprint.Field {
        let name = try text()
        return ClusterFingerprint.Field(name, try text())
    }
}
