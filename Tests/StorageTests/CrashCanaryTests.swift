import Core
import Storage
import Testing

/// What finds no flaw proves something only if it finds those that are planted.
@Suite struct CrashCanaryTests {
    /// A table of several sectors, and then a while in which it may be lost.
    private static let script = CrashScript(seed: 275) { life in
        try life.identify()
        try life.append(120)
        try life.flush()
        for _ in 0..<60 { try life.append(1) }
    }

    /// How many states of the life have a flaw, and in how many a block is lost that only a reader
    /// of blocks misses.
    private static func flaws(
        through disk: (MemoryFileSystem) -> any FileSystem
    ) throws -> (states: Int, unread: Int) {
        var random = RandomSource(seed: 276)
        let files = MemoryFileSystem()
        files.keepStates()
        let book = script.live(on: files, through: disk(files))
        let oracle = CrashOracle(book.last.slices)
        var states = 0
        var unread = 0
        for state in files.keptStates {
            let promise = book.promise(before: state.operations)
            for data in MemoryFileSystem.DataLoss.allCases {
                let crashed = state.crash(data: data, names: .allKept, &random)
                let flaws = try oracle.flaws(in: crashed, promise)
                if !flaws.isEmpty { states += 1 }
                if flaws.first?.hasPrefix("table:") == true { unread += 1 }
            }
        }
        return (states, unread)
    }

    @Test("a table that is never synced is found out, also where its footer came through")
    func unsyncedTable() throws {
        let honest = try Self.flaws { $0 }
        #expect(honest.states == 0)
        let forgetful = try Self.flaws {
            ForgetfulDisk($0, directory: FileNames.tableDirectory)
        }
        #expect(forgetful.states > 0)
        #expect(forgetful.unread > 0)
    }

    @Test("a count in the minute beside its own, and another minimum, are found out")
    func otherCells() throws {
        let files = MemoryFileSystem()
        let promise = Self.script.live(on: files).last
        #expect(
            try CrashOracle(promise.slices).flaws(in: files.clone(), promise, series: .max) == [])
        for isMinute in [true, false] {
            var slices = promise.slices
            let place = try #require(
                slices.firstIndex { slice in slice.cells.contains { $0.value.values != nil } })
            let cell = try #require(
                slices[place].cells.filter { $0.value.values != nil }.map(\.key).min())
            var measure = try #require(slices[place].cells[cell])
            slices[place].cells[cell] = nil
            var other = cell
            if isMinute {
                // Of the same day, so that no digest tells.
                other.window += cell.window % 1440 == 1439 ? -1 : 1
                measure.add(slices[place].cells.removeValue(forKey: other) ?? .zero)
            } else {
                measure.values?.min = -2_000_000
            }
            slices[place].cells[other] = measure
            let flaws = try CrashOracle(slices).flaws(in: files.clone(), promise, series: .max)
            #expect(flaws == ["series \(String(decoding: cell.key, as: UTF8.self))"])
        }
    }
}

/// A planted bug: what is written in one directory is never synced, though it says so.
private struct ForgetfulDisk: FileSystem {
    private final class File: StoredFile {
        private let file: any StoredFile

        init(_ file: any StoredFile) { self.file = file }

        var path: String { file.path }

        func size() throws(StorageError) -> UInt64 { try file.size() }

        func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
            try file.read(at: offset, count: count)
        }

        func write(_ pieces: [[UInt8]], at offset: UInt64) throws(StorageError) {
            try file.write(pieces, at: offset)
        }

        func truncate(to size: UInt64) throws(StorageError) { try file.truncate(to: size) }

        func sync() throws(StorageError) {}
    }

    private let files: MemoryFileSystem
    private let directory: String

    init(_ files: MemoryFileSystem, directory: String) {
        self.files = files
        self.directory = directory
    }

    func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StoredFile {
        let file = try files.open(path, mode)
        return path.hasPrefix("\(directory)/") ? File(file) : file
    }

    func list(_ directory: String) throws(StorageError) -> [String] {
        try files.list(directory)
    }

    func rename(_ path: String, to target: String) throws(StorageError) {
        try files.rename(path, to: target)
    }

    func remove(_ path: String) throws(StorageError) { try files.remove(path) }

    func link(_ path: String, as target: String) throws(StorageError) {
        try files.link(path, as: target)
    }

    func createDirectory(_ path: String) throws(StorageError) {
        try files.createDirectory(path)
    }

    func removeDirectory(_ path: String) throws(StorageError) {
        try files.removeDirectory(path)
    }

    func syncDirectory(_ path: String) throws(StorageError) { try files.syncDirectory(path) }
}
