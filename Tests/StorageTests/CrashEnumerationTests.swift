import Core
import Storage
import Testing

/// One long life in which all that a store does follows all else, and every moment at which its
/// power may fail: what ALICE (Pillai et al., OSDI 2014) looks for, with recoveries that are held
/// against a model.
@Suite struct CrashEnumerationTests {
    private static let changesMin = 1500

    private static let script = CrashScript(seed: 271) { life in
        try life.identify()
        var round = 0
        while round < 110 || life.changes < changesMin {
            round += 1
            let form: Granularity = round < 50 ? .base : round < 70 ? .hour : .day
            try life.append(1 + life.random.below(4))
            if round % 3 == 0 { try life.flush() }
            if round % 9 == 5 { try life.indexLogs() }
            if round % 9 == 0 { try life.releaseLog() }
            if round % 8 == 0 { try life.checkpoint(3 + life.random.below(10)) }
            switch round {
            case 30, 41, 77, 95: try life.compact(as: form, to: .cold)
            case 50: try life.rollUp(to: .hour)
            case 70, 74: try life.rollUp(to: .day)
            case 85, 86: try life.expire()
            case 104: try life.setAside()
            default: break
            }
            guard round % 12 == 0, life.tables.count > 1 else { continue }
            try life.compact(as: form) { life in
                try life.append(2)
                try life.flush()
            }
        }
    }

    @Test("a life of 1,500 changes: whatever a power cut leaves of it, the same cells come back")
    func everyMoment() throws {
        var random = RandomSource(seed: 272)
        #expect(Self.script.changes >= Self.changesMin)
        #expect(try Self.script.cutEverywhere(&random) >= 15_000)
    }

    @Test("and whatever a second power cut leaves of the start after it")
    func everyStart() throws {
        var random = RandomSource(seed: 274)
        #expect(try Self.script.cutStartsEverywhere(&random) >= Self.changesMin)
    }
}
