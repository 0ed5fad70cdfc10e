import Core

/// Which fields of an event hold its key, type, time and value, prepared once per batch.
///
/// Each role has candidates in the order of preference; of those that are present the first counts.
/// Null and empty text are as good as absent. Candidates have numbers, ordered by role and
/// preference, so that "the best one present" is the lowest bit of a mask.
struct FieldPlan {
    struct Candidate {
        /// The names from the event's object down to the value; for columns always one.
        var path: [[UInt8]]
        var name: String
    }

    struct Attribute {
        var name: String
        var mask: UInt32
        /// The only value that is understood; nil: any text.
        var value: [UInt8]?
    }

    private(set) var candidates: [Candidate] = []
    private(set) var keyMask: UInt32 = 0
    private(set) var typeMask: UInt32 = 0
    private(set) var timeMask: UInt32 = 0
    private(set) var valueMask: UInt32 = 0
    /// What an event must have beside its roles: a CloudEvent its id, source and version.
    private(set) var attributes: [Attribute] = []
    /// All candidates: every event begins with it, so that it is not put together for each.
    private(set) var allMask: UInt32 = 0
    /// The type of events that name none.
    let defaultType: [UInt8]?

    /// At most three candidates for the time and two for each of the other three roles, and three
    /// attributes of CloudEvents.
    static let candidatesMax = 12

    /// The plan of no batch: every event lacks everything.
    init() {
        defaultType = nil
    }

    init(_ parameters: ParseParameters) throws(IngestError) {
        let format = parameters.format
        try FieldPlan.check(parameters)
        let defaults = Defaults(format)
        let hasPaths = format.hasPaths
        let fallback = parameters.typeField == nil ? defaults.typeText : nil
        defaultType = (parameters.defaultType ?? fallback).map { Array($0.utf8) }
        func add(_ field: String?, _ defaults: [String]) -> UInt32 {
            var mask: UInt32 = 0
            for name in field.map({ [$0] }) ?? defaults {
                mask |= 1 << UInt32(candidates.count)
                candidates.append(Candidate(path: [Array(name.utf8)], name: name))
                // A name with dots is first a name and then a path.
                guard hasPaths, name.contains(".") else { continue }
                let path = name.split(separator: ".", omittingEmptySubsequences: false)
                mask |= 1 << UInt32(candidates.count)
                candidates.append(Candidate(path: path.map { Array($0.utf8) }, name: name))
            }
            return mask
        }
        keyMask = add(parameters.keyField, defaults.key)
        typeMask = add(parameters.typeField, defaults.type)
        timeMask = add(parameters.timeField, defaults.time)
        valueMask = add(parameters.valueField, defaults.value)
        if format.isCloudEvents {
            for name in ["specversion", "id", "source"] {
                let value = name == "specversion" ? Array("1.0".utf8) : nil
                attributes.append(Attribute(name: name, mask: add(name, []), value: value))
            }
        }
        precondition(candidates.count <= FieldPlan.candidatesMax, "a role gained candidates")
        allMask = attributes.reduce(keyMask | typeMask | timeMask | valueMask) { $0 | $1.mask }
    }

    /// The fields of each role where no parameter names one.
    private struct Defaults {
        var key = ["key", "subject"]
        var type = ["type"]
        var time = ["time", "ts", "timestamp"]
        var value = ["value"]
        /// The type of events that have no field for it.
        var typeText: String?

        init(_ format: EventFormat) {
            switch format {
            // What CloudEvents do not define themselves may come as extension attributes.
            case .ndjson, .jsonArray, .csv, .tsv, .cloudEvent, .cloudEventBatch: break
            case .commonLog:
                (key, type, time, value) = (["path"], [], ["time"], [])
                typeText = "hit"
            case .binary:
                (key, type, time, value) = ([], [], [], [])
            }
        }
    }

    private static func check(_ parameters: ParseParameters) throws(IngestError) {
        if let type = parameters.defaultType, !(1...Limits.typeMax).contains(type.utf8.count) {
            throw .badParameter(
                name: "type",
                detail: "it has \(type.utf8.count) bytes, 1 to \(Limits.typeMax) are right")
        }
        let fields = [
            ("key_field", parameters.keyField), ("time_field", parameters.timeField),
            ("type_field", parameters.typeField), ("value_field", parameters.valueField),
        ]
        for (name, field) in fields {
            guard let field else { continue }
            guard parameters.format != .binary else {
                throw .badParameter(name: name, detail: "events of a binary batch have no names")
            }
            guard !(1...ParseLimits.fieldNameMax).contains(field.utf8.count) else {
                continue
            }
            throw .badParameter(
                name: name,
                detail:
                    "it has \(field.utf8.count) bytes, 1 to \(ParseLimits.fieldNameMax) are right")
        }
    }

    // MARK: - Columns

    /// For each column the candidates that it feeds. Of two columns with one name the first counts.
    func masks(ofColumns columns: [[UInt8]]) -> [UInt32] {
        var masks = [UInt32](repeating: 0, count: columns.count)
        for (number, candidate) in candidates.enumerated() {
            if let column = columns.firstIndex(of: candidate.path[0]) {
                masks[column] |= 1 << UInt32(number)
            }
        }
        return masks
    }

    /// Refuses a header in which a role that every event needs has no column, or in which a column
    /// that was asked for by name is missing.
    func requireColumns(
        _ masks: [UInt32], of columns: [[UInt8]], parameters: ParseParameters
    ) throws(IngestError) {
        let found = masks.reduce(0, |)
        let needed = [
            ("key", keyMask, true), ("time", timeMask, true),
            ("type", typeMask, defaultType == nil || parameters.typeField != nil),
            ("value", valueMask, parameters.valueField != nil),
        ]
        for (role, mask, isNeeded) in needed where isNeeded && mask & found == 0 {
            throw .missingColumn(role: role, wanted: names(mask), columns: FieldPlan.shown(columns))
        }
    }

    func names(_ mask: UInt32) -> [String] {
        candidates.indices.filter { mask & 1 << UInt32($0) != 0 }.map { candidates[$0].name }
    }

    /// All that a message needs of a header, and not more.
    private static func shown(_ columns: [[UInt8]]) -> [String] {
        columns.enumerated().map { position, name in
            guard position < ParseLimits.columnsShownMax else { return "" }
            return name.withUnsafeBufferPointer { buffer in
                guard let start = buffer.baseAddress else { return "\"\"" }
                let kept = UTF8Check.cut(start, buffer.count, to: ParseLimits.quotedMax)
                return String(decoding: buffer[..<kept], as: UTF8.self)
            }
        }
    }
}

// MARK: - Members

/// What a member's name stands for, at one depth of an event.
struct FieldMatch {
    /// Candidates whose value this is.
    var leaf: UInt32 = 0
    /// Candidates whose path goes on inside it.
    var inner: UInt32 = 0
}

extension FieldPlan {
    /// Matches a name among the `active` candidates, whose path led to this object.
    func match(
        _ start: UnsafePointer<UInt8>, _ count: Int, level: Int, active: UInt32
    ) -> FieldMatch {
        var match = FieldMatch()
        var rest = active
        while rest != 0 {
            let number = rest.trailingZeroBitCount
            rest &= rest &- 1
            let path = candidates[number].path
            let isEqual =
                path[level].count == count
                && path[level].withUnsafeBufferPointer { name in
                    name.baseAddress.map { ByteScan.areEqual($0, start, count) } ?? true
                }
            guard isEqual else { continue }
            if path.count == level + 1 {
                match.leaf |= 1 << UInt32(number)
            } else {
                match.inner |= 1 << UInt32(number)
            }
        }
        return match
    }
}
