import Core
import Replication
import Testing

@Suite("What is known of a disk")
struct StandingTests {
    private static func standing(
        _ life: UInt32, _ run: UInt64 = 0, _ lsn: UInt64 = 0, edits: UInt64 = 0
    ) -> Standing {
        Standing(incarnation: Incarnation(life), run: run, lsn: LSN(lsn), edits: edits)
    }

    @Test("grows by later lives, later runs and later records, and by nothing else")
    func raises() {
        var known = Standing.none
        let steps: [(Standing, Bool)] = [
            (Self.standing(1), true), (Self.standing(1), false), (Self.standing(1, 7, 5), true),
            (Self.standing(1), false), (Self.standing(1, 7, 4), false),
            (Self.standing(1, 7, 6), true), (Self.standing(1, 8, 6), true),
            (Self.standing(2), true), (Self.standing(1, 8, 90), false),
            (Self.standing(2, 9, 1), true), (Self.standing(2, 9, 1, edits: 1), true),
            (Self.standing(2, 9, 2, edits: 1), true), (Self.standing(2, 9, 1, edits: 1), false),
        ]
        for (place, (heard, isNew)) in steps.enumerated() {
            let before = known
            #expect(known.raise(to: heard) == isNew, "step \(place)")
            #expect(known == (isNew ? heard : before), "step \(place)")
        }
    }

    @Test("a disk reaches what lies in its runs, and not what lies behind the end of one")
    func reaches() {
        var runs = RunHistory()
        #expect(runs.reaches(Self.standing(1)), "nothing is claimed")
        #expect(!runs.reaches(Self.standing(1, 7, 1)), "a run that it does not know")
        runs.begin(7, at: LSN(1), edits: 1)
        #expect(runs.reaches(Self.standing(1, 7, 900)), "the last run goes on")
        runs.begin(8, at: LSN(11), edits: 4)
        #expect(runs.reaches(Self.standing(1, 7, 10)))
        #expect(!runs.reaches(Self.standing(1, 7, 11)), "it ended before")
        #expect(runs.reaches(Self.standing(1, 7, 10, edits: 4)))
        #expect(!runs.reaches(Self.standing(1, 7, 10, edits: 5)), "an edit is gone")
        #expect(runs.reaches(Self.standing(1, 8, 11)))
        #expect(!runs.reaches(Self.standing(1, 9, 1)))
    }

    @Test("more runs than are kept: the oldest are taken for runs of another disk")
    func bounded() {
        var runs = RunHistory()
        for number in 1...ReplicationLimits.runsMax + 1 {
            runs.begin(UInt64(number), at: LSN(UInt64(number)), edits: 0)
        }
        #expect(runs.count == ReplicationLimits.runsMax)
        #expect(!runs.reaches(Self.standing(1, 1, 1)))
        #expect(runs.reaches(Self.standing(1, 2, 2)))
    }
}
