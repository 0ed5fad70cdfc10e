import Core
import Replication
import Storage
import Testing

/// Three members that answer from a table, and a session that asks them.
private struct Survey {
    static let members = ["n1", "n2", "n3"].map { NodeID($0) }
    static let partitions = [PartitionID(0), PartitionID(1)]

    var session: SurveySession
    var now = Instant.zero
    var answer: AuditAnswer?
    var down: Set<NodeID> = []
    var rounds: UInt32 = 0
    /// Changes a reply before it arrives; nil loses it.
    var change: (inout SurveyReply, NodeID, UInt32) -> Bool = { _, _, _ in true }

    init(deadline: Duration = .seconds(60), isBlind: Bool = false) {
        session = SurveySession(
            tag: Tag(7), request: RequestID(1), members: Survey.members,
            partitions: Survey.partitions, replicas: { _ in Survey.members }, age: .zero,
            deadline: .zero + deadline, isBlind: isBlind, now: .zero)
    }

    /// What a healthy member says: two partitions, ten events each; the home of all is the first.
    static func reply(round: UInt32) -> SurveyReply {
        let lines = partitions.map { partition in
            let number = UInt128(partition.index)
            return SurveyLine(
                line: AuditLine(
                    partition: partition,
                    sum: AuditSum(
                        applied: SetDigest(sum: 5 + number, count: 2),
                        home: SetDigest(sum: 9 + number, count: 3),
                        state: StateDigest(counts: 77 + number, sums: 0))),
                events: 10,
                home: partition.index == 0
                    ? HomeTotals(events: 22, counted: 20, dead: 2) : HomeTotals())
        }
        return SurveyReply(
            tag: Tag(7), round: round, isSettled: true, unfinished: 0, healed: 4, incidents: 0,
            verification: VerificationState(
                isDone: true, tables: 2, doneBytes: 50, totalBytes: 50), findings: [],
            lines: round == 0 ? [] : lines)
    }

    mutating func run(for length: Duration = .seconds(70)) {
        let end = now + length
        while answer == nil, now < end {
            var steps: [SurveySession.Effect] = []
            let down = down
            session.advance(to: now, isReachable: { !down.contains($0) }, into: &steps)
            take(steps)
            now = now + .milliseconds(20)
        }
    }

    private mutating func take(_ steps: [SurveySession.Effect]) {
        for step in steps {
            switch step {
            case .answer(let answer): self.answer = answer
            case .send(let ask, let node):
                rounds = max(rounds, ask.round)
                var reply = Survey.reply(round: ask.round)
                guard !down.contains(node), change(&reply, node, ask.round) else { continue }
                var more: [SurveySession.Effect] = []
                session.receive(reply, from: node, now: now, into: &more)
                take(more)
            }
        }
    }

    var report: AuditReport? {
        if case .report(let report) = answer { report } else { nil }
    }
}

