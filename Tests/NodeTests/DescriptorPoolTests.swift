import Core
import Foundation
import Node
import Storage
import Synchronization
import Testing

/// More files than descriptors: what is only read is closed, and opened again, and nobody sees it.
@Suite struct DescriptorPoolTests {
    /// The system's calls, with the descriptors counted that they opened.
    private final class CountedCalls: Sendable {
        struct State {
            var live = 0
            var most = 0
            var opens = 0
            var closes = 0
            var refusals = 0
            var code = EMFILE
            /// Comes to pass once, while a file is being opened.
            var meanwhile: (@Sendable () -> Void)?
        }

        private let state = Mutex(State())

        var now: State { state.withLock { $0 } }

        /// Makes the next calls that open fail.
        func refuse(_ count: Int, with code: Int32 = EMFILE) {
            state.withLock { state in
                state.refusals = count
                state.code = code
            }
        }

        func whileOpening(_ body: @escaping @Sendable () -> Void) {
            state.withLock { $0.meanwhile = body }
        }

        var calls: FileCalls {
            let real = FileCalls()
            var calls = FileCalls()
            calls.open = { path, flags, permissions in
                let refusal: Int32? = self.state.withLock { state in
                    guard state.refusals > 0 else { return nil }
                    state.refusals -= 1
                    return state.code
                }
                if let refusal {
                    errno = refusal
                    return -1
                }
                let meanwhile = self.state.withLock { $0.meanwhile.take() }
                meanwhile?()
                let descriptor = real.open(path, flags, permissions)
                guard descriptor >= 0 else { return descriptor }
                self.state.withLock { state in
                    state.live += 1
                    state.opens += 1
                    state.most = max(state.most, state.live)
                }
                return descriptor
            }
            calls.close = { descriptor in
                self.state.withLock { state in
                    state.live -= 1
                    state.closes += 1
                }
                return real.close(descriptor)
            }
            return calls
        }
    }

    private struct Fixture {
        let scratch: DirectoryFileSystemTests.Scratch
        let counted = CountedCalls()
        let files: DirectoryFileSystem
        /// The same directory, and nothing known of what is open.
        let others: DirectoryFileSystem

        init(hot: Int, cold: Int = 1, names: [String]) throws {
            scratch = try DirectoryFileSystemTests.Scratch()
            others = DirectoryFileSystem(root: scratch.path, cold: scratch.path + "/elsewhere")
            files = DirectoryFileSystem(
                root: scratch.path, cold: scratch.path + "/elsewhere",
                bounds: FileBounds(hot: hot, cold: cold), calls: counted.calls)
            try others.createDirectory(FileNames.coldDirectory)
            for name in names { try write(name) }
        }

        /// By a process that knows nothing of `files`.
        func write(_ name: String, _ content: String? = nil) throws {
            try others.open(name, .replace).write([Array((content ?? name).utf8)], at: 0)
        }

        func open(_ names: [String]) throws -> [any StoredFile] {
            try names.map { try files.open($0, .read) }
        }

        var hot: OpenFilesReading { files.openFiles[0].reading }
        var cold: OpenFilesReading { files.openFiles[1].reading }
    }

    private static func text(_ file: any StoredFile) throws -> String {
        String(decoding: try file.read(at: 0, count: 100), as: UTF8.self)
    }

    private static func isFailure(_ error: any Error) -> Bool {
        if case .failed("open", _, _)? = error as? StorageError { true } else { false }
    }

