/// An event that could not be counted. Part of its batch's home record, as durable as the counts.
package struct DeadLetter: Hashable, Sendable {
    /// The line (NDJSON, CSV, logs) or array position, counted from 1, within the batch.
    package var line: UInt32
    package var reason: DeadLetterReason
    /// For people: what exactly was wrong.
    package var detail: String
    /// The event's bytes as they came, cut at `Limits.deadLetterRawMax`.
    package var raw: [UInt8]
    /// Nothing was cut from `raw`, as far as is known. One that was cut is not read anew: its
    /// beginning might be another event.
    package var isWhole: Bool
    /// What the event would have been, as far as its fields could be read and are sound: found when
    /// it was folded, so that it is the same on every node.
    package var type: [UInt8]?
    package var key: [UInt8]?
    package var time: WallTime?

    package init(
        line: UInt32, reason: DeadLetterReason, detail: String, raw: [UInt8], isWhole: Bool = true,
        type: [UInt8]? = nil, key: [UInt8]? = nil, time: WallTime? = nil
    ) {
        self.line = line
        self.reason = reason
        self.detail = detail
        self.raw = raw
        self.isWhole = isWhole
        self.type = type
        self.key = key
        self.time = time
    }

    /// What an answer tells of it: its bytes stay with its batch.
    package var withoutBytes: DeadLetter {
        var letter = self
        letter.raw = []
        return letter
    }
}

/// Why an event is a dead letter: a closed list. Persisted: do not change the numbers.
package enum DeadLetterReason: UInt8, CaseIterable, Sendable {
    case badJSON = 1
    case badRow = 2
    case badLine = 3
    case badUTF8 = 4
    case missingKey = 5
    case missingType = 6
    case missingTime = 7
    case badKey = 8
    case badType = 9
    case badTime = 10
    case badValue = 11
    case valueNotExact = 12
    case keyTooLong = 13
    case typeTooLong = 14
    case lineTooLong = 15
    case tooLate = 16
    case inTheFuture = 17

    /// The name that users see.
    package var name: String {
        switch self {
        case .badJSON: "bad-json"
        case .badRow: "bad-row"
        case .badLine: "bad-line"
        case .badUTF8: "bad-utf8"
        case .missingKey: "missing-key"
        case .missingType: "missing-type"
        case .missingTime: "missing-time"
        case .badKey: "bad-key"
        case .badType: "bad-type"
        case .badTime: "bad-time"
        case .badValue: "bad-value"
        case .valueNotExact: "value-not-exact"
        case .keyTooLong: "key-too-long"
        case .typeTooLong: "type-too-long"
        case .lineTooLong: "line-too-long"
        case .tooLate: "too-late"
        case .inTheFuture: "in-the-future"
        }
    }
}