@Suite("Cluster-wide audits")
struct SurveySessionTests {
    @Test("where all hold the same, two equal rounds make a clean report")
    func clean() throws {
        var survey = Survey()
        survey.run()
        let report = try #require(survey.report)
        #expect(report.isClean && report.lagging == 0 && report.healed == 12)
        #expect(
            report.balance
                == AuditBalance(
                    state: .equal, input: HomeTotals(events: 22, counted: 20, dead: 2), output: 20))
        #expect(survey.rounds == 2)
        #expect(report.members.map(\.verifiedBytes) == [50, 50, 50])
    }

    @Test("lost messages are repeated")
    func lossy() throws {
        var random = RandomSource(seed: 4)
        var survey = Survey()
        survey.change = { _, _, _ in random.chance(1, in: 3) }
        survey.run()
        #expect(try #require(survey.report).isClean)
    }

    @Test("equal sets with another state are a difference that names partition and nodes")
    func state() throws {
        var survey = Survey()
        survey.change = { reply, node, round in
            if node == NodeID("n3"), round > 0 { reply.lines[1].line.sum.state.counts += 1 }
            return true
        }
        survey.run()
        let difference = try #require(survey.report?.differences.first)
        #expect(difference.kind == .state && difference.partition == PartitionID(1))
        #expect(difference.nodes == [NodeID("n3")])
        #expect(difference.detail == "n1 holds 10 events, n2 holds 10 events, n3 holds 10 events")
        var blind = Survey(isBlind: true)
        blind.change = survey.change
        blind.run()
        #expect(try #require(blind.report).isClean)
    }

    @Test("where no majority agrees, all are named")
    func noMajority() throws {
        var survey = Survey()
        survey.change = { reply, node, round in
            guard round > 0 else { return true }
            if node == NodeID("n3") { reply.lines[1].line.sum.state.counts += 1 }
            if node == NodeID("n1") { reply.lines[1].events += 1 }
            return true
        }
        survey.run()
        #expect(try #require(survey.report?.differences.first).nodes == Survey.members)
    }

    @Test("sets that differ are lagging, never a difference, whatever their sums")
    func lagging() throws {
        var survey = Survey()
        survey.change = { reply, node, round in
            if node == NodeID("n2"), round > 0 {
                reply.lines[0].line.sum.applied = SetDigest(sum: 3, count: 1)
                reply.lines[0].line.sum.state = StateDigest(counts: 40, sums: 0)
                reply.lines[0].events = 6
            }
            return true
        }
        survey.run()
        let report = try #require(survey.report)
        #expect(report.isClean && report.lagging == 1 && report.balance.state == .moving)
        #expect(report.members.map(\.lagging) == [0, 1, 0])
        #expect(survey.now >= Instant.zero + SurveySession.settleMax)
    }

    @Test("input and output are compared only while nothing moves")
    func moving() throws {
        var survey = Survey()
        survey.change = { reply, _, round in
            // The cells of a batch whose home record is there already come one round later.
            if round > 0, round < 4 { for place in 0..<2 { reply.lines[place].events = 9 } }
            reply.unfinished = round < 4 ? 1 : 0
            return true
        }
        survey.run()
        let report = try #require(survey.report)
        #expect(report.isClean && report.balance.state == .equal && survey.rounds >= 5)
    }

    @Test("events that went in and are in no cell are a difference")
    func lost() throws {
        var survey = Survey()
        survey.change = { reply, _, round in
            if round > 0 { reply.lines[1].events = 9 }
            return true
        }
        survey.run()
        let report = try #require(survey.report)
        #expect(report.differences.map(\.kind) == [.inputOutput])
        #expect(report.balance.state == .different && report.balance.output == 19)
    }

    @Test("totals that do not balance, or that replicas disagree on, are differences")
    func totals() throws {
        var survey = Survey()
        survey.change = { reply, node, round in
            if round > 0, node == NodeID("n1") { reply.lines[0].home.dead = 1 }
            return true
        }
        survey.run()
        let report = try #require(survey.report)
        #expect(report.differences.map(\.kind) == [.totals, .balance])
        #expect(report.differences[1].nodes == [NodeID("n1")])
    }

    @Test("a member that is away is named, and nothing is said to be proved of it")
    func unreachable() throws {
        var survey = Survey()
        survey.down = [NodeID("n2")]
        survey.run()
        let report = try #require(survey.report)
        #expect(report.differences.map(\.kind) == [.unreachable])
        #expect(report.differences[0].nodes == [NodeID("n2")])
        #expect(report.balance.state == .moving && report.members.count == 2)
    }

    @Test("a recovering member lags with all its partitions and is not compared")
    func recovering() throws {
        var survey = Survey()
        survey.change = { reply, node, round in
            guard node == NodeID("n3"), round > 0 else { return true }
            reply.isSettled = false
            reply.lines[0].line.sum.state = .zero
            return true
        }
        survey.run()
        let report = try #require(survey.report)
        #expect(report.isClean && report.lagging == 2)
        #expect(report.members.map(\.isSettled) == [true, true, false])
    }

    @Test("disks that are not read by the deadline are an answer that says how far they are")
    func verifying() {
        var survey = Survey(deadline: .seconds(2))
        survey.change = { reply, node, _ in
            reply.verification = VerificationState(
                isDone: node == NodeID("n1"), tables: 3, doneBytes: 10, totalBytes: 40)
            return true
        }
        survey.run()
        #expect(survey.answer == .verifying(doneBytes: 30, totalBytes: 120))
        #expect(survey.rounds == 0)
    }

    @Test("what a member found by itself is in the report")
    func findings() throws {
        var survey = Survey()
        survey.change = { reply, node, _ in
            guard node == NodeID("n2") else { return true }
            reply.findings = AuditFinding.Kind.allCases.map {
                AuditFinding(kind: $0, peer: NodeID("n1"), partition: nil, detail: "it is so")
            }
            return true
        }
        survey.run()
        let kinds = try #require(survey.report?.differences.map(\.kind))
        #expect(kinds == [.incident, .divergence, .damage])
    }
}
