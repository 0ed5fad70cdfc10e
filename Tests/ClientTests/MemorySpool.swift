import Client
import Core
import Storage

/// A spool's files on the store's disk in memory, which forgets what was not synced.
struct MemorySpool: SpoolFiles {
    let disk: MemoryFileSystem

    func names() throws(SpoolError) -> [String] {
        do { return try disk.list(".") } catch { throw MemorySpool.failure(error) }
    }

    func open(_ name: String, creating: Bool) throws(SpoolError) -> any SpoolFile {
        do {
            return MemorySpoolFile(file: try disk.open(name, .write))
        } catch {
            throw MemorySpool.failure(error)
        }
    }

    func remove(_ name: String) throws(SpoolError) {
        do { try disk.remove(name) } catch { throw MemorySpool.failure(error) }
    }

    func syncNames() throws(SpoolError) {
        do { try disk.syncDirectory(".") } catch { throw MemorySpool.failure(error) }
    }

    static func failure(_ error: StorageError) -> SpoolError {
        if case .diskFull(_, let path) = error { return .diskFull(path: path) }
        return .failed(operation: "use", path: ".", detail: "\(error)")
    }

    /// The bytes of the newest segment, and of which one.
    func newest() throws -> (name: String, bytes: [UInt8]) {
        let name = try disk.list(".").filter { SpoolJournal.number($0) != nil }.max() ?? ""
        return (name, try disk.readAll(name))
    }

    /// A disk that holds these files alone, durably.
    static func holding(_ files: [(name: String, bytes: [UInt8])]) throws -> MemorySpool {
        let spool = MemorySpool(disk: MemoryFileSystem())
        for file in files {
            let opened = try spool.open(file.name, creating: true)
            try opened.write(file.bytes, at: 0)
            try opened.sync()
        }
        try spool.syncNames()
        return spool
    }
}

private final class MemorySpoolFile: SpoolFile {
    private let file: any StoredFile

    init(file: any StoredFile) {
        self.file = file
    }

    func size() throws(SpoolError) -> Int {
        do { return Int(try file.size()) } catch { throw MemorySpool.failure(error) }
    }

    func read(at offset: Int, count: Int) throws(SpoolError) -> [UInt8] {
        do {
            return try file.read(at: UInt64(offset), count: count)
        } catch {
            throw MemorySpool.failure(error)
        }
    }

    func write(_ bytes: [UInt8], at offset: Int) throws(SpoolError) {
        do {
            try file.write([bytes], at: UInt64(offset))
        } catch {
            throw MemorySpool.failure(error)
        }
    }

    func truncate(to size: Int) throws(SpoolError) {
        do { try file.truncate(to: UInt64(size)) } catch { throw MemorySpool.failure(error) }
    }

    func sync() throws(SpoolError) {
        do { try file.sync() } catch { throw MemorySpool.failure(error) }
    }
}
