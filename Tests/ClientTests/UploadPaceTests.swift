import Client
import Core
import Testing

@Suite("The time that a batch has on its way")
struct UploadPaceTests {
    private static let answering: Duration = .seconds(6)

    @Test("grows with its bytes, and when attempts are cut, between its bounds")
    func bounds() {
        var pace = UploadPace()
        #expect(pace.timeout(answering: Self.answering, bytes: 0) == Self.answering)
        #expect(pace.timeout(answering: Self.answering, bytes: 4 << 20) == .seconds(10))
        var times: [Duration] = []
        for _ in 0..<10 {
            pace.timedOut(4 << 20, begun: pace.bytesPerSecond)
            times.append(pace.timeout(answering: Self.answering, bytes: 4 << 20))
        }
        #expect(times.prefix(3) == [.seconds(14), .seconds(22), .seconds(38)])
        #expect(times.last == UploadPace.attemptMax)
        #expect(pace.bytesPerSecond == UploadPace.bytesPerSecondMin)
        // Whoever gives nodes longer than that keeps it.
        #expect(pace.timeout(answering: .seconds(90), bytes: 1) == .seconds(90))
        for _ in 0..<10 { pace.succeeded(4 << 20, taking: .seconds(1)) }
        #expect(pace.bytesPerSecond == UploadPace.bytesPerSecondMax)
    }

    @Test("is no longer where attempts were cut together, or a body is short")
    func once() {
        var pace = UploadPace()
        let begun = pace.bytesPerSecond
        for _ in 0..<4 { pace.timedOut(4 << 20, begun: begun) }
        #expect(pace.bytesPerSecond == begun / 2)
        pace.timedOut(1000, begun: pace.bytesPerSecond)
        #expect(pace.bytesPerSecond == begun / 2)
        // What took most of its time is no sign of a quick link.
        pace.succeeded(4 << 20, taking: .seconds(7))
        #expect(pace.bytesPerSecond == begun / 2)
    }

    /// A link to nodes that answer at once.
    private actor SlowUplink: Transport {
        private let bytesPerSecond: Int
        private let time: ScriptedTime
        private(set) var attempts = 0

        init(bytesPerSecond: Int, _ time: ScriptedTime) {
            self.bytesPerSecond = bytesPerSecond
            self.time = time
        }

        func perform(
            _ call: HTTPCall, at node: NodeAddress, timeout: Duration
        ) async throws(TransportFailure) -> HTTPReply {
            attempts += 1
            let needed = Duration.seconds(call.body?.count ?? 0) / bytesPerSecond
            time.move(by: min(needed, timeout))
            guard needed <= timeout else { throw .timedOut }
            let counts = #"{"outcome": "counted", "events": 1, "counted": 1, "dead": 0}"#
            return HTTPReply(status: 200, body: Array(counts.utf8))
        }
    }

    @Test("lets a batch of 4 MiB through an uplink of 2 Mbit/s, and the next at once")
    func slowUplink() async throws {
        let time = ScriptedTime()
        let uplink = SlowUplink(bytesPerSecond: 250_000, time)
        var options = ProducerOptions()
        options.inFlight = 1
        let producer = Producer(
            client: QuipuClient(nodes: ScriptedCluster.nodes, transport: uplink),
            options: options, time: time.time)
        for _ in 0..<2 {
            try await producer.submit(
                BatchDraft(
                    body: [UInt8](repeating: 0x0a, count: 4 << 20), contentType: "t", events: 1))
        }
        let report = try await producer.finish()
        #expect((report.counted, report.failures.count) == (2, 0))
        #expect(await uplink.attempts == 4)
    }
}
