import Core
import Foundation
import Node
import Storage
import Testing

/// The real files: the same store that the simulator runs in memory, on a directory that is thrown
/// away.
@Suite struct DirectoryFileSystemTests {
    /// A directory for one test, removed with its last reference.
    final class Scratch {
        let path = NSTemporaryDirectory() + "quipu-files-" + UUID().uuidString

        init() throws {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true)
        }

        deinit {
            do {
                try FileManager.default.removeItem(atPath: path)
            } catch {
                Issue.record("\(path) stays behind: \(error)")
            }
        }
    }

    @Test("files are written, read, cut, listed, renamed and removed")
    func operations() throws {
        let scratch = try Scratch()
        let files = try DirectoryFileSystem.creating(root: scratch.path + "/a/b")
        try files.createDirectory("log")
        try files.createDirectory("log")
        let file = try files.open("log/one", .write)
        let large = Array(repeating: UInt8(5), count: 3 << 20)
        try file.write([[1, 2], large, [3]], at: 4)
        try file.sync()
        try files.syncDirectory("log")
        #expect(try file.size() == UInt64(4 + 2 + large.count + 1))
        #expect(try file.read(at: 0, count: 7) == [0, 0, 0, 0, 1, 2, 5])
        #expect(try file.read(at: file.size() - 2, count: 100) == [5, 3])
        #expect(try file.read(at: 1 << 40, count: 1) == [])
        try file.truncate(to: 6)
        #expect(try files.readAll("log/one") == [0, 0, 0, 0, 1, 2])
        try files.rename("log/one", to: "log/two")
        #expect(try files.list("log") == ["two"])
        let emptied = try files.open("log/two", .replace)
        #expect(try emptied.size() == 0)
        try files.remove("log/two")
        #expect(try files.list("log").isEmpty)
        try emptied.write([[9]], at: 0)
        #expect(try emptied.read(at: 0, count: 1) == [9])
    }

    @Test("what begins with cold lies below another directory, and the rest does not")
    func cold() throws {
        let scratch = try Scratch()
        let other = try Scratch()
        let root = other.path + "/n1"
        let files = try DirectoryFileSystem.creating(root: scratch.path, cold: root)
        #expect(throws: StorageError.notFound(path: root)) { try files.list("cold") }
        try files.createDirectory("cold")
        try files.createDirectory("cold/quarantine")
        try files.createDirectory("colder")
        try files.open("cold/one", .write).write([[7]], at: 0)
        try files.syncDirectory("cold")
        try files.rename("cold/one", to: "cold/quarantine/1.one")
        try files.syncDirectory("cold/quarantine")
        #expect(try files.list("cold") == ["quarantine"])
        let apart = DirectoryFileSystem(root: root)
        #expect(try apart.readAll("quarantine/1.one") == [7])
        #expect(try files.list(".") == ["colder"])
        try files.remove("cold/quarantine/1.one")
        #expect(try apart.list("quarantine").isEmpty)
        #expect(try DirectoryFileSystem(root: other.path).list(".") == ["n1"])
    }

    @Test("what is missing is said by its path, and a directory is no file")
    func errors() throws {
        let scratch = try Scratch()
        let files = DirectoryFileSystem(root: scratch.path)
        #expect(throws: StorageError.notFound(path: scratch.path + "/none")) {
            try files.open("none", .read)
        }
        #expect(throws: StorageError.notFound(path: scratch.path + "/none")) {
            try files.remove("none")
        }
        #expect(throws: StorageError.notFound(path: scratch.path + "/none")) {
            try files.list("none")
        }
        #expect(throws: StorageError.self) { try files.open(".", .write) }
    }

    @Test("a full device is told from other failures", .enabled(if: access("/dev/full", W_OK) == 0))
    func diskFull() throws {
        let files = DirectoryFileSystem(root: "/dev")
        let file = try files.open("full", .write)
        #expect(throws: StorageError.diskFull(operation: "write", path: "/dev/full")) {
            try file.write([[1]], at: 0)
        }
    }

    @Test("a data directory serves one at a time, and the next after it")
    func lock() throws {
        let scratch = try Scratch()
        do {
            let lock = try DirectoryLock(root: scratch.path)
            #expect(throws: StorageError.locked(path: scratch.path)) {
                try DirectoryLock(root: scratch.path)
            }
            withExtendedLifetime(lock) {}
        }
        _ = try DirectoryLock(root: scratch.path)
    }

    @Test("a store on real files recovers what it wrote")
    func store() throws {
        let scratch = try Scratch()
        let files = try DirectoryFileSystem.creating(root: scratch.path)
        let options = StorageOptions(digestKey: SipKey(low: 1, high: 2), logFileMax: 1000)
        let first = try Recovery.open(files, options: options) { _, _ in }
        var cursor = first.cursor
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        for group in 0..<10 {
            let records = (0..<5).map {
                cursor.append(kind: UInt8($0), payload: Array(repeating: UInt8(group), count: 70))
            }
            try writer.append(records)
            try writer.sync()
            cursor.markSynced(cursor.last)
        }
        let runner = StorageRunner(fileSystem: files, options: options)
        let edit = ManifestEdit(coveredThrough: LSN(20), logStart: 2)
        guard case .success(.committed(let state)) = runner.run(.commit(edit)) else {
            Issue.record("the edit was refused")
            return
        }
        var seen: [LSN] = []
        let again = try Recovery.open(files, options: options) { record, _ in
            seen.append(record.lsn)
        }
        #expect(again.manifest == state)
        #expect(again.cursor == cursor)
        #expect(again.damage.isEmpty)
        #expect(seen.last == LSN(50))
        #expect(try files.list("log").first == "0000000002.log")
    }
}
