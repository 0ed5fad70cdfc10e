import Core
import Replication
import Storage
import Testing
import Wire

/// A write with dead letters whose home has no room for them.
@Suite("A write without room for its dead letters")
struct CrowdedWriteTests {
    private static let voters = ["n1", "n2", "n3"].map { NodeID($0) }
    private static let record = ForgettingTests.record(3)

    private static func session() -> StatusSession {
        StatusSession(
            request: RequestID(1), id: record.header.id, createdAt: record.header.createdAt,
            purpose: .crowdedWrite(record, .quorum, full: [voters[1]]), voters: voters,
            deadline: .zero + .seconds(5), now: .zero)
    }

    private static func reply(
        holds hash: Hash128? = nil, isBound: Bool = false, isClosed: Bool = false
    ) -> StatusReply {
        StatusReply(
            tag: Tag(1),
            held: hash.map {
                StatusReply.Held(contentHash: $0, isBound: isBound, totals: record.totals)
            }, isClosed: isClosed,
            vote: Vote(incarnation: Incarnation(1), isVoting: true, superseded: []))
    }

    private static func verdict(_ replies: StatusReply...) -> String {
        var session = session()
        var last: StatusSession.Verdict?
        for (voter, reply) in zip(voters, replies) {
            last = session.receive(reply, from: voter) { _ in true }
        }
        switch last {
        case .answer(.write(let outcome)): return "\(outcome)"
        case .answer: return "another answer"
        case .complete: return "complete"
        case .attempt: return "attempt"
        case nil: return "waits"
        }
    }

    @Test("is refused when no voter knows it, and only after all have said so")
    func refused() {
        #expect(Self.verdict(Self.reply(), Self.reply()) == "waits")
        let refused = Self.verdict(Self.reply(), Self.reply(), Self.reply())
        let expected = WriteOutcome.notAttempted(.deadLettersFull([Self.voters[1]]))
        #expect(refused == "\(expected)")
        guard case .write(let late) = Self.session().expire() else {
            Issue.record("a late answer is none of a write")
            return
        }
        #expect(late == expected)
    }

    @Test("is a duplicate where it is bound, whoever has no room")
    func duplicate() {
        let hash = Self.record.header.contentHash
        #expect(Self.verdict(Self.reply(holds: hash, isBound: true)) == "complete")
        #expect(
            Self.verdict(Self.reply(holds: Hash128(99), isBound: true))
                == "\(WriteOutcome.conflict)")
    }

    @Test("goes on where a voter holds it from an earlier attempt: its letters lie there already")
    func attempted() {
        let held = Self.reply(holds: Self.record.header.contentHash)
        #expect(Self.verdict(Self.reply(), held, Self.reply()) == "attempt")
    }

    @Test("is finally not counted where its segment closed without it")
    func closed() {
        let closed = Self.verdict(Self.reply(isClosed: true))
        #expect(closed == "\(WriteOutcome.expired(.notCounted))")
    }

    @Test("letters in the log go with their files, and no more than they were")
    func logLetters() {
        func record(_ number: Int, letters: Int) -> BatchRecord {
            let made = (0..<letters).map { line in
                DeadLetter(
                    line: UInt32(line + 1), reason: .badJSON, detail: "d",
                    raw: (0..<200).map { UInt8(truncatingIfNeeded: $0 &* (line + 7) &* number) })
            }
            return BatchRecord.home(
                header: ForgettingTests.record(number).header, home: PartitionID(1),
                totals: BatchTotals(
                    events: UInt32(letters + 1), counted: 1, dead: UInt32(letters)),
                slices: [(partition: PartitionID(2), offset: 0, length: 8, cells: 1)],
                cells: [1, 2, 3, 4, 5, 6, 7, 8], deadLetters: made)
        }
        let dead = record(5, letters: 9)
        #expect(dead.letterBytes > 0 && dead.letterBytes < dead.bytes.count)
        #expect(record(6, letters: 0).letterBytes == 0)
        var letters = LogLetters()
        letters.add(record(6, letters: 0), in: 1)
        #expect(letters.bytes == 0)
        letters.add(dead, in: 1)
        letters.add(dead, in: 2)
        letters.add(dead, in: 2)
        let one = UInt64(dead.letterBytes)
        #expect(letters.bytes == 3 * one)
        letters.release(before: 2)
        #expect(letters.bytes == 2 * one)
        letters.release(before: 2)
        #expect(letters.bytes == 2 * one)
        letters.release(before: 9)
        #expect(letters == LogLetters())
    }
}
