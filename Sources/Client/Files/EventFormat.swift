internal import Wire

/// The shapes in which files hold events.
package enum EventFormat: String, Sendable, CaseIterable {
    case ndjson
    case json
    case cloudevents
    case csv
    case tsv
    case clf
    case binary

    /// What a batch cut from such a file says it is.
    package var contentType: String {
        switch self {
        case .ndjson: "application/x-ndjson"
        case .json: "application/json"
        case .cloudevents: "application/cloudevents-batch+json"
        case .csv: "text/csv"
        case .tsv: "text/tab-separated-values"
        case .clf: "text/x-clf"
        case .binary: "application/x-quipu-batch"
        }
    }

    /// Finds the format of a file by its name's ending (`.gz` and `.lz4` aside), corrected by its
    /// first bytes; nil where neither tells. Names mislead in one known way: many `.json` files
    /// hold one object a line, so between the two JSON shapes the first byte decides.
    package static func detect(path: String, head: some Sequence<UInt8>) -> EventFormat? {
        if head.starts(with: BinaryBatchHead.magic) { return .binary }
        let first = head.first { !$0.isJSONSpace }
        let shape: EventFormat? =
            switch first {
            case UInt8(ascii: "["): .json
            case UInt8(ascii: "{"): .ndjson
            default: nil
            }
        switch ending(of: path) {
        case "csv": return .csv
        case "tsv": return .tsv
        case "log": return shape == .ndjson ? .ndjson : .clf
        case "json", "jsonl", "ndjson": return shape ?? .ndjson
        default: return shape
        }
    }

    private static func ending(of path: String) -> String {
        var parts = path.lowercased().split(separator: "/").last?.split(separator: ".") ?? []
        if parts.last == "gz" || parts.last == "lz4" { parts.removeLast() }
        return parts.count > 1 ? String(parts[parts.count - 1]) : ""
    }
}

extension UInt8 {
    /// Space, tab, line feed or carriage return.
    package var isJSONSpace: Bool {
        self == 0x20 || self == 0x09 || self == 0x0a || self == 0x0d
    }
}
