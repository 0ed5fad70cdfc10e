import Core
import HummingbirdCore
import NIOCore
import Node
import Synchronization
import Testing

/// The room for bodies, and who gives it up.
@Suite("Room for bodies") struct ByteBudgetTests {
    private final class Hour: Sendable {
        let now = Mutex(Instant(nanoseconds: 1_000_000_000_000))
        func pass(_ duration: Duration) { now.withLock { $0 = $0 + duration } }
    }

    private let hour = Hour()
    private static let mebibyte = 1 << 20

    private func budget(_ mebibytes: Int) -> ByteBudget {
        ByteBudget(max: mebibytes * Self.mebibyte) { [hour] in hour.now.withLock { $0 } }
    }

    /// A body that holds so much and waits for a client that sends nothing, until it is hung up on;
    /// whether it gave way.
    private func wait(
        _ budget: ByteBudget, holding bytes: Int, _ begun: Counter
    ) async -> Bool {
        let (stream, end) = AsyncStream<Int>.makeStream()
        let room = BodyRoom(of: budget) { end.finish() }
        guard room.take(bytes) else { return false }
        var client = stream.makeAsyncIterator()
        let came: Int?? = await room.wait {
            begun.increment()
            return await client.next()
        }
        return came == nil && room.held == 0
    }

    @Test("a body that waits for its client gives its room to others, the largest and oldest first")
    func givesWay() async throws {
        let budget = budget(10)
        let begun = Counter()
        try await withThrowingTaskGroup(of: (String, Bool).self) { group in
            func begin(_ name: String, _ mebibytes: Int, _ count: UInt64) async throws {
                group.addTask {
                    (name, await wait(budget, holding: mebibytes * Self.mebibyte, begun))
                }
                while begun.value < count { try await Task.sleep(for: .milliseconds(1)) }
            }
            try await begin("small", 1, 1)
            try await begin("large", 5, 2)
            hour.pass(.milliseconds(1500))
            try await begin("new", 3, 3)
            let working = BodyRoom(of: budget) { Issue.record("it works, and waits for nobody") }
            #expect(working.take(Self.mebibyte))
            #expect(budget.inUse == 10 * Self.mebibyte)

            #expect(budget.take(2 * Self.mebibyte))
            #expect(try await group.next()! == ("large", true))
            #expect(budget.inUse == 7 * Self.mebibyte)
            #expect(budget.take(4 * Self.mebibyte))
            #expect(try await group.next()! == ("small", true))
            // The new one has not had its time, and what is more than it holds is for nobody.
            #expect(!budget.take(Self.mebibyte))
            hour.pass(.seconds(1))
            #expect(!budget.take(4 * Self.mebibyte))
            #expect(begun.value == 3)
            #expect(budget.take(Self.mebibyte))
            #expect(try await group.next()! == ("new", true))
            #expect(budget.inUse == 8 * Self.mebibyte)
            working.give(back: Self.mebibyte)
        }
        #expect(budget.inUse == 7 * Self.mebibyte)
        #expect(budget.reading.refused == 2)
    }

    @Test("a body that waits and is not needed to give way goes on")
    func goesOn() async {
        let budget = budget(1)
        let room = BodyRoom(of: budget) { Issue.record("nobody needed it") }
        #expect(room.take(Self.mebibyte / 2))
        hour.pass(.seconds(5))
        let came = await room.wait { budget.take(Self.mebibyte / 2) }
        #expect(came == true)
        #expect(room.held == Self.mebibyte / 2)
        // It does not wait any more.
        #expect(!budget.take(1))
    }

    @Test("a part that is dealt with makes a body young again")
    func renewed() async {
        let budget = budget(1)
        let room = BodyRoom(of: budget) { Issue.record("it has its time") }
        #expect(room.take(Self.mebibyte))
        hour.pass(.seconds(5))
        room.renew()
        hour.pass(.milliseconds(999))
        #expect(await room.wait { budget.take(1) } == false)
        #expect(room.held == Self.mebibyte)
    }

    @Test("events that come slowly are told that others needed the room, and give back all of it")
    func events() async throws {
        let budget = budget(1)
        let metrics = NodeMetrics()
        let request = try EventRequest(query: HTTPQuery(nil)) {
            $0 == "Content-Type" ? "application/x-ndjson" : nil
        }
        let (stream, client) = AsyncStream<ByteBuffer>.makeStream()
        client.yield(ByteBuffer(repeating: 0x0a, count: ByteBudget.heldMin))
        async let problem: Problem? = {
            let parts = EventParts(
                request: request, body: RequestBody(asyncSequence: stream), budget: budget,
                workers: HereWorkers(), metrics: metrics, hangUp: { client.finish() })
            do throws(Problem) {
                _ = try await parts.next()
                return nil
            } catch {
                return error
            }
        }()
        while budget.inUse < ByteBudget.heldMin { try await Task.sleep(for: .milliseconds(1)) }
        hour.pass(ByteBudget.patience)
        // Until it has taken what came, and waits for more.
        while !budget.take(Self.mebibyte) { try await Task.sleep(for: .milliseconds(1)) }
        let answer = try #require(await problem)
        #expect(answer.status == 429 && answer.outcome == .notAttempted)
        #expect(answer.detail.contains("came slowly"))
        #expect(budget.inUse == Self.mebibyte)
        #expect(metrics.connectionsGivenWay.value == 1)
    }
}
