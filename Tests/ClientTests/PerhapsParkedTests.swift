import Client
import Core
import Storage
import Testing

/// At ANY a node may hold a copy of a batch of which its producer never heard, and count it under
/// another id once the batch's time has closed.
@Suite("A batch that a node may have parked")
struct PerhapsParkedTests {
    private static let closed = ScriptedCluster.problem(
        410, outcome: "not-counted", fields: "\"final\": true, ")
    private static let closedStatus = status(#""outcome": "not-counted", "final": true"#)

    private static func status(_ fields: String) -> ScriptedCluster.Answer {
        .reply(HTTPReply(status: 200, body: Array("{\(fields)}".utf8)))
    }

    private func spool(_ disk: MemoryFileSystem = MemoryFileSystem()) throws -> Spool {
        try Spool(
            MemorySpool(disk: disk), directory: "d", producer: 42,
            bounds: SpoolJournal.Bounds())
    }

    private func producer(
        _ cluster: ScriptedCluster, _ spool: Spool?, time: ScriptedTime = ScriptedTime(),
        _ change: (inout ProducerOptions) -> Void = { _ in }
    ) -> Producer {
        var options = ProducerOptions()
        options.batchAge = nil
        options.consistency = .any
        options.inFlight = 1
        options.failureRule = .stop
        change(&options)
        return Producer(client: cluster.client(), options: options, spool: spool, time: time.time)
    }

    private func posted(_ cluster: ScriptedCluster) async -> [String] {
        await cluster.requests.compactMap { $0.header("Quipu-Sequence") }
    }

    private func expectUnknown(_ report: SendReport, _ sequence: UInt64) {
        #expect(report.failures.map(\.sequence) == [sequence])
        guard case .unknown(let reason) = report.failures.first?.outcome else {
            Issue.record("\(report.failures)")
            return
        }
        #expect(reason.contains("quipu batch") && reason.contains("quipu dlq list"))
    }

    @Test("from an earlier run: it is not sealed anew when its time closed, and holds up no other")
    func earlierRun() async throws {
        let cluster = ScriptedCluster { request, _ in
            switch request.header("Quipu-Sequence") {
            case "0": Self.closed
            case nil: Self.closedStatus
            default: ScriptedCluster.counted(1)
            }
        }
        let disk = MemoryFileSystem()
        _ = try await spool(disk).seal(
            BatchDraft(body: Array("{}\n".utf8), contentType: "application/x-ndjson", events: 1),
            target: "/v1/events?consistency=ANY&type=a", createdAt: WallTime(milliseconds: 1))
        let spool = try spool(disk)
        let producer = producer(cluster, spool)
        try await producer.append("{\"a\":2}")
        let report = try await producer.finish()
        expectUnknown(report, 0)
        #expect(report.counted == 1)
        let bodies = await cluster.requests.filter { $0.call.body == Array("{}\n".utf8) }
        #expect(bodies.allSatisfy { $0.header("Quipu-Sequence") == "0" }, "it was sealed anew")
        #expect(Set(await posted(cluster)) == ["0", "1"])
        #expect(await spool.held == [0])
        // All nodes were asked: the one that parked it would know.
        let asked = await cluster.requests.filter { $0.call.method == .get }
        #expect(Set(asked.map(\.node)) == Set(ScriptedCluster.nodes))
    }

    @Test("without an answer to its first attempt: the node that counted its copy is believed")
    func countedElsewhere() async throws {
        let last = ScriptedCluster.nodes[2]
        let counts = #""outcome": "counted", "final": true, "events": 1, "counted": 1, "dead": 0"#
        let cluster = ScriptedCluster { request, number in
            if request.call.method == .get {
                return request.node == last ? Self.status(counts) : Self.closedStatus
            }
            return number == 0 ? .failure(.timedOut) : Self.closed
        }
        let spool = try spool()
        let producer = producer(cluster, spool)
        try await producer.append("{}")
        let report = try await producer.finish()
        #expect((report.counted, report.failures.count) == (1, 0))
        #expect(Set(await posted(cluster)) == ["0"])
        #expect(await spool.held.isEmpty)
    }

    @Test("and a node says that it keeps it: that is no outcome, and no question is repeated")
    func keptParked() async throws {
        let time = ScriptedTime()
        let cluster = ScriptedCluster { request, number in
            if request.call.method == .get {
                return Self.status(#""outcome": "unknown", "final": false, "parked": true"#)
            }
            return ScriptedCluster.problem(410, outcome: "unknown", fields: "\"final\": false, ")
        }
        let spool = try spool()
        let producer = producer(cluster, spool, time: time)
        try await producer.append("{}")
        let report = try await producer.finish()
        expectUnknown(report, 0)
        // Sent once, asked for once, and at the end at every node.
        #expect(await cluster.requests.count == 2 + ScriptedCluster.nodes.count)
        #expect(time.now < .zero + .seconds(10), "it was asked for again and again")
    }

    @Test("and is not too old yet, is sent again, and ends parked")
    func young() async throws {
        let time = ScriptedTime()
        let cluster = ScriptedCluster { request, number in
            if request.call.method == .get {
                return Self.status(#""outcome": "unknown", "final": false, "parked": true"#)
            }
            guard number < 60 else { return ScriptedCluster.parked(1) }
            time.move(by: .seconds(2))
            return ScriptedCluster.problem(504, outcome: "unknown")
        }
        let spool = try spool()
        let producer = producer(cluster, spool, time: time) { $0.failureRule = .goOn }
        try await producer.append("{}")
        try await producer.flush()
        for _ in 0..<100_000 where await producer.metrics().report.batches == 0 {
            await Task.yield()
        }
        let report = try await producer.finish()
        #expect((report.parked, report.failures.count) == (1, 0))
        #expect(await producer.metrics().timeouts > 0)
        #expect(Set(await posted(cluster)) == ["0"])
    }

    @Test("is none that no attempt can have brought to a node: that one is sealed anew")
    func neverArrived() async throws {
        let cluster = ScriptedCluster { request, number in
            if request.header("Quipu-Sequence") != "0" { return ScriptedCluster.counted(1) }
            switch number {
            case 0: return .failure(.notConnected("refused"))
            case 1: return ScriptedCluster.problem(503, outcome: "not-attempted")
            default: return Self.closed
            }
        }
        let producer = producer(cluster, try spool())
        try await producer.append("{}")
        let report = try await producer.finish()
        #expect((report.counted, report.failures.count) == (1, 0))
        #expect(Set(await posted(cluster)) == ["0", "1"])
    }

    @Test("is never called finally not counted, with a spool or without one")
    func withoutSpool() async throws {
        let cluster = ScriptedCluster { request, number in
            if request.call.method == .get { return Self.closedStatus }
            return number == 0 ? .failure(.broken("reset")) : Self.closed
        }
        let producer = producer(cluster, nil)
        try await producer.append("{}")
        expectUnknown(try await producer.finish(), 0)
    }

    @Test("is one whose own request asks for ANY, whatever its sender asks for now")
    func level() {
        let cases = [
            ("/v1/events?consistency=ANY", true), ("/v1/events?consistency=ANY&type=a", true),
            ("/v1/events?type=a&consistency=ANY", true), ("/v1/events?consistency=QUORUM", false),
            ("/v1/events?type=consistency%3DANY", false), ("/v1/events", false), ("", false),
        ]
        for (target, mayBeParked) in cases {
            let batch = SealedBatch(
                id: BatchID(producer: 42, sequence: 0), createdAt: WallTime(milliseconds: 0),
                contentType: "t", target: target, body: [], events: 0)
            #expect(batch.mayBeParked == mayBeParked, "\(target)")
        }
        // Below ANY "closed without it" is final, also in doubt.
        var quorum = BatchAttempts(deadline: .zero + .seconds(60), nodes: 3)
        _ = quorum.record(AttemptResult(failure: .timedOut))
        #expect(quorum.record(.closedWithout("x")) == .finished(.notCounted("x")))
        #expect(quorum.mayBeSealedAnew)
        #expect(quorum.record(.keptParked("x")) == .ask)
        var any = BatchAttempts(deadline: .zero + .seconds(60), nodes: 3, mayBeParked: true)
        _ = any.record(AttemptResult(failure: .timedOut))
        guard case .finished(.unknown) = any.record(.closedWithout("x")) else {
            Issue.record("a batch that may be parked ended as not counted")
            return
        }
        #expect(any.isPerhapsParked && !any.mayBeSealedAnew)
    }
}
