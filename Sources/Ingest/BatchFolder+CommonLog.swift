import Core

// Common and Combined Log Format:
//
//     host ident user [22/Feb/2015:21:17:00 +0000] "GET /a?b=c HTTP/1.1" 200 203023 \
//         "referer" "agent"
//
// Fields behind the agent, which many servers add, are not looked at. Inside quotation marks a
// backslash escapes the next byte; fields are taken as they stand in the log, escapes included.

/// The fields of a line, in the order of `names`.
enum LogField: Int, CaseIterable {
    case host, ident, user, time, method, path, `protocol`, status, bytes, referer, agent

    static let names = [
        "host", "ident", "user", "time", "method", "path", "protocol", "status",
        "bytes", "referer", "agent",
    ]
}

/// Why a line of a log is none.
enum LogFault: Error {
    case names
    case time
    case request
    case status
    case bytes
    case referer
    case agent

    var detail: String {
        switch self {
        case .names: "host, ident and user belong before the time"
        case .time: "the time belongs in brackets"
        case .request: "the request belongs in quotation marks"
        case .status: "a status of three digits belongs behind the request"
        case .bytes: "a number of bytes, or -, belongs behind the status"
        case .referer: "the referer belongs in quotation marks"
        case .agent: "the agent belongs in quotation marks behind the referer"
        }
    }
}

extension BatchFolder {
    mutating func foldLog(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) throws(IngestError) {
        let masks = plan.masks(ofColumns: LogField.names.map { Array($0.utf8) })
        let known = masks.reduce(0, |)
        if let name = plan.names(plan.allMask & ~known).first {
            throw .unknownField(name: name, known: LogField.names)
        }
        var cursor = start
        var number = 0
        while cursor < end {
            number += 1
            let feed = ByteScan.first(0x0a, cursor, end)
            let raw = BatchFolder.line(number, cursor, feed)
            if !BatchFolder.isWhite(raw) { try foldLogLine(raw, masks: masks) }
            cursor = feed < end ? feed + 1 : end
        }
    }

    private mutating func foldLogLine(_ raw: Raw, masks: [UInt32]) throws(IngestError) {
        if raw.count > Limits.lineMax { return try buryLong(raw) }
        fields.clear()
        var line = LogLine(cursor: raw.start, end: raw.start + raw.count, masks: masks)
        do throws(LogFault) {
            try line.scan(into: &fields)
        } catch {
            let column = line.cursor - raw.start
            return try bury(raw, .badLine, "byte \(column + 1): \(error.detail)")
        }
        try admit(raw, isText: false)
    }

    private static func isWhite(_ raw: Raw) -> Bool {
        for position in 0..<raw.count
        where raw.start[position] != 0x20 && raw.start[position] != 0x09 {
            return false
        }
        return true
    }
}

/// Reads one line of a log.
struct LogLine {
    var cursor: UnsafePointer<UInt8>
    let end: UnsafePointer<UInt8>
    let masks: [UInt32]

    mutating func scan(into fields: inout EventFields) throws(LogFault) {
        for field in [LogField.host, .ident] {
            guard let word = word() else { throw .names }
            set(field, word.0, word.1, into: &fields)
        }
        try scanUserAndTime(into: &fields)
        guard let request = quoted() else { throw .request }
        setRequest(request.0, request.1, into: &fields)
        guard skipSpace(), end - cursor >= 3 else { throw .status }
        for position in 0..<3 where cursor[position] &- UInt8(ascii: "0") >= 10 { throw .status }
        set(.status, cursor, 3, into: &fields)
        cursor += 3
        try scanBytes(into: &fields)
        if cursor == end { return }
        guard skipSpace(), let referer = quoted() else { throw .referer }
        set(.referer, referer.0, referer.1, into: &fields)
        guard skipSpace(), let agent = quoted() else { throw .agent }
        set(.agent, agent.0, agent.1, into: &fields)
        guard cursor == end || cursor.pointee == 0x20 else { throw .agent }
    }

