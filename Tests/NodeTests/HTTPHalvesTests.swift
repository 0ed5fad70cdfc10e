import Core
import Ingest
import Node
import NodeCore
import Replication
import Testing
import Wire

/// Bodies that are short, and yet hold more than one batch may.
@Suite("Bodies with very many dead letters") struct HTTPHalvesTests {
    private static let count = FoldBounds.standard.deadLettersMax + 1

    private static func fixture(_ budget: ByteBudget) throws -> APIFixture {
        try APIFixture(bodies: budget) { _ in
            .write(.counted(duplicate: false, required: 2, acknowledged: 3))
        }
    }

    private static func text(_ type: String) -> String {
        switch type {
        case "text/csv": "key,time\n" + String(repeating: "x\n", count: count)
        case "application/json": "[" + String(repeating: ",", count: count - 1) + "]"
        default: String(repeating: "x\n", count: count)
        }
    }

    @Test(
        "are counted in several batches where they have no id",
        arguments: ["application/x-ndjson", "text/csv", "application/json", "text/x-clf"])
    func several(type: String) async throws {
        let budget = ByteBudget(max: RuntimeLimits.bodiesBytesMax)
        let fixture = try Self.fixture(budget)
        let reply = await fixture.call(
            "POST", "/v1/events?type=t", ["Content-Type": type], body: Self.text(type))
        #expect(reply.status == 200, "\(reply.text.prefix(500))")
        #expect(reply.text.hasPrefix(#"{"batches":["#))
        let all = #""outcome":"counted","events":\#(Self.count),"counted":0,"dead":\#(Self.count),"#
        #expect(reply.text.contains(all), "\(reply.text.prefix(500))")
        var ids: Set<BatchID> = []
        for case .write(let record, _) in fixture.core.requests { ids.insert(record.header.id) }
        #expect(ids.count == 2 && fixture.core.requests.count == 2)
        #expect(fixture.metrics.eventsDead.value == UInt64(Self.count))
        #expect(fixture.metrics.batchesCounted.value == 2)
        #expect(fixture.metrics.batchesNotCounted.value == 0)
        #expect(budget.inUse == 0)
    }

    @Test("are refused whole where they have one, and hear what to do")
    func sealed() async throws {
        let budget = ByteBudget(max: RuntimeLimits.bodiesBytesMax)
        let fixture = try Self.fixture(budget)
        let headers = [
            "Content-Type": "application/x-ndjson", "Idempotency-Key": "k",
            "Quipu-Created": "1767225600000",
        ]
        let reply = await fixture.call(
            "POST", "/v1/events", headers, body: Self.text("application/x-ndjson"))
        #expect(reply.status == 413)
        #expect(reply.text.contains(#""outcome":"not-counted""#))
        #expect(reply.text.contains("send smaller batches, or send it without an id"))
        #expect(fixture.core.requests.isEmpty && budget.inUse == 0)
        #expect(fixture.metrics.batchesNotCounted.value == 1)
    }

    @Test("wait for memory like any body: of a part that cannot be halved nothing is counted")
    func budget() async throws {
        let body = Self.text("application/x-ndjson")
        // The part fits, with what an array has to spare, and its halves do not.
        let budget = ByteBudget(max: body.utf8.count * 3 / 2)
        let fixture = try Self.fixture(budget)
        let reply = await fixture.call(
            "POST", "/v1/events", ["Content-Type": "application/x-ndjson"], body: body)
        #expect(reply.status == 429, "\(reply.text)")
        #expect(reply.text.contains(#""outcome":"not-attempted""#))
        #expect(fixture.core.requests.isEmpty && budget.inUse == 0)
    }
}
