package import Core
import Wire

/// An open history file: what lies in memory of it is where its blocks begin, and a filter over
/// its ids. It stays readable after its name is removed.
package final class HistoryHandle: Sendable {
    private let source: FramedFile
    package let meta: HistoryMeta
    package let segmentLength: Duration
    /// Batches in it whose payload was let go of before they were forgotten, and the last segment
    /// of any.
    package let huskCount: UInt64
    package let lastHuskSegment: Segment
    /// Of its file, those of its blocks of dead letters.
    package let letterBytes: UInt64
    let index: HistoryIndex
    private let filter: KeyFilter

    init(
        source: FramedFile, meta: HistoryMeta, footer: HistoryFooter, index: HistoryIndex,
        filter: KeyFilter
    ) {
        self.source = source
        self.meta = meta
        segmentLength = .milliseconds(footer.segmentMilliseconds)
        huskCount = footer.husks
        lastHuskSegment = footer.lastHuskSegment
        letterBytes = index.letters.reduce(0) { $0 + UInt64($1.length) }
        self.index = index
        self.filter = filter
    }

    package var path: String { source.path }

    /// What the filter and the index cost in memory.
    package var memoryBytes: Int {
        filter.byteCount
            + (index.outcomes.count + index.letters.count + index.husks.count)
            * MemoryLayout<HistoryBlock>.stride
    }

    /// Where the last block of dead letters begins; 0 where there is none.
    package var lastLetterOffset: UInt64 { index.letters.last?.offset ?? 0 }

    /// False where this file certainly does not know the id.
    package func mayHold(_ hash: UInt64) -> Bool { filter.mayHold(hash) }

    /// What stands in a filter of an id: a hash under a key that every build shares.
    package static func hash(_ id: BatchID) -> UInt64 {
        UInt64(
            truncatingIfNeeded: SipHash.hash(
                words: UInt64(truncatingIfNeeded: id.producer),
                UInt64(truncatingIfNeeded: id.producer >> 64), id.sequence, 0, 0,
                key: SipKey(low: 0x6869_7374, high: 0x6f72_79)))
    }

    // MARK: - Opening

    /// Opens a file that the manifest lists: its footer must be the one that was listed.
    package static func open(
        _ meta: HistoryMeta, in fileSystem: any FileSystem
    ) throws(StorageError) -> HistoryHandle {
        let file = try fileSystem.open(meta.path, .read)
        let handle = try open(file, id: meta.id, as: meta.path)
        guard handle.meta == meta else {
            throw .damaged(
                path: meta.path, offset: handle.meta.size,
                what: "the manifest lists another file under this name")
        }
        return handle
    }

    package static func open(
        _ file: any StoredFile, id: UInt64, as path: String
    ) throws(StorageError) -> HistoryHandle {
        let source = FramedFile(file: file, path: path)
        let (footerOffset, footerFrame, size) = try source.footer(of: HistoryFooter.kind)
        let footer = try source.decoded(at: footerOffset) { () throws(DecodeError) in
            try HistoryFooter(
                decoding: SectionFrame.decode(
                    .historyFooter, footerFrame, table: id, at: footerOffset,
                    rawMax: StorageLimits.sectionRawMax))
        }
        guard footer.id == id, footer.indexOffset <= footer.filterOffset,
            footer.filterOffset <= footerOffset
        else {
            throw .damaged(
                path: path, offset: footerOffset, what: "the footer is of file \(footer.id)")
        }
        let indexFrame = try source.frame(
            footer.indexOffset, Int(footer.filterOffset - footer.indexOffset),
            checksum: footer.checksums?.index)
        let index = try source.decoded(at: footer.indexOffset) { () throws(DecodeError) in
            try HistoryIndex(
                decoding: SectionFrame.decode(
                    .historyIndex, indexFrame, table: id, at: footer.indexOffset,
                    rawMax: StorageLimits.sectionRawMax), end: footer.indexOffset)
        }
        let filterFrame = try source.frame(
            footer.filterOffset, Int(footerOffset - footer.filterOffset),
            checksum: footer.checksums?.filter)
        let filter = try source.decoded(at: footer.filterOffset) { () throws(DecodeError) in
            try KeyFilter(
                decoding: SectionFrame.decode(
                    .historyFilter, filterFrame, table: id, at: footer.filterOffset,
                    rawMax: StorageLimits.sectionRawMax))
        }
        return HistoryHandle(
            source: source,
            meta: footer.meta(size: size, footerChecksum: Checksum.crc32c(footerFrame)),
            footer: footer, index: index, filter: filter)
    }

    // MARK: - Reading

    /// The entries of one block, in order.
    func entries(
        _ block: HistoryBlock, _ region: HistoryRegion
    ) throws(StorageError) -> [HistoryEntry] {
        try items(block, region.kind) { reader throws(DecodeError) in
            region == .outcomes ? try reader.outcome() : try reader.historyEntry()
        }
    }

    /// The husks of one block, ascending by id.
    func husks(_ block: HistoryBlock) throws(StorageError) -> [Husk] {
        try items(block, .husks) { reader throws(DecodeError) in try reader.husk() }
    }

    /// A fault is tried once more before it counts.
    private func items<Item>(
        _ block: HistoryBlock, _ kind: SectionFrame.Kind,
        _ decode: (inout ByteReader) throws(DecodeError) -> Item
    ) throws(StorageError) -> [Item] {
        do {
            return try read(block, kind, decode)
        } catch {
            return try read(block, kind, decode)
        }
    }

    private func read<Item>(
        _ block: HistoryBlock, _ kind: SectionFrame.Kind,
        _ decode: (inout ByteReader) throws(DecodeError) -> Item
    ) throws(StorageError) -> [Item] {
        let frame = try source.frame(block.offset, block.length, checksum: block.checksum)
        let id = meta.id
        return try source.decoded(at: block.offset) { () throws(DecodeError) in
            let raw = try SectionFrame.decode(
                kind, frame, table: id, at: block.offset,
                rawMax: StorageLimits.historyBlockRawMax)
            var reader = ByteReader(raw)
            var items: [Item] = []
            while !reader.isAtEnd { items.append(try decode(&reader)) }
            return items
        }
    }

    /// All husks in it, ascending by id, those of a block at a time.
    package func forEachHusk(_ visit: (Husk) -> Void) throws(StorageError) {
        for block in index.husks {
            for husk in try husks(block) { visit(husk) }
        }
    }

    /// The outcome of a batch, without its letters.
    package func lookUp(_ id: BatchID) throws(StorageError) -> HistoryEntry? {
        guard mayHold(Self.hash(id)) else { return nil }
        let behind = index.outcomes.partitionPoint { $0.id <= id }
        guard behind > 0 else { return nil }
        return try entries(index.outcomes[behind - 1], .outcomes).first { $0.header.id == id }
    }

    /// Reads every entry again, and holds it against what the footer says.
    package func verify() throws(StorageError) {
        var check = HistoryCheck(self)
        while try !check.run(.max / 2) {}
    }
}

