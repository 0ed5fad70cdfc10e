import Client
import Core
import Synchronization
import Testing

@Suite("A producer")
struct ProducerTests {
    private func send(
        _ bodies: [String], to cluster: ScriptedCluster, options: ProducerOptions = .init(),
        time: ScriptedTime = ScriptedTime(), nodes: [NodeAddress] = ScriptedCluster.nodes
    ) async throws -> SendReport {
        let producer = Producer(
            client: cluster.client(nodes: nodes), options: options, time: time.time)
        for body in bodies {
            try await producer.submit(
                BatchDraft(
                    body: Array(body.utf8), contentType: "application/x-ndjson", events: 1))
        }
        return try await producer.finish()
    }

    @Test("resends the same bytes under the same id to the next node")
    func sameBytes() async throws {
        let cluster = ScriptedCluster { _, number in
            switch number {
            case 0: .failure(.broken("reset"))
            case 1: ScriptedCluster.problem(504, outcome: "unknown")
            default: ScriptedCluster.counted(1)
            }
        }
        let report = try await send(["{}\n"], to: cluster)
        let requests = await cluster.requests
        #expect(requests.count == 3)
        #expect(Set(requests.map(\.call)).count == 1, "an attempt differed from another")
        #expect(requests.map(\.node) == ScriptedCluster.nodes)
        #expect(requests[0].header("Quipu-Sequence") == "0")
        #expect(requests[0].header("Quipu-Producer") == "00000000-0000-0000-0000-00000000002a")
        #expect(requests[0].header("Quipu-Created") == "1767225600000")
        #expect(report.retries == 2)
        #expect(report.counted == 1)
        #expect(report.failures.isEmpty)
    }

    @Test("rotates batches over the nodes and counts sequences from 0")
    func rotation() async throws {
        let cluster = ScriptedCluster { _, _ in ScriptedCluster.counted(2, dead: 1) }
        var options = ProducerOptions()
        options.inFlight = 1
        let report = try await send(
            Array(repeating: "{}\n", count: 6), to: cluster, options: options)
        let requests = await cluster.requests
        #expect(requests.map(\.node) == ScriptedCluster.nodes + ScriptedCluster.nodes)
        #expect(requests.map { $0.header("Quipu-Sequence") } == (0..<6).map { "\($0)" })
        #expect((report.events, report.counted, report.dead, report.batches) == (12, 6, 6, 6))
    }

    @Test("never has more batches under way than it may")
    func inFlight() async throws {
        let cluster = ScriptedCluster { _, _ in ScriptedCluster.counted(1) }
        var options = ProducerOptions()
        options.inFlight = 3
        _ = try await send(Array(repeating: "{}\n", count: 40), to: cluster, options: options)
        #expect(await cluster.activeMax == 3)
        #expect(await cluster.requests.count == 40)
    }

    @Test("goes on over the two nodes that are left when one refuses connections")
    func failover() async throws {
        let dead = ScriptedCluster.nodes[1]
        let cluster = ScriptedCluster { request, _ in
            request.node == dead ? .failure(.notConnected("refused")) : ScriptedCluster.counted(1)
        }
        var options = ProducerOptions()
        options.inFlight = 1
        let report = try await send(
            Array(repeating: "{}\n", count: 60), to: cluster, options: options)
        #expect(report.counted == 60)
        let wasted = await cluster.requests.count { $0.node == dead }
        #expect(wasted < 12, "the breaker let \(wasted) of 20 requests through to a dead node")
    }

    @Test("a node that answers 504 after seconds does not keep its share of the batches")
    func halfIsolated() async throws {
        let time = ScriptedTime()
        let cut = ScriptedCluster.nodes[1]
        let cluster = ScriptedCluster { request, _ in
            guard request.node == cut else {
                time.move(by: .milliseconds(10))
                return ScriptedCluster.counted(1)
            }
            time.move(by: .seconds(5))
            return ScriptedCluster.problem(504, outcome: "unknown")
        }
        var options = ProducerOptions()
        options.inFlight = 1
        let report = try await send(
            Array(repeating: "{}\n", count: 120), to: cluster, options: options, time: time)
        #expect(report.counted == 120)
        let wasted = await cluster.requests.count { $0.node == cut }
        #expect(wasted == 1, "\(wasted) of 40 batches waited for a node that is cut off")
    }

    @Test("asks the next node at once when a connection fails, and waits once all have failed")
    func failoverAtOnce() async throws {
        for failure in [TransportFailure.notConnected("refused"), .broken("reset")] {
            let time = ScriptedTime()
            let nodes = ScriptedCluster.nodes
            let times = Mutex<[Instant]>([])
            let cluster = ScriptedCluster { _, number in
                times.withLock { $0.append(time.now) }
                return number <= nodes.count
                    ? .failure(failure) : ScriptedCluster.counted(1)
            }
            let report = try await send(["{}\n"], to: cluster, time: time)
            #expect(report.counted == 1)
            let turns = times.withLock { $0 }
            #expect(turns.prefix(nodes.count).allSatisfy { $0 == .zero }, "\(turns)")
            #expect(turns[nodes.count] > .zero, "a cluster that is down was asked without a pause")
        }
    }

