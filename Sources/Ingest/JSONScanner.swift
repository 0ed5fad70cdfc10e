/// A strict scanner of RFC 8259 that reads one event at a time, straight from the batch.
///
/// It accepts exactly what the grammar accepts, with two additions of our own: strings must be text
/// (no half surrogate pairs), and nesting is bounded. Names may repeat; the last one counts.
///
/// `cursor` moves over validated bytes only; after a fault it stands at what was wrong. Nothing is
/// read at or beyond `end`.
struct JSONScanner {
    var cursor: UnsafePointer<UInt8>
    let end: UnsafePointer<UInt8>
    /// False for NDJSON, where a line feed ends the event and is no white space inside it.
    let acrossLines: Bool

    /// A string without its quotation marks.
    struct Run {
        var start: UnsafePointer<UInt8>
        var count: Int
        var isEscaped: Bool
    }

    /// The byte under the cursor; 0, which no grammar allows, at the end.
    @inline(__always)
    var byte: UInt8 {
        cursor < end ? cursor.pointee : 0
    }

    @inline(__always)
    mutating func skipSpace() {
        while cursor < end {
            let byte = cursor.pointee
            if byte > 0x20 { return }
            guard byte == 0x20 || byte == 0x09 || byte == 0x0d || (byte == 0x0a && acrossLines)
            else {
                return
            }
            cursor += 1
        }
    }

    // MARK: - Scalars

    /// The cursor stands on the opening quotation mark.
    @inline(__always)
    mutating func scanString() throws(JSONFault) -> Run {
        cursor += 1
        let start = cursor
        cursor = ByteScan.plainEnd(start, end)
        if cursor < end, cursor.pointee == UInt8(ascii: "\"") {
            let count = cursor - start
            cursor += 1
            return Run(start: start, count: count, isEscaped: false)
        }
        return try scanRestOfString(from: start)
    }

    private mutating func scanRestOfString(
        from start: UnsafePointer<UInt8>
    ) throws(JSONFault) -> Run {
        var isEscaped = false
        while cursor < end {
            let byte = cursor.pointee
            if byte == UInt8(ascii: "\"") {
                let count = cursor - start
                cursor += 1
                return Run(start: start, count: count, isEscaped: isEscaped)
            }
            if byte == UInt8(ascii: "\\") {
                let length = JSONEscapes.length(cursor, end)
                guard length > 0 else { throw .escape }
                isEscaped = true
                cursor += length
            } else if byte < 0x20 {
                throw byte == 0x0a && !acrossLines ? .unclosedString : .controlCharacter
            } else {
                let length = UTF8Check.scalarLength(cursor, end)
                guard length > 0 else { throw .utf8 }
                cursor += length
            }
            cursor = ByteScan.plainEnd(cursor, end)
        }
        throw .unclosedString
    }

    /// The cursor stands on a digit or a minus sign.
    mutating func scanNumber() throws(JSONFault) {
        if byte == UInt8(ascii: "-") { cursor += 1 }
        if byte == UInt8(ascii: "0") {
            cursor += 1
        } else {
            try scanDigits()
        }
        if byte == UInt8(ascii: ".") {
            cursor += 1
            try scanDigits()
        }
        if byte | 0x20 == UInt8(ascii: "e") {
            cursor += 1
            if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { cursor += 1 }
            try scanDigits()
        }
    }

    @inline(__always)
    private mutating func scanDigits() throws(JSONFault) {
        guard byte &- UInt8(ascii: "0") < 10 else { throw .number }
        while byte &- UInt8(ascii: "0") < 10 { cursor += 1 }
    }

    /// The cursor stands on a letter.
    mutating func scanLiteral() throws(JSONFault) {
        let left = end - cursor
        if left >= 4 {
            let word = ByteScan.halfWord(cursor)
            // "true" and "null" as little-endian words.
            if word == 0x6575_7274 || word == 0x6c6c_756e {
                cursor += 4
                return
            }
            // "fals", then "e".
            if word == 0x736c_6166, left >= 5, cursor[4] == UInt8(ascii: "e") {
                cursor += 5
                return
            }
        }
        throw .literal
    }

    // MARK: - Values nobody asked for

    /// Skips one value, validating it, inside `depth` open objects and arrays.
    mutating func skipValue(depth: Int) throws(JSONFault) {
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            try skipComposite(depth: depth)
        default:
            try skipScalar()
        }
    }

    @inline(__always)
    private mutating func skipScalar() throws(JSONFault) {
        switch byte {
        case UInt8(ascii: "\""): _ = try scanString()
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try scanNumber()
        case UInt8(ascii: "a")...UInt8(ascii: "z"): try scanLiteral()
        default: throw .value
        }
    }

    /// Skips an object or array without recursion: one bit per level says which of both it is.
    private mutating func skipComposite(depth outer: Int) throws(JSONFault) {
        var objects: UInt64 = 0
        var depth = outer
        repeat {
            // At the beginning of a value.
            let isObject = byte == UInt8(ascii: "{")
            if isObject || byte == UInt8(ascii: "[") {
                guard depth < ParseLimits.nestingMax else { throw .nesting }
                objects = objects << 1 | (isObject ? 1 : 0)
                depth += 1
                cursor += 1
                skipSpace()
                if byte == (isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) {
                    cursor += 1
                    objects >>= 1
                    depth -= 1
                } else {
                    if isObject { try skipName() }
                    continue
                }
            } else {
                try skipScalar()
            }
            try closeOrGoOn(outer: outer, depth: &depth, objects: &objects)
        } while depth > outer
    }

    /// After a value: closes as many levels as end here, and moves to the next value if one
    /// follows.
    private mutating func closeOrGoOn(
        outer: Int, depth: inout Int, objects: inout UInt64
    ) throws(JSONFault) {
        while depth > outer {
            let isObject = objects & 1 == 1
            skipSpace()
            if byte == UInt8(ascii: ",") {
                cursor += 1
                skipSpace()
                if isObject { try skipName() }
                return
            }
            guard byte == (isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
                throw isObject ? .commaOrBrace : .commaOrBracket
            }
            cursor += 1
            objects >>= 1
            depth -= 1
        }
    }

    /// A member's name and its colon.
    private mutating func skipName() throws(JSONFault) {
        guard byte == UInt8(ascii: "\"") else { throw .name }
        _ = try scanString()
        skipSpace()
        guard byte == UInt8(ascii: ":") else { throw .colon }
        cursor += 1
        skipSpace()
    }
}
