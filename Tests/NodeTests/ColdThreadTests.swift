import Core
import Logging
import Node
import NodeCore
import Storage
import Synchronization
import Testing
import Wire

/// Passes on to the memory's files; whatever is cold can be made to hang, as a mount does whose
/// server is gone.
private final class HangingCold: FileSystem {
    struct Gate {
        var isClosed = false
        /// Calls that hang now.
        var hanging = 0
    }

    private let memory = MemoryFileSystem()
    let gate = Monitor(Gate())

    private func pass(_ path: String) { Self.pass(path, gate) }

    static func pass(_ path: String, _ gate: Monitor<Gate>) {
        guard FileNames.isCold(path) else { return }
        gate.broadcast { $0.hanging += 1 }
        let _: Bool? = gate.wait { $0.isClosed ? nil : true }
        gate.broadcast { $0.hanging -= 1 }
    }

    func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StoredFile {
        pass(path)
        return File(try memory.open(path, mode), gate)
    }

    func list(_ directory: String) throws(StorageError) -> [String] {
        pass(directory)
        return try memory.list(directory)
    }

    func rename(_ path: String, to target: String) throws(StorageError) {
        pass(path)
        try memory.rename(path, to: target)
    }

    func remove(_ path: String) throws(StorageError) {
        pass(path)
        try memory.remove(path)
    }

    func link(_ path: String, as target: String) throws(StorageError) {
        pass(path)
        try memory.link(path, as: target)
    }

    func removeDirectory(_ path: String) throws(StorageError) {
        pass(path)
        try memory.removeDirectory(path)
    }

    func createDirectory(_ path: String) throws(StorageError) {
        pass(path)
        try memory.createDirectory(path)
    }

    func syncDirectory(_ path: String) throws(StorageError) {
        pass(path)
        try memory.syncDirectory(path)
    }

    private final class File: StoredFile {
        private let file: any StoredFile
        private let gate: Monitor<Gate>

        init(_ file: any StoredFile, _ gate: Monitor<Gate>) {
            self.file = file
            self.gate = gate
        }

        var path: String { file.path }

        func size() throws(StorageError) -> UInt64 { try file.size() }

        func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
            HangingCold.pass(path, gate)
            return try file.read(at: offset, count: count)
        }

        func write(_ pieces: [[UInt8]], at offset: UInt64) throws(StorageError) {
            HangingCold.pass(path, gate)
            try file.write(pieces, at: offset)
        }

        func truncate(to size: UInt64) throws(StorageError) { try file.truncate(to: size) }

        func sync() throws(StorageError) {
            HangingCold.pass(path, gate)
            try file.sync()
        }
    }
}

/// A cold disk that hangs holds threads of its own and no others.
@Suite("Threads of the cold disk") struct ColdThreadTests {
    static let options = {
        var options = StorageOptions(digestKey: SipKey(low: 1, high: 2))
        options.hasColdTier = true
        return options
    }()
    static let partition = PartitionID(0)
    private static let partitions = PartitionSet([partition])
    static let key = Array("key".utf8)
    /// Of the cold table; the hot one's come later.
    private static let coldWindow: Int64 = 20_000_000
    private static let hotWindow: Int64 = 24_000_000

    /// Longer than a machine that is busy with other tests takes, and not for ever.
    private static var deadline: Instant { SystemClock.monotonic + .seconds(120) }

    private struct Fixture {
        let files = HangingCold()
        let runtime: NodeRuntime
        let inputs = Monitor<[Input]>([])
        let cold: TableHandle
        let hot: TableHandle

        /// `jobs` are asked for at once, with ids from 1 on.
        init(_ jobs: @escaping @Sendable (_ cold: TableHandle, _ hot: TableHandle) -> [StorageJob])
            throws
        {
            _ = try Recovery.open(files, options: ColdThreadTests.options) { _, _ in }
            let runner = StorageRunner(fileSystem: files, options: ColdThreadTests.options)
            let old = try Self.table(1, at: ColdThreadTests.coldWindow, runner)
            hot = try Self.table(2, at: ColdThreadTests.hotWindow, runner)
            let move = TableCompaction(
                [old], id: 3, to: .cold(ColdClaim(hostID: 7, isFirst: true)))
            var moved: TableHandle?
            while moved == nil {
                guard
                    case .compacting(_, let table) = try runner.run(.compact(move, bytes: 1 << 20))
                        .get()
                else { throw Unexpected() }
                moved = table
            }
            cold = try #require(moved)
            runtime = NodeRuntime(
                runner: runner, peers: NoPeers(), metrics: NodeMetrics(),
                logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
                onHalt: { Issue.record("halted: \($0)") })
            let writer = LogWriter(
                fileSystem: files, cursor: LogCursor(options: ColdThreadTests.options))
            let (inputs, all) = (inputs, jobs(cold, hot))
            runtime.start(writer: writer) { _ in
                ScriptedMachine(inputs: inputs) { input in
                    guard case .connected = input else { return [] }
                    return all.enumerated().map { .run(JobID(UInt64($0.offset) + 1), $0.element) }
                }
            }
        }

        struct Unexpected: Error {}

        /// A table of one cell.
        static func table(
            _ id: UInt64, at window: Int64, _ runner: StorageRunner
        ) throws -> TableHandle {
            let frozen = try ColdThreadTests.frozen(at: window)
            guard
                case .tables(let tables) = try runner.run(.writeTables(frozen, firstID: id)).get()
            else { throw Unexpected() }
            return try #require(tables.first)
        }

