import Core
import Replication
import Storage
import Testing

@Suite("Read session")
struct ReadSessionTests {
    static let nodes = ReadUnionTests.nodes
    static let partition = PartitionID(3)
    static let tag = Replication.Tag(ReadSession.tagsMax)
    static let query = ReadQuery.series(SeriesQuery(partition: partition, key: [1]))

    /// A session with what was sent, answered and noted so far.
    struct Run {
        var session: ReadSession
        var effects: [ReadSession.Effect] = []
        var now = Instant.zero
        let voters: [NodeID]
        let linked: Set<NodeID>
        /// What the coordinator tells its partner that it holds.
        var own: ReadState?

        init(
            _ consistency: Consistency = .quorum, _ query: ReadQuery = ReadSessionTests.query,
            own applied: [Int]? = nil, voters: Int = 3, linked: Int = 5
        ) {
            self.voters = Array(ReadSessionTests.nodes.prefix(voters))
            self.linked = Set(ReadSessionTests.nodes.prefix(linked))
            own = applied.map { ReadUnionTests.voter(0, $0).state }
            session = ReadSession(
                tag: ReadSessionTests.tag, request: RequestID(1), query: query,
                partitions: PartitionSet([ReadSessionTests.partition]), consistency: consistency,
                options: .init(
                    attemptTimeout: .milliseconds(250),
                    deadline: Instant(nanoseconds: 5_000_000_000),
                    coordinator: ReadSessionTests.nodes[0], asked: query))
            session.start(choice, now: now, into: &effects)
        }

        var choice: ReadSession.Choice {
            let (voters, linked) = (voters, linked)
            return ReadSession.Choice(
                replicas: { _ in voters }, isReachable: { _ in true },
                isLinked: { linked.contains($0) }, rank: { _ in 0 },
                patience: .milliseconds(7), ownState: own)
        }

        var asks: [(node: NodeID, ask: ReadAsk)] {
            effects.compactMap {
                if case .send(.read(let ask), let node) = $0 { (node, ask) } else { nil }
            }
        }

        var answer: (response: ClientResponse, roundTrips: Int)? {
            for case .answer(let response, let roundTrips) in effects {
                return (response, roundTrips)
            }
            return nil
        }

        var rows: [SeriesRow]? {
            guard case .read(let answer) = answer?.response, case .series(let rows) = answer.result
            else { return nil }
            return rows
        }

        var replicas: [NodeID]? {
            if case .read(let answer) = answer?.response { answer.replicas } else { nil }
        }

        var notes: [ReadSession.Event] {
            effects.compactMap { if case .noted(let event) = $0 { event } else { nil } }
        }

        mutating func reply(_ tag: Replication.Tag, _ answer: ReadReply.Answer, from place: Int) {
            session.receive(
                ReadReply(tag: tag, answer: answer), from: ReadSessionTests.nodes[place],
                choice: choice, now: now, into: &effects)
        }

        mutating func advance(_ duration: Duration) {
            now = now + duration
            session.advance(to: now, choice: choice, into: &effects)
        }
    }

    private func read(_ place: Int, _ applied: [Int], rows: [SeriesRow]?) -> ReadReply.Answer {
        .read(rows.map { .series($0) }, ReadUnionTests.voter(place, applied).state)
    }

