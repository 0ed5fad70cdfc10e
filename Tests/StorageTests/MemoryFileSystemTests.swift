import Core
import Storage
import Testing

@Suite struct MemoryFileSystemTests {
    @Test("a crash keeps what was synced and loses the rest, data and names apart")
    func crash() throws {
        var random = RandomSource(seed: 51)
        let files = MemoryFileSystem()
        try files.createDirectory("log")
        let synced = try files.open("log/a", .write)
        try synced.write([[1, 2, 3]], at: 0)
        try synced.sync()
        try files.syncDirectory("log")
        try synced.write([[4]], at: 3)
        let unnamed = try files.open("log/b", .write)
        try unnamed.write([[9]], at: 0)
        try unnamed.sync()
        let lost = files.crash(data: .allLost, names: .allLost, &random)
        #expect(lost.contents == ["log/a": [1, 2, 3]])
        let kept = files.crash(data: .allKept, names: .allKept, &random)
        #expect(kept.contents == ["log/a": [1, 2, 3, 4], "log/b": [9]])
        let namesOnly = files.crash(data: .allLost, names: .allKept, &random)
        #expect(namesOnly.contents == ["log/a": [1, 2, 3], "log/b": [9]])
        #expect(files.contents["log/a"] == [1, 2, 3, 4])
    }

    @Test("a torn write ends at a sector's edge, and a subset of sectors may survive")
    func torn() throws {
        var random = RandomSource(seed: 52)
        let files = MemoryFileSystem()
        let file = try files.open("f", .write)
        try file.sync()
        try files.syncDirectory(".")
        try file.write([Array(repeating: 7, count: 3000)], at: 100)
        var lengths: Set<Int> = []
        var holes = 0
        for _ in 0..<200 {
            let torn = files.crash(data: .lastTorn, names: .allKept, &random)
            lengths.insert(torn.contents["f"]?.count ?? 0)
            let subset = files.crash(data: .anySubset, names: .allKept, &random)
            let bytes = subset.contents["f"] ?? []
            if bytes.dropFirst(100).contains(0) { holes += 1 }
        }
        #expect(lengths.allSatisfy { $0 == 100 || $0 == 0 || $0 % 512 == 0 })
        #expect(lengths.count > 4)
        #expect(holes > 100)
    }

    @Test("after a failed sync the file reads as before but that data never becomes durable")
    func failedSync() throws {
        var random = RandomSource(seed: 53)
        let files = MemoryFileSystem()
        let file = try files.open("f", .write)
        try files.syncDirectory(".")
        try file.write([[1]], at: 0)
        files.failSyncs(1)
        #expect(throws: StorageError.self) { try file.sync() }
        try file.sync()
        #expect(try file.read(at: 0, count: 9) == [1])
        #expect(files.crash(data: .allKept, names: .allKept, &random).contents["f"] == [])
    }

