/// Cuts a CSV text (RFC 4180; LF as well as CRLF, a byte order mark is skipped) into records.
/// Fields are bytes; quoted ones may hold commas, quotes and line ends.
struct CSVReader {
    enum Record {
        case fields([[UInt8]])
        case malformed(String)
    }

    private let text: [UInt8]
    private var position: Int
    /// The physical line of the next record, counted from 1.
    private(set) var line = 1
    /// Bytes that were read, some of them twice.
    private(set) var bytesRead = 0
    /// Up to here a malformed record was read in vain, and its lines are read again, each as a
    /// record.
    private var readBefore = 0

    init(_ text: [UInt8]) {
        self.text = text
        position = text.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0
    }

    /// The next record that is no empty line, and the line on which it begins.
    mutating func next() -> (record: Record, line: Int)? {
        let begin = position
        defer { bytesRead += position - begin }
        while position < text.count {
            let start = line
            let isEmptyLine = text[position] != UInt8(ascii: ",") && isDelimiter(text[position])
            let record = record()
            if !isEmptyLine { return (record, start) }
        }
        return nil
    }

    /// Consumes the record and its line end. A malformed one ends at its first line feed: a quote
    /// that is never closed must not swallow the rows behind it.
    ///
    /// That keeps the work linear. What is read again holds line feeds only where the first reading
    /// was within quotes. There the second one is without: it takes each mark the other way round,
    /// and ends at the line feed. A mark inside a bare field, which opens nothing and would bring
    /// both readings in step, is a fault in text that is read again.
    private mutating func record() -> Record {
        let (start, startLine) = (position, line)
        var fields: [[UInt8]] = []
        while true {
            var field: [UInt8] = []
            let isQuoted = position < text.count && text[position] == UInt8(ascii: "\"")
            if let problem = isQuoted ? quoted(into: &field) : bare(into: &field) {
                giveUp(back: start, startLine)
                return .malformed(problem)
            }
            fields.append(field)
            guard position < text.count, text[position] == UInt8(ascii: ",") else { break }
            position += 1
            if fields.count == CatalogLimits.columnsMax {
                giveUp(back: start, startLine)
                return .malformed("more than \(CatalogLimits.columnsMax) fields")
            }
        }
        skipLine()
        return .fields(fields)
    }

    /// From a record that is malformed up to here, behind its first line.
    private mutating func giveUp(back start: Int, _ startLine: Int) {
        readBefore = max(readBefore, position)
        bytesRead += position - start
        (position, line) = (start, startLine)
        skipLine()
    }

    private mutating func bare(into field: inout [UInt8]) -> String? {
        let start = position
        while position < text.count, !isDelimiter(text[position]) {
            if position < readBefore, text[position] == UInt8(ascii: "\"") {
                return "a quotation mark inside a field that is not quoted, behind one without mate"
            }
            position += 1
        }
        field = Array(text[start..<position])
        return nil
    }

    /// A field in quotes, from its opening quote to behind its closing one.
    private mutating func quoted(into field: inout [UInt8]) -> String? {
        let openedAt = line
        position += 1
        while position < text.count {
            let byte = text[position]
            position += 1
            if byte == UInt8(ascii: "\"") {
                guard position < text.count else { return nil }
                if text[position] == byte {
                    position += 1
                } else {
                    if isDelimiter(text[position]) { return nil }
                    // The mark itself may be that of another row.
                    position -= 1
                    return "text after a closing quote"
                }
            } else if byte == 0x0a {
                line += 1
            }
            field.append(byte)
        }
        return "the quote opened on line \(openedAt) is never closed"
    }

    /// A carriage return ends a field only before a line feed or the end of the text.
    private func isDelimiter(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: ",") || byte == 0x0a
            || byte == 0x0d && (position + 1 >= text.count || text[position + 1] == 0x0a)
    }

    private mutating func skipLine() {
        while position < text.count {
            position += 1
            if text[position - 1] == 0x0a {
                line += 1
                return
            }
        }
    }
}
