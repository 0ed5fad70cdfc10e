/// How rows of a table are written.
enum RowDialect {
    /// RFC 4180: commas; a field may stand in quotation marks, and then hold commas, line breaks
    /// and doubled quotation marks.
    case csv
    /// IANA's text/tab-separated-values: a tab separates, and nothing is quoted. A quotation mark
    /// is a character like any other, which is how the programs write it that write such files.
    case tsv

    var separator: UInt8 {
        switch self {
        case .csv: UInt8(ascii: ",")
        case .tsv: UInt8(ascii: "\t")
        }
    }
}

/// Reads the fields of one row after the other.
struct RowScanner {
    let end: UnsafePointer<UInt8>
    let dialect: RowDialect
    var cursor: UnsafePointer<UInt8>

    struct Field {
        var start: UnsafePointer<UInt8>
        var count: Int
        /// Holds doubled quotation marks.
        var isDoubled: Bool
        /// It is the last of its row; the cursor stands on the line feed, or at the end.
        var isLast: Bool
    }

    enum Fault: Error {
        /// A quotation mark in a field that does not begin with one.
        case strayQuote
        /// Text between a closing quotation mark and the separator.
        case textAfterQuote
        case unclosedQuote

        var detail: String {
            switch self {
            case .strayQuote: "a quotation mark inside a field that is not quoted"
            case .textAfterQuote: "text follows the closing quotation mark of a field"
            case .unclosedQuote: "a quotation mark is never closed"
            }
        }
    }

    /// The next field of the row; the cursor stands at its first byte.
    @inline(__always)
    mutating func next() throws(Fault) -> Field {
        switch dialect {
        case .csv:
            if cursor < end, cursor.pointee == UInt8(ascii: "\"") { return try quoted() }
            return try plain(separator: UInt8(ascii: ","), quote: UInt8(ascii: "\""))
        case .tsv:
            // No byte of a field is its separator, and so nothing is forbidden in it.
            return try plain(separator: UInt8(ascii: "\t"), quote: UInt8(ascii: "\t"))
        }
    }

    @inline(__always)
    private mutating func plain(separator: UInt8, quote: UInt8) throws(Fault) -> Field {
        let start = cursor
        while cursor < end {
            let byte = cursor.pointee
            if byte == separator {
                let count = cursor - start
                cursor += 1
                return Field(start: start, count: count, isDoubled: false, isLast: false)
            }
            if byte == 0x0a { break }
            if byte == quote { throw .strayQuote }
            cursor += 1
        }
        var count = cursor - start
        if count > 0, start[count - 1] == 0x0d { count -= 1 }
        return Field(start: start, count: count, isDoubled: false, isLast: true)
    }

    private mutating func quoted() throws(Fault) -> Field {
        cursor += 1
        let start = cursor
        var isDoubled = false
        while true {
            cursor = ByteScan.first(UInt8(ascii: "\""), cursor, end)
            guard cursor < end else { throw .unclosedQuote }
            if end - cursor >= 2, cursor[1] == UInt8(ascii: "\"") {
                isDoubled = true
                cursor += 2
                continue
            }
            let count = cursor - start
            cursor += 1
            if cursor < end, cursor.pointee == dialect.separator {
                cursor += 1
                return Field(start: start, count: count, isDoubled: isDoubled, isLast: false)
            }
            if end - cursor >= 2, cursor[0] == 0x0d, cursor[1] == 0x0a { cursor += 1 }
            if cursor < end, end - cursor == 1, cursor.pointee == 0x0d { cursor += 1 }
            guard cursor == end || cursor.pointee == 0x0a else { throw .textAfterQuote }
            return Field(start: start, count: count, isDoubled: isDoubled, isLast: true)
        }
    }

    /// Moves to the line feed that ends the row under the cursor; one that cannot be read ends with
    /// its first line. False, and nothing is done, where the row may go on behind `end`.
    mutating func skipRow() -> Bool {
        let first = cursor
        do throws(Fault) {
            while !(try next().isLast) {}
        } catch {
            cursor = error == .unclosedQuote ? end : ByteScan.first(0x0a, first, end)
        }
        if cursor < end { return true }
        cursor = first
        return false
    }

    /// Whether an empty line stands under the cursor.
    var isBlank: Bool {
        guard cursor < end else { return false }
        if cursor.pointee == 0x0a { return true }
        return cursor.pointee == 0x0d && (end - cursor == 1 || cursor[1] == 0x0a)
    }

    /// Moves behind the next line feed, or to the end.
    mutating func skipLine() {
        let feed = ByteScan.first(0x0a, cursor, end)
        cursor = feed < end ? feed + 1 : end
    }

    /// Undoes the doubling of quotation marks; the number of bytes written, at most `count`.
    static func undouble(
        _ start: UnsafePointer<UInt8>, _ count: Int, into room: UnsafeMutablePointer<UInt8>
    ) -> Int {
        var position = 0
        var written = 0
        while position < count {
            let byte = start[position]
            room[written] = byte
            written += 1
            position += byte == UInt8(ascii: "\"") ? 2 : 1
        }
        return written
    }
}