    /// Users may have spaces in their names: the user ends before the bracket of the time.
    private mutating func scanUserAndTime(into fields: inout EventFields) throws(LogFault) {
        let user = cursor
        var bracket = ByteScan.first(UInt8(ascii: "["), cursor, end)
        while bracket < end, bracket == user || bracket[-1] != 0x20 {
            bracket = ByteScan.first(UInt8(ascii: "["), bracket + 1, end)
        }
        guard bracket < end else { throw .time }
        guard bracket - user >= 2 else { throw .names }
        set(.user, user, bracket - user - 1, into: &fields)
        cursor = bracket
        let close = ByteScan.first(UInt8(ascii: "]"), bracket, end)
        guard close < end else { throw .time }
        set(.time, bracket + 1, close - bracket - 1, into: &fields)
        cursor = close + 1
        guard skipSpace() else { throw .request }
    }

    private mutating func scanBytes(into fields: inout EventFields) throws(LogFault) {
        guard skipSpace(), cursor < end else { throw .bytes }
        let start = cursor
        if cursor.pointee == UInt8(ascii: "-") {
            cursor += 1
        } else {
            while cursor < end, cursor.pointee &- UInt8(ascii: "0") < 10 { cursor += 1 }
        }
        guard cursor > start, cursor == end || cursor.pointee == 0x20 else { throw .bytes }
        set(.bytes, start, cursor - start, into: &fields)
        // A space at the end is no further field.
        if end - cursor == 1 { cursor = end }
    }

    /// `GET /path HTTP/1.1`. What is no request, such as the bytes of a port scan, has no method
    /// and no path; its line is right all the same, and counts where another field is the key.
    private func setRequest(
        _ start: UnsafePointer<UInt8>, _ count: Int, into fields: inout EventFields
    ) {
        let end = start + count
        let method = ByteScan.first(0x20, start, end)
        guard method > start, method < end else { return }
        let target = method + 1
        var stop = end
        var space = end - 1
        while space > target, space.pointee != 0x20 { space -= 1 }
        if space > target, isProtocol(space + 1, end) {
            stop = space
            set(.protocol, space + 1, end - space - 1, into: &fields)
        }
        set(.method, start, method - start, into: &fields)
        set(.path, target, stop - target, into: &fields)
    }

    /// `HTTP/…`: without it the last word of a request is part of its target.
    private func isProtocol(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> Bool {
        end - start > 5 && ByteScan.halfWord(start) == 0x5054_5448 && start[4] == UInt8(ascii: "/")
    }

    /// A hyphen alone says that the server knew nothing.
    private func set(
        _ field: LogField, _ start: UnsafePointer<UInt8>, _ count: Int,
        into fields: inout EventFields
    ) {
        let mask = masks[field.rawValue]
        guard mask != 0, !(count == 1 && start.pointee == UInt8(ascii: "-")) else { return }
        fields.set(mask, FieldText(start: start, count: count, kind: .text))
    }

    /// One space.
    private mutating func skipSpace() -> Bool {
        guard cursor < end, cursor.pointee == 0x20 else { return false }
        cursor += 1
        return true
    }

    /// Up to the next space, and past it.
    private mutating func word() -> (UnsafePointer<UInt8>, Int)? {
        let start = cursor
        let space = ByteScan.first(0x20, start, end)
        guard space > start, space < end else { return nil }
        cursor = space + 1
        return (start, space - start)
    }

    /// What stands between quotation marks, and past the closing one.
    private mutating func quoted() -> (UnsafePointer<UInt8>, Int)? {
        guard cursor < end, cursor.pointee == UInt8(ascii: "\"") else { return nil }
        let start = cursor + 1
        var position = start
        while position < end, position.pointee != UInt8(ascii: "\"") {
            position += position.pointee == UInt8(ascii: "\\") ? 2 : 1
        }
        guard position < end else { return nil }
        cursor = position + 1
        return (start, position - start)
    }
}