    @Test("of more files than may stay open all are read, by many threads at once")
    func manyFiles() async throws {
        let names = (0..<40).map { "file\($0)" }
        let fixture = try Fixture(hot: 4, names: names)
        do {
            let open = try fixture.open(names)
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for task in 0..<8 {
                    group.addTask {
                        var isRight = true
                        for turn in 0..<400 {
                            let place = (turn * 7 + task * 5) % names.count
                            let size = try open[place].size()
                            isRight =
                                try isRight && size == names[place].utf8.count
                                && Self.text(open[place]) == names[place]
                        }
                        return isRight
                    }
                }
                for try await isRight in group { #expect(isRight) }
            }
            // Each thread may use one beyond the bound, and close one that another made room of.
            #expect(fixture.counted.now.most <= 4 + 2 * 8)
            for (file, name) in zip(open, names) { #expect(try Self.text(file) == name) }
            #expect(fixture.hot.open == 4 && fixture.hot.max == 4)
            #expect(fixture.counted.now.live == 4)
            #expect(fixture.hot.reopened >= 36)
            withExtendedLifetime(open) {}
        }
        #expect(fixture.counted.now.live == 0 && fixture.hot.open == 0)
    }

    @Test("what was used stays open, and what was not is closed")
    func usedStays() throws {
        let names = (0..<20).map { "file\($0)" }
        let fixture = try Fixture(hot: 4, names: names)
        let used = try fixture.files.open("file0", .read)
        var others: [any StoredFile] = []
        for name in names.dropFirst() {
            #expect(try Self.text(used) == "file0")
            others.append(try fixture.files.open(name, .read))
        }
        // The hand cools it at most once in a round, and before the next it was used again.
        #expect(fixture.hot.reopened <= 5)
        // None of them is read, and none is closed but for another.
        let before = fixture.counted.now.opens
        for _ in 0..<100 { #expect(try Self.text(used) == "file0") }
        #expect(fixture.counted.now.opens <= before + 1)
        withExtendedLifetime(others) {}
    }

    @Test("a closed file whose name is removed stays readable, whatever is made under that name")
    func removed() throws {
        let fixture = try Fixture(hot: 1, names: ["a", "b"])
        do {
            let first = try fixture.files.open("a", .read)
            let other = try fixture.files.open("b", .read)
            #expect(fixture.counted.now.live == 1)
            try fixture.files.remove("a")
            #expect(throws: StorageError.self) { try fixture.files.open("a", .read) }
            #expect(try Self.text(other) == "b")
            try fixture.write("a", "another")
            let second = try fixture.files.open("a", .read)
            #expect(try Self.text(second) == "another")
            for _ in 0..<2 {
                #expect(try Self.text(other) == "b")
                #expect(try Self.text(first) == "a")
            }
            // The one that is gone counts, and of the others at most one is open.
            #expect(fixture.counted.now.live <= 2)
            // What stays open is not opened again by each read.
            let before = fixture.counted.now.opens
            for _ in 0..<10 { #expect(try Self.text(first) == "a") }
            #expect(fixture.counted.now.opens == before)
        }
        #expect(fixture.counted.now.live == 0 && fixture.hot.open == 0)
    }

    @Test("a removal that fails leaves a file as it was")
    func notRemoved() throws {
        let fixture = try Fixture(hot: 1, names: ["a", "b"])
        let first = try fixture.files.open("a", .read)
        let other = try fixture.files.open("b", .read)
        // A directory in the place of the file that a rename would put there.
        try fixture.files.createDirectory("d")
        #expect(throws: StorageError.self) { try fixture.files.rename("a", to: "d") }
        #expect(try Self.text(other) == "b")
        #expect(try Self.text(first) == "a")
        #expect(fixture.counted.now.live == 1)
        withExtendedLifetime((first, other)) {}
    }

    @Test("a closed file is read under its new name, and the one that had it as well")
    func renamed() throws {
        let fixture = try Fixture(hot: 1, names: ["a", "b", "c"])
        do {
            let open = try fixture.open(["a", "b", "c"])
            try fixture.files.rename("a", to: "z")
            #expect(try open.map { try Self.text($0) } == ["a", "b", "c"])
            try fixture.files.rename("z", to: "b")
            #expect(try open.map { try Self.text($0) } == ["a", "b", "c"])
            let anew = try fixture.files.open("b", .read)
            #expect(try Self.text(anew) == "a")
            #expect(try open.reversed().map { try Self.text($0) } == ["c", "b", "a"])
        }
        #expect(fixture.counted.now.live == 0 && fixture.hot.open == 0)
    }

    @Test("readers of closed files see nothing of removals and renames beside them")
    func removedMeanwhile() async throws {
        let names = (0..<60).map { "file\($0)" }
        let fixture = try Fixture(hot: 2, names: names)
        let files = fixture.files
        do {
            let open = try fixture.open(names)
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for task in 0..<4 {
                    group.addTask {
                        var isRight = true
                        for turn in 0..<1200 {
                            let place = (turn + task * 13) % names.count
                            isRight = try isRight && Self.text(open[place]) == names[place]
                        }
                        return isRight
                    }
                }
                group.addTask {
                    for (number, name) in names.enumerated() {
                        switch number % 3 {
                        case 0: try files.remove(name)
                        case 1: try files.rename(name, to: "moved\(number)")
                        default: try files.rename("moved\(number - 1)", to: name)
                        }
                    }
                    return true
                }
                for try await isRight in group { #expect(isRight) }
            }
            for (file, name) in zip(open, names) { #expect(try Self.text(file) == name) }
        }
        #expect(fixture.counted.now.live == 0 && fixture.hot.open == 0)
    }

    @Test("another file that somebody put in a closed one's place is not read, nor is it damage")
    func replaced() throws {
        let fixture = try Fixture(hot: 1, names: ["a", "b", "n"])
        let first = try fixture.files.open("a", .read)
        let other = try fixture.files.open("b", .read)
        // Both are there at once, so that they are told apart.
        try fixture.others.rename("n", to: "a")
        #expect { try first.read(at: 0, count: 9) } throws: { Self.isFailure($0) }
        #expect { try first.size() } throws: { Self.isFailure($0) }
        #expect(try Self.text(fixture.files.open("a", .read)) == "n")
        #expect(try Self.text(other) == "b")
        try fixture.others.remove("a")
        #expect { try first.read(at: 0, count: 9) } throws: { Self.isFailure($0) }
        // What is not there is no obstacle to its removal.
        #expect(throws: StorageError.notFound(path: fixture.scratch.path + "/a")) {
            try fixture.files.remove("a")
        }
        #expect(fixture.counted.now.live == 0 && fixture.hot.open == 0)
        #expect(try Self.text(other) == "b")
    }

    @Test(
        "where the process has too many files open, the coldest are closed for the next",
        arguments: [EMFILE, ENFILE])
    func tooMany(code: Int32) throws {
        let fixture = try Fixture(hot: 10, names: ["a", "b", "c", "d"])
        let open = try fixture.open(["a", "b", "c"])
        fixture.counted.refuse(2, with: code)
        let last = try fixture.files.open("d", .read)
        #expect(fixture.counted.now.closes == 2)
        #expect(fixture.hot.open == 2)
        fixture.counted.refuse(.max, with: code)
        // Nothing is left to be closed.
        #expect { try fixture.files.open("a", .replace) } throws: { Self.isFailure($0) }
        #expect(fixture.counted.now.live == 0 && fixture.hot.open == 0)
        for file in open + [last] {
            #expect { try file.read(at: 0, count: 9) } throws: { Self.isFailure($0) }
        }
        fixture.counted.refuse(0)
        #expect(try (open + [last]).map { try Self.text($0) } == ["a", "b", "c", "d"])
        #expect(fixture.hot.open == 4 && fixture.counted.now.live == 4)
        // A directory as well: no flush counts before its directory is synced.
        fixture.counted.refuse(1, with: code)
        try fixture.files.syncDirectory(".")
        #expect(fixture.hot.open == 3)
        withExtendedLifetime((open, last)) {}
    }

    @Test("what cannot be opened again is damage only where the disk says so, never of a cold one")
    func unreadable() throws {
        let fixture = try Fixture(hot: 1, cold: 1, names: ["a", "b", "cold/a", "cold/b"])
        let hot = try fixture.open(["a", "b"])
        let cold = try fixture.open(["cold/a", "cold/b"])
        fixture.counted.refuse(1, with: EIO)
        #expect { try hot[0].read(at: 0, count: 9) } throws: {
            ($0 as? StorageError)?.isDamage == true
        }
        fixture.counted.refuse(1, with: EACCES)
        #expect { try hot[0].read(at: 0, count: 9) } throws: { Self.isFailure($0) }
        fixture.counted.refuse(1, with: EIO)
        #expect { try cold[0].read(at: 0, count: 9) } throws: { Self.isFailure($0) }
        #expect(try (hot + cold).map { try Self.text($0) } == ["a", "b", "cold/a", "cold/b"])
        #expect(fixture.hot.open == 1 && fixture.cold.open == 1)
        withExtendedLifetime((hot, cold)) {}
    }

    @Test("files of one disk are closed for files of that disk only")
    func disks() throws {
        let fixture = try Fixture(hot: 1, cold: 1, names: ["a", "cold/a", "cold/b"])
        let hot = try fixture.files.open("a", .read)
        let cold = try fixture.open(["cold/a", "cold/b"])
        #expect(try (cold + [hot]).map { try Self.text($0) } == ["cold/a", "cold/b", "a"])
        #expect(fixture.hot.open == 1 && fixture.hot.reopened == 0)
        #expect(fixture.cold.open == 1 && fixture.cold.reopened == 2)
        withExtendedLifetime((hot, cold)) {}
    }

    @Test("a cold file that nobody refers to is closed by who opens or removes the next")
    func closedLater() throws {
        let fixture = try Fixture(hot: 1, cold: 3, names: ["cold/a", "cold/b"])
        func readOnce(_ name: String) throws {
            #expect(try Self.text(fixture.files.open(name, .read)) == name)
        }
        // The last reference may go on a thread that must not wait for the disk.
        try readOnce("cold/a")
        #expect(fixture.counted.now.closes == 0 && fixture.cold.open == 1)
        try readOnce("cold/b")
        #expect(fixture.counted.now.closes == 1 && fixture.cold.open == 1)
        try fixture.files.remove("cold/b")
        #expect(fixture.counted.now.live == 0 && fixture.cold.open == 0)
        let draft = try fixture.files.open("cold/draft", .replace)
        #expect(fixture.cold.open == 0)
        try draft.write([[7]], at: 0)
        #expect(fixture.counted.now.live == 1)
    }

    @Test("a file that is written keeps its descriptor until nothing more is written to it")
    func written() throws {
        let fixture = try Fixture(hot: 1, names: ["b"])
        do {
            let file = try fixture.files.open("draft", .replace)
            let other = try fixture.files.open("b", .read)
            try file.write([[1, 2]], at: 0)
            try file.sync()
            #expect(fixture.counted.now.live == 2 && fixture.hot.open == 1)
            try fixture.files.rename("draft", to: "a")
            file.endWriting()
            // One of the two is closed.
            #expect(fixture.counted.now.live == 1 && fixture.hot.open == 1)
            #expect(try Self.text(other) == "b")
            #expect(try file.read(at: 0, count: 9) == [1, 2])
            #expect(try Self.text(other) == "b")
            #expect(fixture.hot.reopened >= 2)
            try fixture.files.remove("a")
            #expect(try file.read(at: 0, count: 9) == [1, 2])
        }
        #expect(fixture.counted.now.live == 0 && fixture.hot.open == 0)
    }

    @Test("tables that a store flushed and merged are closed, and read, as those of its start are")
    func tables() throws {
        let fixture = try Fixture(hot: 2, names: [])
        let options = ColdThreadTests.options
        _ = try Recovery.open(fixture.files, options: options) { _, _ in }
        let runner = StorageRunner(fileSystem: fixture.files, options: options)
        let query = SeriesQuery(
            partition: ColdThreadTests.partition, key: ColdThreadTests.key)
        func rows(_ tables: [TableHandle]) throws -> Int {
            let job = StorageJob.series(query, TableSnapshot(tables: tables), base: [])
            guard case .rows(let rows) = try runner.run(job).get() else { return 0 }
            return rows.count
        }
        do {
            var tables: [TableHandle] = []
            for number in 1...6 {
                let frozen = try ColdThreadTests.frozen(at: 24_000_000 + Int64(number))
                let job = StorageJob.writeTables(frozen, firstID: UInt64(number))
                guard case .tables(let written) = try runner.run(job).get() else { continue }
                tables += written
            }
            #expect(tables.count == 6)
            #expect(fixture.hot.open == 2 && fixture.counted.now.live == 2)
            #expect(try rows(tables) == 6)
            let merge = TableCompaction(tables, id: 7)
            var merged: TableHandle?
            while merged == nil {
                guard
                    case .compacting(_, let table) = try runner.run(.compact(merge, bytes: 1 << 20))
                        .get()
                else { break }
                merged = table
            }
            let paths = tables.map(\.meta.path)
            #expect(try runner.run(.removeTables(paths)).get() == .removed)
            // Who took a snapshot before reads on.
            #expect(try rows(tables) == 6)
            let whole = try #require(merged)
            #expect(try rows([whole]) == 6)
        }
        #expect(fixture.counted.now.live == 0 && fixture.hot.open == 0)
    }

    @Test("a file is like any other whatever else lost its name while it was opened")
    func opening() throws {
        let fixture = try Fixture(hot: 1, names: ["a", "b", "c"])
        let (own, others) = (fixture.files, fixture.others)
        let failed = Mutex(false)
        fixture.counted.whileOpening {
            do { try own.remove("c") } catch { failed.withLock { $0 = true } }
        }
        let files = try fixture.open(["a", "b"])
        #expect(!failed.withLock { $0 })
        #expect(fixture.hot.open == 1 && fixture.counted.now.live == 1)
        #expect(try files.map(Self.text) == ["a", "b"])
        // Its own name, on the other hand, went for good.
        fixture.counted.whileOpening {
            do {
                try others.open("e", .replace).write([[1]], at: 0)
                try own.rename("e", to: "b")
            } catch { failed.withLock { $0 = true } }
        }
        let other = try fixture.files.open("b", .read)
        #expect(!failed.withLock { $0 })
        #expect(try other.read(at: 0, count: 9) == [1])
        #expect(try files.map(Self.text) == ["a", "b"])
    }

    @Test("a draft whose name goes while it is written stays readable and does not count")
    func removedDraft() throws {
        let fixture = try Fixture(hot: 1, names: ["b"])
        let file = try fixture.files.open("draft", .replace)
        try file.write([[7]], at: 0)
        try fixture.files.remove("draft")
        file.endWriting()
        let other = try fixture.files.open("b", .read)
        #expect(try file.read(at: 0, count: 9) == [7])
        #expect(try Self.text(other) == "b")
        #expect(fixture.hot.open == 1 && fixture.hot.reopened == 0)
        withExtendedLifetime((file, other)) {}
    }

    @Test("files, connections and what else a node opens fit in what the process may have open")
    func bounds() {
        for most in [1024, 4096, 1 << 14, 1 << 17] {
            let files = FileBounds(openFilesMax: most)
            let connections = ConnectionBounds(openFilesMax: most)
            #expect(files.hot >= FileBounds.least && files.cold >= FileBounds.least)
            #expect(files.hot + files.cold + connections.acceptedMax <= most - most / 8)
        }
        #expect(FileBounds(openFilesMax: 0).hot == FileBounds.least)
        #expect(FileBounds(openFilesMax: 1 << 17).hot == 8192)
    }
}
