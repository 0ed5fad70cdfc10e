import Core

// Where events end, for who cuts a long body into batches. It is read by the scanners that fold it,
// since a second opinion about a stray quotation mark or bracket would tear the events behind it.

package enum EventFraming {
    /// How far a table, CSV or TSV, can be cut. All places count from its first byte.
    package enum Table: Hashable, Sendable {
        /// Nothing but empty lines, the last whole one of which ends there.
        case empty(end: Int)
        /// The row that begins there is no header, or none that ends within these bytes.
        case noHeader(at: Int, isOpen: Bool)
        /// The header with its line feed, and where the last row ends that surely does; that is the
        /// header's own end where none does.
        case rows(header: Range<Int>, end: Int)
    }

    /// - Parameters:
    ///   - bytes: of a table, from its first on.
    ///   - breaksFirst: the row below the header, which is open through all of the bytes, is taken
    ///     for one whose quotation mark is never closed: it ends with its first line.
    package static func table(
        _ bytes: UnsafeRawBufferPointer, isQuoted: Bool, breaksFirst: Bool = false
    ) -> Table {
        guard let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
            return .empty(end: 0)
        }
        let end = start + bytes.count
        var rows = RowScanner(
            end: end, dialect: isQuoted ? .csv : .tsv, cursor: ByteScan.afterMark(start, end))
        while rows.isBlank { rows.skipLine() }
        guard rows.cursor < end else {
            // The carriage return may be half of a line's end.
            return .empty(end: bytes.last == 0x0d ? bytes.count - 1 : bytes.count)
        }
        let first = rows.cursor
        do throws(RowScanner.Fault) {
            while !(try rows.next().isLast) {}
        } catch {
            return .noHeader(at: first - start, isOpen: error == .unclosedQuote)
        }
        guard rows.cursor < end else { return .noHeader(at: first - start, isOpen: true) }
        guard rows.cursor - first <= Limits.lineMax else {
            return .noHeader(at: first - start, isOpen: false)
        }
        rows.cursor += 1
        let header = first - start..<rows.cursor - start
        if breaksFirst { rows.skipLine() }
        var last = rows.cursor
        while rows.cursor < end, rows.skipRow() {
            rows.cursor += 1
            last = rows.cursor
        }
        return .rows(header: header, end: last - start)
    }

    /// How far an array can be cut.
    package enum Elements: Hashable, Sendable {
        /// What stands there opens none.
        case notAnArray
        /// At no comma of these bytes. White space, in order, which may go without a change to what
        /// is read: before the opening bracket, behind it, and behind the closing one.
        case whole(spaces: [Range<Int>])
        /// At this comma, counted from the first byte: neither is what stands before it nothing at
        /// all nor what stands behind it.
        case comma(Int)
    }

    /// - Parameter bytes: of an array, from its first on.
    package static func elements(_ bytes: UnsafeRawBufferPointer) -> Elements {
        guard let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
            return .whole(spaces: [])
        }
        let end = start + bytes.count
        var json = JSONScanner(cursor: ByteScan.afterMark(start, end), end: end, acrossLines: true)
        var spaces: [Range<Int>] = []
        /// White space under the cursor.
        func skipSpace() {
            let first = json.cursor
            json.skipSpace()
            if first < json.cursor { spaces.append(first - start..<json.cursor - start) }
        }
        skipSpace()
        guard json.cursor < end else { return .whole(spaces: spaces) }
        guard json.byte == UInt8(ascii: "[") else { return .notAnArray }
        var cut: UnsafePointer<UInt8>?
        var before: UnsafePointer<UInt8>?
        var isNothing = true
        while true {
            json.cursor += 1
            if before == nil { skipSpace() } else { json.skipSpace() }
            let first = json.cursor
            json.cursor = BatchFolder.elementEnd(first, end)
            let isEmpty = json.cursor == first
            // An empty element is a dead letter, but `[]` holds none: where a cut would leave just
            // that, there is none.
            if let before, !isNothing, !isEmpty { cut = before }
            guard json.cursor < end, json.byte == UInt8(ascii: ",") else { break }
            isNothing = isNothing && isEmpty && before == nil
            before = json.cursor
        }
        if let cut { return .comma(cut - start) }
        if json.cursor < end {
            json.cursor += 1
            skipSpace()
        }
        return .whole(spaces: spaces)
    }
}
