import Core
import Replication
import Storage
import Testing

/// First rounds in which the partner of a coordinator that votes closes their difference.
@Suite("Read meeting")
struct ReadMeetingTests {
    typealias Run = ReadSessionTests.Run
    static let nodes = ReadUnionTests.nodes

    private func read(_ place: Int, _ applied: [Int], rows: [SeriesRow]?) -> ReadReply.Answer {
        .read(rows.map { .series($0) }, ReadUnionTests.voter(place, applied).state)
    }

    private func met(
        _ applied: [Int], lacked: [Int], rows: [SeriesRow] = [], hasFetched: Bool = false
    ) -> ReadReply.Answer {
        .met(
            ReadUnionTests.voter(1, applied).state,
            ReadMeeting(
                lacked: lacked.map { ReadUnionTests.batch($0).header }, rows: rows,
                hasFetched: hasFetched))
    }

    @Test("the coordinator tells its partner what it holds, and nobody else")
    func asks() {
        let run = Run(own: [1, 2])
        #expect(run.asks.map(\.node) == [Self.nodes[0], Self.nodes[1]])
        #expect(run.asks.map(\.ask.role) == [.data, .meet(ReadUnionTests.voter(0, [1, 2]).state)])
        let all = Run(.all, own: [1, 2])
        #expect(all.asks.map(\.ask.role) == [.data, .digest, .digest])
        let weak = Run(.one, own: [1, 2])
        #expect(weak.asks.map(\.ask.role) == [.data])
    }

    @Test("a partner that lacked batches answers when it holds them: one round trip")
    func partnerLacked() {
        var run = Run(own: [1, 2, 3])
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(0, [1, 2, 3], rows: [row(1, 4)]), from: 0)
        #expect(run.answer == nil)
        run.reply(tag, met([1, 2], lacked: []), from: 1)
        #expect(run.answer == nil, "the coordinator says that it is the same still")
        run.reply(run.asks.last?.ask.tag ?? tag, .united([], hasFetched: false), from: 0)
        #expect(run.rows == [row(1, 4)])
        #expect(run.answer?.roundTrips == 1)
        #expect(run.notes == [.met])
    }

    @Test("what the coordinator lacked is added once it holds it itself, without a trip")
    func coordinatorLacked() {
        var run = Run(own: [1, 2])
        let tag = run.asks[0].ask.tag
        run.reply(tag, met([1, 3], lacked: [3], rows: [row(1, 3), row(2, 1)]), from: 1)
        run.reply(tag, read(0, [1, 2], rows: [row(1, 4)]), from: 0)
        #expect(run.answer == nil, "the base does not hold 3 yet")
        #expect(run.asks.count == 3)
        let last = run.asks[2]
        #expect(last.node == Self.nodes[0] && last.ask.tag != tag)
        guard case .unite(let unite) = last.ask.role else {
            Issue.record("not asked to hold it")
            return
        }
        #expect(unite.gives.isEmpty)
        #expect(
            unite.lacks == [
                .init(header: ReadUnionTests.batch(3).header, source: Self.nodes[1])
            ])
        // A second copy of the first round's answer is of no round any more.
        run.reply(tag, met([1, 3], lacked: [3], rows: [row(1, 3)]), from: 1)
        run.reply(last.ask.tag, .united([], hasFetched: false), from: 0)
        #expect(run.rows == [row(1, 7), row(2, 1)])
        #expect(run.answer?.roundTrips == 1)
    }

    @Test("each record that has to be fetched is a trip")
    func fetches() {
        for partner in [false, true] {
            var run = Run(own: [1, 2])
            let tag = run.asks[0].ask.tag
            run.reply(tag, read(0, [1, 2], rows: []), from: 0)
            run.reply(tag, met([1, 3], lacked: [3], hasFetched: partner), from: 1)
            run.reply(run.asks.last?.ask.tag ?? tag, .united([], hasFetched: true), from: 0)
            #expect(run.answer?.roundTrips == (partner ? 3 : 2))
        }
    }

    @Test("a coordinator that began another life since it told its set begins anew")
    func coordinatorBeganAnew() {
        var run = Run(own: [1, 2, 3])
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(0, [1, 2, 3], rows: [row(1, 4)]), from: 0)
        run.reply(tag, met([1, 2], lacked: []), from: 1)
        let own = run.asks.last?.ask.tag ?? tag
        run.reply(own, .notVoting("it began anew since the read did"), from: 0)
        #expect(run.answer == nil)
        #expect(run.asks.dropFirst(3).map(\.node) == [Self.nodes[1], Self.nodes[2]])
    }

    @Test("how long a partner took is observed, unless it had to fetch a record")
    func observed() {
        for hasFetched in [false, true] {
            var run = Run(own: [1, 2])
            let tag = run.asks[0].ask.tag
            run.reply(tag, met([1, 3], lacked: [3], hasFetched: hasFetched), from: 1)
            let observed = run.effects.contains {
                if case .observed(Self.nodes[1], _) = $0 { true } else { false }
            }
            #expect(observed == !hasFetched)
        }
    }

    @Test("rows of another set than the partner met take a second round")
    func movedOn() {
        var run = Run(own: [1, 2])
        let tag = run.asks[0].ask.tag
        // Batch 4 was applied between what was told and what was read.
        run.reply(tag, read(0, [1, 2, 4], rows: [row(1, 5)]), from: 0)
        run.reply(tag, met([1, 2, 3], lacked: [3], rows: [row(1, 3)]), from: 1)
        #expect(run.notes == [.united])
        let next = run.asks[2].ask.tag
        #expect(run.asks.dropFirst(2).map(\.node) == [Self.nodes[0], Self.nodes[1]])
        run.reply(next, .united([], hasFetched: false), from: 0)
        run.reply(next, .united([row(1, 3)], hasFetched: false), from: 1)
        #expect(run.rows == [row(1, 8)])
        #expect(run.answer?.roundTrips == 2)
    }

    @Test("a partner whose difference is not explained gives its digest: a spare is asked")
    func unexplained() {
        var run = Run(own: [1, 2])
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(0, [1, 2], rows: []), from: 0)
        run.reply(
            tag, .read(nil, ReadState(digest: ReadUnionTests.voter(1, [1, 3]).state.digest)),
            from: 1)
        #expect(run.notes == [.widened])
        run.reply(tag, read(2, [1, 2], rows: [row(1, 4)]), from: 2)
        #expect(run.replicas == [Self.nodes[0], Self.nodes[2]])
        #expect(run.rows == [], "those of the base")
    }

    @Test("where the spare stands in for the coordinator's rows, what was met is not used")
    func spareIsBase() {
        var run = Run(own: [1, 2])
        let tag = run.asks[0].ask.tag
        run.advance(.milliseconds(8))
        #expect(run.asks.last?.node == Self.nodes[2])
        run.reply(tag, met([1, 3], lacked: [3], rows: [row(1, 3)]), from: 1)
        run.reply(tag, read(2, [1, 2], rows: [row(1, 4)]), from: 2)
        #expect(run.notes == [.speculated, .united])
        let next = run.asks.last?.ask.tag ?? tag
        run.reply(next, .united([], hasFetched: false), from: 2)
        run.reply(next, .united([row(1, 3)], hasFetched: false), from: 1)
        #expect(run.rows == [row(1, 7)])
        #expect(run.replicas == [Self.nodes[1], Self.nodes[2]])
    }
}
