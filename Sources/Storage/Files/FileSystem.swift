/// The few file operations on which the store rests. All block; paths are relative to the node's
/// directory (`log/0000000001.log`, `sstables/….sst`, `MANIFEST`), `.` is the directory itself.
/// What begins with `cold/` lies on the cold disk, where there is one.
///
/// Durability is what POSIX promises and no more: data is durable after `StoredFile.sync`, names
/// are durable after `syncDirectory`, `rename` is atomic but durable only after the directory's
/// sync.
package protocol FileSystem: Sendable {
    func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StoredFile
    /// The names of files and directories in a directory, ascending.
    func list(_ directory: String) throws(StorageError) -> [String]
    func rename(_ path: String, to target: String) throws(StorageError)
    func remove(_ path: String) throws(StorageError)
    /// A second name for the bytes of a file that exists; there is no other file of that name.
    func link(_ path: String, as target: String) throws(StorageError)
    /// Nothing where it exists already.
    func createDirectory(_ path: String) throws(StorageError)
    /// An empty one.
    func removeDirectory(_ path: String) throws(StorageError)
    func syncDirectory(_ path: String) throws(StorageError)
    /// Asks that the next reading of a file be from the disk and not from memory. A wish: what was
    /// written and is not on the disk yet stays, and a file that is not there is none.
    func dropCached(_ path: String)
}

extension FileSystem {
    package func dropCached(_ path: String) {}
}

/// An open file: stays readable after its name is removed, until the last reference goes.
package protocol StoredFile: AnyObject, Sendable {
    var path: String { get }
    func size() throws(StorageError) -> UInt64
    /// Fewer than `count` bytes only where the file ends.
    func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8]
    /// Writes all pieces, one after the other, or throws; a part may have been written then.
    func write(_ pieces: [[UInt8]], at offset: UInt64) throws(StorageError)
    func truncate(to size: UInt64) throws(StorageError)
    func sync() throws(StorageError)
    /// Asks for room up to this byte; the file's size stays what it is. A wish: a write says by
    /// itself where there is none.
    func reserve(through end: UInt64)
    /// Gives back the room behind the end.
    func releaseReserve()
    /// Nothing is written to it from here on, nor synced: it may be closed while nobody reads. A
    /// wish, and no promise of durability.
    func endWriting()
}

extension StoredFile {
    package func reserve(through end: UInt64) {}
    package func releaseReserve() {}
    package func endWriting() {}
}

package enum OpenMode: Sendable {
    /// The file must exist.
    case read
    /// Created where missing, kept where it exists.
    case write
    /// Created where missing, emptied where it exists.
    case replace
}

/// The names of the files in a node's directory.
package enum FileNames {
    package static let logDirectory = "log"
    package static let tableDirectory = "sstables"
    package static let historyDirectory = "history"
    /// What is known of keys, beside the database: no manifest speaks of it.
    package static let attributeDirectory = "attributes"
    /// Stands for another disk: no rename goes from here to a path outside.
    package static let coldDirectory = "cold"
    /// There: whose it is.
    package static let coldOwner = "OWNER"
    /// What a manifest speaks of.
    package static let dataDirectories = [logDirectory, tableDirectory, historyDirectory]
    package static let manifest = "MANIFEST"
    package static let manifestDraft = "MANIFEST.new"
    package static let logSuffix = ".log"
    package static let logIndexSuffix = ".idx"
    package static let tableSuffix = ".sst"
    package static let historySuffix = ".his"
    package static let attributeSuffix = ".att"
    package static let draftSuffix = ".tmp"

    package static func log(_ number: UInt32) -> String {
        "\(logDirectory)/\(padded(UInt64(number), to: 10))\(logSuffix)"
    }

    package static func table(_ id: UInt64, _ location: TableLocation = .hot) -> String {
        "\(location.directory)/\(padded(id, to: 20))\(tableSuffix)"
    }

    /// Whether a path lies on the cold disk.
    package static func isCold(_ path: String) -> Bool {
        path == coldDirectory || path.hasPrefix("\(coldDirectory)/")
    }

    /// The directory in which a file lies.
    static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return String(path[..<slash])
    }

    package static func history(_ id: UInt64) -> String {
        "\(historyDirectory)/\(padded(id, to: 20))\(historySuffix)"
    }

    package static func attributes(_ id: UInt64) -> String {
        "\(attributeDirectory)/\(padded(id, to: 20))\(attributeSuffix)"
    }

    /// The id in the name or path of a table of attributes, nil for any other.
    package static func attributesID(_ path: String) -> UInt64? {
        let name = path.split(separator: "/").last ?? ""
        guard name.hasSuffix(attributeSuffix), name.utf8.count == 24 else { return nil }
        // The last number is left out, so that there is always a next one.
        return UInt64(name.dropLast(attributeSuffix.count)).flatMap { $0 < .max ? $0 : nil }
    }

    /// The number of a log file's name, nil for any other name.
    package static func logNumber(_ name: String) -> UInt32? {
        guard name.hasSuffix(logSuffix), name.utf8.count == 14 else { return nil }
        // The last number is left out, so that there is always a next one.
        return UInt32(name.dropLast(4)).flatMap { $0 < .max ? $0 : nil }
    }

    /// The index of the log file with this number.
    package static func logIndex(_ number: UInt32) -> String {
        "\(logDirectory)/\(padded(UInt64(number), to: 10))\(logIndexSuffix)"
    }

    /// The number of the log file whose index has this name; nil for any other name.
    package static func logIndexNumber(_ name: String) -> UInt32? {
        guard name.hasSuffix(logIndexSuffix) else { return nil }
        return logNumber(name.dropLast(logIndexSuffix.count) + logSuffix)
    }

    private static func padded(_ number: UInt64, to width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

extension FileSystem {
    package func readAll(_ path: String) throws(StorageError) -> [UInt8] {
        let file = try open(path, .read)
        return try file.read(at: 0, count: Int(clamping: try file.size()))
    }
}
