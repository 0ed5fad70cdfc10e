import Core
import HummingbirdCore
import NIOCore
import Node
import Replication
import Synchronization
import Testing

/// What keeps a node useful for those who behave while others do not.
@Suite("Admission over HTTP") struct HTTPAdmissionTests {
    private static func at(_ milliseconds: Int64) -> Instant {
        Instant(nanoseconds: milliseconds * 1_000_000)
    }

    @Test("no more batches are under way than the window has room for")
    func bound() {
        var window = AdmissionWindow()
        var entered = 0
        while window.enter() { entered += 1 }
        #expect(Double(entered) == AdmissionWindow.first && window.open == entered)
        window.leave(took: .milliseconds(700), at: Self.at(700))
        #expect(window.limit > AdmissionWindow.first && window.limit < AdmissionWindow.first + 1)
        let again = window.enter()
        let oneMore = window.enter()
        #expect(again && !oneMore)
    }

    @Test("a rate that the node does not carry shrinks it to about a second's work")
    func flood() {
        // The node counts 100 batches a second, one after the other; clients always want more.
        var window = AdmissionWindow()
        var queue: [Int64] = []
        var now: Int64 = 0
        var waits: [Int64] = []
        for _ in 0..<12_000 {
            while window.enter() { queue.append(now) }
            now += 10
            let began = queue.removeFirst()
            waits.append(now - began)
            window.leave(took: .milliseconds(now - began), at: Self.at(now))
        }
        let late = waits.suffix(6000)
        #expect((late.max() ?? 0) < 2000, "\(late.max() ?? 0) ms")
        #expect((late.min() ?? 0) > 100, "the node never runs dry: \(late.min() ?? 0) ms")
    }

    @Test("it shrinks once for all that were slow together, and never below its least")
    func decrease() {
        var window = AdmissionWindow()
        for _ in 0..<200 { _ = window.enter() }
        for number in 0..<100 {
            window.leave(took: .seconds(3), at: Self.at(5000 + Int64(number)))
        }
        #expect(window.limit == 192)
        while window.open > 0 { window.leave(took: .seconds(3), at: Self.at(5999)) }
        #expect(window.limit == 192, "few that are slow are no flood")
        for round in 0..<40 {
            while window.enter() {}
            let end = Self.at(10_000 + Int64(round) * 2000)
            while window.open > 0 { window.leave(took: .seconds(3), at: end) }
        }
        #expect(window.limit == AdmissionWindow.least)
        for _ in 0..<1000 where window.enter() {
            window.leave(took: .milliseconds(2), at: Self.at(900_000))
        }
        #expect(window.limit == AdmissionWindow.least, "one at a time says nothing of many")
        // Half a second each, as at ONE while a majority is away: that is no flood.
        for round in 0..<40 {
            while window.enter() {}
            let end = Self.at(1_000_000 + Int64(round) * 500)
            while window.open > 0 { window.leave(took: .milliseconds(500), at: end) }
        }
        #expect(window.limit > 100, "\(window.limit)")
    }

