package import Core
import Wire

/// What the manifest says of a history file: its content, not only its name.
package struct HistoryMeta: Hashable, Sendable {
    package var id: UInt64
    /// How many times its entries were merged; files of one level are merged with one another.
    package var level: UInt8
    package var size: UInt64
    /// Outcomes, and batches with dead letters.
    package var outcomes: UInt64
    package var letters: UInt64
    package var firstSegment: Segment
    package var lastSegment: Segment
    package var footerChecksum: UInt32

    package var path: String { FileNames.history(id) }
}

/// One block of a history file, and what it begins with.
struct HistoryBlock: Hashable, Sendable {
    var offset: UInt64
    /// Of the whole frame.
    var length: Int
    /// Of blocks of outcomes and of husks `.first`: they are sorted by id alone.
    var segment: Segment
    var id: BatchID
    /// Of the frame; unknown in files of versions 1 and 2.
    var checksum: UInt32?
}

/// The end of a history file (docs/formats/history.md).
struct HistoryFooter: Hashable, Sendable {
    static let kind = FramedFile.Kind(
        name: "a history file", magic: Array("QUIPUHIS".utf8), versions: [1, 2, 4])

    var id: UInt64
    var level: UInt8
    var segmentMilliseconds: Int64
    var outcomes: UInt64 = 0
    var letters: UInt64 = 0
    var firstSegment = Segment(.max)
    var lastSegment = Segment.first
    /// Batches whose payload was let go of before they were forgotten, and the last segment of
    /// any. None in files of version 1.
    var husks: UInt64 = 0
    var lastHuskSegment = Segment.first
    var indexOffset: UInt64 = 0
    var filterOffset: UInt64 = 0
    /// Of the frames of index and filter; unknown in files of versions 1 and 2.
    var checksums: SectionChecksums?

    /// A year: what is longer is no segment, and times are counted in it.
    private static let segmentMax: Int64 = 366 * 86_400_000

    init(id: UInt64, level: UInt8, segmentLength: Duration) {
        self.id = id
        self.level = level
        segmentMilliseconds = segmentLength.milliseconds
    }

    func meta(size: UInt64, footerChecksum: UInt32) -> HistoryMeta {
        HistoryMeta(
            id: id, level: level, size: size, outcomes: outcomes, letters: letters,
            firstSegment: firstSegment, lastSegment: lastSegment, footerChecksum: footerChecksum)
    }

    var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.write(fixed: id)
        writer.write(level)
        writer.write(fixed: segmentMilliseconds)
        writer.write(varint: outcomes)
        writer.write(varint: letters)
        writer.write(fixed: firstSegment.number)
        writer.write(fixed: lastSegment.number)
        writer.write(varint: indexOffset)
        writer.write(varint: filterOffset)
        writer.write(varint: husks)
        writer.write(fixed: lastHuskSegment.number)
        if let checksums { writer.write(checksums) }
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        id = try reader.fixed()
        level = try reader.byte()
        segmentMilliseconds = try reader.fixed()
        outcomes = try reader.varint()
        letters = try reader.varint()
        firstSegment = Segment(try reader.fixed())
        lastSegment = Segment(try reader.fixed())
        indexOffset = try reader.varint()
        filterOffset = try reader.varint()
        if !reader.isAtEnd {
            husks = try reader.varint()
            lastHuskSegment = Segment(try reader.fixed())
        }
        if !reader.isAtEnd { checksums = try reader.sectionChecksums() }
        guard segmentMilliseconds > 0, segmentMilliseconds <= Self.segmentMax else {
            throw reader.fail("a segment of \(segmentMilliseconds) ms")
        }
        try reader.finish()
    }
}

/// The blocks of each region.
struct HistoryIndex: Hashable, Sendable {
    var outcomes: [HistoryBlock] = []
    var letters: [HistoryBlock] = []
    var husks: [HistoryBlock] = []

    init() {}

    var bytes: [UInt8] {
        var writer = ByteWriter()
        for blocks in [outcomes, letters, husks] {
            writer.write(count: blocks.count)
            for block in blocks {
                writer.write(count: block.length)
                writer.write(fixed: block.segment.number)
                writer.write(block.id)
            }
        }
        for block in outcomes + letters + husks {
            if let checksum = block.checksum { writer.write(fixed: checksum) }
        }
        return writer.bytes
    }

    /// - Parameter end: where the blocks must end, since the index lies behind the last of them.
    init(decoding bytes: [UInt8], end: UInt64) throws(DecodeError) {
        var reader = ByteReader(bytes)
        var offset: UInt64 = 0
        for region in 0..<3 where region < 2 || !reader.isAtEnd {
            var blocks: [HistoryBlock] = []
            for _ in 0..<(try reader.count(ofSize: 33)) {
                let length = try reader.varint()
                guard length >= UInt64(SectionFrame.size), length <= end - offset else {
                    throw reader.fail("a block of \(length) bytes")
                }
                let block = HistoryBlock(
                    offset: offset, length: Int(length), segment: Segment(try reader.fixed()),
                    id: try reader.batchID())
                if let last = blocks.last, (block.segment, block.id) <= (last.segment, last.id) {
                    throw reader.fail("blocks out of order")
                }
                blocks.append(block)
                offset += length
            }
            switch region {
            case 0: outcomes = blocks
            case 1: letters = blocks
            default: husks = blocks
            }
        }
        guard offset == end else { throw reader.fail("the blocks end at \(offset), not at \(end)") }
        if !reader.isAtEnd {
            for place in outcomes.indices { outcomes[place].checksum = try reader.fixed() }
            for place in letters.indices { letters[place].checksum = try reader.fixed() }
            for place in husks.indices { husks[place].checksum = try reader.fixed() }
        }
        try reader.finish()
    }
}

extension ByteWriter {
    mutating func write(_ meta: HistoryMeta) {
        write(varint: meta.id)
        write(meta.level)
        write(varint: meta.size)
        write(varint: meta.outcomes)
        write(varint: meta.letters)
        write(fixed: meta.firstSegment.number)
        write(fixed: meta.lastSegment.number)
        write(fixed: meta.footerChecksum)
    }
}

extension ByteReader {
    mutating func historyMeta() throws(DecodeError) -> HistoryMeta {
        HistoryMeta(
            id: try varint(), level: try byte(), size: try varint(), outcomes: try varint(),
            letters: try varint(), firstSegment: Segment(try fixed()),
            lastSegment: Segment(try fixed()), footerChecksum: try fixed())
    }
}