extension HistoryHandle: Hashable {
    package static func == (left: HistoryHandle, right: HistoryHandle) -> Bool { left === right }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(ObjectIdentifier(self))
    }
}

/// Two of the three parts of a history file: outcomes by id, and batches with dead letters by
/// segment and id. The third are husks.
enum HistoryRegion: Sendable {
    case outcomes
    case letters

    var kind: SectionFrame.Kind { self == .outcomes ? .outcomes : .letters }

    func blocks(_ index: HistoryIndex) -> [HistoryBlock] {
        self == .outcomes ? index.outcomes : index.letters
    }

    func isBefore(_ left: HistoryEntry, _ right: HistoryEntry, _ length: Duration) -> Bool {
        switch self {
        case .outcomes: left.header.id < right.header.id
        case .letters:
            (left.segment(length), left.header.id) < (right.segment(length), right.header.id)
        }
    }
}

/// Walks the blocks of one part of a file, one at a time.
struct HistoryCursor<Item> {
    private var blocks: ArraySlice<HistoryBlock>
    private let read: (HistoryBlock) throws(StorageError) -> [Item]
    private var items: [Item] = []
    private var place = 0

    private init(
        _ blocks: [HistoryBlock], _ read: @escaping (HistoryBlock) throws(StorageError) -> [Item]
    ) {
        self.blocks = blocks[...]
        self.read = read
    }

    mutating func peek() throws(StorageError) -> Item? {
        while place >= items.count {
            guard let block = blocks.popFirst() else { return nil }
            items = try read(block)
            place = 0
        }
        return items[place]
    }

    mutating func skip() { place += 1 }
}

extension HistoryCursor<HistoryEntry> {
    init(_ handle: HistoryHandle, _ region: HistoryRegion) {
        self.init(region.blocks(handle.index)) { block throws(StorageError) in
            try handle.entries(block, region)
        }
    }
}

extension HistoryCursor<Husk> {
    init(husksOf handle: HistoryHandle) {
        self.init(handle.index.husks) { block throws(StorageError) in try handle.husks(block) }
    }
}