        func begin() {
            files.gate.withLock { $0.isClosed = true }
            _ = runtime.inbox.offer(.connected(NodeID("n2")))
        }

        /// The ids of jobs that are done; `isFailed`: of those that failed.
        func done(isFailed: Bool = false) -> Set<UInt64> {
            inputs.withLock { Self.done($0, isFailed) }
        }

        private static func done(_ inputs: [Input], _ isFailed: Bool) -> Set<UInt64> {
            var ids: Set<UInt64> = []
            for input in inputs {
                guard case .completed(let id, let result) = input else { continue }
                switch result {
                case .success: if !isFailed { ids.insert(id.number) }
                case .failure: if isFailed { ids.insert(id.number) }
                }
            }
            return ids
        }

        /// Whether so many jobs come to such an end in time.
        func waits(isFailed: Bool = false, for isEnough: (Set<UInt64>) -> Bool) -> Bool {
            inputs.wait(until: ColdThreadTests.deadline) { inputs in
                isEnough(Self.done(inputs, isFailed)) ? true : nil
            } ?? false
        }

        /// Lets the cold disk go on, and waits until all is done.
        func end() {
            files.gate.broadcast { $0.isClosed = false }
            runtime.stop(by: ColdThreadTests.deadline)
        }
    }

    /// One cell.
    static func frozen(at window: Int64) throws -> FrozenMemtable {
        var writer = SliceWriter()
        key.withUnsafeBytes { key in
            Array("view".utf8).withUnsafeBytes {
                writer.beginSeries(key: key, type: $0, cells: 1)
            }
        }
        writer.append(window: window, count: 5)
        var memtable = Memtable(
            partitions: 1, digestKey: options.digestKey, window: .minute, bytesMax: 1 << 20)
        try writer.bytes().withUnsafeBytes { try memtable.apply(slice: $0, partition: partition) }
        return memtable.freeze(through: LSN(1))
    }

    @Test("commits, flushes and reads of hot tables end while every job of the cold disk hangs")
    func hangs() throws {
        let flushed = try Self.frozen(at: Self.hotWindow + 1)
        let fixture = try Fixture { cold, hot in
            let query = SeriesQuery(partition: Self.partition, key: Self.key)
            var recent = query
            recent.from = Self.hotWindow
            let both = TableSnapshot(tables: [cold, hot])
            let all = ScanAggregate(ScanSpec(partitions: Self.partitions, output: .totalsByKey))
            let later = ColdClaim(hostID: 7, isFirst: false)
            return [
                .removeTables(["cold/77.sst"]), .copyCells([cold], Self.partitions, .start),
                .compact(TableCompaction([cold], id: 30, to: .cold(later)), bytes: 1 << 20),
                .removeTables(["cold/78.sst"]),
                .series(query, both, base: []), .scan(both, base: all),
                .series(query, both, base: []),
                // From here on they are of the hot disk, though one names the cold table.
                .series(recent, both, base: []), .commit(ManifestEdit()),
                .writeTables(flushed, firstID: 20), .removeLogs(before: 0), .readLog([]),
                .copyCells([hot], Self.partitions, .start), .removeTables(["sstables/79.sst"]),
            ]
        }
        fixture.begin()
        let hot = Set<UInt64>(8...14)
        #expect(fixture.waits { $0.isSuperset(of: hot) })
        #expect(fixture.done() == hot)
        #expect(fixture.done(isFailed: true).isEmpty)
        // All that may hang does: the hot jobs ended beside it.
        let threads = RuntimeLimits.coldReadThreads + RuntimeLimits.coldFileThreads
        let hanging: Bool? = fixture.files.gate.wait(until: Self.deadline) {
            $0.hanging == threads ? true : nil
        }
        #expect(hanging == true)
        fixture.files.gate.broadcast { $0.isClosed = false }
        #expect(fixture.waits { $0.count == 14 })
        fixture.end()
    }

    @Test("of reads that the cold disk keeps waiting so many wait, and no more")
    func readsAtTheBound() throws {
        let spare = 10
        let most = RuntimeLimits.coldReadsMax + RuntimeLimits.coldReadThreads
        let fixture = try Fixture { cold, _ in
            let query = SeriesQuery(partition: Self.partition, key: Self.key)
            return Array(
                repeating: .series(query, TableSnapshot(tables: [cold]), base: []),
                count: most + spare)
        }
        fixture.begin()
        // More where the threads take their first only after the queue was full.
        #expect(fixture.waits(isFailed: true) { $0.count >= spare })
        #expect(fixture.done().isEmpty)
        fixture.files.gate.broadcast { $0.isClosed = false }
        #expect(fixture.waits { $0.count >= most - RuntimeLimits.coldReadThreads })
        fixture.end()
    }

    @Test("a stop does not wait for a disk that hangs as long as it may wait for others")
    func stops() throws {
        let fixture = try Fixture { cold, _ in [.copyCells([cold], Self.partitions, .start)] }
        fixture.begin()
        let isHanging: Bool? = fixture.files.gate.wait(until: Self.deadline) {
            $0.hanging == 1 ? true : nil
        }
        #expect(isHanging == true)
        let began = SystemClock.monotonic
        fixture.runtime.stop(by: began + .seconds(3600))
        #expect(SystemClock.monotonic - began < .seconds(1800))
        #expect(fixture.done().isEmpty)
        fixture.files.gate.broadcast { $0.isClosed = false }
    }
}