    @Test("waits before the next node when the answer speaks of load")
    func noFailoverUnderLoad() async throws {
        for trouble in [
            ScriptedCluster.problem(503, outcome: "not-attempted"), .failure(.timedOut),
        ] {
            let time = ScriptedTime()
            let cluster = ScriptedCluster { _, number in
                number == 0 ? trouble : ScriptedCluster.counted(1)
            }
            _ = try await send(["{}\n"], to: cluster, time: time)
            #expect(time.now > .zero)
        }
    }

    @Test("waits as long as Retry-After says when every node says so")
    func retryAfter() async throws {
        let time = ScriptedTime()
        let cluster = ScriptedCluster { _, number in
            number < 1
                ? ScriptedCluster.problem(
                    429, outcome: "not-attempted", retryAfter: .seconds(3))
                : ScriptedCluster.counted(1)
        }
        let report = try await send(
            ["{}\n"], to: cluster, time: time, nodes: [ScriptedCluster.nodes[0]])
        #expect(report.counted == 1)
        #expect(time.now >= .zero + .seconds(3))
        #expect(time.now < .zero + .seconds(4))
    }

    @Test("gives up at its timeout and names the batch as not sent or as unknown")
    func timeout() async throws {
        for (failure, isUnknown) in [
            (TransportFailure.notConnected("refused"), false), (.timedOut, true),
        ] {
            let time = ScriptedTime()
            let cluster = ScriptedCluster { _, _ in
                time.move(by: .milliseconds(200))
                return .failure(failure)
            }
            let report = try await send(["{}\n"], to: cluster, time: time)
            #expect(report.failures.map(\.sequence) == [0])
            #expect(time.now <= .zero + .seconds(62))
            switch report.failures.first?.outcome {
            case .unknown: #expect(isUnknown)
            case .notAttempted: #expect(!isUnknown)
            default: Issue.record("\(report.failures)")
            }
        }
    }

