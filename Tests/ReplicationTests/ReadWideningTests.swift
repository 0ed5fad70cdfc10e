import Core
import Replication
import Storage
import Testing

/// Enough voters have answered, and they differ by more than their newest batches: one of them
/// lags, and another voter says which.
@Suite("A read whose voters disagree")
struct ReadWideningTests {
    private typealias Run = ReadSessionTests.Run

    static let nodes = ReadUnionTests.nodes

    /// Of a voter that names so many of its newest batches: nobody can tell how it came by the
    /// others.
    private func read(
        _ place: Int, _ applied: [Int], names: Int = 1, rows: [SeriesRow]?
    ) -> ReadReply.Answer {
        .read(rows.map { .series($0) }, ReadUnionTests.voter(place, applied, names: names).state)
    }

    /// The base holds what its partner lacks, and does not name it.
    private func divided(linked: Int = 5) -> Run {
        var run = Run(linked: linked)
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(0, [1, 2], names: 0, rows: [row(1, 4)]), from: 0)
        run.reply(tag, read(1, [1], rows: nil), from: 1)
        return run
    }

    private func behind(_ run: Run) -> [NodeID] {
        run.effects.compactMap { if case .behind(let node) = $0 { node } else { nil } }
    }

    @Test("a spare voter settles it in a second trip, and who lags is named")
    func widens() {
        var run = divided()
        #expect(run.notes == [.widened])
        #expect(run.asks.count == 3 && run.asks[2].node == Self.nodes[2])
        #expect(run.asks[2].ask.role == .data)
        run.reply(run.asks[2].ask.tag, read(2, [2, 1], rows: [row(1, 4)]), from: 2)
        #expect(run.rows == [row(1, 4)])
        #expect(run.replicas == [Self.nodes[0], Self.nodes[2]])
        #expect(run.answer?.roundTrips == 2)
        #expect(behind(run) == [Self.nodes[1]])
    }

    @Test("base and spare may differ by what their newest batches explain")
    func unitesWithSpare() {
        var run = divided()
        run.reply(run.asks[2].ask.tag, read(2, [1, 2, 3], rows: [row(1, 5)]), from: 2)
        #expect(run.notes == [.widened, .united])
        #expect(run.asks.dropFirst(3).map(\.node) == [Self.nodes[0], Self.nodes[2]])
        let next = run.asks[3].ask.tag
        // A second copy of a first answer is none of the second round.
        run.reply(run.asks[0].ask.tag, read(1, [1], rows: nil), from: 1)
        run.reply(next, .united([], hasFetched: false), from: 0)
        run.reply(next, .united([row(1, 1)], hasFetched: false), from: 2)
        #expect(run.rows == [row(1, 5)])
        #expect(run.answer?.roundTrips == 3)
        #expect(behind(run) == [Self.nodes[1]])
    }

    @Test("where the base lags, the spare gives the rows, also of a union with the partner")
    func widensAwayFromBase() {
        for spare in [[1, 2, 3], [1, 2, 4]] {
            var run = Run()
            let tag = run.asks[0].ask.tag
            run.reply(tag, read(0, [1], rows: [row(1, 1)]), from: 0)
            run.reply(tag, read(1, [1, 2, 3], rows: nil), from: 1)
            run.reply(tag, read(2, spare, rows: [row(1, 5)]), from: 2)
            if spare == [1, 2, 3] {
                #expect(run.notes == [.widened])
                #expect(run.answer?.roundTrips == 2)
            } else {
                #expect(run.notes == [.widened, .united])
                let next = run.asks[3].ask.tag
                #expect(run.asks.dropFirst(3).map(\.node) == [Self.nodes[2], Self.nodes[1]])
                run.reply(next, .united([], hasFetched: false), from: 2)
                run.reply(next, .united([row(1, 2)], hasFetched: false), from: 1)
                #expect(run.answer?.roundTrips == 3)
            }
            #expect(run.rows == [row(1, spare == [1, 2, 3] ? 5 : 7)])
            #expect(run.replicas?.contains(Self.nodes[0]) == false)
            #expect(behind(run) == [Self.nodes[0]])
        }
    }

    @Test("a spare that is late, mute, broken or of no help makes the base converge")
    func fallsBack() {
        for outcome in 0..<4 {
            var run = divided()
            let tag = run.asks[2].ask.tag
            switch outcome {
            case 0:
                run.advance(.milliseconds(27))
                #expect(run.asks.count == 3)
                run.advance(.milliseconds(1))
            case 1:
                run.reply(tag, .notVoting("it recovers"), from: 2)
            case 2:
                run.reply(tag, .failed("a file is damaged"), from: 2)
            default:
                run.reply(tag, read(2, [5, 6, 7], rows: []), from: 2)
            }
            #expect(run.notes == [.widened, .fellBack], "\(outcome)")
            #expect(run.asks[3].ask.role == .converge(with: [Self.nodes[1]]))
            run.reply(run.asks[3].ask.tag, read(0, [1, 2, 3], rows: [row(1, 5)]), from: 0)
            #expect(run.rows == [row(1, 5)])
            #expect(run.answer?.roundTrips == 5)
            #expect(behind(run).isEmpty)
        }
    }

    @Test("without a spare that hears of it the base converges at once")
    func withoutSpare() {
        var run = divided(linked: 2)
        #expect(run.notes == [.fellBack])
        run.reply(run.asks[2].ask.tag, read(0, [1, 2, 3], rows: [row(1, 5)]), from: 0)
        #expect(run.answer?.roundTrips == 4)
    }

    @Test("a late voter, whose spare lags, has a while more to settle it; no trip is added")
    func waitsForLate() {
        for isLate in [false, true] {
            var run = Run()
            let tag = run.asks[0].ask.tag
            run.reply(tag, read(0, [1, 2], names: 0, rows: [row(1, 4)]), from: 0)
            run.advance(.milliseconds(7))
            run.reply(tag, read(2, [1], rows: [row(1, 1)]), from: 2)
            #expect(run.notes == [.speculated] && run.answer == nil)
            if isLate {
                run.advance(.milliseconds(28))
                #expect(run.notes == [.speculated, .fellBack])
            } else {
                run.reply(tag, read(1, [1, 2], rows: nil), from: 1)
                #expect(run.rows == [row(1, 4)])
                #expect(run.answer?.roundTrips == 1)
                #expect(behind(run) == [Self.nodes[2]])
            }
        }
    }

    @Test("the late one may meet the coordinator, and the spare that lags is named all the same")
    func lateMeeting() {
        var run = Run(own: [1, 2])
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(0, [1, 2], names: 0, rows: [row(1, 4)]), from: 0)
        run.advance(.milliseconds(7))
        run.reply(tag, read(2, [1], rows: [row(1, 1)]), from: 2)
        run.reply(
            tag,
            .met(
                ReadUnionTests.voter(1, [1, 2, 3]).state,
                ReadMeeting(
                    lacked: [ReadUnionTests.batch(3).header], rows: [row(1, 1)],
                    hasFetched: false)),
            from: 1)
        #expect(run.notes == [.speculated, .met])
        #expect(behind(run) == [Self.nodes[2]])
    }

    @Test("the end of the attempt is the end of the patience: what is known is not thrown away")
    func attemptEnds() {
        var run = Run()
        let tag = run.asks[0].ask.tag
        run.advance(.milliseconds(7))
        run.advance(.milliseconds(240))
        run.reply(tag, read(0, [1, 2], names: 0, rows: [row(1, 4)]), from: 0)
        run.reply(tag, read(2, [1], rows: [row(1, 1)]), from: 2)
        #expect(run.session.nextDeadline == Instant(nanoseconds: 250_000_000))
        run.advance(.milliseconds(3))
        #expect(run.notes == [.speculated, .fellBack])
    }

    @Test("who refuses is left out where others were asked, and its spare makes the quorum")
    func refusalAfterSpeculation() {
        var run = Run()
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(1, [1, 2], rows: nil), from: 1)
        run.advance(.milliseconds(7))
        run.reply(tag, .notVoting("it recovers"), from: 0)
        run.reply(tag, read(2, [1, 2], rows: [row(1, 4)]), from: 2)
        #expect(run.rows == [row(1, 4)])
        #expect(run.asks.count == 3)
    }

    @Test("three of five: a spare takes the place of who refuses, and one after the other is asked")
    func moreSpares() {
        var run = Run(voters: 5)
        let tag = run.asks[0].ask.tag
        run.reply(tag, read(1, [1, 2], names: 0, rows: nil), from: 1)
        run.advance(.milliseconds(7))
        #expect(run.asks.last?.node == Self.nodes[3])
        run.reply(tag, .notVoting("it recovers"), from: 0)
        #expect(run.asks.last?.node == Self.nodes[4])
        run.reply(tag, read(3, [1, 2], names: 0, rows: [row(1, 4)]), from: 3)
        run.reply(tag, read(4, [1, 2], names: 0, rows: [row(1, 4)]), from: 4)
        #expect(run.rows == [row(1, 4)])
        var other = Run(voters: 5)
        let first = other.asks[0].ask.tag
        other.reply(first, read(0, [1, 2], names: 0, rows: [row(1, 4)]), from: 0)
        other.reply(first, read(1, [1, 2], names: 0, rows: nil), from: 1)
        other.reply(first, read(2, [1], rows: nil), from: 2)
        other.reply(first, read(3, [7, 8], rows: []), from: 3)
        #expect(other.notes == [.widened, .widened] && other.asks.last?.node == Self.nodes[4])
        other.reply(first, read(4, [1, 2], names: 0, rows: [row(1, 4)]), from: 4)
        #expect(other.rows == [row(1, 4)])
        #expect(other.answer?.roundTrips == 3)
    }

    @Test("three of five: who differs is passed over, and of unions the smallest is made")
    func threeOfFive() {
        var run = Run(voters: 5)
        let tag = run.asks[0].ask.tag
        #expect(run.asks.map(\.node) == Array(Self.nodes.prefix(3)))
        run.reply(tag, read(0, [1, 2], names: 0, rows: [row(1, 4)]), from: 0)
        run.reply(tag, read(1, [1, 2], names: 0, rows: nil), from: 1)
        run.reply(tag, read(2, [1], rows: nil), from: 2)
        #expect(run.notes == [.widened] && run.asks[3].node == Self.nodes[3])
        run.reply(tag, read(3, [1, 2, 3], rows: [row(1, 5)]), from: 3)
        #expect(run.notes == [.widened, .united])
        #expect(Set(run.asks.dropFirst(4).map(\.node)).isSuperset(of: Self.nodes.prefix(2)))
        #expect(behind(run) == [Self.nodes[2]])
        let next = run.asks[4].ask.tag
        for ask in run.asks.dropFirst(4) {
            let place = Self.nodes.firstIndex(of: ask.node) ?? 0
            let gives = place == 3 ? [row(1, 1)] : []
            run.reply(next, .united(gives, hasFetched: false), from: place)
        }
        #expect(run.rows == [row(1, 5)])
        #expect(run.replicas == [Self.nodes[0], Self.nodes[1], Self.nodes[3]])
    }
}
