import Core
import NodeCore
import Replication
import Testing
import Wire

/// What a whole node says of a batch whose segment closed without it, by what it keeps for ANY.
@Suite("A node that parks")
struct ParkedNodeTests {
    /// A node alone, and a batch that nobody sent before its segment was closed.
    private static func closed() throws -> (node: SoloNode, record: BatchRecord) {
        let node = try SoloNode(isAlone: true)
        let record = node.record(1)
        try node.wait(.seconds(25))
        return (node: node, record: record)
    }

    private static func answer(
        _ node: SoloNode, _ request: ClientRequest
    ) throws -> ClientResponse? {
        try node.ask(request, 77, within: .seconds(5))
        try node.wait(.milliseconds(100))
        let answer = node.replies[RequestID(77)]
        node.forget(RequestID(77))
        return answer
    }

    private static func status(_ node: SoloNode, _ record: BatchRecord) throws -> BatchStatus? {
        let header = record.header
        let answer = try answer(node, .status(header.id, createdAt: header.createdAt))
        guard case .status(let status) = answer else { return nil }
        return status
    }

    private static func outcome(
        _ node: SoloNode, _ record: BatchRecord, parks: Bool = false
    ) throws -> WriteOutcome? {
        let answer = try answer(
            node, parks ? .writeOrPark(record) : .write(record, consistency: .quorum))
        guard case .write(let outcome) = answer else { return nil }
        return outcome
    }

    @Test("says that it is finally not counted once it knows that it has nothing parked")
    func nothing() throws {
        let (node, record) = try Self.closed()
        #expect(try Self.status(node, record) == .unknown(heldBy: 0))
        #expect(try Self.outcome(node, record) == .expired(.unknown(heldBy: 0)))
        try node.handle(.parked(.listed([])))
        #expect(try Self.status(node, record) == .notCounted)
        for parks in [false, true] {
            #expect(try Self.outcome(node, record, parks: parks) == .expired(.notCounted))
        }
    }

    @Test("does not say so of a batch that is parked here")
    func parked() throws {
        let (node, record) = try Self.closed()
        let key = ParkedKey(id: record.header.id, contentHash: record.header.contentHash)
        let note = ParkedNote(
            key: key, createdAt: record.header.createdAt, parkedAt: record.header.createdAt,
            events: record.totals.events, byteCount: record.bytes.count,
            checksum: Checksum.crc32c(record.bytes))
        try node.handle(.parked(.listed([note])))
        #expect(try Self.status(node, record) == .unknown(heldBy: 0))
        #expect(try Self.outcome(node, record) == .expired(.unknown(heldBy: 0)))
        #expect(try Self.outcome(node, record, parks: true) == .parked)
    }

    @Test("says of one that it counted as a renewal that it is counted")
    func renewed() throws {
        let (node, record) = try Self.closed()
        let key = ParkedKey(id: record.header.id, contentHash: record.header.contentHash)
        let renewed = RenewedBatch(
            key: key, createdAt: record.header.createdAt, number: 1, totals: record.totals)
        try node.handle(.parked(.listed([], renewed: RenewalMemory([renewed]))))
        #expect(try Self.status(node, record) == .counted(record.totals))
        for parks in [false, true] {
            #expect(
                try Self.outcome(node, record, parks: parks)
                    == .expired(.counted(record.totals)))
        }
    }
}
