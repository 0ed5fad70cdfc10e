import Core
import NodeCore
import Ring
import Simulator
import Testing

/// What a seed may break at once, and what holds meanwhile.
@Suite("The budget of faults")
struct BudgetTests {
    static func swarm(_ seed: UInt64) -> Swarm {
        var random = RandomSource(seed: seed)
        return Swarm(&random)
    }

    @Test("is one node in some seeds, and broken in every tenth")
    func shares() {
        let swarms = (UInt64(1)...1000).map(Self.swarm)
        let beyond = swarms.count { $0.budget == .beyond }
        let oneNode = swarms.filter { $0.budget == .oneNode }
        #expect((60...140).contains(beyond))
        #expect(oneNode.count > 150)
        #expect(swarms.count(where: \.healsCore) > 80)
        for swarm in oneNode {
            #expect(swarm.replication == 3 && swarm.nodes >= 3)
            #expect(swarm.faults.allSatisfy { FaultAtlas.entry(of: $0).isWithinBudget })
            #expect(swarm.lossPerMille <= 50)
        }
        for swarm in swarms {
            #expect(swarm.faults.contains(.catastrophe) == (swarm.budget == .beyond))
            if swarm.healsCore { #expect(swarm.replication == 3 && swarm.budget != .beyond) }
        }
    }

    @Test("names for each class what it is and whom it touches")
    func atlas() {
        for fault in FaultClass.allCases {
            let entry = FaultAtlas.entry(of: fault)
            switch entry.kind {
            case .act: #expect(entry.touchedMax != 0)
            case .client: #expect(entry.touchedMax == 0)
            case .climate: break
            }
            if entry.isWithinBudget, entry.kind == .act { #expect(entry.touchedMax == 1) }
        }
        #expect(FaultAtlas.accompanying.isDisjoint(with: FaultAtlas.drawn))
    }

    @Test("leaves a cluster available: who retries gets through, unless a bug forbids it")
    func available() {
        let seeds = (UInt64(1)...60).filter { Self.swarm($0).budget == .oneNode }
        #expect(seeds.count > 5)
        let found = seeds.compactMap { seed in
            SeedRun(seed: seed, mutant: .refusesWithoutAll).violation?.invariant
        }
        #expect(found.contains("A1"))
    }

    @Test("leaves all other acts as they were when one is left out")
    func stableActs() throws {
        var tried = 0
        for seed in UInt64(1)...40 {
            let swarm = Self.swarm(seed)
            guard swarm.budget == .anyNodes else { continue }
            let whole = SeedRun(seed: seed)
            guard whole.acts.count >= 4 else { continue }
            tried += 1
            let left = whole.acts.filter { $0.number % 2 == 0 }
            let run = SeedRun(
                seed: seed, schedule: FaultSchedule(keep: Set(left.map(\.number))))
            #expect(run.acts == left, "seed \(seed)")
            #expect(run.violation == nil)
        }
        #expect(tried > 5)
    }

    @Test("is written as options that a command can be given")
    func options() {
        #expect(FaultSchedule.all.options == "")
        #expect(
            FaultSchedule(without: [.wipes, .loss], keep: [9, 3]).options
                == " --without loss,wipes --keep 3,9")
        #expect(FaultSchedule(keep: []).options == " --keep none")
        #expect(FaultSchedule(placement: .keyAndDay).options == " --placement key+day")
        #expect(!FaultSchedule(keep: [3]).allows(4, .cuts))
        #expect(!FaultSchedule(without: [.cuts], keep: [3]).allows(3, .cuts))
        #expect(FaultSchedule(without: [.cuts]).allows(3, .crashes))
    }
}
