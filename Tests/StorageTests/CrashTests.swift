import Core
import Storage
import Testing

/// A scripted life of a store: append, sync, flush, commit, rotate, let go of old log files. At
/// every file operation the power fails, in many ways, and what recovers is held against what was
/// promised.
@Suite struct CrashTests {
    /// What the script knows when the power fails.
    struct Promise {
        /// Synced: must come back.
        var synced = LSN.zero
        /// Slices by LSN; more of them may come back than were synced, never others.
        var slices: [RandomSlice] = []
        /// Committed: the manifest covers at least this.
        var covered = LSN.zero
        var identity: NodeIdentity?
    }

    /// Runs until an operation fails; what was promised by then.
    static func script(_ files: MemoryFileSystem, seed: UInt64) -> Promise {
        var promise = Promise()
        do {
            try run(files, seed: seed, &promise)
        } catch {
            // The fault that ended this life. What it promised before stands.
        }
        return promise
    }

    private static func run(
        _ files: MemoryFileSystem, seed: UInt64, _ promise: inout Promise
    ) throws {
        var random = RandomSource(seed: seed)
        let options = StorageModel.options
        let recovered = try Recovery.open(files, options: options) { _, _ in }
        let runner = StorageRunner(fileSystem: files, options: options)
        var cursor = recovered.cursor
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        var memtable = StorageModel.memtable()
        var nextID = recovered.manifest.nextTableID
        _ = try ManifestTests.commit(ManifestEdit(identity: ManifestTests.identity), to: runner)
        promise.identity = ManifestTests.identity
        for round in 0..<12 {
            var appends: [LogAppend] = []
            for _ in 0..<1 + random.below(5) {
                var slice = RandomSlice(&random, cellCount: 8)
                // One bucket, so that a flush is a few operations and not hundreds.
                slice.cells = slice.cells.filter { $0.key.window >= 23_000_000 }
                promise.slices.append(slice)
                appends.append(
                    cursor.append(kind: 1, payload: [UInt8(slice.partition.index)] + slice.bytes))
                try memtable.apply(slice)
            }
            try writer.append(appends)
            try writer.sync()
            promise.synced = cursor.last
            cursor.markSynced(cursor.last)
            guard round % 4 == 3 else { continue }
            let frozen = memtable.freeze(through: cursor.last)
            memtable = StorageModel.memtable()
            guard
                case .tables(let tables) = try runner.run(
                    .writeTables(frozen, firstID: nextID)
                ).get()
            else { throw TableTests.Unexpected() }
            let state = try ManifestTests.commit(
                ManifestEdit(addTables: tables.map(\.meta), coveredThrough: frozen.through),
                to: runner)
            promise.covered = frozen.through
            nextID = state.nextTableID
            guard round == 7 else { continue }
            _ = try ManifestTests.commit(ManifestEdit(logStart: cursor.file), to: runner)
            _ = try runner.run(.removeLogs(before: cursor.file)).get()
        }
    }

    /// Recovers, replays beyond the coverage, and compares with the sum of a prefix of the slices.
    static func check(
        _ crashed: MemoryFileSystem, _ promise: Promise, _ what: String
    ) throws {
        let options = StorageModel.options
        var memtable = StorageModel.memtable()
        var last = LSN.zero
        var faults = 0
        let recovered = try Recovery.open(crashed, options: options) { record, manifest in
            last = max(last, record.lsn)
            guard record.lsn > manifest.coveredThrough else { return }
            do {
                try memtable.apply(
                    Array(record.payload.dropFirst()), PartitionID(Int(record.payload[0])))
            } catch {
                faults += 1
            }
        }
        #expect(faults == 0, "\(what)")
        #expect(recovered.damage.isEmpty, "\(what): \(recovered.damage)")
        last = max(last, recovered.manifest.coveredThrough)
        #expect(last >= promise.synced, "\(what): synced \(promise.synced), recovered \(last)")
        #expect(last.number <= UInt64(promise.slices.count), "\(what)")
        #expect(recovered.manifest.coveredThrough >= promise.covered, "\(what)")
        #expect(recovered.cursor.last == last, "\(what)")
        if let identity = promise.identity {
            #expect(recovered.manifest.identity == identity, "\(what)")
        }
        var model = StorageModel()
        for slice in promise.slices.prefix(Int(last.number)) { model.add(slice) }
        for partition in PartitionSet.all {
            var digest = memtable.stateDigest(of: partition)
            for table in recovered.tables { digest.merge(table.stateDigest(of: partition)) }
            #expect(digest == model.digest(of: partition), "\(what): \(partition)")
        }
        let contents = crashed.contents
        let again = try Recovery.open(crashed, options: options) { _, _ in }
        #expect(crashed.contents == contents, "\(what): a second recovery changed bytes")
        #expect(again.cursor == recovered.cursor, "\(what)")
        #expect(again.manifest == recovered.manifest, "\(what)")
    }

    /// How many operations the whole script takes.
    static func operations(seed: UInt64) -> Int {
        let files = MemoryFileSystem()
        _ = script(files, seed: seed)
        return files.operations
    }

    @Test("after a power cut at any operation: synced ⊆ recovered ⊆ appended, and twice the same")
    func everyOperation() throws {
        var random = RandomSource(seed: 41)
        let seed: UInt64 = 42
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
                    try Self.check(crashed, promise, "operation \(operation), \(data), \(names)")
                }
            }
        }
    }

    @Test("a power cut during the recovery itself changes nothing of that")
    func nested() throws {
        var random = RandomSource(seed: 43)
        let seed: UInt64 = 44
        let total = Self.operations(seed: seed)
        for operation in stride(from: 5, to: total, by: 11) {
            let files = MemoryFileSystem()
            files.fail(at: operation, with: .inputOutput, onward: true)
            let promise = Self.script(files, seed: seed)
            files.clearFaults()
            let crashed = files.crash(&random)
            for inner in 0..<40 {
                let second = crashed.clone()
                second.fail(at: second.operations + inner, with: .inputOutput, onward: true)
                let recovered = try? Recovery.open(second, options: StorageModel.options) { _, _ in
                }
                second.clearFaults()
                try Self.check(
                    second.crash(&random), promise, "operation \(operation), then \(inner)")
                if recovered != nil { break }
            }
        }
    }

    @Test("a single failed operation ends in an error or is harmless, and then recovers clean")
    func singleFaults() throws {
        var random = RandomSource(seed: 45)
        let seed: UInt64 = 46
        let total = Self.operations(seed: seed)
        for fault in [MemoryFileSystem.Fault.inputOutput, .diskFull, .shortWrite] {
            for operation in 0..<total {
                let files = MemoryFileSystem()
                files.fail(at: operation, with: fault)
                let promise = Self.script(files, seed: seed)
                files.clearFaults()
                try Self.check(files.crash(&random), promise, "operation \(operation), \(fault)")
            }
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
        let promise = script(files, seed: 50)
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
                try check(restarted, promise, "operation \(operation), \(loss)")
                try check(crashed, promise, "operation \(operation), \(loss)")
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
        for operation in 0..<Self.operations(seed: 50) {
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
            let promise = Self.script(files, seed: 50)
            let restarted = files.clone()
            restarted.fail(at: restarted.operations + inner, with: .inputOutput)
            do {
                _ = try Recovery.open(restarted, options: StorageModel.options) { _, _ in }
            } catch {
                #expect(!error.description.isEmpty)
            }
            restarted.clearFaults()
            try Self.check(restarted.clone(), promise, "operation \(inner) of the start")
            try Self.check(restarted.crash(&random), promise, "operation \(inner) of the start")
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
