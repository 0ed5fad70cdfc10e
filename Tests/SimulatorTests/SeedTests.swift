import Core
import Foundation
import NodeCore
import Simulator
import Testing

/// Seeds by the ten, so that they spread over the processors.
@Suite("Simulated clusters")
struct SeedTests {
    static let fixedSeeds: UInt64 = 300
    static let freshSeeds: UInt64 = 40
    static let chunk: UInt64 = 10

    @Test("keep every promise on 300 fixed seeds", arguments: 0..<fixedSeeds / chunk)
    func fixed(part: UInt64) {
        for seed in part * Self.chunk + 1...(part + 1) * Self.chunk {
            let run = SeedRun(seed: seed)
            #expect(run.violation == nil, "\(Simulation.failure(run, nil))")
        }
    }

    /// `QUIPU_SEED_BASE` is any text, by habit the commit's id; without it there are no fresh
    /// seeds.
    static let base = ProcessInfo.processInfo.environment["QUIPU_SEED_BASE"]

    @Test(
        "keep every promise on seeds that no one has seen", .enabled(if: base != nil),
        arguments: 0..<freshSeeds / chunk)
    func fresh(part: UInt64) {
        let hash = SipHash.hash(Array((Self.base ?? "").utf8), key: SipKey(low: 3, high: 4))
        let first = UInt64(truncatingIfNeeded: hash) >> 16 + part * Self.chunk
        print("fresh seeds from \(first), base \(Self.base ?? "")")
        for seed in first..<first + Self.chunk {
            let run = SeedRun(seed: seed)
            #expect(run.violation == nil, "\(Simulation.failure(run, nil))")
        }
    }

    @Test("reach every rare path somewhere in 60 seeds")
    func coverage() {
        var marks: [CoverageMark: Int] = [:]
        for seed in UInt64(1)...60 {
            for (mark, count) in SeedRun(seed: seed).marks { marks[mark, default: 0] += count }
        }
        for mark in CoverageMark.allCases {
            #expect(marks[mark, default: 0] > 0, "\(mark.rawValue) was never reached")
        }
    }
}