    @Test("asks each node at its timeout for a batch that may have been counted")
    func asksAtTheEnd() async throws {
        let counted = #""final": true, "events": 3, "counted": 2, "dead": 1"#
        let cases = [
            (#"{"outcome": "counted", \#(counted)}"#, 3, 0),
            (#"{"outcome": "not-counted", "final": true}"#, 0, 1),
            (#"{"outcome": "unknown", "final": false}"#, 0, 1),
        ]
        for (answer, events, failures) in cases {
            let time = ScriptedTime()
            let last = ScriptedCluster.nodes[2]
            let cluster = ScriptedCluster { request, _ in
                guard request.call.method == .get else {
                    time.move(by: .seconds(2))
                    return .failure(.timedOut)
                }
                return request.node == last
                    ? .reply(HTTPReply(status: 200, body: Array(answer.utf8)))
                    : ScriptedCluster.problem(503)
            }
            let report = try await send(["{}\n{}\n{}\n"], to: cluster, time: time)
            #expect((report.events, report.failures.count) == (events, failures), "\(answer)")
            let asked = await cluster.requests.filter { $0.call.method == .get }
            #expect(asked.map(\.node) == ScriptedCluster.nodes)
            #expect(
                asked[0].call.target
                    == "/v1/batches/00000000-0000-0000-0000-00000000002a/0?created=1767225600000")
            switch report.failures.first?.outcome {
            case nil: #expect(events == 3)
            case .notCounted: #expect(answer.contains("not-counted"))
            case .unknown(let reason):
                #expect(answer.contains("unknown"))
                #expect(reason.hasSuffix("asked at the end, no node could tell"))
            default: Issue.record("\(report.failures)")
            }
        }
    }

    @Test(
        "does not take another content of the same id for its own",
        arguments: [(503, 3, 1), (410, 3, 1), (503, 2, 0), (410, 2, 0)])
    func otherContent(status: Int, events: Int, failures: Int) async throws {
        let counted = """
            {"outcome": "counted", "final": true, "events": \(events), "counted": \(events),
             "dead": 0}
            """
        let reply = HTTPReply(status: 200, body: Array(counted.utf8))
        let time = ScriptedTime()
        let cluster = ScriptedCluster { request, _ in
            guard request.call.method == .post else { return .reply(reply) }
            time.move(by: .seconds(2))
            return ScriptedCluster.problem(status, outcome: "unknown")
        }
        // The line of white space is no event.
        let report = try await send(["{}\n \r\n{}"], to: cluster, time: time)
        #expect(report.failures.count == failures)
        #expect(report.counted == (failures == 0 ? 2 : 0))
        if case .unknown(let reason)? = report.failures.first?.outcome {
            #expect(reason.hasPrefix("another content of this id was counted: it had 3 events"))
        } else {
            #expect(failures == 0, "\(report.failures)")
        }
    }

    @Test(
        "knows how many events it holds where lines tell",
        arguments: [
            ("application/x-ndjson", "\u{feff}{}\n\n \t\r\n{}\r\n\u{feff}{}", 3),
            ("application/x-ndjson", "", 0), ("text/x-clf", "a\n \r\n\r\r\n", 2),
            ("text/csv", "\u{feff}\nkey,time\n\r\na,0\n \n", 2),
            ("text/csv", "key,\"time\"\na,0\n", nil),
            ("text/tab-separated-values", "key\ttime\na\t\"\nb\t0", 2),
            ("text/tab-separated-values", "\n", 0), ("application/x-quipu-batch", "", 7),
            ("application/json", "[{}]", nil),
        ])
    func knownEvents(type: String, body: String, events: Int?) {
        let batch = SealedBatch(
            id: BatchID(producer: 42, sequence: 0), createdAt: WallTime(milliseconds: 0),
            contentType: type, target: "/v1/events", body: Array(body.utf8), events: 7)
        #expect(batch.knownEvents == events)
    }

    @Test("does not ask for a batch that no node can have got")
    func asksOnlyInDoubt() async throws {
        let cluster = ScriptedCluster { _, _ in .failure(.notConnected("refused")) }
        let report = try await send(["{}\n"], to: cluster)
        #expect(report.failures.count == 1)
        #expect(await cluster.requests.allSatisfy { $0.call.method == .post })
    }

    @Test("nodes that hang take no more than the time of the last question")
    func lastQuestionEnds() async throws {
        let time = ScriptedTime()
        let cluster = ScriptedCluster { _, _ in
            time.move(by: .seconds(2))
            return .failure(.timedOut)
        }
        _ = try await send(["{}\n"], to: cluster, time: time)
        #expect(time.now <= .zero + .seconds(62) + Producer.lastAskMax)
    }

    @Test("does not repeat a request that is unusable")
    func unusable() async throws {
        let cluster = ScriptedCluster { _, _ in ScriptedCluster.problem(400) }
        let report = try await send(["{}\n"], to: cluster)
        #expect(await cluster.requests.count == 1)
        #expect(report.failures.map(\.outcome) == [.notAttempted("says 400")])
    }

    @Test("counts duplicates apart and their events as counted")
    func duplicates() async throws {
        let cluster = ScriptedCluster { _, number in
            ScriptedCluster.counted(5, duplicate: number == 0)
        }
        let report = try await send(["a\n", "b\n"], to: cluster)
        #expect((report.duplicates, report.batches, report.events) == (1, 2, 10))
    }

    @Test("batches appended events by number and by bytes")
    func append() async throws {
        let cluster = ScriptedCluster { request, _ in
            ScriptedCluster.counted(request.call.body?.count { $0 == 0x0a } ?? 0)
        }
        var options = ProducerOptions()
        options.batchEvents = 4
        options.batchBytes = 60
        options.batchAge = nil
        let producer = Producer(
            client: cluster.client(), options: options, time: ScriptedTime().time)
        for _ in 0..<6 { try await producer.append("{}") }
        try await producer.append(String(repeating: "x", count: 100))
        try await producer.append("{}")
        let report = try await producer.finish()
        let sizes = await cluster.requests.sorted {
            ($0.header("Quipu-Sequence") ?? "") < ($1.header("Quipu-Sequence") ?? "")
        }.map { $0.call.body?.count ?? 0 }
        #expect(sizes == [12, 107, 3])
        #expect(report.events == 8)
    }

    @Test("an event is one line: its end is no other event, and text behind it is refused")
    func appendedLines() async throws {
        let cluster = ScriptedCluster { _, _ in ScriptedCluster.counted(2) }
        var options = ProducerOptions()
        options.batchAge = nil
        let producer = Producer(
            client: cluster.client(), options: options, time: ScriptedTime().time)
        try await producer.append("{}\n")
        for text in ["{\"a\":1}\n{\"b\":2}", "{\"a\":1\n}\n", "\n{}"] {
            await #expect(throws: SpoolError.self, "\(text)") { try await producer.append(text) }
        }
        await #expect(throws: SpoolError.notOneLine(offset: 2)) {
            try await producer.append("{}\n{}")
        }
        try await producer.append("{}\r\n")
        _ = try await producer.finish()
        #expect(await cluster.requests.map(\.call.body) == [Array("{}\n{}\r\n".utf8)])
    }

    @Test("names every field mapping in the query, encoded")
    func target() {
        var options = ProducerOptions()
        options.keyField = "actor.login"
        options.type = "a b"
        #expect(
            options.target
                == "/v1/events?consistency=QUORUM&type=a%20b&key_field=actor.login")
    }
}
