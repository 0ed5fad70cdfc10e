import Core
import Ring
import Simulator
import Storage
import Testing
import Wire

/// The checkers themselves: they accept what is right and refuse each kind of wrong.
@Suite("The ledger")
struct LedgerTests {
    let key = Array("k0".utf8)

    func ledger(_ contents: Int, seed: UInt64 = 1) throws -> Ledger {
        var maker = ContentMaker(
            keys: 1, placement: placement, random: RandomSource(seed: seed))
        let ledger = Ledger()
        for number in 0..<contents {
            ledger.add(
                maker.make(
                    number, id: BatchID(producer: 1, sequence: UInt64(number)),
                    createdAt: WallTime(milliseconds: 0)))
        }
        return ledger
    }

    let query: SeriesQuery
    private let placement: KeyPlacement

    init() throws {
        placement = KeyPlacement(.key, try Partitioning(partitions: 4), window: .minute)
        query = SeriesQuery(partition: placement.partition(of: key, window: 0), key: key)
    }

    @Test("reads the set of contents out of any fold of contents")
    func decodes() throws {
        let ledger = try ledger(70)
        var random = RandomSource(seed: 2)
        for _ in 0..<200 {
            let set = ContentSet((0..<70).filter { _ in random.chance(1, in: 2) })
            let rows = ledger.rows(of: query, in: set)
            let seen = try ledger.decode(rows, query)
            let expected = set.intersection(ledger.contents(touching: key))
            #expect(seen.members == expected.members)
        }
    }

    @Test("refuses a cell that was counted twice")
    func twice() throws {
        let ledger = try ledger(30)
        var rows = ledger.rows(of: query, in: ContentSet(0..<30))
        rows[0].measure.count *= 2
        #expect(throws: Violation.self) { try ledger.decode(rows, query) }
    }

    @Test("refuses a cell of part of a batch")
    func part() throws {
        let ledger = try ledger(24)
        let whole = try #require(
            ledger.contents.first { content in
                content.cells.count { $0.name.key == key } > 1
            })
        let rows = ledger.rows(of: query, in: ContentSet([whole.number]))
        #expect(throws: Violation.self) { try ledger.decode(Array(rows.dropLast()), query) }
        #expect(try ledger.decode(rows, query).members == [whole.number])
    }

    @Test("refuses a cell that nobody made, and a sum that is off by one")
    func phantom() throws {
        let ledger = try ledger(24)
        let row = SeriesRow(type: Array("view".utf8), window: 12, measure: Measure(count: 1))
        #expect(throws: Violation.self) { try ledger.decode([row], query) }
        var rows = ledger.rows(of: query, in: ContentSet(0..<24))
        let valued = try #require(rows.firstIndex { $0.measure.values != nil })
        rows[valued].measure.values?.sum += 1
        #expect(throws: Violation.self) { try ledger.decode(rows, query) }
    }

    @Test("refuses events that count under two ids")
    func sealedAnew() throws {
        let ledger = try ledger(4)
        ledger.sealAnew(1, as: 3)
        #expect(ledger.twin(of: 1) == 3 && ledger.twin(of: 3) == 1 && ledger.twin(of: 0) == nil)
        #expect(ledger.countedTwice(in: ContentSet([0, 1, 2])) == nil)
        #expect(ledger.countedTwice(in: ContentSet([0, 2, 3])) == nil)
        #expect(ledger.countedTwice(in: ContentSet([1, 3])) == 1)
    }

    @Test("keeps a content for possible unless every attempt at it sent nothing")
    func withdraws() throws {
        let ledger = try ledger(2)
        ledger.submit(0)
        ledger.submit(0)
        ledger.withdraw(0)
        #expect(ledger.submitted.contains(0))
        ledger.withdraw(0)
        #expect(!ledger.submitted.contains(0))
    }

    @Test("counts an acknowledgement at a level for all lower ones")
    func levels() throws {
        let ledger = try ledger(2)
        ledger.acknowledge(0, at: .quorum)
        ledger.acknowledge(1, at: .all)
        #expect(ledger.acknowledged(at: .one).members == [0, 1])
        #expect(ledger.acknowledged(at: .quorum).members == [0, 1])
        #expect(ledger.acknowledged(at: .all).members == [1])
    }

    @Test("makes records whose slices, totals and letters are those of its cells")
    func records() throws {
        let ledger = try ledger(200, seed: 9)
        var shapes = (dead: 0, empty: 0, mixed: 0)
        for content in ledger.contents {
            let counted = content.cells.reduce(0) { $0 + $1.measure.count }
            #expect(UInt64(content.record.totals.counted) == counted)
            #expect(Int(content.record.totals.dead) == content.deadLetters.count)
            #expect(try content.record.deadLetters() == content.deadLetters)
            #expect(
                content.record.slices.map(\.cells).reduce(0, +) == content.cells.count)
            if content.cells.isEmpty, content.deadLetters.isEmpty { shapes.empty += 1 }
            if content.cells.isEmpty, !content.deadLetters.isEmpty { shapes.dead += 1 }
            if !content.cells.isEmpty, !content.deadLetters.isEmpty { shapes.mixed += 1 }
        }
        #expect(shapes.dead > 0 && shapes.empty > 0 && shapes.mixed > 0)
    }
}
