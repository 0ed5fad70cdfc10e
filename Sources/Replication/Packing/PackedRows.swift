import Core
import Storage
import Wire

/// Rows of one segment, written against where the first of them stood.
struct PackedPage: Sendable {
    var segment: Segment
    var origin: PackedRow.Origin
    var bytes: [UInt8]
    /// Rows that were not erased.
    var live: Int
    var oldestFile: UInt32
    var newestFile: UInt32

    static let empty = PackedPage(
        segment: .first, origin: PackedRow.Origin(), bytes: [], live: 0, oldestFile: .max,
        newestFile: 0)
}

/// Pages of rows, by number, and the producers that rows name.
struct PackedRows: Sendable {
    private var pages: [PackedPage] = []
    /// Numbers of pages that are empty: the last one is taken first.
    private var free: [Int] = []
    private var pageBytes = 0
    var producers = ProducerTable()
    private let coding: PackedRow.Coding
    private let pagesMax: Int

    /// Bits of a place that say where in its page a row begins.
    private static let offsetBits = 12

    init(coding: PackedRow.Coding, pagesMax: Int) {
        precondition(
            ReplicationLimits.indexPageBytes <= 1 << Self.offsetBits
                && pagesMax << Self.offsetBits <= 1 << 32, "a place has 32 bits")
        self.coding = coding
        self.pagesMax = pagesMax
    }

    private static func page(of place: UInt32) -> Int { Int(place >> UInt32(offsetBits)) }

    private func reader(at place: UInt32) -> ByteReader {
        let page = Self.page(of: place)
        return ByteReader(
            pages[page].bytes, from: Int(place) - page << Self.offsetBits,
            to: pages[page].bytes.count)
    }

    // MARK: - Pages

    /// An empty page whose first row will be this entry's.
    mutating func takePage(for entry: BatchEntry, in segment: Segment) -> Int? {
        var page = PackedPage.empty
        page.segment = segment
        page.origin = coding.origin(entry, in: segment)
        if let number = free.popLast() {
            pages[number] = page
            return number
        }
        guard pages.count < pagesMax else { return nil }
        pages.append(page)
        return pages.count - 1
    }

    mutating func freePage(_ page: Int) {
        pageBytes -= pages[page].bytes.capacity
        pages[page] = .empty
        free.append(page)
    }

    func oldestFile(inPage page: Int) -> UInt32 { pages[page].oldestFile }

    func newestFile(inPage page: Int) -> UInt32 { pages[page].newestFile }

    /// Every row that was not erased, in the order of packing.
    func rows(inPage page: Int) -> [(place: UInt32, row: PackedRow.Head)] {
        var rows: [(place: UInt32, row: PackedRow.Head)] = []
        rows.reserveCapacity(pages[page].live)
        var reader = ByteReader(pages[page].bytes)
        while !reader.isAtEnd {
            let place = UInt32(page << Self.offsetBits + reader.offset)
            let row = Self.mustRead { () throws(DecodeError) in
                let row = try coding.head(&reader, producers)
                try reader.skip(row.end - reader.offset)
                return row
            }
            if !row.flags.contains(.erased) { rows.append((place: place, row: row)) }
        }
        return rows
    }

    // MARK: - Rows

    /// nil where the page has no room for it.
    mutating func append(_ entry: BatchEntry, _ producer: Int?, toPage page: Int) -> UInt32? {
        let row = coding.row(entry, producer, producers, pages[page].origin)
        let offset = pages[page].bytes.count
        guard offset + row.count <= ReplicationLimits.indexPageBytes else { return nil }
        let before = pages[page].bytes.capacity
        if offset + row.count > before {
            // Small for a segment with few batches, then whole: doubling would leave a part unused.
            pages[page].bytes.reserveCapacity(
                offset == 0
                    ? max(row.count, ReplicationLimits.indexPageBytes / 8)
                    : ReplicationLimits.indexPageBytes)
        }
        pages[page].bytes.append(contentsOf: row)
        pageBytes += pages[page].bytes.capacity - before
        pages[page].live += 1
        for file in entry.files {
            pages[page].oldestFile = min(pages[page].oldestFile, file)
            pages[page].newestFile = max(pages[page].newestFile, file)
        }
        return UInt32(page << Self.offsetBits + offset)
    }

    func id(at place: UInt32) -> BatchID {
        Self.mustRead { () throws(DecodeError) in
            var reader = reader(at: place)
            return try coding.id(&reader, producers).id
        }
    }

    func header(at place: UInt32) -> BatchHeader {
        Self.mustRead { () throws(DecodeError) in
            var reader = reader(at: place)
            let head = try coding.head(&reader, producers)
            return try coding.header(&reader, head, pages[Self.page(of: place)].origin)
        }
    }

    func entry(at place: UInt32) -> BatchEntry {
        Self.mustRead { () throws(DecodeError) in
            var reader = reader(at: place)
            return try coding.entry(&reader, producers, pages[Self.page(of: place)].origin)
        }
    }

    /// The row is skipped from now on.
    mutating func erase(_ place: UInt32) -> (page: Int, segment: Segment, isEmpty: Bool) {
        let page = Self.page(of: place)
        let (row, flags) = Self.mustRead { () throws(DecodeError) in
            var reader = reader(at: place)
            _ = try reader.varint()
            let flags = reader.offset
            reader = self.reader(at: place)
            return (try coding.head(&reader, producers), flags)
        }
        pages[page].bytes[flags] |= PackedRow.Flags.erased.rawValue
        pages[page].live -= 1
        producers.release(row.producer)
        return (page: page, segment: pages[page].segment, isEmpty: pages[page].live == 0)
    }

    /// What was written here is read here: anything else is a broken memory.
    private static func mustRead<Value>(_ read: () throws(DecodeError) -> Value) -> Value {
        do throws(DecodeError) {
            return try read()
        } catch {
            preconditionFailure("a packed entry cannot be read: \(error)")
        }
    }

    var byteCount: Int {
        ArrayBytes.of(pages) + ArrayBytes.of(free) + pageBytes
            + (pages.count - free.count) * ArrayBytes.overhead
    }
}
