/// Writes one snapshot's files while the manifest stands still.
struct SnapshotWriter {
    private let fileSystem: any FileSystem
    private let root: String
    private let coldRoot: String
    private var content = SnapshotContent()

    init(_ fileSystem: any FileSystem, name: String) {
        self.fileSystem = fileSystem
        root = Snapshots.path(of: name)
        coldRoot = Snapshots.coldPath(of: name)
    }

    /// All but what lies on the cold disk.
    ///
    /// - Parameters:
    ///   - state: what the manifest says, and goes on to say until this returns.
    ///   - manifestSize: where its last edit ends.
    mutating func write(
        _ state: ManifestState, manifestSize: UInt64
    ) throws(StorageError) -> SnapshotContent {
        for directory in FileNames.dataDirectories {
            try fileSystem.createDirectory("\(root)/\(directory)")
        }
        // Files that are listed go only after an edit that no longer lists them.
        for table in state.tables where table.location == .hot {
            try link(table.path, as: "\(root)/\(table.path)")
        }
        content.tables = state.tables.count
        for file in state.history { try link(file.path, as: "\(root)/\(file.path)") }
        let logs = try fileSystem.list(FileNames.logDirectory)
            .compactMap { FileNames.logNumber($0) }.filter { $0 >= state.logStart }.sorted()
        for number in logs.dropLast() {
            try link(FileNames.log(number), as: "\(root)/\(FileNames.log(number))")
        }
        // The last one grows: a second name would show what is written after this moment.
        if let last = logs.last {
            let path = FileNames.log(last)
            try copy(path, upTo: try fileSystem.open(path, .read).size())
        }
        try copy(FileNames.manifest, upTo: manifestSize)
        for directory in FileNames.dataDirectories {
            try fileSystem.syncDirectory("\(root)/\(directory)")
        }
        try fileSystem.syncDirectory(root)
        try fileSystem.syncDirectory(Snapshots.directory)
        try fileSystem.syncDirectory(".")
        return content
    }

    /// Cold tables stay on their disk.
    ///
    /// - Returns: false where one of them is not there any more.
    mutating func linkCold(_ tables: [TableMeta]) throws(StorageError) -> Bool {
        guard !tables.isEmpty else { return true }
        try fileSystem.createDirectory("\(root)/\(FileNames.coldDirectory)")
        let size = try fileSystem.open(ColdTier.ownerFile, .read).size()
        try copy(ColdTier.ownerFile, upTo: size)
        // Whose they are is known before there are any.
        try fileSystem.syncDirectory("\(root)/\(FileNames.coldDirectory)")
        try fileSystem.syncDirectory(root)
        try fileSystem.createDirectory(Snapshots.coldDirectory)
        try fileSystem.createDirectory(coldRoot)
        for table in tables {
            let file = table.path.dropFirst(FileNames.coldDirectory.count + 1)
            do throws(StorageError) {
                try link(table.path, as: "\(coldRoot)/\(file)")
            } catch {
                guard case .notFound = error, try ColdTier.owner(in: fileSystem) != nil else {
                    throw error
                }
                return false
            }
        }
        try fileSystem.syncDirectory(coldRoot)
        try fileSystem.syncDirectory(Snapshots.coldDirectory)
        try fileSystem.syncDirectory(FileNames.coldDirectory)
        content.coldTables = tables.count
        return true
    }

    private mutating func link(_ path: String, as target: String) throws(StorageError) {
        try fileSystem.link(path, as: target)
        content.files += 1
        content.bytes += try fileSystem.open(path, .read).size()
    }

    private mutating func copy(_ path: String, upTo size: UInt64) throws(StorageError) {
        try fileSystem.copy(path, as: "\(root)/\(path)", upTo: size)
        content.files += 1
        content.bytes += size
    }
}

/// What a snapshot holds beside its databases.
package struct SnapshotContent: Hashable, Sendable {
    package var files = 0
    package var tables = 0
    /// Of these.
    package var coldTables = 0
    /// Of all files; those of tables, history and closed logs take no room while the node keeps
    /// them as well.
    package var bytes: UInt64 = 0
}

extension FileSystem {
    /// Copies the first `size` bytes, durable but for the new name.
    ///
    /// - Parameters:
    ///   - target: its new name; nil: the old one, in the other files.
    ///   - files: where to; nil: here.
    package func copy(
        _ path: String, as target: String? = nil, into files: (any FileSystem)? = nil,
        upTo size: UInt64
    ) throws(StorageError) {
        let source = try open(path, .read)
        let file = try (files ?? self).open(target ?? path, .replace)
        var offset: UInt64 = 0
        while offset < size {
            let count = Int(min(size - offset, UInt64(StorageLimits.snapshotCopyBytes)))
            let bytes = try source.read(at: offset, count: count)
            guard bytes.count == count else {
                throw .damaged(
                    path: path, offset: offset + UInt64(bytes.count),
                    what: "it ends before byte \(size)")
            }
            try file.write([bytes], at: offset)
            offset += UInt64(count)
        }
        try file.sync()
    }
}
