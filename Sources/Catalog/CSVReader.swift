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

    init(_ text: [UInt8]) {
        self.text = text
        position = text.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0
    }

    /// The next record that is no empty line, and the line on which it begins.
    mutating func next() -> (record: Record, line: Int)? {
        while position < text.count {
            let start = line
            let isEmptyLine = text[position] != UInt8(ascii: ",") && isDelimiter(text[position])
            let record = record()
            if !isEmptyLine { return (record, start) }
        }
        return nil
    }

    /// Consumes the record and its line end. A malformed record ends at its physical line's end, so
    /// that the next one is read as if nothing had happened.
    private mutating func record() -> Record {
        var fields: [[UInt8]] = []
        while true {
            var field: [UInt8] = []
            if position < text.count, text[position] == UInt8(ascii: "\"") {
                if let problem = quoted(into: &field) {
                    skipLine()
                    return .malformed(problem)
                }
            } else {
                let start = position
                while position < text.count, !isDelimiter(text[position]) { position += 1 }
                field = Array(text[start..<position])
            }
            guard fields.count < CatalogLimits.columnsMax else {
                skipLine()
                return .malformed("more than \(CatalogLimits.columnsMax) fields")
            }
            fields.append(field)
            guard position < text.count, text[position] == UInt8(ascii: ",") else { break }
            position += 1
        }
        skipLine()
        return .fields(fields)
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
                    return isDelimiter(text[position]) ? nil : "text after a closing quote"
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
