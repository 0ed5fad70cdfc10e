import Core
import Storage
import Testing

/// A scripted life of a store: append, sync, flush, commit, rotate, let go of old log files. At
/// every file operation the power fails, in many ways, and what recovers is held against what was
/// promised.
@Suite struct CrashTests {
    static let script = CrashScript(seed: 42) { life in
        try life.identify()
        for round in 0..<12 {
            try life.append(1 + life.random.below(5))
            if round % 4 == 3 { try life.flush() }
            if round == 7 { try life.releaseLog() }
        }
    }

    @Test("after a power cut at any change: synced ⊆ recovered ⊆ appended, and twice the same")
    func everyOperation() throws {
        var random = RandomSource(seed: 41)
        #expect(try Self.script.cutEverywhere(&random) > 900)
    }

    @Test("a power cut during the recovery itself changes nothing of that")
    func nested() throws {
        var random = RandomSource(seed: 43)
        for operation in stride(from: 5, to: Self.script.operations, by: 11) {
            let files = MemoryFileSystem()
            files.fail(at: operation, with: .inputOutput, onward: true)
            let promise = Self.script.live(on: files).last
            let oracle = CrashOracle(promise.slices)
            files.clearFaults()
            let crashed = files.crash(&random)
            for inner in 0..<40 {
                let second = crashed.clone()
                second.fail(at: second.operations + inner, with: .inputOutput, onward: true)
                let recovered = try? Recovery.open(second, options: StorageModel.options) { _, _ in
                }
                second.clearFaults()
                try oracle.check(
                    second.crash(&random), promise, "operation \(operation), then \(inner)")
                if recovered != nil { break }
            }
        }
    }

    @Test("a single failed operation ends in an error or is harmless, and then recovers clean")
    func singleFaults() throws {
        var random = RandomSource(seed: 45)
        for fault in [MemoryFileSystem.Fault.inputOutput, .diskFull, .shortWrite] {
            try Self.script.failEverywhere(with: fault, &random)
        }
    }

    @Test("what a start read after a kill is still there after a power cut")
    func killThenPowerCut() throws {
        var random = RandomSource(seed: 48)
        let files = try LogTests.fresh()
        var cursor = LogCursor(options: StorageModel.options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        // Never synced: these records live in the page cache alone when the process is killed.
        try writer.append((0..<5).map { cursor.append(kind: 1, payload: LogTests.payload($0)) })
        let (recovered, records) = try LogTests.recover(files)
        #expect(records.count == 5)
        #expect(recovered.cursor.synced == LSN(5))
        for _ in 0..<10 {
            let crashed = files.crash(data: .allLost, names: .allLost, &random)
            #expect(try LogTests.recover(crashed).records == records)
        }
    }

    /// The process ends at a sync that failed and starts again without a reboot, so that it reads
    /// what the kernel shows; then the power fails. What is left must be what the start had read.
    private static func failedSync(
        at operation: Int, _ loss: MemoryFileSystem.SyncLoss, trusting: Bool
    ) throws -> (read: LSN, left: LSN) {
        var random = RandomSource(seed: 49)
        let files = MemoryFileSystem()
        files.setSyncLoss(loss)
        files.fail(at: operation, with: .inputOutput)
        let promise = script.live(on: files).last
        let oracle = CrashOracle(promise.slices)
        files.clearFaults()
        var options = StorageModel.options
        options.trustsPageCache = trusting
        let restarted = files.clone()
        let read = try Recovery.open(restarted, options: options) { _, _ in }
        let crashed = restarted.crash(data: .allLost, names: .allLost, &random)
        do {
            let left = try Recovery.open(crashed, options: StorageModel.options) { _, _ in }
            if !trusting {
                #expect(left.manifest == read.manifest, "operation \(operation), \(loss)")
                try oracle.check(restarted, promise, "operation \(operation), \(loss)")
                try oracle.check(crashed, promise, "operation \(operation), \(loss)")
            }
            return (read.cursor.last, left.cursor.last)
        } catch {
            #expect(trusting, "operation \(operation), \(loss): \(error)")
            return (read.cursor.last, .zero)
        }
    }

    @Test(
        "what a start reads after a failed fsync is put on the disk before it is believed",
        arguments: MemoryFileSystem.SyncLoss.allCases)
    func restartWithoutReboot(loss: MemoryFileSystem.SyncLoss) throws {
        var lostByTrust = 0
        for operation in 0..<Self.script.operations {
            let (read, left) = try Self.failedSync(at: operation, loss, trusting: false)
            #expect(left >= read, "operation \(operation)")
            let trusting = try Self.failedSync(at: operation, loss, trusting: true)
            if trusting.left < trusting.read { lostByTrust += 1 }
        }
        // The canary: to sync again what the kernel takes for clean does nothing.
        #expect((lostByTrust > 0) == (loss == .marksClean))
    }

    @Test("a second failed fsync, in the start itself, is an error, and the next start is whole")
    func failedStart() throws {
        var random = RandomSource(seed: 51)
        for inner in 0..<40 {
            let files = MemoryFileSystem()
            let promise = Self.script.live(on: files).last
            let oracle = CrashOracle(promise.slices)
            let restarted = files.clone()
            restarted.fail(at: restarted.operations + inner, with: .inputOutput)
            do {
                _ = try Recovery.open(restarted, options: StorageModel.options) { _, _ in }
            } catch {
                #expect(!error.description.isEmpty)
            }
            restarted.clearFaults()
            try oracle.check(restarted.clone(), promise, "operation \(inner) of the start")
            try oracle.check(restarted.crash(&random), promise, "operation \(inner) of the start")
        }
    }

    @Test("a store that lives on after each crash keeps every synced slice over many lives")
    func manyLives() throws {
        var random = RandomSource(seed: 47)
        var files = MemoryFileSystem()
        var synced: [LogRecord] = []
        for life in 0..<60 {
            var found: [LogRecord] = []
            let recovered = try Recovery.open(files, options: StorageModel.options) { record, _ in
                found.append(record)
            }
            #expect(recovered.damage.isEmpty)
            #expect(found.starts(with: synced), "life \(life)")
            var cursor = recovered.cursor
            var writer = LogWriter(fileSystem: files, cursor: cursor)
            for _ in 0..<random.below(4) {
                let group = (0..<1 + random.below(4)).map { _ in
                    cursor.append(
                        kind: 2, payload: Array(repeating: UInt8(life), count: random.below(900)))
                }
                try writer.append(group)
                if random.chance(2, in: 3) {
                    try writer.sync()
                    cursor.markSynced(cursor.last)
                }
            }
            synced = []
            let snapshot = files.clone()
            _ = try Recovery.open(snapshot, options: StorageModel.options) { record, _ in
                if record.lsn <= cursor.synced { synced.append(record) }
            }
            files = files.crash(&random)
        }
        #expect(synced.count > 40)
    }
}
