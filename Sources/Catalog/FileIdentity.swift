import Glibc

/// Which file stands under a name, told without opening it.
struct FileIdentity: Hashable, Sendable {
    private let device: UInt64
    private let inode: UInt64
    /// In bytes; no part of the identity.
    let size: Int64

    /// nil where there is none, or it cannot be looked at.
    init?(_ path: String) {
        var found = stat()
        guard stat(path, &found) == 0 else { return nil }
        device = UInt64(found.st_dev)
        inode = UInt64(found.st_ino)
        size = Int64(found.st_size)
    }

    static func == (left: FileIdentity, right: FileIdentity) -> Bool {
        left.device == right.device && left.inode == right.inode
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(device)
        hasher.combine(inode)
    }
}

/// A second way to the file of an open database, to look at it from outside.
///
/// It is opened once and closed only when the database is: a process that closes any descriptor of
/// a file loses all its locks on it, as POSIX has it, and another process could then take SQLite's
/// log away.
struct FileProbe: Sendable {
    private var descriptor: Int32
    /// Of the file, in bytes, when it was last looked at.
    private var size: Int64 = 0

    /// Where it cannot be opened nothing is found wrong with it.
    init(_ path: String) {
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
    }

    /// What can be seen to be wrong with a database's file: SQLite never makes one shorter that is
    /// not compacted, and its first bytes never change.
    mutating func fault(_ found: FileIdentity) -> String? {
        if found.size < size { return "it was cut from \(size) to \(found.size) bytes" }
        size = found.size
        // A new one may lie in its log still.
        guard descriptor >= 0, size > 0 else { return nil }
        var start = Array(repeating: UInt8(0), count: Self.header.count)
        let count = start.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
        guard count >= 0 else { return "its header cannot be read: error \(errno)" }
        return count == start.count && start == Self.header ? nil : "its header is not SQLite's"
    }

    /// Only when no connection to the file is open any more.
    mutating func end() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
    }

    private static let header = Array("SQLite format 3\0".utf8)
}
