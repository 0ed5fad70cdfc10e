package import Core
import Wire

/// Writes one table of attributes from rows that come ascending by key: a draft, synced, read back
/// and verified, then renamed and its directory synced. Blocks on the disk.
package struct AttributeTableWriter {
    package let id: UInt64
    private let fileSystem: any FileSystem
    private let draft: String
    private let file: any StoredFile
    private var frames: FrameWriter
    private var index = AttributeIndex()
    private var block = ByteWriter()
    private var blockRows = 0
    private var blockFirst: [UInt8] = []
    private var lastKey: [UInt8]?
    private var rows: UInt64 = 0

    /// - Parameter id: above that of every table that is there.
    package init(id: UInt64, in fileSystem: any FileSystem) throws(StorageError) {
        self.id = id
        self.fileSystem = fileSystem
        draft = FileNames.attributes(id) + FileNames.draftSuffix
        file = try fileSystem.open(draft, .replace)
        frames = FrameWriter(file, id: id)
    }

    /// - Parameter row: of a key above the last one's; at most `Limits.keyMax` and
    ///   `StorageLimits.attributeRowMax` bytes.
    package mutating func add(_ row: AttributeRow) throws(StorageError) {
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
        let indexOffset = frames.offset
        let checksum = try frames.append(.attributeIndex, index.bytes)
        let footer = AttributeFooter(
            id: id, span: span, rows: rows, indexOffset: indexOffset, indexChecksum: checksum)
        try frames.finish(AttributeFooter.kind, .attributeFooter, footer.bytes)
        try AttributeTable(file, id: id, as: draft).verify()
        let path = FileNames.attributes(id)
        try fileSystem.rename(draft, to: path)
        file.endWriting()
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
        let start = frames.offset
        let checksum = try frames.append(.attributes, block.bytes)
        index.append(
            AttributeIndex.Entry(
                offset: start, length: Int(frames.offset - start), rows: blockRows,
                first: blockFirst, checksum: checksum))
        block = ByteWriter(capacity: StorageLimits.blockTarget)
        blockRows = 0
    }
}
