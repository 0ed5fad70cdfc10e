import Core

// NDJSON and JSON arrays. Both read events with the same scanner; they differ in where an event
// that cannot be read ends: an NDJSON line at its line feed, an array's element where the brackets
// say.

extension BatchFolder {
    mutating func foldLines(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) throws(IngestError) {
        var json = JSONScanner(cursor: start, end: end, acrossLines: false)
        var line = 0
        while json.cursor < end {
            line &+= 1
            let first = json.cursor
            json.skipSpace()
            // A line of white space is no event.
            if json.cursor == end { return }
            if json.cursor.pointee == 0x0a {
                json.cursor += 1
                continue
            }
            if scanner.shape.isPlain, try admitPlain(&json, from: first) { continue }
            var fault: JSONFault?
            do throws(JSONFault) {
                try scanner.scanEvent(&json, plan: plan, into: &fields)
                json.skipSpace()
                if json.cursor < end, json.cursor.pointee != 0x0a { throw .textAfter }
            } catch {
                fault = error
            }
            if let fault {
                let column = json.cursor - first
                json.cursor = ByteScan.first(0x0a, json.cursor, end)
                let raw = BatchFolder.line(line, first, json.cursor)
                try bury(raw, fault, at: column)
            } else {
                try admit(BatchFolder.line(line, first, json.cursor), isText: true)
            }
            if json.cursor < end { json.cursor += 1 }
        }
    }

    /// Counts the line under the cursor, if it is put together like those before it and nothing is
    /// wrong with it; false, and nothing is done, where it is for `admit` to say.
    @inline(__always)
    private mutating func admitPlain(
        _ json: inout JSONScanner, from first: UnsafePointer<UInt8>
    ) throws(IngestError) -> Bool {
        guard var cursor = scanner.shape.readPlain(json.cursor, json.end) else { return false }
        if cursor < json.end, cursor.pointee == 0x0d { cursor += 1 }
        guard cursor == json.end || cursor.pointee == 0x0a, cursor - first <= lineMax else {
            return false
        }
        let key = scanner.shape.text(of: .key)
        let type = scanner.shape.text(of: .type)
        let text = scanner.shape.text(of: .time)
        guard key.count > 0, key.count <= keyMax, type.count > 0, type.count <= typeMax,
            text.count > 0, let time = times.parse(text.start, text.count), time >= earliest,
            time <= latest
        else { return false }
        let window = window(of: time)
        try count(table.series(key: key.field, type: type.field, window: window), in: window, nil)
        json.cursor = cursor < json.end ? cursor + 1 : cursor
        return true
    }

    /// A line without the carriage return before its line feed.
    static func line(
        _ number: Int, _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> Raw {
        let count = end - start
        let hasReturn = count > 0 && start[count - 1] == 0x0d
        return Raw(line: number, start: start, count: hasReturn ? count - 1 : count)
    }

    /// Buries an event that is no JSON. Bytes that are no UTF-8 come before any other reason: what
    /// is no text cannot be judged as JSON.
    mutating func bury(
        _ raw: Raw, _ fault: JSONFault, at column: Int
    ) throws(IngestError) {
        if raw.count > Limits.lineMax { return try buryLong(raw) }
        if let offset = UTF8Check.firstFault(raw.start, raw.count) {
            return try bury(raw, .badUTF8, "byte \(offset + 1): this is no UTF-8")
        }
        try bury(raw, .badJSON, "byte \(column + 1): \(fault.detail)")
    }

    // MARK: - Arrays

    mutating func foldArray(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) throws(IngestError) {
        var json = JSONScanner(cursor: start, end: end, acrossLines: true)
        json.skipSpace()
        guard json.cursor < end else { throw .notAnArray(found: nil) }
        guard json.byte == UInt8(ascii: "[") else { throw .notAnArray(found: json.byte) }
        let opened = json.cursor - start
        json.cursor += 1
        json.skipSpace()
        if json.byte == UInt8(ascii: "]") {
            json.cursor += 1
        } else {
            try foldElements(&json, opened: opened)
        }
        json.skipSpace()
        guard json.cursor == end else { throw .bytesAfterArray(offset: json.cursor - start) }
    }

    /// The elements and the closing bracket.
    private mutating func foldElements(
        _ json: inout JSONScanner, opened: Int
    ) throws(IngestError) {
        var position = 0
        while true {
            position &+= 1
            json.skipSpace()
            let first = json.cursor
            var fault: JSONFault?
            var last = first
            do throws(JSONFault) {
                try scanner.scanEvent(&json, plan: plan, into: &fields)
                last = json.cursor
                json.skipSpace()
                guard json.byte == UInt8(ascii: ",") || json.byte == UInt8(ascii: "]") else {
                    throw .commaOrBracket
                }
            } catch {
                fault = error
            }
            if let fault {
                let column = json.cursor - first
                json.cursor = BatchFolder.elementEnd(first, json.end)
                guard json.cursor < json.end else { throw .arrayNotClosed(opened: opened) }
                let raw = Raw(line: position, start: first, count: json.cursor - first)
                try bury(raw, fault, at: column)
            } else {
                try admit(Raw(line: position, start: first, count: last - first), isText: true)
            }
            let isLast = json.byte == UInt8(ascii: "]")
            json.cursor += 1
            if isLast { return }
        }
    }

    /// Where an element that cannot be read ends: at the next comma or bracket that is neither in a
    /// string nor in an object or array opened since. At `end` if there is none.
    static func elementEnd(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> UnsafePointer<UInt8> {
        var cursor = start
        var depth = 0
        var isInString = false
        while cursor < end {
            let byte = cursor.pointee
            if isInString {
                if byte == UInt8(ascii: "\\") {
                    cursor += 1
                    if cursor == end { return end }
                } else if byte == UInt8(ascii: "\"") {
                    isInString = false
                }
            } else {
                switch byte {
                case UInt8(ascii: "\""): isInString = true
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: ","):
                    if depth == 0 { return cursor }
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    if depth == 0, byte == UInt8(ascii: "]") { return cursor }
                    depth = max(0, depth - 1)
                default: break
                }
            }
            cursor += 1
        }
        return end
    }
}
