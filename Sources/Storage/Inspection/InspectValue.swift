/// A description of a file as a tree that any format can print.
package indirect enum InspectValue: Hashable, Sendable {
    case text(String)
    /// Kept as text where it may exceed 53 bits, so that no reader of JSON rounds it.
    case number(Int64)
    case flag(Bool)
    case list([InspectValue])
    /// In the order to be shown.
    case object([Field])

    package struct Field: Hashable, Sendable {
        package let name: String
        package let value: InspectValue

        package init(name: String, value: InspectValue) {
            self.name = name
            self.value = value
        }
    }

    static func object(_ fields: KeyValuePairs<String, InspectValue>) -> InspectValue {
        .object(fields.map { Field(name: $0.key, value: $0.value) })
    }

    static func number(_ number: some BinaryInteger) -> InspectValue {
        guard let exact = Int64(exactly: number), exact.magnitude < 1 << 53 else {
            return .text("\(number)")
        }
        return .number(exact)
    }

    /// RFC 8259, on one line.
    package var json: String {
        switch self {
        case .text(let text): Self.quoted(text)
        case .number(let number): "\(number)"
        case .flag(let flag): flag ? "true" : "false"
        case .list(let values): "[" + values.map(\.json).joined(separator: ", ") + "]"
        case .object(let fields):
            "{"
                + fields.map { "\(Self.quoted($0.name)): \($0.value.json)" }
                .joined(separator: ", ") + "}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\u{0}"..<"\u{20}":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

/// A file described for people and for programs.
package struct InspectReport: Hashable, Sendable {
    package let lines: [String]
    package let value: InspectValue
    /// False where the file is damaged: the lines say where.
    package let isSound: Bool
}
