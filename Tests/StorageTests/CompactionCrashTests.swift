import Core
import Storage
import Testing

/// A scripted life with compactions in it: flushes, a compaction during which another flush counts,
/// one edit, the removal of the inputs. The power fails at every file operation of it.
@Suite struct CompactionCrashTests {
    static func script(_ files: MemoryFileSystem, seed: UInt64) -> CrashTests.Promise {
        var promise = CrashTests.Promise()
        do {
            try run(files, seed: seed, &promise)
        } catch {
            // The fault that ended this life. What it promised before stands.
        }
        return promise
    }

    private struct Life {
        var random: RandomSource
        let runner: StorageRunner
        var cursor: LogCursor
        var writer: LogWriter
        var tables: [TableHandle] = []
        var nextID: UInt64

        mutating func flush(_ promise: inout CrashTests.Promise) throws {
            var memtable = StorageModel.memtable()
            var appends: [LogAppend] = []
            for _ in 0..<3 {
                var slice = RandomSlice(&random, cellCount: 8)
                slice.cells = slice.cells.filter {
                    (23_000_000..<23_005_000).contains($0.key.window)
                }
                promise.slices.append(slice)
                appends.append(
                    cursor.append(kind: 1, payload: [UInt8(slice.partition.index)] + slice.bytes))
                try memtable.apply(slice)
            }
            try writer.append(appends)
            try writer.sync()
            promise.synced = cursor.last
            cursor.markSynced(cursor.last)
            let frozen = memtable.freeze(through: cursor.last)
            guard
                case .tables(let written) = try runner.run(
                    .writeTables(frozen, firstID: nextID)
                ).get()
            else { throw TableTests.Unexpected() }
            nextID += UInt64(written.count)
            _ = try ManifestTests.commit(
                ManifestEdit(addTables: written.map(\.meta), coveredThrough: frozen.through),
                to: runner)
            promise.covered = frozen.through
            tables += written
        }

        /// With a flush in its middle.
        mutating func compact(_ promise: inout CrashTests.Promise) throws {
            let inputs = tables
            let compaction = TableCompaction(inputs, id: nextID)
            nextID += 1
            var output: TableHandle?
            var steps = 0
            while output == nil {
                guard
                    case .compacting(_, let table) = try runner.run(
                        .compact(compaction, bytes: 150)
                    ).get()
                else { throw TableTests.Unexpected() }
                output = table
                steps += 1
                if steps == 2 { try flush(&promise) }
            }
            guard let output else { throw TableTests.Unexpected() }
            let ids = inputs.map(\.meta.id)
            _ = try ManifestTests.commit(
                ManifestEdit(addTables: [output.meta], removeTables: ids), to: runner)
            tables.removeAll { ids.contains($0.meta.id) }
            tables.append(output)
            _ = try runner.run(.removeTables(ids)).get()
        }
    }

    private static func run(
        _ files: MemoryFileSystem, seed: UInt64, _ promise: inout CrashTests.Promise
    ) throws {
        let options = StorageModel.options
        let recovered = try Recovery.open(files, options: options) { _, _ in }
        var life = Life(
            random: RandomSource(seed: seed),
            runner: StorageRunner(fileSystem: files, options: options), cursor: recovered.cursor,
            writer: LogWriter(fileSystem: files, cursor: recovered.cursor),
            nextID: recovered.manifest.nextTableID)
        for _ in 0..<3 { try life.flush(&promise) }
        try life.compact(&promise)
        try life.flush(&promise)
        try life.compact(&promise)
    }

    static func operations(seed: UInt64) -> Int {
        let files = MemoryFileSystem()
        _ = script(files, seed: seed)
        return files.operations
    }

    @Test("after a power cut at any operation of a compaction: the same sums, and twice the same")
    func everyOperation() throws {
        var random = RandomSource(seed: 261)
        let seed: UInt64 = 262
        let total = Self.operations(seed: seed)
        #expect(total > 100)
        for operation in 0..<total {
            let files = MemoryFileSystem()
            files.fail(at: operation, with: .shortWrite, onward: true)
            let promise = Self.script(files, seed: seed)
            files.clearFaults()
            for data in MemoryFileSystem.DataLoss.allCases {
                for names in MemoryFileSystem.NameLoss.allCases {
                    let crashed = files.crash(data: data, names: names, &random)
                    try CrashTests.check(
                        crashed, promise, "operation \(operation), \(data), \(names)")
                }
            }
        }
    }

    @Test("a single failed operation ends in an error or is harmless, and then recovers clean")
    func singleFaults() throws {
        var random = RandomSource(seed: 263)
        let seed: UInt64 = 264
        let total = Self.operations(seed: seed)
        for fault in [MemoryFileSystem.Fault.inputOutput, .diskFull, .shortWrite] {
            for operation in 0..<total {
                let files = MemoryFileSystem()
                files.fail(at: operation, with: fault)
                let promise = Self.script(files, seed: seed)
                files.clearFaults()
                try CrashTests.check(
                    files.crash(&random), promise, "operation \(operation), \(fault)")
            }
        }
    }

    @Test("a script without faults ends with two tables that hold all")
    func whole() throws {
        let files = MemoryFileSystem()
        let promise = Self.script(files, seed: 265)
        try CrashTests.check(files, promise, "no fault")
        let recovered = try Recovery.open(files, options: StorageModel.options) { _, _ in }
        #expect(recovered.tables.count == 2)
        #expect(recovered.manifest.coveredThrough == promise.covered)
    }
}