    @Test("asks one voter for rows and one for a digest, and answers when they agree")
    func agrees() {
        var run = Run()
        #expect(run.asks.map(\.node) == [Self.nodes[0], Self.nodes[1]])
        #expect(run.asks.map(\.ask.role) == [.data, .digest])
        #expect(run.asks.allSatisfy { $0.ask.wantsRecent })
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(1, [2, 1], rows: nil), from: 1)
        #expect(run.answer == nil)
        run.reply(tag, read(0, [1, 2], rows: [row(1, 4)]), from: 0)
        #expect(run.rows == [row(1, 4)])
        #expect(run.answer?.roundTrips == 1)
        #expect(run.replicas == [Self.nodes[0], Self.nodes[1]])
    }

    @Test("adds what the base lacks, once everyone holds what it lacked: two round trips")
    func unites() {
        var run = Run()
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(0, [1, 2], rows: [row(1, 4)]), from: 0)
        run.reply(tag, read(1, [1, 3], rows: nil), from: 1)
        let second = run.asks.suffix(2)
        #expect(second.map(\.node) == [Self.nodes[0], Self.nodes[1]])
        let next = second.map(\.ask.tag)[0]
        #expect(next != tag)
        #expect(run.notes == [.united])
        run.reply(next, .united([row(1, 3), row(2, 1)], hasFetched: false), from: 1)
        // A late copy of a first answer, and a second copy of this one, change nothing.
        run.reply(tag, read(0, [1, 2, 9], rows: [row(1, 99)]), from: 0)
        run.reply(next, .united([row(1, 3), row(2, 1)], hasFetched: false), from: 1)
        #expect(run.answer == nil, "the base does not hold 3 yet")
        run.reply(next, .united([], hasFetched: false), from: 0)
        #expect(run.rows == [row(1, 7), row(2, 1)])
        #expect(run.answer?.roundTrips == 2)
    }

    @Test("asks only those that lack or give something")
    func onlyPartner() {
        var run = Run()
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(0, [1, 2, 3], rows: [row(1, 4)]), from: 0)
        run.reply(tag, read(1, [1, 2], rows: nil), from: 1)
        #expect(run.asks.count == 3)
        #expect(run.asks[2].node == Self.nodes[1])
        run.reply(run.asks[2].ask.tag, .united([], hasFetched: true), from: 1)
        #expect(run.rows == [row(1, 4)])
        #expect(run.answer?.roundTrips == 3, "a record had to be fetched")
    }

    @Test("what the coordinator fetches for itself is on its way beside the second round")
    func coordinatorFetches() {
        var run = Run()
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(0, [1, 2], rows: [row(1, 4)]), from: 0)
        run.reply(tag, read(1, [1, 2, 3], rows: nil), from: 1)
        let next = run.asks[2].ask.tag
        run.reply(next, .united([], hasFetched: true), from: 0)
        run.reply(next, .united([row(1, 3)], hasFetched: false), from: 1)
        #expect(run.rows == [row(1, 7)])
        #expect(run.answer?.roundTrips == 2)
    }

    @Test("a voter that began anew between the rounds has no say: the read begins anew")
    func restarts() {
        var run = Run()
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(0, [1, 2], rows: [row(1, 4)]), from: 0)
        run.reply(tag, read(1, [1, 3], rows: nil), from: 1)
        let next = run.asks[2].ask.tag
        run.reply(next, .united([], hasFetched: false), from: 0)
        run.reply(next, .notVoting("it began anew"), from: 1)
        let third = run.asks.suffix(2)
        #expect(third.map(\.node) == [Self.nodes[0], Self.nodes[2]])
        let again = third.map(\.ask.tag)[0]
        run.reply(again, read(0, [1, 2, 3], rows: [row(1, 5)]), from: 0)
        run.reply(again, read(2, [1, 2, 3], rows: nil), from: 2)
        #expect(run.rows == [row(1, 5)])
        #expect(run.replicas == [Self.nodes[0], Self.nodes[2]])
        #expect(run.answer?.roundTrips == 3)
    }

    @Test("a voter that is late is joined by one spare, which stands in for the base as well")
    func speculates() {
        var run = Run()
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(1, [1, 2], rows: nil), from: 1)
        #expect(run.session.nextDeadline == Instant(nanoseconds: 7_000_000))
        run.advance(.milliseconds(7))
        #expect(run.notes == [.speculated])
        #expect(run.asks[2].node == Self.nodes[2])
        #expect(run.asks[2].ask.role == .data)
        run.advance(.milliseconds(20))
        #expect(run.asks.count == 3, "one is enough")
        run.reply(tag, read(2, [1, 2], rows: [row(1, 4)]), from: 2)
        #expect(run.rows == [row(1, 4)])
        #expect(run.replicas == [Self.nodes[1], Self.nodes[2]])
        let late = run.effects.compactMap { effect in
            if case .late(let node, _) = effect { node } else { nil }
        }
        #expect(late == [Self.nodes[0]])
    }

    @Test("the spare without a vote is left out, and the others still answer")
    func muteSpare() {
        var run = Run()
        let tag = run.asks[0].ask.tag
        run.advance(.milliseconds(7))
        run.reply(tag, .notVoting("it recovers"), from: 2)
        run.reply(tag, read(1, [1], rows: nil), from: 1)
        run.reply(tag, read(0, [1], rows: [row(1, 1)]), from: 0)
        #expect(run.rows == [row(1, 1)])
        #expect(run.asks.count == 3)
    }

    @Test("what is too large for one voter is for all: the read ends, and no other is asked")
    func tooLarge() {
        var run = Run()
        let asked = run.asks.count
        run.reply(run.asks[0].ask.tag, .tooLarge("two gibibytes"), from: 0)
        guard case .failed(.tooLarge("two gibibytes"))? = run.answer?.response else {
            Issue.record("\(String(describing: run.answer))")
            return
        }
        run.reply(run.asks[0].ask.tag, read(1, [1], rows: nil), from: 1)
        #expect(run.asks.count == asked)
    }

    @Test("a voter that stays silent in the second round is replaced after a while")
    func silentInSecondRound() {
        var run = Run()
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(0, [1, 2], rows: [row(1, 4)]), from: 0)
        run.reply(tag, read(1, [1, 3], rows: nil), from: 1)
        run.reply(run.asks[2].ask.tag, .united([], hasFetched: false), from: 0)
        run.advance(.milliseconds(250))
        #expect(run.asks.suffix(2).map(\.node) == [Self.nodes[0], Self.nodes[2]])
    }

    @Test("lists of keys compare digests only: their difference is left to the base")
    func scans() {
        let spec = ScanSpec(partitions: PartitionSet(), output: .types)
        let run = Run(.quorum, .scan(spec, top: nil))
        #expect(run.asks.allSatisfy { !$0.ask.wantsRecent })
        #expect(run.session.nextDeadline == Instant(nanoseconds: 250_000_000), "no spare is asked")
    }

    @Test("one voter is asked at a weak level, two of three at LOCAL_QUORUM")
    func levels() {
        #expect(Run(.localOne).asks.map(\.ask.isWeak) == [true])
        #expect(Run(.localQuorum).asks.map(\.ask.isWeak) == [false, false])
    }
}

