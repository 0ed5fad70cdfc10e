import Core
import Logging
import Node
import NodeCore
import Replication
import Storage
import Synchronization
import Testing

/// A machine that notes its inputs and does what its script says for each.
struct ScriptedMachine: CoreMachine {
    let inputs: Monitor<[Input]>
    let script: @Sendable (Input) -> [Effect]

    mutating func handle(_ input: Input, at now: Now, into effects: inout [Effect]) {
        effects += script(input)
        inputs.broadcast { $0.append(input) }
    }

    var nextDeadline: Instant { Instant(nanoseconds: .max) }

    func view(at now: Now) -> NodeView {
        preconditionFailure("no test asks a scripted machine for its view")
    }

    mutating func leave(into effects: inout [Effect]) {
        effects.append(.report(.waiting("left")))
    }
}

final class NoPeers: PeerSending {
    let sent = Mutex<[NodeID]>([])

    func send(_ message: PeerMessage, to node: NodeID) -> Bool {
        sent.withLock { $0.append(node) }
        return true
    }
}

/// Passes on to the memory's files, and holds syncs back, or lets them fail.
final class GatedFiles: FileSystem {
    private let memory = MemoryFileSystem()
    let gate = Monitor(Gate())
    let failDirectorySyncs = Mutex(false)

    struct Gate {
        var isClosed = false
        var fails = false
        var begun = 0
    }

    func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StoredFile {
        GatedFile(try memory.open(path, mode), gate)
    }

    func list(_ directory: String) throws(StorageError) -> [String] {
        try memory.list(directory)
    }

    func rename(_ path: String, to target: String) throws(StorageError) {
        try memory.rename(path, to: target)
    }

    func remove(_ path: String) throws(StorageError) {
        try memory.remove(path)
    }

    func link(_ path: String, as target: String) throws(StorageError) {
        try memory.link(path, as: target)
    }

    func removeDirectory(_ path: String) throws(StorageError) {
        try memory.removeDirectory(path)
    }

    func createDirectory(_ path: String) throws(StorageError) {
        try memory.createDirectory(path)
    }

    func syncDirectory(_ path: String) throws(StorageError) {
        if failDirectorySyncs.withLock({ $0 }) {
            throw .syncFailed(path: path, detail: "planted")
        }
        try memory.syncDirectory(path)
    }
}

final class GatedFile: StoredFile {
    private let file: any StoredFile
    private let gate: Monitor<GatedFiles.Gate>

    init(_ file: any StoredFile, _ gate: Monitor<GatedFiles.Gate>) {
        self.file = file
        self.gate = gate
    }

    var path: String { file.path }

    func size() throws(StorageError) -> UInt64 { try file.size() }

    func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
        try file.read(at: offset, count: count)
    }

    func write(_ pieces: [[UInt8]], at offset: UInt64) throws(StorageError) {
        try file.write(pieces, at: offset)
    }

    func truncate(to size: UInt64) throws(StorageError) { try file.truncate(to: size) }

    func sync() throws(StorageError) {
        gate.broadcast { $0.begun += 1 }
        let fails: Bool? = gate.wait { $0.isClosed ? nil : $0.fails }
        if fails == true { throw .syncFailed(path: path, detail: "planted") }
        try file.sync()
    }
}

@Suite struct RuntimeTests {
    private static let options = StorageOptions(digestKey: SipKey(low: 1, high: 2))

    private struct Fixture {
        let runtime: NodeRuntime
        let inputs = Monitor<[Input]>([])
        let files = GatedFiles()
        let peers = NoPeers()
        let reports = Monitor<[Report]>([])
        let halts = Monitor<[String]>([])

        init(_ script: @escaping @Sendable (Input, inout LogCursor) -> [Effect]) throws {
            try files.createDirectory("log")
            var logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
            logger.logLevel = .critical
            let reports = reports
            let halts = halts
            runtime = NodeRuntime(
                runner: StorageRunner(fileSystem: files, options: RuntimeTests.options),
                peers: peers, metrics: NodeMetrics(), logger: logger,
                onReport: { report in reports.broadcast { $0.append(report) } },
                onHalt: { reason in halts.broadcast { $0.append(reason) } })
            let cursor = Mutex(LogCursor(options: RuntimeTests.options))
            let writer = LogWriter(
                fileSystem: files, cursor: LogCursor(options: RuntimeTests.options))
            let inputs = inputs
            runtime.start(writer: writer) { _ in
                ScriptedMachine(inputs: inputs) { input in
                    cursor.withLock { script(input, &$0) }
                }
            }
        }

        func wait(_ found: ([Input]) -> Bool) {
            let _: Bool? = inputs.wait { found($0) ? true : nil }
        }

        var synced: [LSN] {
            inputs.withLock { inputs in
                inputs.compactMap { if case .logSynced(let lsn) = $0 { lsn } else { nil } }
            }
        }

        func stop() {
            runtime.stop(by: Instant(nanoseconds: .max))
        }
    }

    private static func isConnected(_ input: Input) -> Bool {
        if case .connected = input { true } else { false }
    }

    /// Each `connected` appends a record and wants it synced.
    private static func appending(_ input: Input, _ cursor: inout LogCursor) -> [Effect] {
        guard isConnected(input) else { return [] }
        return [.append(cursor.append(kind: 1, payload: [1, 2, 3])), .sync]
    }

