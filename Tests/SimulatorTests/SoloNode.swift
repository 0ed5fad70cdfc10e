import Core
import NodeCore
import Replication
import Ring
import Storage
import Wire

/// One node whose disk obeys at once, and a peer that is polite and holds nothing: for what a whole
/// simulation is too much. Replication factor 1, so that the node needs nobody to count.
final class SoloNode {
    static let key = SipKey(low: 11, high: 12)
    var core: NodeMachine
    let runner: StorageRunner
    let disk: MemoryFileSystem
    static let peer = NodeID("n2")
    private var writer: LogWriter
    private var appended = LSN.zero
    private var now: Now
    private(set) var replies: [RequestID: ClientResponse] = [:]
    private(set) var reports: [Report] = []
    private(set) var halted: String?
    private(set) var jobs: [StorageJob] = []
    private(set) var lastRecord: BatchRecord?
    /// Jobs wait while it is set.
    var holdsJobs = false
    private var held: [(JobID, StorageJob)] = []

    init(
        partitions: Int = 4, logFileMax: UInt64 = 64 << 20, release: ReleasePolicy? = nil,
        isAlone: Bool = false, cold: ColdPolicy? = nil
    ) throws {
        let members = ([NodeID("n1")] + (isAlone ? [] : [Self.peer])).map {
            CoreConfiguration.Member(
                node: $0, http: "\($0):80", peer: "\($0):70", dc: "dc1", rack: "r1")
        }
        var configuration = CoreConfiguration(
            node: NodeID("n1"), clusterName: "solo", members: members, partitions: partitions,
            replication: .everywhere(1), digestKey: Self.key)
        configuration.release = release
        configuration.cold = cold
        if isAlone {
            // Segments close soon.
            configuration.horizon = .seconds(4)
            configuration.segmentLength = .seconds(2)
            configuration.clockSkewMax = .milliseconds(500)
        }
        disk = MemoryFileSystem()
        now = Now(
            monotonic: Instant.zero + .seconds(1), wall: WallTime(milliseconds: 1_767_225_600_000))
        var start = try NodeStart(
            configuration, ring: configuration.ring(), fileSystem: disk,
            options: StorageOptions(digestKey: Self.key, logFileMax: logFileMax), hostID: 1,
            nonce: 2, wall: now.wall)
        runner = start.runner
        let cursor = start.recovered.cursor
        var effects: [Effect] = []
        core = NodeMachine(configuration, start: &start, seed: 3, now: now, into: &effects)
        writer = LogWriter(fileSystem: disk, cursor: cursor)
        try carry(effects)
        if !isAlone { try handle(.connected(Self.peer)) }
        try wait(.seconds(2))
    }

    /// The partitions of this node.
    var mine: PartitionSet { core.ring.partitions(of: NodeID("n1")) }

    func handle(_ input: Input) throws {
        var effects: [Effect] = []
        core.handle(input, at: now, into: &effects)
        try carry(effects)
    }

    func wait(_ duration: Duration) throws {
        let end = now.monotonic + duration
        while now.monotonic < end {
            now.monotonic = now.monotonic + .milliseconds(20)
            now.wall = now.wall + .milliseconds(20)
            try handle(.tick)
        }
    }

    func ask(_ request: ClientRequest, _ number: UInt64, within: Duration) throws {
        try handle(.request(RequestID(number), request, deadline: now.monotonic + within))
    }

    func releaseJobs() throws {
        holdsJobs = false
        let waiting = held
        held = []
        for (id, job) in waiting { try handle(.completed(id, runner.run(job))) }
    }

    private func carry(_ effects: [Effect]) throws {
        for effect in effects {
            switch effect {
            case .append(let append):
                try writer.append([append])
                appended = append.lsn
            case .sync:
                try writer.sync()
                try handle(.logSynced(through: appended))
            case .run(let id, let job):
                jobs.append(job)
                if holdsJobs {
                    held.append((id, job))
                } else {
                    try handle(.completed(id, runner.run(job)))
                }
            case .reply(let request, let response): replies[request] = response
            case .report(let report): reports.append(report)
            case .halt(let reason), .condemn(let reason): halted = reason
            case .send(.replication(let message), Self.peer): try answer(message)
            case .send, .park: break
            }
        }
    }

    private func answer(_ message: ReplicationMessage) throws {
        let reply: ReplicationMessage
        switch message {
        case .hello(let hello):
            reply = .helloReply(HelloReply(tag: hello.tag, incarnation: .none, remembers: .none))
        case .remember(let tag, _): reply = .remembered(tag, AbsenceRegister())
        default: return
        }
        try handle(.message(.replication(reply), from: Self.peer))
    }

    /// Sends a batch of one event to a partition of this node and waits for its answer.
    func send(_ number: UInt64) throws {
        let mine = mine
        let ring = core.ring
        let partition = mine.sorted()[0]
        var sequence = number * 100
        while !mine.contains(ring.home(of: BatchID(producer: 5, sequence: sequence))) {
            sequence += 1
        }
        let id = BatchID(producer: 5, sequence: sequence)
        var writer = SliceWriter()
        [UInt8(1)].withUnsafeBytes { key in
            [UInt8(2)].withUnsafeBytes { writer.beginSeries(key: key, type: $0, cells: 1) }
        }
        writer.append(window: 29_400_000, count: 1)
        let cells = writer.bytes()
        let record = BatchRecord.home(
            header: BatchHeader(
                id: id, createdAt: now.wall, contentHash: Hash128(UInt128(sequence)), rule: .first),
            home: ring.home(of: id), totals: BatchTotals(events: 1, counted: 1, dead: 0),
            slices: [(partition: partition, offset: 0, length: cells.count, cells: 1)],
            cells: cells, deadLetters: [])
        lastRecord = record
        try ask(.write(record, consistency: .quorum), 1000 + number, within: .seconds(5))
        try wait(.milliseconds(40))
    }
}
