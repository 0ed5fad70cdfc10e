import Core
import Wire

/// Writes one table of attributes from rows that come ascending by key: a draft, synced, read back
/// and verified, then renamed and its directory synced. Blocks on the disk.
package struct AttributeTableWriter {
    package let id: UInt64
    private let fileSystem: any FileSystem
    private let draft: String
    private let file: any StoredFile
    private var index = AttributeIndex()
    private var block = ByteWriter()
    private var blockRows = 0
    private var blockFirst: [UInt8] = []
    private var lastKey: [UInt8]?
    private var pending: [[UInt8]] = []
    private var pendingBytes = 0
    private var written: UInt64 = 0
    private var rows: UInt64 = 0

    /// Bytes that are gathered for one write.
    private static let writeSize = 1 << 20

    /// - Parameter id: above that of every table that is there.
    package init(id: UInt64, in fileSystem: any FileSystem) throws(StorageError) {
        self.id = id
        self.fileSystem = fileSystem
        draft = FileNames.attributes(id) + FileNames.draftSuffix
        file = try fileSystem.open(draft, .replace)
    }

    private var offset: UInt64 { written + UInt64(pendingBytes) }

    /// - Parameter row: of a key above the last one's; at most `Limits.keyMax` and
    ///   `StorageLimits.attributeRowMax` bytes.
    package mutating func add(_ row: StoredAttributes) throws(StorageError) {
        precondition(
            lastKey.map { ByteOrder.compare($0, row.key) < 0 } ?? true,
            "rows of a table come by key")
        precondition(
            row.key.count <= Limits.keyMax
                && row.json?.count ?? 0 <= StorageLimits.attributeRowMax,
            "a row that no reader takes")
        if blockRows == 0 { blockFirst = row.key }
        block.write(sized: row.key)
        block.write(zigzag: row.version)
        block.write(flag: row.json != nil)
        if let json = row.json { block.write(sized: json) }
        blockRows += 1
        rows += 1
        lastKey = row.key
        if block.bytes.count >= StorageLimits.blockTarget { try closeBlock() }
    }

    /// The table under its own name, durable.
    package mutating func publish(_ span: AttributeSpan) throws(StorageError) -> AttributeTable {
        try closeBlock()
        let indexOffset = offset
        let checksum = try append(.attributeIndex, index.bytes)
        let footerOffset = offset
        try append(
            .attributeFooter,
            AttributeFooter(
                id: id, span: span, rows: rows, indexOffset: indexOffset, indexChecksum: checksum
            ).bytes)
        let tail = FramedFile.tail(
            of: AttributeFooter.kind, footerOffset: footerOffset, length: offset - footerOffset)
        pending.append(tail)
        pendingBytes += tail.count
        try flush()
        try file.sync()
        try AttributeTable(file, id: id, as: draft).verify()
        let path = FileNames.attributes(id)
        try fileSystem.rename(draft, to: path)
        try fileSystem.syncDirectory(FileNames.attributeDirectory)
        return try AttributeTable(file, id: id, as: path)
    }

    /// Removes the draft, where there is one.
    package func abandon() throws(StorageError) {
        do throws(StorageError) {
            try fileSystem.remove(draft)
        } catch {
            guard case .notFound = error else { throw error }
        }
    }

    private mutating func closeBlock() throws(StorageError) {
        guard blockRows > 0 else { return }
        let start = offset
        let checksum = try append(.attributes, block.bytes)
        index.append(
            AttributeIndex.Entry(
                offset: start, length: Int(offset - start), rows: blockRows, first: blockFirst,
                checksum: checksum))
        block = ByteWriter(capacity: StorageLimits.blockTarget)
        blockRows = 0
    }

    /// The frame's checksum.
    @discardableResult
    private mutating func append(
        _ kind: SectionFrame.Kind, _ raw: [UInt8]
    ) throws(StorageError) -> UInt32 {
        let frame = SectionFrame.encode(kind, raw, table: id, at: offset)
        pending.append(frame)
        pendingBytes += frame.count
        if pendingBytes >= Self.writeSize { try flush() }
        return SectionFrame.checksum(frame)
    }

    private mutating func flush() throws(StorageError) {
        try file.write(pending, at: written)
        written += UInt64(pendingBytes)
        pending = []
        pendingBytes = 0
    }
}
