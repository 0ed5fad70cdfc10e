import Foundation
import Glibc

/// Which file stands under a name, told without opening it as a database.
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

    /// What can be seen to be wrong with a database's file: SQLite never makes one shorter that is
    /// not compacted, and its first bytes never change.
    func fault(of path: String, sizeBefore: Int64) -> String? {
        if size < sizeBefore { return "it was cut from \(sizeBefore) to \(size) bytes" }
        // A new one may lie in its log still.
        guard size > 0 else { return nil }
        guard let handle = FileHandle(forReadingAtPath: path) else { return "it cannot be read" }
        defer { handle.closeFile() }
        do {
            let start = try handle.read(upToCount: Self.header.count) ?? Data()
            return Array(start) == Self.header ? nil : "its header is not SQLite's"
        } catch {
            return "its header cannot be read: \(error.localizedDescription)"
        }
    }

    private static let header = Array("SQLite format 3\0".utf8)
}