    @Test("A request travels to the machine and its answer back")
    func request() async throws {
        let fixture = try Fixture { input, _ in
            guard case .request(let id, .flush, _) = input else { return [] }
            return [.reply(id, .flushed)]
        }
        let response = await fixture.runtime.request(
            .flush, deadline: SystemClock.monotonic + .seconds(60))
        guard case .flushed = response else {
            Issue.record("another answer: \(response)")
            return
        }
        fixture.stop()
        // After the end nobody waits for ever.
        let late = await fixture.runtime.request(
            .flush, deadline: SystemClock.monotonic + .seconds(60))
        guard case .failed(.notReady) = late else {
            Issue.record("another answer: \(late)")
            return
        }
        #expect(await fixture.runtime.view() == nil)
    }

    @Test("A request that the machine forgets is ended by its deadline, and the machine is told")
    func forgotten() async throws {
        let fixture = try Fixture { _, _ in [] }
        let response = await fixture.runtime.request(.flush, deadline: .zero)
        guard case .failed(.timedOut) = response else {
            Issue.record("another answer: \(response)")
            return
        }
        fixture.wait { inputs in
            inputs.contains { if case .cancel = $0 { true } else { false } }
        }
        fixture.stop()
    }

    @Test("Records that gather while an fsync runs share the next one")
    func groups() throws {
        let fixture = try Fixture(Self.appending)
        fixture.files.gate.withLock { $0.isClosed = true }
        _ = fixture.runtime.inbox.offer(.connected(NodeID("n2")))
        let _: Bool? = fixture.files.gate.wait { $0.begun == 1 ? true : nil }
        for _ in 0..<20 { _ = fixture.runtime.inbox.offer(.connected(NodeID("n2"))) }
        fixture.wait { $0.count(where: Self.isConnected) == 21 }
        #expect(fixture.synced.isEmpty)
        // The effects of the last input are carried out before the runtime takes the next.
        _ = fixture.runtime.inbox.offer(.tick)
        fixture.wait { inputs in inputs.contains { if case .tick = $0 { true } else { false } } }
        fixture.files.gate.broadcast { $0.isClosed = false }
        let synced = fixture.inputs
        let _: Bool? = synced.wait { inputs in
            inputs.contains { if case .logSynced(LSN(21)) = $0 { true } else { false } }
                ? true : nil
        }
        #expect(fixture.synced == [LSN(1), LSN(21)])
        #expect(fixture.files.gate.withLock { $0.begun } == 2)
        fixture.stop()
    }

    @Test("A failed fsync ends the process: nothing is ever reported as synced")
    func failedSync() throws {
        let fixture = try Fixture(Self.appending)
        fixture.files.gate.withLock { $0.fails = true }
        _ = fixture.runtime.inbox.offer(.connected(NodeID("n2")))
        let _: Bool? = fixture.halts.wait { $0.isEmpty ? nil : true }
        #expect(fixture.halts.withLock { $0 }.first?.contains("planted") == true)
        _ = fixture.runtime.inbox.offer(.connected(NodeID("n2")))
        fixture.wait { $0.count(where: Self.isConnected) == 2 }
        fixture.stop()
        #expect(fixture.synced.isEmpty)
    }

    @Test("A job whose fsync fails is the machine's to judge: not every disk is the log's")
    func failedJob() throws {
        let fixture = try Fixture { input, _ in
            Self.isConnected(input) ? [.run(JobID(9), .removeTables(["cold/1.sst"]))] : []
        }
        fixture.files.failDirectorySyncs.withLock { $0 = true }
        _ = fixture.runtime.inbox.offer(.connected(NodeID("n2")))
        fixture.wait { inputs in
            inputs.contains { input in
                if case .completed(JobID(9), .failure(.syncFailed)) = input { true } else { false }
            }
        }
        #expect(fixture.halts.withLock { $0 }.isEmpty)
        fixture.stop()
    }

    @Test("Stopping writes and syncs what was appended without a sync")
    func stopSyncs() throws {
        let fixture = try Fixture { input, cursor in
            Self.isConnected(input) ? [.append(cursor.append(kind: 1, payload: [7]))] : []
        }
        _ = fixture.runtime.inbox.offer(.connected(NodeID("n2")))
        fixture.wait { $0.count == 1 }
        fixture.stop()
        #expect(fixture.files.gate.withLock { $0.begun } == 1)
        #expect(fixture.runtime.log.backlog == 0)
    }

    @Test(
        "Effects are carried out in their order, jobs come back as completions, a farewell is said")
    func effects() async throws {
        let fixture = try Fixture { input, _ in
            guard case .connected(let node) = input else { return [] }
            return [
                .report(.peerUp(node)), .send(.replication(.pulled(Tag(1))), to: node),
                .report(.peerDown(node)), .run(JobID(9), .readLog([])), .halt("enough"),
            ]
        }
        _ = fixture.runtime.inbox.offer(.connected(NodeID("n2")))
        fixture.wait { inputs in
            inputs.contains { if case .completed(JobID(9), .success) = $0 { true } else { false } }
        }
        await fixture.runtime.leave()
        #expect(
            fixture.reports.withLock { $0 }
                == [.peerUp(NodeID("n2")), .peerDown(NodeID("n2")), .waiting("left")])
        #expect(fixture.peers.sent.withLock { $0 } == [NodeID("n2")])
        #expect(fixture.halts.withLock { $0 } == ["enough"])
        fixture.stop()
    }
}