    @Test("a failed sync may leave its bytes clean, dirty or gone, as file systems do")
    func syncLosses() throws {
        var random = RandomSource(seed: 55)
        for loss in MemoryFileSystem.SyncLoss.allCases {
            let files = MemoryFileSystem()
            let file = try files.open("f", .write)
            try files.syncDirectory(".")
            try file.write([[1]], at: 0)
            try file.sync()
            try file.write([[2, 3]], at: 0)
            files.failSyncs(1, loss)
            #expect(throws: StorageError.self) { try file.sync() }
            let read = try file.read(at: 0, count: 9)
            #expect(read == (loss == .reverts ? [1] : [2, 3]))
            try file.sync()
            let left = files.crash(data: .allLost, names: .allLost, &random).contents["f"]
            #expect(left == (loss == .keepsDirty ? [2, 3] : [1]))
            // Written again, they are dirty again.
            try file.write([[2, 3]], at: 0)
            try file.sync()
            #expect(
                files.crash(data: .allLost, names: .allLost, &random).contents["f"] == [2, 3])
        }
    }

    @Test("a rename is atomic, waits for its directory's sync, and removed files stay readable")
    func names() throws {
        var random = RandomSource(seed: 54)
        let files = MemoryFileSystem()
        for (name, byte) in [("old", 1), ("new", 2)] as [(String, UInt8)] {
            let file = try files.open(name, .write)
            try file.write([[byte]], at: 0)
            try file.sync()
        }
        try files.syncDirectory(".")
        let old = try files.open("old", .read)
        try files.rename("new", to: "old")
        #expect(try old.read(at: 0, count: 1) == [1])
        #expect(try files.list(".") == ["old"])
        #expect(files.crash(data: .allLost, names: .allLost, &random).contents["old"] == [1])
        try files.syncDirectory(".")
        #expect(files.crash(data: .allLost, names: .allLost, &random).contents == ["old": [2]])
        #expect(throws: StorageError.notFound(path: "new")) { try files.open("new", .read) }
        #expect(throws: StorageError.notFound(path: "new")) { try files.remove("new") }
        #expect(throws: StorageError.notFound(path: "no")) { try files.open("no/file", .write) }
    }

    @Test("a rename to another directory loses the file where only the old one was synced")
    func movedNames() throws {
        var random = RandomSource(seed: 56)
        func moved(syncing directory: String?) throws -> MemoryFileSystem {
            let files = MemoryFileSystem()
            for name in ["a", "b"] { try files.createDirectory(name) }
            let file = try files.open("a/f", .write)
            try file.write([[1]], at: 0)
            try file.sync()
            try files.syncDirectory("a")
            try files.rename("a/f", to: "b/f")
            #expect(try files.list("a") == [] && files.list("b") == ["f"])
            if let directory { try files.syncDirectory(directory) }
            return files
        }
        func left(
            _ files: MemoryFileSystem, _ loss: MemoryFileSystem.NameLoss
        ) -> Set<String> {
            Set(files.crash(data: .allLost, names: loss, &random).contents.keys)
        }
        #expect(try left(moved(syncing: "a"), .allLost) == [])
        #expect(try left(moved(syncing: "b"), .allLost) == ["a/f", "b/f"])
        #expect(try left(moved(syncing: "b"), .allKept) == ["b/f"])
        #expect(try left(moved(syncing: nil), .allLost) == ["a/f"])
        var seen: Set<Set<String>> = []
        for _ in 0..<50 { seen.insert(try left(moved(syncing: nil), .anySubset)) }
        #expect(seen == [["a/f"], ["b/f"], ["a/f", "b/f"]])
    }

    @Test("a misread comes once, after so many reads, and only of files that were there")
    func misreadOnce() throws {
        let files = MemoryFileSystem()
        try files.createDirectory(FileNames.logDirectory)
        let bytes: [UInt8] = [1, 2, 3, 4]
        let (old, new) = (FileNames.log(1), FileNames.log(2))
        files.overwrite(old, with: bytes)
        files.overwrite(FileNames.coldOwner, with: bytes)
        files.misreadOnce(after: 1, bit: 32 + 9)
        files.overwrite(new, with: bytes)
        for path in [new, FileNames.coldOwner, old] {
            #expect(try files.readAll(path) == bytes)
        }
        #expect(!files.takeMisread())
        #expect(try files.readAll(old) == [1, 0, 3, 4])
        #expect(try files.readAll(old) == bytes)
        #expect(files.takeMisread() && !files.takeMisread())
        files.misreadOnce(after: 0, bit: 0)
        files.clearFaults()
        #expect(try files.readAll(old) == bytes)
    }

    @Test("a full disk refuses growth, not overwriting")
    func capacity() throws {
        let files = MemoryFileSystem()
        let file = try files.open("f", .write)
        try file.write([[1, 2, 3]], at: 0)
        files.setCapacity(4)
        try file.write([[4, 5, 6]], at: 0)
        #expect(throws: StorageError.diskFull(operation: "write", path: "f")) {
            try file.write([[7, 8]], at: 3)
        }
    }
}
