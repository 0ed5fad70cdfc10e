import Core
import Replication
import Ring
import Testing
import Wire

@Suite("Write session")
struct WriteSessionTests {
    static let nodes = ["n1", "n2", "n3"].map { NodeID($0) }
    static let record = MessageCodecTests.record
    static let voting = Vote(incarnation: Incarnation(1), isVoting: true)
    static let mute = Vote(incarnation: Incarnation(1), isVoting: false)

    private func session(
        _ consistency: Consistency = .quorum, request: RequestID? = RequestID(1),
        record: BatchRecord? = WriteSessionTests.record,
        local: Set<NodeID>? = nil,
        replicas: @escaping (PartitionID) -> [NodeID] = { _ in WriteSessionTests.nodes }
    ) -> WriteSession {
        WriteSession(
            tag: Tag(1), request: request, header: Self.record.header,
            placement: BatchPlacement(
                home: Self.record.home, homeVoters: replicas(Self.record.home),
                groups: ReplicaGroup.groups(of: Self.record.partitions, replicas)),
            record: record,
            consistency: consistency, local: local,
            deadline: Instant(nanoseconds: 5_000_000_000), now: .zero)
    }

    private func bound(_ answer: BindAnswer, vote: Vote = voting) -> BindReply {
        BindReply(tag: Tag(1), answer: answer, vote: vote)
    }

    private func applied(vote: Vote = voting) -> ApplyReply {
        ApplyReply(
            tag: Tag(1), applied: Self.record.partitions, isMissing: false, vote: vote)
    }

    private func answers(_ effects: [WriteSession.Effect]) -> [WriteOutcome] {
        effects.compactMap { if case .answer(let outcome) = $0 { outcome } else { nil } }
    }

    private func targets(
        _ effects: [WriteSession.Effect], _ matches: (ReplicationMessage) -> Bool
    ) -> [NodeID] {
        effects.compactMap {
            if case .send(let message, let node) = $0, matches(message) { node } else { nil }
        }
    }

    private func isApply(_ message: ReplicationMessage) -> Bool {
        if case .apply = message { true } else { false }
    }

    @Test("a segment that closed without the batch ends it: finally not counted, a copy is dropped")
    func closedSegment() {
        var client = session()
        var effects: [WriteSession.Effect] = []
        client.receive(bound(.closed, vote: Self.mute), from: Self.nodes[0], into: &effects)
        #expect(effects.isEmpty, "who has no vote says nothing")
        client.receive(bound(.closed), from: Self.nodes[1], into: &effects)
        #expect(effects == [.answer(.expired(.notCounted)), .end])
        effects = []
        var drive = session(request: nil)
        drive.receive(bound(.holds(wasBound: false)), from: Self.nodes[0], into: &effects)
        drive.receive(bound(.closed), from: Self.nodes[1], into: &effects)
        #expect(effects == [.drop, .end])
        effects = []
        var decided = session(request: nil)
        decided.receive(bound(.holds(wasBound: true)), from: Self.nodes[0], into: &effects)
        decided.receive(bound(.closed), from: Self.nodes[1], into: &effects)
        #expect(!effects.contains(.drop), "what is bound is not dropped")
    }

