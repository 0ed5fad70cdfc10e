import Core
import NodeCore
import Replication
import Storage
import Testing
import Wire

@Suite("A node that is asked for an old batch")
struct ForgottenOutcomeTests {
    private static func status(
        _ node: SoloNode, of number: UInt64, at createdAt: WallTime?, request: UInt64
    ) throws -> BatchStatus? {
        try node.ask(
            .status(node.id(number), createdAt: createdAt), request, within: .seconds(5))
        try node.wait(.milliseconds(200))
        guard case .status(let status)? = node.replies[RequestID(request)] else { return nil }
        return status
    }

    @Test("says whether its outcome is forgotten or may yet be decided")
    func forgotten() throws {
        let node = try SoloNode(outcomeRetention: .seconds(60), isAlone: true)
        // It has nothing parked that it could still count.
        try node.handle(.parked(.listed([])))
        try node.send(1)
        let first = try #require(node.lastRecord).header.createdAt
        let open = try Self.status(node, of: 900, at: first, request: 1)
        #expect(open == .unknown(heldBy: 0, isForgotten: false))
        // Two minutes of segments are forgotten at once.
        for number in UInt64(2)...26 {
            try node.wait(.seconds(10))
            try node.send(number)
        }
        #expect(node.core.forgotten.outcomesFrom > .first)
        let old = try Self.status(node, of: 900, at: first, request: 2)
        #expect(old == .unknown(heldBy: 0, isForgotten: true))
        // What was sealed half a minute ago is decided, and remembered.
        let closed = try #require(node.sent[23]).header.createdAt
        #expect(try Self.status(node, of: 900, at: closed, request: 3) == .notCounted)
        let untold = try Self.status(node, of: 900, at: nil, request: 4)
        #expect(untold == .unknown(heldBy: 0))
    }
}
