import Core
import Wire

/// Where each block of a table lies and with which cell it begins.
struct TableIndex: Hashable, Sendable {
    struct Entry: Hashable, Sendable {
        var offset: UInt64
        /// Of the whole frame.
        var length: Int
        var cells: Int
        var first: TablePoint
        /// Of the frame; unknown in tables of version 1.
        var checksum: UInt32?
    }

    private(set) var entries: [Entry] = []
    /// Unknown in tables of versions before 4.
    var bounds: TableBounds?

    mutating func append(_ entry: Entry) {
        entries.append(entry)
    }

    /// The block in which `point` lies if the table has it; the first one when it lies before all.
    func block(of point: TablePoint) -> Int {
        max(0, entries.partitionPoint { $0.first <= point } - 1)
    }

    /// About what it takes in memory; an array has a header of 32 bytes.
    var memoryBytes: Int {
        entries.reduce(
            entries.capacity * MemoryLayout<Entry>.stride + (bounds?.memoryBytes ?? 0)
        ) {
            $0 + $1.first.key.count + $1.first.type.count + 64
        }
    }

    var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.write(count: entries.count)
        for entry in entries {
            writer.write(count: entry.length)
            writer.write(count: entry.cells)
            writer.write(fixed: entry.first.partition.index)
            writer.write(sized: entry.first.key)
            writer.write(sized: entry.first.type)
            writer.write(zigzag: entry.first.window)
        }
        for entry in entries { if let checksum = entry.checksum { writer.write(fixed: checksum) } }
        bounds?.write(to: &writer)
        return writer.bytes
    }

    init() {}

    /// - Parameter end: where the blocks must end, since the index lies behind the last of them.
    init(decoding bytes: [UInt8], end: UInt64) throws(DecodeError) {
        var reader = ByteReader(bytes)
        var offset: UInt64 = 0
        for _ in 0..<(try reader.count(ofSize: 7)) {
            let length = try reader.varint()
            guard length >= UInt64(SectionFrame.size), length <= end - offset else {
                throw reader.fail("a block of \(length) bytes")
            }
            let cells = try reader.varint()
            guard cells > 0, cells <= UInt64(StorageLimits.blockRawMax) else {
                throw reader.fail("a block of \(cells) cells")
            }
            let first = TablePoint(
                partition: try reader.partition(), key: try reader.sized(max: Limits.keyMax),
                type: try reader.sized(max: Limits.typeMax), window: try reader.zigzag())
            if let last = entries.last, first <= last.first {
                throw reader.fail("blocks out of order")
            }
            entries.append(
                Entry(offset: offset, length: Int(length), cells: Int(cells), first: first))
            offset += length
        }
        guard offset == end else { throw reader.fail("the blocks end at \(offset), not at \(end)") }
        if !reader.isAtEnd {
            for place in entries.indices { entries[place].checksum = try reader.fixed() }
        }
        if !reader.isAtEnd {
            bounds = try TableBounds(decoding: &reader, blocks: entries.count)
        }
        try reader.finish()
    }
}
