import Core
import Gossip
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
    /// As their producer keeps them to retry.
    private(set) var sent: [UInt64: BatchRecord] = [:]
    /// Home records that the peer was sent.
    private(set) var bindsSent = 0
    /// By which the peer was sent slices.
    private(set) var slicesSent: [Replication.Tag] = []
    /// What the peer was answered to what it wanted held.
    private(set) var bindAnswers: [BindAnswer] = []
    /// Of what the peer tells of itself; 0 while it is silent.
    private var peerVersion: UInt64 = 0
    /// Jobs wait while it is set.
    var holdsJobs = false
    /// Jobs that never end, as on a mount that hangs.
    var hangs: (StorageJob) -> Bool = { _ in false }
    private var held: [(JobID, StorageJob)] = []

    init(
        outcomeRetention: Duration? = nil,
        partitions: Int = 4, logFileMax: UInt64 = 64 << 20, release: ReleasePolicy? = nil,
        isAlone: Bool = false, cold: ColdPolicy? = nil, letterBytesMax: UInt64? = nil,
        memtableBytesMax: Int? = nil, scanBytesMax: Int? = nil, verifyStepBytes: Int? = nil,
        scrubBytesPerSecond: Int? = nil, logIndex: LogIndexPolicy? = nil, sessionsMax: Int? = nil
    ) throws {
        let members = ([NodeID("n1")] + (isAlone ? [] : [Self.peer])).map {
            CoreConfiguration.Member(
                node: $0, http: "\($0):80", peer: "\($0):70", dc: "dc1", rack: "r1")
        }
        var configuration = CoreConfiguration(
            node: NodeID("n1"), clusterName: "solo", members: members, partitions: partitions,
            replication: .everywhere(1), digestKey: Self.key)
        if let outcomeRetention { configuration.outcomeRetention = outcomeRetention }
        configuration.release = release
        configuration.logIndex = logIndex
        configuration.cold = cold
        configuration.letterBytesMax = letterBytesMax
        if let sessionsMax { configuration.sessionsMax = sessionsMax }
        if let memtableBytesMax { configuration.memtableBytesMax = memtableBytesMax }
        if let scanBytesMax { configuration.scanBytesMax = scanBytesMax }
        if let verifyStepBytes { configuration.verifyStepBytes = verifyStepBytes }
        if let scrubBytesPerSecond { configuration.scrubBytesPerSecond = scrubBytesPerSecond }
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
        // What it has begun goes on at once.
        if case .tick = input { return }
        if core.nextDeadline <= now.monotonic { try handle(.tick) }
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

    func forget(_ request: RequestID) { replies[request] = nil }

    func releaseJobs() throws {
        holdsJobs = false
        let waiting = held
        held = []
        for (id, job) in waiting { try handle(.completed(id, runner.run(job))) }
    }

    /// Jobs that wait come to this.
    func failJobs(_ error: StorageError) throws {
        holdsJobs = false
        let waiting = held
        held = []
        for (id, _) in waiting { try handle(.completed(id, .failure(error))) }
    }

    /// Jobs go on waiting.
    func releaseOneJob() throws {
        let (id, job) = held.removeFirst()
        try handle(.completed(id, runner.run(job)))
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
                if hangs(job) { continue }
                if holdsJobs {
                    held.append((id, job))
                } else {
                    try handle(.completed(id, runner.run(job)))
                }
            case .reply(let request, let response): replies[request] = response
            case .report(let report): reports.append(report)
            case .halt(let reason), .condemn(let reason): halted = reason
            case .send(.replication(let message), Self.peer),
                .send(.awaited(let message, _), Self.peer):
                try answer(message)
            case .send(.gossip(.probe(let nonce)), Self.peer) where peerVersion > 0:
                let answer = GossipMessage.probeAnswer(
                    nonce: nonce, generation: Self.peerGeneration, wall: now.wall)
                try handle(.message(.gossip(answer), from: Self.peer))
            case .send, .park: break
            }
        }
    }

    private static let peerGeneration: Int64 = 1_767_225_000

    /// The peer is up, and tells this of itself.
    func hear(_ values: [GossipKey: String]) throws {
        // News of it is what lets it be probed, half a second after the last time.
        for _ in 0..<2 {
            var told: [GossipValue] = []
            for (key, text) in values.sorted(by: { $0.key < $1.key }) {
                peerVersion += 1
                told.append(GossipValue(key: key, version: peerVersion, text: text))
            }
            peerVersion += 1
            let delta = EndpointDelta(
                node: Self.peer, generation: Self.peerGeneration, heartbeat: peerVersion,
                after: 0, values: told)
            try handle(.message(.gossip(.ack2(deltas: [delta])), from: Self.peer))
            try wait(.milliseconds(700))
        }
    }

    private func answer(_ message: ReplicationMessage) throws {
        let reply: ReplicationMessage
        if case .bind = message { bindsSent += 1 }
        if case .applySlices(let tag, _) = message { slicesSent.append(tag) }
        if case .bindReply(let reply) = message { bindAnswers.append(reply.answer) }
        switch message {
        case .hello(let hello):
            reply = .helloReply(HelloReply(tag: hello.tag, incarnation: .none, remembers: .none))
        case .remember(let tag, _): reply = .remembered(tag, AbsenceRegister())
        default: return
        }
        try handle(.message(.replication(reply), from: Self.peer))
    }

    /// The id of a batch whose home this node is, or the peer.
    func id(_ number: UInt64, atPeer: Bool = false) -> BatchID {
        let mine = mine
        let ring = core.ring
        var sequence = number * 100
        while mine.contains(ring.home(of: BatchID(producer: 5, sequence: sequence))) == atPeer {
            sequence += 1
        }
        return BatchID(producer: 5, sequence: sequence)
    }

    /// Sends a batch of one event to a partition of this node, beside these letters, and waits for
    /// its answer.
    func send(_ number: UInt64, letters: [DeadLetter] = [], atPeer: Bool = false) throws {
        let record = record(number, letters: letters, atPeer: atPeer)
        lastRecord = record
        sent[number] = record
        try ask(.write(record, consistency: .quorum), 1000 + number, within: .seconds(5))
        try wait(.milliseconds(40))
    }

    /// A batch of one event of a key in a partition of this node, or of the peer.
    func record(
        _ number: UInt64, letters: [DeadLetter] = [], atPeer: Bool = false, key: [UInt8] = [1],
        inPartitionOfPeer: Bool = false
    ) -> BatchRecord {
        let partition =
            (inPartitionOfPeer ? core.ring.partitions(of: Self.peer) : mine).sorted()[0]
        let id = id(number, atPeer: atPeer)
        var writer = SliceWriter()
        key.withUnsafeBytes { key in
            [UInt8(2)].withUnsafeBytes { writer.beginSeries(key: key, type: $0, cells: 1) }
        }
        writer.append(window: 29_400_000, count: 1)
        let cells = writer.bytes()
        return BatchRecord.home(
            header: BatchHeader(
                id: id, createdAt: now.wall, contentHash: Hash128(UInt128(id.sequence)),
                rule: .first),
            home: core.ring.home(of: id),
            totals: BatchTotals(
                events: UInt32(letters.count + 1), counted: 1, dead: UInt32(letters.count)),
            slices: [(partition: partition, offset: 0, length: cells.count, cells: 1)],
            cells: cells, deadLetters: letters)
    }

    /// Purges a letter of a batch that `send` sent under this number, as an operator would.
    func retire(_ number: UInt64, line: UInt32, as purge: UInt64) throws {
        let letter = LetterID(batch: id(number), line: line)
        var writer = SliceWriter()
        RetirementMark.key(of: letter).withUnsafeBytes { key in
            RetirementMark.type.withUnsafeBytes {
                writer.beginSeries(key: key, type: $0, cells: 1)
            }
        }
        writer.append(window: 29_420_000, count: 1)
        let cells = writer.bytes()
        let ring = core.ring
        let id = id(purge)
        let record = BatchRecord.home(
            header: BatchHeader(
                id: id, createdAt: now.wall, contentHash: Hash128(UInt128(id.sequence)),
                rule: .retirement),
            home: ring.home(of: id), totals: BatchTotals(events: 1, counted: 1, dead: 0),
            slices: [
                (
                    partition: ring.home(of: letter.batch), offset: 0, length: cells.count,
                    cells: 1
                )
            ], cells: cells, deadLetters: [])
        try ask(.write(record, consistency: .quorum), 1000 + purge, within: .seconds(5))
        try wait(.milliseconds(40))
    }
}
