package import Core
package import Ingest

/// How dead letters are to be read anew: what `POST /v1/dead-letters/replay` is told.
package struct LetterReplay: Hashable, Sendable {
    /// nil: letters that are JSON objects are read as such, others not at all.
    package var format: EventFormat?
    /// The header above a row of CSV or TSV, which its letter does not hold.
    package var columns: String?
    package var defaultType: String?
    package var keyField: String?
    package var timeField: String?
    package var typeField: String?
    package var valueField: String?

    package init() {}

    package static let formats: [(name: String, format: EventFormat)] = [
        ("ndjson", .ndjson), ("json", .ndjson), ("cloudevents", .cloudEvent), ("csv", .csv),
        ("tsv", .tsv), ("clf", .commonLog),
    ]

    package static func format(named name: String) -> EventFormat? {
        formats.first { $0.name == name }?.format
    }

    /// A letter's bytes as a body of one event, or why it has none.
    package enum Body: Hashable, Sendable {
        case event([UInt8], ParseParameters)
        case unreadable(String)
    }

    package func body(of letter: DeadLetter) -> Body {
        guard letter.isWhole else {
            return .unreadable("its end may be missing: \(letter.raw.count) bytes are kept")
        }
        guard var format = format ?? (letter.raw.first == UInt8(ascii: "{") ? .ndjson : nil) else {
            return .unreadable("it is no JSON object; say format= (csv and tsv with columns=)")
        }
        var bytes: [UInt8] = []
        if format == .csv || format == .tsv {
            guard let columns else {
                return .unreadable("a row of \(format) is read with columns= alone")
            }
            bytes += Array(columns.utf8) + [UInt8(ascii: "\n")]
        }
        if format == .ndjson, letter.raw.contains(UInt8(ascii: "\n")) {
            // An element of an array, or a CloudEvent, may span lines; a line cannot.
            format = .jsonArray
            bytes = [UInt8(ascii: "[")] + letter.raw + [UInt8(ascii: "]")]
        } else {
            bytes += letter.raw
        }
        // What was found to be the event's type stands in for one, where nothing else is said.
        let known = typeField == nil ? letter.type.map { String(decoding: $0, as: UTF8.self) } : nil
        return .event(
            bytes,
            ParseParameters(
                format: format, defaultType: defaultType ?? known, keyField: keyField,
                timeField: timeField, typeField: typeField, valueField: valueField))
    }
}
