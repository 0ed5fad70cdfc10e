import Client
import Core
import Storage
import Synchronization
import Testing

@Suite("A producer with a spool")
struct SpooledProducerTests {
    private let disk = MemoryFileSystem()

    private func spool(
        _ disk: MemoryFileSystem? = nil, bytesMax: Int = 1 << 20
    ) throws -> Spool {
        var options = SpoolOptions()
        options.bytesMax = bytesMax
        return try Spool(
            MemorySpool(disk: disk ?? self.disk), directory: "d", producer: 42, options: options,
            bounds: SpoolJournal.Bounds())
    }

    private func producer(
        _ cluster: ScriptedCluster, _ spool: Spool, time: ScriptedTime = ScriptedTime(),
        _ change: (inout ProducerOptions) -> Void = { _ in }
    ) -> Producer {
        var options = ProducerOptions()
        options.batchAge = nil
        change(&options)
        return Producer(
            client: cluster.client(), options: options, spool: spool, time: time.time)
    }

    private func sequences(_ cluster: ScriptedCluster) async -> [String] {
        await cluster.requests.compactMap { $0.header("Quipu-Sequence") }
    }

    @Test("a batch is durable before its first attempt, and gone after its outcome")
    func durableFirst() async throws {
        let disk = disk
        let lost = Mutex<[Int]>([])
        let cluster = ScriptedCluster { _, _ in
            // What a power cut would leave at the moment of the attempt.
            var random = RandomSource(seed: 1)
            let after = MemorySpool(
                disk: disk.crash(data: .allLost, names: .allLost, &random))
            do {
                let journal = try SpoolJournal(after, producer: 1)
                if journal.state.held.isEmpty { lost.withLock { $0.append(0) } }
            } catch {
                lost.withLock { $0.append(1) }
            }
            return ScriptedCluster.counted(1)
        }
        let producer = producer(cluster, try spool()) { $0.inFlight = 1 }
        for _ in 0..<5 {
            try await producer.append("{}")
            try await producer.flush()
        }
        let report = try await producer.finish()
        #expect(report.counted == 5)
        #expect(lost.withLock { $0 }.isEmpty, "a batch was sent that a power cut would lose")
        let left = try SpoolJournal(MemorySpool(disk: disk), producer: 1)
        #expect(left.state.held.isEmpty)
        #expect(left.state.totals.counted == 5)
    }

    @Test("flush returns when events are on disk, though no node answers")
    func flushed() async throws {
        let cluster = ScriptedCluster { _, _ in .failure(.notConnected("refused")) }
        let producer = producer(cluster, try spool())
        try await producer.append("{\"a\":1}")
        try await producer.append("{\"a\":2}")
        try await producer.flush()
        var random = RandomSource(seed: 1)
        let after = disk.crash(data: .allLost, names: .allLost, &random)
        let journal = try SpoolJournal(MemorySpool(disk: after), producer: 1)
        #expect(try journal.load(0).body == Array("{\"a\":1}\n{\"a\":2}\n".utf8))
        _ = try await producer.finish()
    }

    @Test("the next process sends what is left under the same id, then goes on counting")
    func nextProcess() async throws {
        let silent = ScriptedCluster { _, _ in .failure(.timedOut) }
        let first = producer(silent, try spool()) { $0.failureRule = .stop }
        try await first.append("{\"a\":1}")
        let report = try await first.finish()
        #expect(report.failures.map(\.sequence) == [0])
        let asked = await silent.requests[0].call

        let cluster = ScriptedCluster { _, _ in ScriptedCluster.counted(1, duplicate: true) }
        let spool = try spool()
        let second = producer(cluster, spool)
        #expect(second.id == 42)
        try await second.append("{\"a\":2}")
        let after = try await second.finish()
        #expect(after.batches == 2)
        let requests = await cluster.requests
        #expect(requests.count == 2)
        #expect(requests.contains { $0.call == asked }, "the batch was changed")
        #expect(Set(await sequences(cluster)) == ["0", "1"])
        let status = await spool.status
        #expect((status.batches, status.totals.batches, status.totals.events) == (0, 2, 2))
    }

    @Test("a batch whose time closed without it is sealed anew, once")
    func sealedAnew() async throws {
        let closed = "\"final\": true, "
        let cluster = ScriptedCluster { request, _ in
            request.header("Quipu-Sequence") == "0"
                ? ScriptedCluster.problem(410, outcome: "not-counted", fields: closed)
                : ScriptedCluster.counted(1)
        }
        let spool = try spool()
        let first = producer(cluster, spool)
        try await first.append("{}")
        let report = try await first.finish()
        #expect((report.counted, report.failures.count) == (1, 0))
        #expect(await sequences(cluster) == ["0", "1"])
        #expect(Set(await cluster.requests.map(\.call.body)).count == 1)
        #expect(await spool.status.batches == 0)

        // A clock that is behind would go on for ever.
        let never = ScriptedCluster { _, _ in
            ScriptedCluster.problem(410, outcome: "not-counted", fields: closed)
        }
        let producer = producer(never, spool)
        try await producer.append("{}")
        let refused = try await producer.finish()
        #expect(await never.requests.count == 2)
        #expect(refused.failures.map(\.sequence) == [3])
        #expect(await spool.status.batches == 1)
    }

