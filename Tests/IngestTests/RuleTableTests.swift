import Core
import Ingest
import Testing

@Suite struct RuleTableTests {
    private static let day: Int64 = 86_400_000
    private static let from = WallTime(milliseconds: 20_000 * day)

    private static func table(
        first: Duration?, then: Duration?, at from: WallTime = RuleTableTests.from
    ) -> RuleTable {
        var table = RuleTable(FoldRules(futureLimit: .seconds(60), lateness: first))
        table.append(from: from, futureLimit: .seconds(10), lateness: then)
        return table
    }

    @Test("The version of a batch is that of its creation, to the millisecond")
    func border() {
        var table = Self.table(first: nil, then: .seconds(3600))
        table.append(from: Self.from + .seconds(10), futureLimit: .seconds(5), lateness: nil)
        let version = { (offset: Int64) in
            table.rules(at: Self.from + .milliseconds(offset)).version.number
        }
        #expect([-1, 0, 9_999, 10_000, 10_001].map(version) == [1, 2, 2, 3, 3])
        #expect(table.rules(at: WallTime(milliseconds: .min)).version == .first)
        #expect(table.rules(at: WallTime(milliseconds: .max)).version.number == 3)
    }

    @Test("Late and future are judged by the rules of the batch's own segment")
    func judgement() throws {
        let table = Self.table(first: .seconds(60), then: .seconds(3600))
        func reasons(_ created: WallTime, _ offset: Int64) throws -> [String] {
            let time = created.milliseconds + offset
            return try Folded(
                #"{"key":"k","type":"t","time":\#(time)}"#, createdAt: created,
                rules: table.rules(at: created)
            ).reasons
        }
        let before = Self.from - .milliseconds(1)
        #expect(try reasons(before, -60_001) == ["too-late"])
        #expect(try reasons(Self.from, -60_001) == [])
        #expect(try reasons(before, 60_000) == [])
        #expect(try reasons(Self.from, 60_000) == ["in-the-future"])
    }

    @Test("What is final stays final when a version with a longer lateness is to come")
    func final() {
        let hour = Duration.seconds(3600)
        let longer = Self.table(first: hour, then: hour * 3)
        let early = Self.from - .seconds(86_400)
        // A day before, the next version cannot reach back behind the one that holds.
        #expect(longer.earliestEvent(after: early) == early - hour)
        // An hour before it can: its first batch reaches two hours further.
        let near = Self.from - hour
        #expect(longer.earliestEvent(after: near) == Self.from - hour * 3)
        #expect(longer.earliestEvent(after: Self.from) == Self.from - hour * 3)
        let shorter = Self.table(first: hour * 3, then: hour)
        #expect(shorter.earliestEvent(after: near) == near - hour * 3)
        #expect(shorter.earliestEvent(after: Self.from + hour) == Self.from)
        #expect(Self.table(first: hour, then: nil).earliestEvent(after: early) == nil)
        #expect(Self.table(first: nil, then: hour).earliestEvent(after: early) == nil)
        #expect(
            Self.table(first: nil, then: hour).earliestEvent(after: Self.from)
                == Self.from - hour)
        var previous = WallTime(milliseconds: .min)
        for step in 0..<400 {
            let frontier = early + .seconds(600 * step)
            let time = longer.earliestEvent(after: frontier) ?? previous
            #expect(time >= previous)
            previous = time
        }
    }

    @Test("Days are UTC days: neither a local offset nor the end of summer time moves a window")
    func daylight() throws {
        // Central Europe put its clocks back on 2026-10-25 at 01:00Z: the same hour came twice.
        let times = [
            "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T00:30:00Z",
            "2026-10-25T01:30:00Z", "2026-10-25T23:59:59Z", "2026-10-26T00:59:59+01:00",
            "2026-10-26T00:00:00Z",
        ]
        let text = times.map { #"{"key":"k","type":"t","time":"\#($0)"}"# }
        let rules = FoldRules(
            window: WindowLength(milliseconds: 3_600_000), futureLimit: .seconds(400_000_000_000))
        let folded = try Folded(text.joined(separator: "\n"), rules: rules)
        let midnight: Int64 = 1_792_886_400_000 / 3_600_000
        #expect(
            folded.byWindow == [midnight: 2, midnight + 1: 2, midnight + 23: 2, midnight + 24: 1])
    }
}