    @Test("nothing is applied before a majority of the home holds the record")
    func bindsFirst() {
        var session = session()
        var effects: [WriteSession.Effect] = []
        session.start(into: &effects)
        #expect(effects.count == 3)
        effects = []
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[0], into: &effects)
        #expect(effects.isEmpty)
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[2], into: &effects)
        #expect(targets(effects, isApply) == [Self.nodes[0], Self.nodes[2]])
        effects = []
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[1], into: &effects)
        #expect(targets(effects, isApply) == [Self.nodes[1]])
    }

    @Test("what a voter learns after the session has bound it makes no duplicate")
    func ownWorkIsNoDuplicate() {
        var session = session()
        var effects: [WriteSession.Effect] = []
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[0], into: &effects)
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[1], into: &effects)
        // It was away, caught up with the others, and answers a bind that was sent again.
        session.receive(bound(.holds(wasBound: true)), from: Self.nodes[2], into: &effects)
        for node in Self.nodes.suffix(2) {
            session.receive(applied(), from: node, into: &effects)
        }
        #expect(
            answers(effects) == [.counted(duplicate: false, required: 2, acknowledged: 2)])
    }

    @Test("what was bound before the session has a majority is a duplicate")
    func knownIsDuplicate() {
        var session = session()
        var effects: [WriteSession.Effect] = []
        session.receive(bound(.holds(wasBound: true)), from: Self.nodes[0], into: &effects)
        session.receive(bound(.holds(wasBound: true)), from: Self.nodes[1], into: &effects)
        for node in Self.nodes.prefix(2) {
            session.receive(applied(), from: node, into: &effects)
        }
        #expect(
            answers(effects) == [.counted(duplicate: true, required: 2, acknowledged: 2)])
    }

    @Test("the client hears OK when W voters of every partition applied, and only once")
    func answersAtQuorum() {
        var session = session()
        var effects: [WriteSession.Effect] = []
        for node in Self.nodes {
            session.receive(bound(.holds(wasBound: false)), from: node, into: &effects)
        }
        effects = []
        session.receive(applied(), from: Self.nodes[0], into: &effects)
        #expect(answers(effects).isEmpty)
        session.receive(applied(), from: Self.nodes[0], into: &effects)
        #expect(answers(effects).isEmpty)
        session.receive(applied(), from: Self.nodes[1], into: &effects)
        session.receive(applied(), from: Self.nodes[2], into: &effects)
        #expect(
            answers(effects) == [.counted(duplicate: false, required: 2, acknowledged: 2)])
        #expect(effects.last == .end)
    }

    @Test("a node without a vote is counted neither in the bind nor in the apply")
    func nonVoting() {
        var session = session()
        var effects: [WriteSession.Effect] = []
        session.receive(
            bound(.holds(wasBound: false), vote: Self.mute), from: Self.nodes[0], into: &effects)
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[1], into: &effects)
        #expect(effects.isEmpty)
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[2], into: &effects)
        #expect(targets(effects, isApply) == Self.nodes)
        effects = []
        session.receive(applied(vote: Self.mute), from: Self.nodes[0], into: &effects)
        session.receive(applied(), from: Self.nodes[1], into: &effects)
        #expect(answers(effects).isEmpty)
        session.receive(applied(), from: Self.nodes[2], into: &effects)
        #expect(answers(effects).count == 1)
    }

    @Test("another content that is bound is a conflict, and a drive adopts it")
    func conflict() {
        let other = Hash128(1)
        var client = session()
        var effects: [WriteSession.Effect] = []
        client.receive(bound(.conflict(other, isBound: true)), from: Self.nodes[1], into: &effects)
        #expect(effects == [.answer(.conflict), .end])
        var drive = session(request: nil)
        effects = []
        drive.receive(bound(.conflict(other, isBound: true)), from: Self.nodes[1], into: &effects)
        #expect(effects == [.adopt(other, from: Self.nodes[1]), .end])
    }

    @Test("one copy of another content decides nothing while a voter is silent")
    func undecided() {
        var session = session()
        var effects: [WriteSession.Effect] = []
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[0], into: &effects)
        session.receive(
            bound(.conflict(Hash128(1), isBound: false)), from: Self.nodes[1], into: &effects)
        #expect(effects.isEmpty)
        session.advance(to: Instant(nanoseconds: 5_000_000_000), into: &effects)
        #expect(answers(effects) == [.unknown(required: 2, answered: 1)])
    }

    @Test("three contents on three voters: the smallest hash wins, and wins only by a majority")
    func tie() {
        var smallest = session()
        var effects: [WriteSession.Effect] = []
        smallest.receive(bound(.holds(wasBound: false)), from: Self.nodes[0], into: &effects)
        smallest.receive(
            bound(.conflict(Hash128(50), isBound: false)), from: Self.nodes[1], into: &effects)
        smallest.receive(
            bound(.conflict(Hash128(60), isBound: false)), from: Self.nodes[2], into: &effects)
        let forced = targets(effects) { message in
            if case .bind(let bind) = message { bind.isBound } else { false }
        }
        #expect(forced == [Self.nodes[1], Self.nodes[2]])
        #expect(targets(effects, isApply).isEmpty)
        effects = []
        smallest.receive(bound(.holds(wasBound: false)), from: Self.nodes[1], into: &effects)
        #expect(targets(effects, isApply).contains(Self.nodes[0]))

        var loser = session()
        effects = []
        loser.receive(bound(.holds(wasBound: false)), from: Self.nodes[0], into: &effects)
        loser.receive(
            bound(.conflict(Hash128(2), isBound: false)), from: Self.nodes[1], into: &effects)
        loser.receive(
            bound(.conflict(Hash128(60), isBound: false)), from: Self.nodes[2], into: &effects)
        #expect(answers(effects) == [.conflict])
    }

    @Test("at ONE a durable copy is answer enough once a majority does not come")
    func weak() {
        var session = session(.one)
        var effects: [WriteSession.Effect] = []
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[0], into: &effects)
        #expect(effects.isEmpty)
        session.advance(to: Instant(nanoseconds: 500_000_000), into: &effects)
        #expect(
            answers(effects) == [.counted(duplicate: false, required: 1, acknowledged: 1)])
    }

    @Test("a batch that a voter knew as bound is a duplicate")
    func duplicate() {
        var session = session()
        var effects: [WriteSession.Effect] = []
        session.receive(bound(.holds(wasBound: true)), from: Self.nodes[0], into: &effects)
        session.receive(bound(.holds(wasBound: true)), from: Self.nodes[1], into: &effects)
        session.receive(applied(), from: Self.nodes[0], into: &effects)
        session.receive(applied(), from: Self.nodes[1], into: &effects)
        #expect(
            answers(effects) == [.counted(duplicate: true, required: 2, acknowledged: 2)])
    }

    @Test("a drive asks by header first and reads the record only for a voter that lacks it")
    func driveLoads() {
        var drive = session(request: nil, record: nil)
        var effects: [WriteSession.Effect] = []
        drive.start(into: &effects)
        let bare = targets(effects) { message in
            if case .bind(let bind) = message { bind.record == nil } else { false }
        }
        #expect(bare == Self.nodes)
        effects = []
        drive.receive(bound(.missing), from: Self.nodes[1], into: &effects)
        #expect(effects == [.loadRecord])
        effects = []
        drive.load(Self.record, into: &effects)
        #expect(targets(effects) { _ in true } == [Self.nodes[1]])
    }

    @Test("voters outside the home get slices, with the batch's own hashes")
    func slicesElsewhere() throws {
        let far = [NodeID("n4"), NodeID("n5"), NodeID("n6")]
        var session = session(replicas: { $0 == Self.record.home ? Self.nodes : far })
        var effects: [WriteSession.Effect] = []
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[0], into: &effects)
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[1], into: &effects)
        let slices = try Self.record.subset(Self.record.partitions)
        #expect(targets(effects) { $0 == .applySlices(Tag(1), slices) } == far)
        effects = []
        session.receive(applied(), from: far[0], into: &effects)
        session.receive(applied(), from: far[1], into: &effects)
        // The home's voters must know it as bound: they answer for its dead letters.
        #expect(answers(effects).isEmpty)
        let known = ApplyReply(
            tag: Tag(1), applied: PartitionSet(), isMissing: false, vote: Self.voting)
        session.receive(known, from: Self.nodes[0], into: &effects)
        #expect(answers(effects).isEmpty)
        session.receive(known, from: Self.nodes[1], into: &effects)
        #expect(answers(effects).count == 1)
        let finished = ReplicationMessage.finished(
            Self.record.header.id, Self.record.header.contentHash)
        #expect(targets(effects) { $0 == finished } == Self.nodes)
    }

    @Test("at LOCAL_QUORUM the home decides as ever, and only local applications are waited for")
    func local() {
        var session = session(.localQuorum, local: [Self.nodes[0], Self.nodes[1]])
        var effects: [WriteSession.Effect] = []
        session.start(into: &effects)
        for node in Self.nodes {
            session.receive(bound(.holds(wasBound: false)), from: node, into: &effects)
        }
        session.receive(applied(), from: Self.nodes[0], into: &effects)
        session.receive(applied(), from: Self.nodes[2], into: &effects)
        #expect(answers(effects).isEmpty)
        session.receive(applied(), from: Self.nodes[1], into: &effects)
        #expect(answers(effects) == [.counted(duplicate: false, required: 2, acknowledged: 2)])
    }

    @Test("what a voter said in an earlier life no longer counts")
    func laterLife() {
        var session = session()
        var effects: [WriteSession.Effect] = []
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[0], into: &effects)
        let later = Vote(incarnation: Incarnation(2), isVoting: true)
        session.receive(bound(.missing, vote: later), from: Self.nodes[0], into: &effects)
        effects = []
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[1], into: &effects)
        #expect(targets(effects, isApply).isEmpty)
        session.receive(
            bound(.holds(wasBound: false), vote: later), from: Self.nodes[0], into: &effects)
        #expect(targets(effects, isApply).count == 2)
    }

    @Test("what an earlier life said no longer counts once another voter knows of a later one")
    func supersededLife() {
        var session = session()
        var effects: [WriteSession.Effect] = []
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[0], into: &effects)
        let knowing = Vote(
            incarnation: Incarnation(1), isVoting: true,
            superseded: [.init(node: Self.nodes[0], incarnation: Incarnation(2))])
        session.receive(
            bound(.holds(wasBound: false), vote: knowing), from: Self.nodes[1], into: &effects)
        #expect(targets(effects, isApply).isEmpty, "its own vote is the only one")
        // A copy of the first answer was late.
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[0], into: &effects)
        #expect(targets(effects, isApply).isEmpty)
        session.receive(
            bound(.holds(wasBound: false), vote: knowing), from: Self.nodes[2], into: &effects)
        #expect(targets(effects, isApply) == [Self.nodes[1], Self.nodes[2]])
    }

    @Test("refusals for age speak only where nobody holds the batch")
    func tooOld() {
        var alone = session()
        var effects: [WriteSession.Effect] = []
        alone.receive(bound(.tooOld), from: Self.nodes[0], into: &effects)
        #expect(effects.isEmpty)
        // The third may hold it and drive it on: nobody knows that it is refused.
        alone.receive(bound(.tooOld), from: Self.nodes[1], into: &effects)
        #expect(answers(effects) == [.unknown(required: 2, answered: 0)])
        var held = session()
        effects = []
        held.receive(bound(.holds(wasBound: false)), from: Self.nodes[2], into: &effects)
        held.receive(bound(.tooOld), from: Self.nodes[0], into: &effects)
        held.receive(bound(.tooOld), from: Self.nodes[1], into: &effects)
        #expect(answers(effects) == [.unknown(required: 2, answered: 1)])
    }

    @Test("voters that take nothing new end an attempt early, and its outcome is unknown")
    func unable() {
        var session = session()
        var effects: [WriteSession.Effect] = []
        session.receive(bound(.unable(.disk)), from: Self.nodes[0], into: &effects)
        #expect(effects.isEmpty)
        session.receive(bound(.unable(.clock)), from: Self.nodes[1], into: &effects)
        // A copy of the message that is still on its way may be taken when there is room again.
        #expect(answers(effects) == [.unknown(required: 2, answered: 0)])
        #expect(effects.last == .end)
    }

    @Test("a voter that took nothing and then does counts like any other")
    func ableAgain() {
        var session = session()
        var effects: [WriteSession.Effect] = []
        session.receive(bound(.unable(.disk)), from: Self.nodes[0], into: &effects)
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[0], into: &effects)
        session.receive(bound(.holds(wasBound: false)), from: Self.nodes[1], into: &effects)
        #expect(targets(effects, isApply).count == 2)
    }
}