    @Test("an undecided batch is asked for until it is decided")
    func undecided() async throws {
        let cluster = ScriptedCluster { request, number in
            if request.call.method == .post {
                return ScriptedCluster.problem(410, outcome: "unknown")
            }
            let outcome =
                number < 4
                ? #"{"outcome": "unknown", "final": false}"#
                : #"{"outcome": "counted", "final": true, "events": 1, "counted": 0, "dead": 1}"#
            return .reply(HTTPReply(status: 200, body: Array(outcome.utf8)))
        }
        let spool = try spool()
        let producer = producer(cluster, spool)
        try await producer.append("{}")
        let report = try await producer.finish()
        let requests = await cluster.requests
        #expect(requests.map(\.call.method) == [.post, .get, .get, .get, .get])
        #expect(
            requests[1].call.target
                == "/v1/batches/00000000-0000-0000-0000-00000000002a/0?created=1767225600000")
        #expect((report.events, report.counted, report.dead) == (1, 0, 1))
        #expect(await spool.status.totals.dead == 1)
    }

    @Test("a batch whose outcome nodes forget is named at once, kept, and holds up no other")
    func forgotten() async throws {
        let time = ScriptedTime()
        let cluster = ScriptedCluster { request, _ in
            switch request.header("Quipu-Sequence") {
            case "0": ScriptedCluster.problem(410, outcome: "unknown")
            case nil:
                .reply(HTTPReply(status: 200, body: Array(#"{"outcome": "unknown"}"#.utf8)))
            default: ScriptedCluster.counted(1)
            }
        }
        let spool = try spool()
        let week = SealedBatch.outcomeMemory
        _ = try await spool.seal(
            BatchDraft(body: [0x0a], contentType: "application/x-ndjson", events: 1),
            target: "/v1/events",
            createdAt: time.time.now().wall - week - .milliseconds(1))
        let producer = producer(cluster, spool, time: time) {
            $0.inFlight = 1
            $0.failureRule = .stop
        }
        try await producer.append("{}")
        let report = try await producer.finish()
        #expect(report.counted == 1)
        #expect(report.failures.map(\.sequence) == [0])
        guard case .unknown(let reason) = report.failures.first?.outcome else {
            Issue.record("\(report.failures)")
            return
        }
        #expect(reason.contains("Forgotten batches"))
        #expect(await spool.status.batches == 1)
        #expect(await cluster.requests.count == 2 + ScriptedCluster.nodes.count)
        #expect(time.now < .zero + .seconds(10), "it was asked for again and again")
    }

    @Test("a batch that nodes say they have forgotten holds up no other, however young it is")
    func forgottenEarly() async throws {
        let time = ScriptedTime()
        let word = #"{"outcome": "unknown", "final": false, "forgotten": true}"#
        let cluster = ScriptedCluster { request, _ in
            switch request.header("Quipu-Sequence") {
            case "0":
                ScriptedCluster.problem(410, outcome: "unknown", fields: "\"forgotten\": true, ")
            case nil: .reply(HTTPReply(status: 200, body: Array(word.utf8)))
            default: ScriptedCluster.counted(1)
            }
        }
        let spool = try spool()
        _ = try await spool.seal(
            BatchDraft(body: [0x0a], contentType: "application/x-ndjson", events: 1),
            target: "/v1/events", createdAt: time.time.now().wall - .seconds(2 * 86_400))
        let producer = producer(cluster, spool, time: time) {
            $0.inFlight = 1
            $0.failureRule = .stop
        }
        try await producer.append("{}")
        let report = try await producer.finish()
        #expect((report.counted, report.failures.map(\.sequence)) == (1, [0]))
        #expect(time.now < .zero + .seconds(10), "it was asked for until the time was over")
    }

    @Test("what a node refuses for good stays in the spool")
    func refused() async throws {
        for answer in [
            ScriptedCluster.problem(400), ScriptedCluster.problem(422, outcome: "not-counted"),
        ] {
            let disk = MemoryFileSystem()
            let cluster = ScriptedCluster { _, _ in answer }
            let spool = try spool(disk)
            let producer = producer(cluster, spool) { $0.failureRule = .stopWhenRefused }
            for _ in 0..<10 {
                try await producer.append("{}")
                try await producer.flush()
            }
            let report = try await producer.finish()
            #expect(!report.failures.isEmpty)
            #expect(await cluster.requests.count <= 8, "it went on after a refusal")
            #expect(await spool.status.batches == 10)
        }
    }

    @Test("a batch without an answer in time is tried again after the others")
    func triedAgain() async throws {
        let time = ScriptedTime()
        let cluster = ScriptedCluster { request, number in
            if request.header("Quipu-Sequence") == "0", number < 40 {
                time.move(by: .seconds(2))
                return ScriptedCluster.problem(503, outcome: "not-attempted")
            }
            return ScriptedCluster.counted(1)
        }
        let spool = try spool()
        let producer = producer(cluster, spool, time: time) { $0.inFlight = 1 }
        for _ in 0..<3 {
            try await producer.append("{}")
            try await producer.flush()
        }
        while await producer.metrics().report.batches < 3 { await Task.yield() }
        let report = try await producer.finish()
        #expect((report.counted, report.failures.count) == (3, 0))
        #expect(await producer.metrics().timeouts > 0)
        let order = await sequences(cluster)
        #expect(order.last == "0")
    }

    @Test("a full spool makes sealing wait, and nothing is held in memory instead")
    func backpressure() async throws {
        let time = ScriptedTime()
        let cluster = ScriptedCluster { request, _ in
            ScriptedCluster.counted(request.call.body?.count { $0 == 0x0a } ?? 0)
        }
        let disk = disk
        let spool = try spool(bytesMax: 40_000)
        let producer = producer(cluster, spool, time: time) { $0.batchEvents = 1 }
        let event = String(repeating: "x", count: 2000)
        var most = 0
        for _ in 0..<100 {
            try await producer.append(event)
            most = max(most, disk.usedBytes)
        }
        let report = try await producer.finish()
        #expect(report.counted == 100)
        #expect(most <= 46_000, "the spool grew to \(most) bytes of 40000")
    }

    @Test("a full spool of which nothing is sent any more says so")
    func fullAndHalted() async throws {
        let cluster = ScriptedCluster { _, _ in ScriptedCluster.problem(400) }
        let producer = producer(cluster, try spool(bytesMax: 20_000)) {
            $0.batchEvents = 1
            $0.failureRule = .stop
        }
        let event = String(repeating: "x", count: 2000)
        var appended = 0
        do {
            while appended < 100 {
                try await producer.append(event)
                appended += 1
            }
        } catch {
            guard case .isFull = error else {
                Issue.record("\(error)")
                return
            }
        }
        #expect((5..<11).contains(appended))
    }

    @Test("a disk that fails ends the sending; what is sealed is kept")
    func diskFailure() async throws {
        let disk = disk
        let cluster = ScriptedCluster { _, _ in ScriptedCluster.counted(1) }
        let producer = producer(cluster, try spool())
        try await producer.append("{}")
        _ = try await producer.finish()
        disk.setCapacity(disk.usedBytes + 20)
        try await producer.append("{}")
        await #expect(throws: SpoolError.self) { try await producer.flush() }
        await #expect(throws: SpoolError.self) { try await producer.finish() }
        disk.setCapacity(1 << 20)
        let spool = try spool()
        #expect(await spool.status.batches == 0)
        #expect(await spool.status.totals.counted == 1)
    }

    @Test("a batch is sealed when its first event is old enough")
    func age() async throws {
        let time = ScriptedTime()
        let cluster = ScriptedCluster { _, _ in ScriptedCluster.counted(1) }
        let producer = producer(cluster, try spool(), time: time) {
            $0.batchAge = .seconds(1)
        }
        try await producer.append("{}")
        // No call of flush or finish: time alone ends the batch.
        while await producer.metrics().report.batches == 0 { await Task.yield() }
        #expect(time.now >= .zero + .seconds(1))
    }

    @Test("a snapshot tells what is under way, what waits, and how the nodes do")
    func metrics() async throws {
        let time = ScriptedTime()
        let dead = ScriptedCluster.nodes[2]
        let cluster = ScriptedCluster { request, _ in
            if request.node == dead { return .failure(.notConnected("refused")) }
            time.move(by: .milliseconds(7))
            return ScriptedCluster.counted(1)
        }
        let producer = producer(cluster, try spool(), time: time) { $0.inFlight = 1 }
        for _ in 0..<12 {
            try await producer.append("{}")
            try await producer.flush()
        }
        _ = try await producer.finish()
        let metrics = await producer.metrics()
        #expect(metrics.report.batches == 12)
        #expect(metrics.report.retries == metrics.requests - 12)
        #expect(metrics.bytesSent == 3 * metrics.requests)
        #expect((metrics.inFlight, metrics.queued) == (0, 0))
        #expect(metrics.spool?.batches == 0)
        #expect(metrics.nodes.map(\.address) == ScriptedCluster.nodes)
        #expect(metrics.nodes[0].latency == .milliseconds(7))
        #expect(metrics.nodes[2].failures == metrics.nodes[2].requests)
        #expect(metrics.nodes[2].state == .open)
    }
}