@Suite("Latency of replicas")
struct ReplicaLatencyTests {
    static let nodes = Array(ReadUnionTests.nodes.prefix(3))

    @Test("who is late is ranked behind, and a probe that it answers brings it back")
    func probes() {
        var latency = ReplicaLatency()
        var now = Instant.zero
        for node in Self.nodes { latency.observe(node, .microseconds(300)) }
        #expect(Self.nodes.map { latency.rank($0) } == [0, 0, 0])
        latency.asked(Self.nodes[1], at: now)
        latency.late(Self.nodes[1], .milliseconds(5))
        #expect(latency.rank(Self.nodes[1]) == 20)
        #expect(!latency.isProbeDue(Self.nodes[1], at: now))
        now = now + ReplicaLatency.probeAfter
        #expect(latency.isProbeDue(Self.nodes[1], at: now))
        latency.probe(Self.nodes[1], Tag(4), at: now)
        let isOfAnother =
            latency.answered(Tag(5), by: Self.nodes[1], at: now)
            || latency.answered(Tag(4), by: Self.nodes[2], at: now)
        #expect(!isOfAnother)
        let isAnswer = latency.answered(Tag(4), by: Self.nodes[1], at: now + .microseconds(400))
        #expect(isAnswer)
        #expect(latency.rank(Self.nodes[1]) == 0)
    }

    @Test("who lags is behind for a second, whatever it answers meanwhile")
    func behind() {
        var latency = ReplicaLatency()
        let node = Self.nodes[1]
        #expect(!latency.isBehind(node, at: .zero))
        latency.behind(node, at: .zero)
        latency.observe(node, .microseconds(300))
        #expect(latency.isBehind(node, at: .zero + .milliseconds(999)))
        #expect(!latency.isBehind(Self.nodes[0], at: .zero))
        #expect(!latency.isBehind(node, at: .zero + ReplicaLatency.behindFor))
    }

    @Test("a probe that stays unanswered keeps its node behind")
    func silent() {
        var latency = ReplicaLatency()
        latency.probe(Self.nodes[1], Tag(4), at: .zero)
        latency.probe(Self.nodes[1], Tag(5), at: .zero + .seconds(1))
        #expect(latency.rank(Self.nodes[1]) == 4000)
        let isAnswer = latency.answered(Tag(4), by: Self.nodes[1], at: .zero + .seconds(2))
        #expect(!isAnswer, "only the last one counts")
    }

    @Test("patience is the 99th percentile of the last answers, within bounds")
    func patience() {
        var latency = ReplicaLatency()
        #expect(latency.patience == ReplicaLatency.patienceAtStart)
        for _ in 0..<64 { latency.observe(Self.nodes[0], .microseconds(100)) }
        #expect(latency.patience == ReplicaLatency.patienceMin)
        for _ in 0..<251 { latency.observe(Self.nodes[0], .milliseconds(4)) }
        for _ in 0..<5 { latency.observe(Self.nodes[0], .milliseconds(9)) }
        #expect(latency.patience == .milliseconds(9))
        for _ in 0..<256 { latency.observe(Self.nodes[0], .seconds(2)) }
        #expect(latency.patience == ReplicaLatency.patienceMax)
    }
}

/// A row of the one type that the tests of reads have.
func row(_ window: Int64, _ count: UInt64) -> SeriesRow {
    SeriesRow(type: [5], window: window, measure: Measure(count: count))
}
