extension SealedBatch {
    /// How many events a node finds in the bytes, counted and dead ones, where that shows without
    /// reading them as a node does; nil where it does not. `events` may be another number: it
    /// counts lines of white space, and what a stray quotation mark joins.
    ///
    /// In NDJSON and logs each line is an event unless it is white. So is each row of a table below
    /// its header, unless quotation marks are in it. A binary batch names its number itself.
    package var knownEvents: Int? {
        switch contentType {
        case EventFormat.ndjson.contentType:
            return lines { $0.allSatisfy { $0 == 0x20 || $0 == 0x09 || $0 == 0x0d } }
        case EventFormat.clf.contentType:
            return lines { line in
                let text = line.last == 0x0d ? line.dropLast() : line
                return text.allSatisfy { $0 == 0x20 || $0 == 0x09 }
            }
        case EventFormat.csv.contentType where body.contains(UInt8(ascii: "\"")):
            return nil
        case EventFormat.csv.contentType, EventFormat.tsv.contentType:
            let rows = lines { $0.isEmpty || ($0.count == 1 && $0.first == 0x0d) }
            return max(0, rows - 1)
        case EventFormat.binary.contentType:
            return events
        default:
            return nil
        }
    }

    /// Lines that are not blank, without the byte order mark that may stand before them.
    private func lines(isBlank: (ArraySlice<UInt8>) -> Bool) -> Int {
        var rest = body[...]
        if rest.starts(with: [0xef, 0xbb, 0xbf]) { rest = rest.dropFirst(3) }
        var count = 0
        while !rest.isEmpty {
            let end = rest.firstIndex(of: 0x0a) ?? rest.endIndex
            if !isBlank(rest[..<end]) { count += 1 }
            rest = rest[end...].dropFirst()
        }
        return count
    }
}
