import Core
import Wire

/// A body in two, each of which is one: for who cannot fold all of it at once. Together they come
/// to the same counts and dead letters, but for the words of these and the numbers of their lines.
/// What names the columns, or opens the array, is repeated in the second.
///
/// The body ends where it ends: a quotation mark that is open there is one that is never closed, as
/// for folding. So a table is cut where folding it sees a row end, and with it everything before
/// the cut is read as it was in one piece.
package struct EventHalves {
    package let first: [UInt8]
    package let second: [UInt8]

    /// Where a body is cut, counted from its first byte.
    private struct Cut {
        /// Behind the last event of the first half.
        var end: Int
        /// The first event of the second.
        var start: Int
        /// What is repeated above it: the header with its line feed.
        var header: Range<Int>?
    }

    /// Cuts behind the first event that ends in the second half of the bytes, or else behind the
    /// last one before. Nil where no event ends but the last.
    package init?(of bytes: [UInt8], format: EventFormat) {
        let cut = bytes.withUnsafeBytes { bytes -> Cut? in
            guard let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
                return nil
            }
            let end = start + bytes.count
            return switch format {
            case .ndjson, .commonLog: Self.line(bytes)
            case .csv: Self.row(start, end, .csv)
            case .tsv: Self.row(start, end, .tsv)
            case .jsonArray, .cloudEventBatch: Self.element(start, end)
            // It is one event.
            case .cloudEvent: nil
            case .binary: Self.batch(bytes)
            }
        }
        guard let cut else { return nil }
        let isArray = format == .jsonArray || format == .cloudEventBatch
        var second = isArray ? [UInt8(ascii: "[")] : cut.header.map { Array(bytes[$0]) } ?? []
        second += bytes[cut.start...]
        // At the head of a body a mark says nothing: it gets another, which is skipped there.
        let mark: [UInt8] = [0xef, 0xbb, 0xbf]
        if second.starts(with: mark) { second.insert(contentsOf: mark, at: 0) }
        self.second = second
        var first = Array(bytes[..<cut.end])
        if isArray { first.append(UInt8(ascii: "]")) }
        self.first = first
    }

    private static func line(_ bytes: UnsafeRawBufferPointer) -> Cut? {
        let middle = bytes.count / 2
        var feed = bytes[middle...].firstIndex(of: 0x0a)
        if feed == nil || feed == bytes.count - 1 { feed = bytes[..<middle].lastIndex(of: 0x0a) }
        return feed.map { Cut(end: $0 + 1, start: $0 + 1) }
    }

    private static func row(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ dialect: RowDialect
    ) -> Cut? {
        var rows = RowScanner(
            end: end, dialect: dialect, cursor: ByteScan.afterMark(start, end))
        while rows.isBlank { rows.skipLine() }
        let header = rows.cursor
        do throws(RowScanner.Fault) {
            while !(try rows.next().isLast) {}
        } catch {
            // It is refused by who reads it, with its reason.
            return nil
        }
        guard rows.cursor < end else { return nil }
        rows.cursor += 1
        let first = rows.cursor
        let middle = first + (end - first) / 2
        var last = first
        while last < middle {
            if rows.isBlank { rows.skipLine() } else { rows.skipWholeRow() }
            guard rows.cursor < end else { break }
            last = rows.cursor
        }
        guard last > first else { return nil }
        return Cut(end: last - start, start: last - start, header: header - start..<first - start)
    }

    /// At a comma that has something on both sides: an empty element is an event, but `[]` has
    /// none.
    private static func element(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> Cut? {
        var json = JSONScanner(cursor: ByteScan.afterMark(start, end), end: end, acrossLines: true)
        json.skipSpace()
        guard json.byte == UInt8(ascii: "[") else { return nil }
        let middle = start + (end - start) / 2
        var cut: UnsafePointer<UInt8>?
        /// The comma before the element in hand.
        var before: UnsafePointer<UInt8>?
        var isNothingBefore = false
        while true {
            json.cursor += 1
            json.skipSpace()
            let first = json.cursor
            json.cursor = BatchFolder.elementEnd(first, end)
            let isEmpty = json.cursor == first
            let isLast = json.byte != UInt8(ascii: ",")
            if let before, !isNothingBefore, !(isEmpty && isLast) { cut = before }
            if isLast { break }
            if let cut, cut >= middle { break }
            isNothingBefore = before == nil && isEmpty
            before = json.cursor
        }
        return cut.map { Cut(end: $0 - start, start: $0 - start + 1) }
    }

    private static func batch(_ bytes: UnsafeRawBufferPointer) -> Cut? {
        var cut: Cut?
        var place = 0
        do throws(DecodeError) {
            while place < bytes.count / 2 {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[place...])
                place += BinaryBatchHead.size + Int(try BinaryBatchHead(rest).length)
                guard place < bytes.count else { break }
                cut = Cut(end: place, start: place)
            }
        } catch {
            // What is no batch is refused by who reads it.
            return cut
        }
        return cut
    }
}

extension RowScanner {
    /// Moves behind the row under the cursor, as folding does; one that cannot be read ends with
    /// its first line.
    fileprivate mutating func skipWholeRow() {
        let first = cursor
        do throws(Fault) {
            while !(try next().isLast) {}
        } catch {
            cursor = ByteScan.first(0x0a, first, end)
        }
        if cursor < end { cursor += 1 }
    }
}
