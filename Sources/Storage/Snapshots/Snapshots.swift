/// Copies of a node's directory as a power cut would have left it at one moment, each in a
/// directory of its own (docs/decisions/0030-snapshots.md):
///
///     snapshots/<name>/MANIFEST, log/, sstables/, history/     a data directory like any other
///     snapshots/<name>/attributes/                             where there are tables of them
///     snapshots/<name>/SNAPSHOT                                comes last: the snapshot is whole
///     snapshots/<name>/cold/OWNER                              where it has cold tables
///     cold/snapshots/<name>/                                   these, on their own disk
///
/// Files that never change are there under a second name, and take no room as long as the node
/// itself has them. One is taken with `StorageRunner.snapshot`, and counts after `seal`.
package enum Snapshots {
    package static let directory = "snapshots"
    package static let labelFile = "SNAPSHOT"
    private static let labelDraft = "SNAPSHOT.new"

    static let coldDirectory = "\(FileNames.coldDirectory)/\(directory)"

    package static func path(of name: String) -> String { "\(directory)/\(name)" }

    /// Of its cold tables.
    package static func coldPath(of name: String) -> String { "\(coldDirectory)/\(name)" }

    /// A name of letters, digits, `-`, `_` and `.`, which cannot leave the directory.
    package static func isName(_ name: String) -> Bool {
        let isPlain = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: "."):
                true
            default: false
            }
        }
        return isPlain && !name.isEmpty && name.utf8.count <= StorageLimits.snapshotNameMax
            && !name.hasPrefix(".")
    }

    /// An empty directory for a snapshot of this name, of which there is none.
    static func begin(_ name: String, in fileSystem: any FileSystem) throws(StorageError) {
        let path = path(of: name)
        try fileSystem.createDirectory(directory)
        try fileSystem.syncDirectory(".")
        let names = try fileSystem.list(directory)
        guard try label(of: name, in: fileSystem) == nil else {
            throw .failed(
                operation: "snapshot", path: path,
                detail: "there is one of this name; remove it, or choose another name")
        }
        guard names.count < StorageLimits.snapshotsMax else {
            throw .failed(
                operation: "snapshot", path: directory,
                detail: "there are \(names.count) already; remove some")
        }
        try clear(name, in: fileSystem)
        try fileSystem.createDirectory(path)
        try fileSystem.syncDirectory(directory)
    }

    /// Gives the tables of attributes that are there second names in a snapshot that is not whole
    /// yet. No lock holds them: one that goes meanwhile was replaced by a later one, and all are
    /// looked for again. Whatever is found together can be opened.
    ///
    /// - Returns: how many, and their bytes.
    package static func linkAttributes(
        _ name: String, in fileSystem: any FileSystem
    ) throws(StorageError) -> (files: Int, bytes: UInt64) {
        let root = path(of: name)
        var linked: Set<String> = []
        var bytes: UInt64 = 0
        for _ in 0..<StorageLimits.snapshotAttributeRounds {
            do throws(StorageError) {
                for file in try fileSystem.list(FileNames.attributeDirectory)
                where FileNames.attributesID(file) != nil && !linked.contains(file) {
                    let path = "\(FileNames.attributeDirectory)/\(file)"
                    if linked.isEmpty {
                        try fileSystem.createDirectory("\(root)/\(FileNames.attributeDirectory)")
                    }
                    let size = try fileSystem.open(path, .read).size()
                    try fileSystem.link(path, as: "\(root)/\(path)")
                    linked.insert(file)
                    bytes += size
                }
                break
            } catch {
                guard case .notFound = error else { throw error }
            }
        }
        if !linked.isEmpty {
            try fileSystem.syncDirectory("\(root)/\(FileNames.attributeDirectory)")
            try fileSystem.syncDirectory(root)
        }
        return (linked.count, bytes)
    }

    /// Says what the snapshot is, in the writer's own words: from now on it is whole.
    package static func seal(
        _ name: String, _ label: [UInt8], in fileSystem: any FileSystem
    ) throws(StorageError) {
        let root = path(of: name)
        let draft = try fileSystem.open("\(root)/\(labelDraft)", .replace)
        try draft.write([label], at: 0)
        try draft.sync()
        try fileSystem.syncDirectory(root)
        try fileSystem.rename("\(root)/\(labelDraft)", to: "\(root)/\(labelFile)")
        try fileSystem.syncDirectory(root)
    }

    /// What `seal` wrote; nil where the snapshot is not whole, or not there.
    package static func label(
        of name: String, in fileSystem: any FileSystem
    ) throws(StorageError) -> [UInt8]? {
        do throws(StorageError) {
            let file = try fileSystem.open("\(path(of: name))/\(labelFile)", .read)
            return try file.read(at: 0, count: StorageLimits.snapshotLabelMax)
        } catch {
            guard case .notFound = error else { throw error }
            return nil
        }
    }

    /// The names of those that are whole, ascending, with their labels.
    package static func list(
        in fileSystem: any FileSystem
    ) throws(StorageError) -> [(name: String, label: [UInt8])] {
        var whole: [(name: String, label: [UInt8])] = []
        for name in try names(in: fileSystem) {
            if let label = try label(of: name, in: fileSystem) { whole.append((name, label)) }
        }
        return whole
    }

    /// Removes those that a crash left unfinished.
    package static func removeUnfinished(in fileSystem: any FileSystem) throws(StorageError) {
        for name in try names(in: fileSystem) where try label(of: name, in: fileSystem) == nil {
            try clear(name, in: fileSystem)
        }
    }

    /// - Returns: false where there is none of this name.
    package static func remove(
        _ name: String, in fileSystem: any FileSystem
    ) throws(StorageError) -> Bool {
        guard isName(name), try names(in: fileSystem).contains(name) else { return false }
        try clear(name, in: fileSystem)
        return true
    }

    private static func names(in fileSystem: any FileSystem) throws(StorageError) -> [String] {
        guard try fileSystem.list(".").contains(directory) else { return [] }
        return try fileSystem.list(directory).filter { isName($0) }
    }

    /// Removes all that stands under a name, if anything; its label first, so that what a crash
    /// leaves is unfinished.
    static func clear(_ name: String, in fileSystem: any FileSystem) throws(StorageError) {
        let root = path(of: name)
        guard try names(in: fileSystem).contains(name) else { return }
        let files = try fileSystem.list(root)
        var hasCold = false
        if files.contains(FileNames.coldDirectory) {
            hasCold = try hasColdPart(name, in: fileSystem)
        }
        if files.contains(labelFile) {
            try fileSystem.remove("\(root)/\(labelFile)")
            try fileSystem.syncDirectory(root)
        }
        // First what another disk holds: who it is of is said here.
        if hasCold {
            try removeAll(coldPath(of: name), in: fileSystem)
            try fileSystem.syncDirectory(coldDirectory)
        }
        let parts =
            FileNames.dataDirectories + [FileNames.coldDirectory, FileNames.attributeDirectory]
        for part in parts where files.contains(part) {
            try removeAll("\(root)/\(part)", in: fileSystem)
        }
        for file in files where file != labelFile && !parts.contains(file) {
            try fileSystem.remove("\(root)/\(file)")
        }
        try fileSystem.removeDirectory(root)
        try fileSystem.syncDirectory(directory)
    }

    /// Throws where that cannot be said: the cold disk is away, or another's.
    private static func hasColdPart(
        _ name: String, in fileSystem: any FileSystem
    ) throws(StorageError) -> Bool {
        let copies = try fileSystem.list("\(path(of: name))/\(FileNames.coldDirectory)")
        // It broke off before anything was there.
        guard !copies.isEmpty else { return false }
        let owner = try ColdTier.owner(in: fileSystem)
        if owner != nil {
            guard try fileSystem.list(FileNames.coldDirectory).contains(directory),
                try fileSystem.list(coldDirectory).contains(name)
            else { return false }
        }
        let copy = try fileSystem.readAll("\(path(of: name))/\(ColdTier.ownerFile)")
        guard let owner, copy == Array("\(owner)\n".utf8) else {
            throw .coldTierMissing(
                "snapshot \(name) has tables on it, and \(ColdTier.ownerFile) does not exist, or "
                    + "names another node; mount it")
        }
        return true
    }

    private static func removeAll(
        _ path: String, in fileSystem: any FileSystem
    ) throws(StorageError) {
        for file in try fileSystem.list(path) { try fileSystem.remove("\(path)/\(file)") }
        try fileSystem.removeDirectory(path)
    }
}

extension MemoryFileSystem {
    /// What `quipu restore` makes of a snapshot, as a disk of its own.
    package func image(ofSnapshot name: String) -> MemoryFileSystem {
        let image = copy(of: Snapshots.path(of: name))
        let cold = copy(of: Snapshots.coldPath(of: name)).contents
        for (file, bytes) in cold {
            image.overwrite("\(FileNames.coldDirectory)/\(file)", with: bytes)
        }
        return image
    }
}
