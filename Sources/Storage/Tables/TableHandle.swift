package import Core
import Wire

/// An open table: its index, filter and footer are in memory and verified, its blocks are read and
/// checked as they are asked for. Immutable; it stays readable after its file was removed.
package final class TableHandle: Sendable {
    package let meta: TableMeta
    let footer: TableFooter
    let index: TableIndex
    let filter: KeyFilter
    let options: StorageOptions
    let source: FramedFile
    /// Of memory that stays while the table is open: index, filter and footer.
    package let indexBytes: Int

    private init(
        source: FramedFile, meta: TableMeta, footer: TableFooter, index: TableIndex,
        filter: KeyFilter, options: StorageOptions
    ) {
        self.source = source
        indexBytes =
            index.memoryBytes + filter.memoryBytes
            + footer.partitions.count * MemoryLayout<TablePartition>.stride
        self.meta = meta
        self.footer = footer
        self.index = index
        self.filter = filter
        self.options = options
    }

    package var path: String { source.path }

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
        let handle = try open(
            file, id: meta.id, as: meta.path, at: meta.location, options: options)
        guard handle.meta == meta else {
            throw .damaged(
                path: meta.path, offset: handle.meta.size,
                what: "the manifest lists another table under this name")
        }
        return handle
    }

    /// - Parameter path: the table's own name, which a draft does not have yet.
    package static func open(
        _ file: any StoredFile, id: UInt64, as path: String, at location: TableLocation = .hot,
        options: StorageOptions
    ) throws(StorageError) -> TableHandle {
        let source = FramedFile(file: file, path: path)
        let (footerOffset, footerFrame, size) = try source.footer(of: TableFooter.kind)
        let footer = try source.decoded(at: footerOffset) { () throws(DecodeError) in
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
        let indexFrame = try source.frame(
            footer.indexOffset, Int(footer.filterOffset - footer.indexOffset),
            checksum: footer.checksums?.index)
        let index = try source.decoded(at: footer.indexOffset) { () throws(DecodeError) in
            try TableIndex(
                decoding: SectionFrame.decode(
                    .index, indexFrame, table: id, at: footer.indexOffset,
                    rawMax: StorageLimits.sectionRawMax),
                end: footer.indexOffset)
        }
        let filterFrame = try source.frame(
            footer.filterOffset, Int(footerOffset - footer.filterOffset),
            checksum: footer.checksums?.filter)
        let filter = try source.decoded(at: footer.filterOffset) { () throws(DecodeError) in
            try KeyFilter(
                decoding: SectionFrame.decode(
                    .filter, filterFrame, table: id, at: footer.filterOffset,
                    rawMax: StorageLimits.sectionRawMax))
        }
        let meta = footer.meta(
            size: size, footerChecksum: Checksum.crc32c(footerFrame), at: location)
        return TableHandle(
            source: source, meta: meta, footer: footer, index: index, filter: filter,
            options: options)
    }

    // MARK: Blocks

    /// A block, checked. A fault is tried once more before it counts: it may lie on the way.
    func block(_ number: Int) throws(StorageError) -> BlockWalk {
        do {
            return try readBlock(number)
        } catch {
            return try readBlock(number)
        }
    }

    /// What is wrong in a block that is walked.
    func damaged(_ number: Int, _ error: DecodeError) -> StorageError {
        damaged(number, error.description)
    }

    func damaged(_ number: Int, _ what: String) -> StorageError {
        .damaged(path: path, offset: index.entries[number].offset, what: what)
    }

    private func readBlock(_ number: Int) throws(StorageError) -> BlockWalk {
        let entry = index.entries[number]
        let frame = try source.frame(entry.offset, entry.length, checksum: entry.checksum)
        return try source.decoded(at: entry.offset) { () throws(DecodeError) in
            try BlockWalk(
                SectionFrame.decodeBlock(frame, table: meta.id, at: entry.offset),
                buckets: options.buckets)
        }
    }
}
