import Client
import Core
import Storage
import Synchronization
import Testing

/// Whoever appends must know whether an event was taken: one that was and is appended again counts
/// twice, one that was not and is not appended again is lost.
@Suite("An event that is appended while its spool takes nothing")
struct AppendTests {
    private enum Mode { case busy, refuses, counts }

    private static func answer(_ mode: Mode) -> ScriptedCluster.Answer {
        switch mode {
        case .busy: ScriptedCluster.problem(503, outcome: "not-attempted")
        case .refuses: ScriptedCluster.problem(400)
        case .counts: ScriptedCluster.counted(1)
        }
    }

    /// Of two thousand bytes and its line feed: nine fit.
    private static func event(_ number: Int) -> String {
        "\(number):" + String(repeating: "x", count: 1998 - "\(number)".utf8.count)
    }

    private func spool() throws -> Spool {
        var options = SpoolOptions()
        options.bytesMax = 20_000
        return try Spool(
            MemorySpool(disk: MemoryFileSystem()), directory: "d", producer: 42,
            options: options, bounds: SpoolJournal.Bounds())
    }

    private func producer(
        _ cluster: ScriptedCluster, _ spool: Spool, _ rule: FailureRule
    ) -> Producer {
        var options = ProducerOptions()
        options.batchAge = nil
        options.batchEvents = 1
        options.failureRule = rule
        return Producer(
            client: cluster.client(), options: options, spool: spool, time: ScriptedTime().time)
    }

    /// The bodies of all batches, each once.
    private func bodies(_ cluster: ScriptedCluster) async -> [String] {
        var bodies: [String: [UInt8]] = [:]
        for request in await cluster.requests {
            guard let sequence = request.header("Quipu-Sequence") else { continue }
            bodies[sequence] = request.call.body
        }
        return bodies.values.map { String(decoding: $0, as: UTF8.self) }
    }

    @Test("was taken if append returned, and was not if it threw")
    func takenOrNot() async throws {
        let mode = Mutex(Mode.refuses)
        let cluster = ScriptedCluster { _, _ in Self.answer(mode.withLock { $0 }) }
        let producer = producer(cluster, try spool(), .stop)
        var taken: [String] = []
        var refused: String?
        while refused == nil, taken.count < 100 {
            let event = Self.event(taken.count)
            do {
                try await producer.append(event)
                taken.append(event)
            } catch {
                guard case .isFull = error else { throw error }
                refused = event
            }
        }
        let last = try #require(refused)
        await #expect(throws: SpoolError.self) { try await producer.append(last) }
        await #expect(throws: SpoolError.self) { try await producer.flush() }
        while await producer.metrics().inFlight > 0 { await Task.yield() }
        mode.withLock { $0 = .counts }
        await producer.resume()
        try await producer.append(last)
        taken.append(last)
        try await producer.flush()
        let report = try await producer.finish()
        #expect(report.counted == taken.count)
        #expect(await bodies(cluster).sorted() == taken.map { $0 + "\n" }.sorted())
    }

    @Test("is in a batch that fits, and is sent once, though none could be written down meanwhile")
    func ownBatches() async throws {
        let mode = Mutex(Mode.busy)
        let cluster = ScriptedCluster { request, _ in
            let events = (request.call.body ?? []).count { $0 == UInt8(ascii: "\n") }
            return switch mode.withLock({ $0 }) {
            case .counts: ScriptedCluster.counted(events)
            case .busy, .refuses: Self.answer(.busy)
            }
        }
        let spool = try spool()
        for number in 0..<9 {
            _ = try await spool.seal(
                BatchDraft(
                    body: Array((Self.event(number) + "\n").utf8),
                    contentType: "application/x-ndjson", events: 1), target: "/v1/events",
                createdAt: WallTime(milliseconds: 1_767_225_600_000))
        }
        let producer = producer(cluster, spool, .goOn)
        // They wait for room, each in a batch or two in one, and hear at once that there is none.
        let appending = (9..<13).map { number in
            Task {
                do {
                    try await producer.append(Self.event(number))
                    return true
                } catch {
                    return false
                }
            }
        }
        for _ in 0..<1000 { await Task.yield() }
        await spool.halt()
        var taken = (0..<9).map(Self.event)
        for (number, task) in zip(9..., appending) where await task.value {
            taken.append(Self.event(number))
        }
        mode.withLock { $0 = .counts }
        // Those whose time was over meanwhile are tried again as well, some of them in this moment.
        var report = await producer.report
        for _ in 0..<20 where report.counted < taken.count {
            await producer.resume()
            try await producer.flush()
            report = try await producer.finish()
        }
        #expect(report.counted == taken.count)
        #expect(taken.count > 9)
        let lines = await bodies(cluster).joined().split(separator: "\n").map(String.init)
        #expect(lines.sorted() == taken.sorted())
    }
}
