import NodeCore
import Simulator
import Testing

/// A simulator is trusted only after it found bugs that were planted.
@Suite("Planted bugs")
struct MutantTests {
    /// Seeds on which each was found: the first ones of 1, 2, 3, … A change of the workload moves
    /// them; `scripts/simulate --hunt --runs 500` prints both tables anew.
    static let recorded: [Mutant: [UInt64]] = [
        .skipDedupe: [1, 2, 3, 4],
        .applyBeforeBound: [5, 12, 26, 34],
        .acknowledgeBeforeSync: [1, 3, 4, 5],
        .voteInDoubt: [81, 83, 104, 122],
        .maximumRead: [2, 9, 11, 16],
        .cutsSplitTop: [3, 18, 37, 46],
        .unionWithoutWriteBack: [31, 52, 87, 105],
        .meetsWithoutHolding: [141, 363],
        .replayIgnoresCoverage: [1, 2, 5, 6],
        .catchUpDropsSlice: [1, 2, 4, 5],
        .freezeNotDurable: [1, 2, 3, 4],
        .sealWithFewer: [1, 2, 3, 4],
        .sealWithoutRecovering: [1, 2, 8, 12],
        .rulesByLocalClock: [1, 2, 5, 9],
        .fsyncRetried: [8, 26, 31, 44],
        .pageCacheTrusted: [8, 21, 26, 31],
        .xorDigest: [1, 2, 3, 4],
        .auditBlind: [5, 8, 11, 13],
        .auditTorn: [1, 2, 4, 5],
        .parkedCounts: [6, 8, 9, 11],
        .parkedBeforeSync: [6, 8, 9, 11],
        .deniesParked: [162],
        .sealsParkedAnew: [13, 39, 64, 66],
        .refusesWithoutAll: [9, 23, 32, 38],
        .leavesOutAlone: [2, 28, 125, 164],
        .forgetsUnsealed: [210, 292, 304, 351],
        .forgetsUnflushed: [10, 13, 24, 26],
        .releasesUnproven: [16, 52, 54, 55],
        .releasesUnflushed: [7, 23, 27, 31],
        .forgottenTakenAsNew: [5, 13, 16, 21],
        .copyListsLater: [25, 31, 33, 49],
        .compactionKeepsInput: [5, 10, 21, 25],
        .compactionDropsInput: [3, 4, 5, 6],
        .compactionLosesCell: [3, 4, 5, 6],
        .coldSourceFirst: [69, 97, 234, 244],
        .expiryForgetsSums: [6, 11, 16, 20],
        .answersRolled: [161, 168, 181, 201],
        .lettersByHomes: [111, 134, 150, 151],
        .boundlessSessions: [13, 24, 31, 40],
        .bindWithOne: [5, 12, 26, 44],
        .nobodyDrives: [5, 7, 8, 9],
        .positionsForgotten: [268, 279, 311, 453],
        .supersededCounts: [1, 2, 4, 5],
        .recoveringVotes: [2, 4, 13, 17],
        .copyFromOne: [65, 268, 329, 391],
        .damageCut: [49, 58, 63, 129],
        .indexLost: [1, 2, 5, 6],
    ]

    /// What each breaks first: a mutant that is found for another reason is not understood.
    static let broken: [Mutant: Set<String>] = [
        .skipDedupe: ["L6", "S2", "S4", "S5"],
        .applyBeforeBound: ["L2", "S6", "S15"],
        .acknowledgeBeforeSync: ["S3"],
        .voteInDoubt: ["S4"],
        .maximumRead: ["S4"],
        .cutsSplitTop: ["S4"],
        .unionWithoutWriteBack: ["S4"],
        .meetsWithoutHolding: ["S4"],
        .replayIgnoresCoverage: ["L6", "S2"],
        .catchUpDropsSlice: ["L1", "L6", "S2", "S4"],
        .freezeNotDurable: ["S7"],
        .sealWithFewer: ["S7"],
        .sealWithoutRecovering: ["S7"],
        .rulesByLocalClock: ["L1", "L6", "S2", "S4"],
        .fsyncRetried: ["S3", "S4", "S10"],
        .pageCacheTrusted: ["S3", "S4", "S10"],
        .xorDigest: ["S2"],
        .auditBlind: ["L6"],
        .auditTorn: ["L6"],
        .parkedCounts: ["S3", "S4", "S6", "S15"],
        .parkedBeforeSync: ["S3"],
        .deniesParked: ["S15"],
        .sealsParkedAnew: ["S15"],
        .refusesWithoutAll: ["A1", "L7", "L8"],
        .leavesOutAlone: ["L2", "S7"],
        .forgetsUnsealed: ["S2", "S7"],
        .forgetsUnflushed: ["S2", "S7"],
        .releasesUnproven: ["S7"],
        .releasesUnflushed: ["S7"],
        .forgottenTakenAsNew: ["S7", "S15"],
        .copyListsLater: ["L1", "L6", "S2", "S4"],
        .compactionKeepsInput: ["L6", "S2", "S4"],
        .compactionDropsInput: ["S4"],
        .compactionLosesCell: ["S2", "S4"],
        .coldSourceFirst: ["S10"],
        .expiryForgetsSums: ["L6", "S2"],
        .answersRolled: ["S2", "S4"],
        .lettersByHomes: ["L4", "S14"],
        .boundlessSessions: ["S11"],
        .bindWithOne: ["L2", "S6"],
        .nobodyDrives: ["L1", "L2", "L8"],
        .positionsForgotten: ["S9"],
        .supersededCounts: ["S9"],
        .recoveringVotes: ["S9"],
        .copyFromOne: ["S3", "S4"],
        .damageCut: ["S1", "S10"],
        .indexLost: ["S2", "S5"],
    ]

    @Test("are found on their recorded seeds", arguments: Mutant.allCases)
    func found(mutant: Mutant) throws {
        // One of the first 500 seeds: whoever hunts for it finds it with as many.
        let recorded = Self.recorded[mutant] ?? []
        #expect(recorded.allSatisfy { $0 <= 500 })
        let runs = recorded.map { SeedRun(seed: $0, mutant: mutant) }
        let violations = runs.compactMap(\.violation)
        // Any change of the node moves some of them: one that is left is enough.
        #expect(!violations.isEmpty, "record anew: none of \(runs.count) finds \(mutant.rawValue)")
        let expected = try #require(Self.broken[mutant])
        #expect(violations.contains { expected.contains($0.invariant) })
    }

    @Test("make the command fail with a seed, an invariant and a replay line")
    func canary() throws {
        let seed = try #require(
            Self.recorded[.skipDedupe]?.first {
                SeedRun(seed: $0, mutant: .skipDedupe).violation != nil
            })
        var lines: [String] = []
        var progress: [String] = []
        let code = Simulation.run(
            SimulationOrder(seed: seed, mutant: .skipDedupe), output: { lines.append($0) },
            progress: { progress.append($0) })
        #expect(code == 1)
        #expect(lines == lines.filter { $0.contains("1 failed") })
        let last = try #require(progress.last)
        #expect(last.contains("seed \(seed) "))
        #expect(last.contains("replay: scripts/simulate --seed \(seed) --mutant skip-dedupe"))
        #expect(last.hasSuffix(" --verbose"))
        #expect(progress.count > 10)
    }
}
