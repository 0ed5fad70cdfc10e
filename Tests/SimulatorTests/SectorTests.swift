import Simulator
import Testing

@Suite("Disks that read badly")
struct SectorTests {
    /// Not that nothing wrong is answered: nothing at all may differ, no message and no time.
    @Test("what is misread once changes nothing that ever happens")
    func misreads() {
        var met = 0
        for seed in UInt64(1)...16 {
            let run = SeedRun(seed: seed)
            let without = SeedRun(seed: seed, schedule: FaultSchedule(without: [.misreads]))
            #expect(run.violation == nil && without.violation == nil, "seed \(seed)")
            #expect(without.marks[.misread] == nil)
            // A verification's second look takes steps of its own, an index comes the next time.
            guard run.marks[.misreadVerifying] == nil else { continue }
            #expect(run.trace == without.trace, "seed \(seed)")
            met += run.marks[.misread, default: 0]
        }
        #expect(met > 0)
    }

    @Test("a seed that loses no sector is what it was without the fault")
    func sectors() {
        var compared = 0
        for seed in UInt64(1)...60 {
            let run = SeedRun(seed: seed)
            // Only where something rots it might have been a sector.
            guard run.marks[.sectorUnreadable] == nil, run.marks[.rot] != nil else { continue }
            let without = SeedRun(seed: seed, schedule: FaultSchedule(without: [.unreadable]))
            #expect(run.trace == without.trace, "seed \(seed)")
            compared += 1
        }
        #expect(compared > 0)
    }
}