    @Test("a node with a full window says 429, when to come again, and that nothing was sent")
    func refused() async throws {
        let fixture = try APIFixture()
        for _ in 0..<Int(AdmissionWindow.first) { #expect(fixture.api.admission.enter()) }
        let reply = await fixture.call(
            "POST", "/v1/events?type=view", ["Content-Type": "application/x-ndjson"], body: "{}\n")
        #expect(reply.status == 429)
        #expect(reply.headers.contains { $0.name == "Retry-After" && $0.value == "1" })
        #expect(reply.text.contains("not-attempted"))
        #expect(fixture.core.requests.isEmpty)
        #expect(fixture.metrics.requestsRefused.value == 1)
        #expect(fixture.metrics.batchesNotAttempted.value == 1)
        let text = await fixture.get("/metrics").text
        #expect(text.contains("quipu_queue_refused_total{queue=\"admission\"} 1\n"))
    }

    @Test("what is refused elsewhere is counted as well: as a request, a batch and by its queue")
    func counted() async throws {
        let type = ["Content-Type": "application/x-ndjson"]
        // More than is folded at once.
        let body = "{}" + String(repeating: "\n", count: RuntimeLimits.smallFoldBytes)
        for (fixture, queue) in [
            (try APIFixture(foldsMax: 0), "fold"),
            (try APIFixture(bodies: ByteBudget(max: 2)), "bodies"),
        ] {
            let reply = await fixture.call("POST", "/v1/events?type=view", type, body: body)
            #expect(reply.status == 429)
            #expect(fixture.metrics.requestsRefused.value == 1)
            #expect(fixture.metrics.batchesNotAttempted.value == 1)
            let text = await fixture.get("/metrics").text
            #expect(text.contains("quipu_queue_refused_total{queue=\"\(queue)\"} 1\n"), "\(text)")
        }
    }

    @Test("a body that comes slowly keeps no place between its parts, and waits for the next one")
    func slowStream() async throws {
        let fixture = try APIFixture { _ in
            .write(.counted(duplicate: false, required: 2, acknowledged: 3))
        }
        let admission = fixture.api.admission
        let (body, client) = AsyncStream<ByteBuffer>.makeStream()
        async let reply = fixture.call(
            "POST", "/v1/events?type=view", ["Content-Type": "application/x-ndjson"],
            body: RequestBody(asyncSequence: body))
        // Blank lines are no events, and a part as any others.
        let part = ByteBuffer(repeating: 0x0a, count: Limits.bodySentMax + 1)
        client.yield(part)
        while fixture.core.requests.isEmpty || admission.open > 0 {
            try await Task.sleep(for: .milliseconds(1))
        }
        for _ in 0..<Int(AdmissionWindow.first) { #expect(admission.enter()) }
        client.yield(ByteBuffer(string: "\n"))
        client.finish()
        // It meets a full window, and is not turned away.
        try await Task.sleep(for: .milliseconds(20))
        #expect(fixture.core.requests.count == 1)
        admission.leave(took: .zero, at: APIFixture.now.monotonic)
        #expect(await reply.status == 200)
        #expect(fixture.core.requests.count == 2)
        #expect(admission.open == Int(AdmissionWindow.first) - 1)
    }

    @Test("a write whose target is wrong says that nothing was sent, and is counted as such")
    func wrongTargets() async throws {
        let fixture = try APIFixture()
        let type = ["Content-Type": "application/x-ndjson"]
        for (number, query) in ["tpye=t", "type=a&type=b", "type=%zz", "%FF=a"].enumerated() {
            let reply = await fixture.call("POST", "/v1/events?\(query)", type, body: "{}\n")
            #expect(reply.status == 400)
            #expect(reply.text.contains(#""outcome":"not-attempted""#), "\(reply.text)")
            #expect(fixture.metrics.batchesNotAttempted.value == UInt64(number) + 1)
            #expect(fixture.metrics.answers[3].value == UInt64(number) + 1, "it is an answer")
        }
        // What writes nothing has no outcome.
        for (method, path) in [("GET", "/v1/events"), ("PUT", "/v1/attributes")] {
            let reply = await fixture.call(method, "\(path)?a=1&a=2", type)
            #expect(reply.status == 400)
            #expect(!reply.text.contains("outcome"))
        }
        #expect(fixture.metrics.batchesNotAttempted.value == 4)
        #expect(fixture.core.requests.isEmpty)
    }

    @Test("a body that cannot be decoded or is turned away by its head has an outcome")
    func undecoded() async throws {
        let fixture = try APIFixture()
        var headers = ["Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"]
        #expect(await fixture.call("POST", "/v1/events", headers, body: "no gzip").status == 400)
        #expect(fixture.metrics.batchesNotAttempted.value == 1)
        headers = [
            "Content-Type": "application/x-ndjson", "Content-Length": "99999999",
            "Idempotency-Key": "k", "Quipu-Created": "1767225600000",
        ]
        #expect(await fixture.call("POST", "/v1/events", headers, body: "{}").status == 413)
        #expect(fixture.metrics.batchesNotAttempted.value == 2)
        fixture.state.drain()
        #expect(await fixture.call("POST", "/v1/events", headers, body: "{}").status == 503)
        #expect(fixture.metrics.batchesNotAttempted.value == 3)
        #expect(fixture.metrics.requestsRefused.value == 0)
    }
}
