/// One look at a file, from its first byte to its last, in steps. What is wrong is thrown.
protocol FileCheck: Sendable {
    /// Of the file, in bytes.
    var size: UInt64 { get }
    /// Through what was looked at so far, in bytes.
    var bytesRead: UInt64 { get }

    /// Goes on over about so many bytes, at least one piece; true where all of the file was read
    /// and is what it must be.
    mutating func run(_ bytes: Int) throws(StorageError) -> Bool
}

/// Opens a table anew, and adds up its cells block by block.
struct TableCheck: FileCheck {
    private var cursor: TableCursor
    /// Bytes of index, filter and footer, which are read whole where it is opened.
    private let sections: UInt64

    init(
        _ meta: TableMeta, in fileSystem: any FileSystem, options: StorageOptions
    ) throws(StorageError) {
        let table = try TableHandle.open(meta, in: fileSystem, options: options)
        sections = table.meta.size - table.footer.indexOffset
        cursor = try TableCursor(table)
    }

    var size: UInt64 { cursor.table.meta.size }

    var bytesRead: UInt64 { sections + cursor.bytesRead }

    mutating func run(_ bytes: Int) throws(StorageError) -> Bool {
        guard try cursor.run(bytes) else { return false }
        try cursor.table.check(cursor.statistics)
        return true
    }
}

/// The manifest is read in one piece, alone with it: it is short, since it is written anew past
/// `StorageLimits.manifestFileMax`.
struct ManifestCheck: FileCheck {
    let size: UInt64

    var bytesRead: UInt64 { size }

    mutating func run(_ bytes: Int) throws(StorageError) -> Bool { true }
}
