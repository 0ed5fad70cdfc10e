package import Core
import Wire

/// An open table: its index, filter and footer are in memory and verified, its blocks are read and
/// checked as they are asked for. Immutable; it stays readable after its file was removed.
package final class TableHandle: Sendable {
    package let meta: TableMeta
    package let path: String
    let footer: TableFooter
    let index: TableIndex
    let filter: KeyFilter
    let options: StorageOptions
    private let file: any StoredFile

    private init(
        file: any StoredFile, path: String, meta: TableMeta, footer: TableFooter,
        index: TableIndex, filter: KeyFilter, options: StorageOptions
    ) {
        self.file = file
        self.path = path
        self.meta = meta
        self.footer = footer
        self.index = index
        self.filter = filter
        self.options = options
    }

    /// What each partition holds here, ascending.
    package var partitions: [TablePartition] { footer.partitions }

    package func stateDigest(of partition: PartitionID) -> StateDigest {
        footer.partitions.first { $0.partition == partition }?.digest ?? .zero
    }

    // MARK: Opening

    /// Opens a table that the manifest lists: its footer must be the one that was listed.
    package static func open(
        _ meta: TableMeta, in fileSystem: any FileSystem, options: StorageOptions
    ) throws(StorageError) -> TableHandle {
        let file = try fileSystem.open(meta.path, .read)
        let handle = try open(file, id: meta.id, as: meta.path, options: options)
        guard handle.meta == meta else {
            throw .damaged(
                path: meta.path, offset: handle.meta.size,
                what: "the manifest lists another table under this name")
        }
        return handle
    }

    /// - Parameter path: the table's own name, which a draft does not have yet.
    static func open(
        _ file: any StoredFile, id: UInt64, as path: String, options: StorageOptions
    ) throws(StorageError) -> TableHandle {
        let size = try file.size()
        let (footerOffset, footerLength) = try readTail(file, size: size, path: path)
        let footerFrame = try readRange(file, footerOffset, footerLength, path)
        let footer = try decoded(path, footerOffset) { () throws(DecodeError) in
            try TableFooter(
                decoding: SectionFrame.decode(
                    .footer, footerFrame, table: id, at: footerOffset,
                    rawMax: StorageLimits.sectionRawMax))
        }
        guard footer.windowMilliseconds == options.window.milliseconds else {
            // No damage: a table of another configuration.
            throw .failed(
                operation: "open", path: path,
                detail: "it holds windows of \(footer.windowMilliseconds) ms, the configuration "
                    + "says \(options.window.milliseconds) ms; a cluster keeps its window")
        }
        guard footer.id == id, footer.indexOffset <= footer.filterOffset,
            footer.filterOffset <= footerOffset
        else {
            throw .damaged(
                path: path, offset: footerOffset,
                what: "the footer is of table \(footer.id)")
        }
        let indexFrame = try readRange(
            file, footer.indexOffset, Int(footer.filterOffset - footer.indexOffset), path)
        let index = try decoded(path, footer.indexOffset) { () throws(DecodeError) in
            try TableIndex(
                decoding: SectionFrame.decode(
                    .index, indexFrame, table: id, at: footer.indexOffset,
                    rawMax: StorageLimits.sectionRawMax),
                end: footer.indexOffset)
        }
        let filterFrame = try readRange(
            file, footer.filterOffset, Int(footerOffset - footer.filterOffset), path)
        let filter = try decoded(path, footer.filterOffset) { () throws(DecodeError) in
            try KeyFilter(
                decoding: SectionFrame.decode(
                    .filter, filterFrame, table: id, at: footer.filterOffset,
                    rawMax: StorageLimits.sectionRawMax))
        }
        let meta = footer.meta(size: size, footerChecksum: Checksum.crc32c(footerFrame))
        return TableHandle(
            file: file, path: path, meta: meta, footer: footer, index: index, filter: filter,
            options: options)
    }

    private static func readTail(
        _ file: any StoredFile, size: UInt64, path: String
    ) throws(StorageError) -> (offset: UInt64, length: Int) {
        let tailSize = UInt64(TableFooter.tailSize)
        guard size >= tailSize else {
            throw .damaged(path: path, offset: 0, what: "a table of \(size) bytes")
        }
        let bytes = try readRange(file, size - tailSize, TableFooter.tailSize, path)
        guard Array(bytes.suffix(8)) == TableFooter.magic else {
            throw .damaged(path: path, offset: size - 8, what: "it does not end as a table does")
        }
        let (offset, length, version, reserved) = try decoded(path, size - tailSize) {
            () throws(DecodeError) in
            var reader = ByteReader(bytes)
            return (
                try reader.fixed(UInt64.self), try reader.fixed(UInt32.self),
                try reader.fixed(UInt16.self), try reader.fixed(UInt16.self)
            )
        }
        guard version <= TableFooter.version else {
            throw .newerFormat(path: path, version: version, known: TableFooter.version)
        }
        guard version > 0, reserved == 0, offset <= size - tailSize,
            UInt64(length) == size - tailSize - offset
        else {
            throw .damaged(path: path, offset: size - tailSize, what: "the footer is not there")
        }
        return (offset, Int(length))
    }

    private static func readRange(
        _ file: any StoredFile, _ offset: UInt64, _ count: Int, _ path: String
    ) throws(StorageError) -> [UInt8] {
        let bytes = try file.read(at: offset, count: count)
        guard bytes.count == count else {
            throw .damaged(path: path, offset: offset, what: "the file ends early")
        }
        return bytes
    }

    static func decoded<Value>(
        _ path: String, _ offset: UInt64, _ body: () throws(DecodeError) -> Value
    ) throws(StorageError) -> Value {
        do {
            return try body()
        } catch {
            throw .damaged(path: path, offset: offset, what: error.description)
        }
    }

    // MARK: Blocks

    /// A block, checked. A fault is tried once more before it counts: it may lie on the way.
    func block(_ number: Int) throws(StorageError) -> TableBlockReader {
        do {
            return try readBlock(number)
        } catch {
            return try readBlock(number)
        }
    }

    private func readBlock(_ number: Int) throws(StorageError) -> TableBlockReader {
        let entry = index.entries[number]
        let frame = try Self.readRange(file, entry.offset, entry.length, path)
        return try Self.decoded(path, entry.offset) { () throws(DecodeError) in
            try TableBlockReader(
                SectionFrame.decode(
                    .block, frame, table: meta.id, at: entry.offset,
                    rawMax: StorageLimits.blockRawMax),
                buckets: options.buckets)
        }
    }
}
