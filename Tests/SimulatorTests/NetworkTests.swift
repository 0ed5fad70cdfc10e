import Core
import Simulator
import Testing

@Suite("The virtual network")
struct NetworkTests {
    func swarm() -> Swarm {
        var random = RandomSource(seed: 5)
        var swarm = Swarm(&random)
        swarm.nodes = 3
        swarm.lossPerMille = 0
        swarm.duplicatePerMille = 0
        return swarm
    }

    @Test("loses and duplicates about as often as it was told")
    func rates() {
        var swarm = swarm()
        swarm.lossPerMille = 300
        swarm.duplicatePerMille = 200
        var network = VirtualNetwork(swarm, random: RandomSource(seed: 1))
        var counts = [0, 0, 0]
        for _ in 0..<10_000 { counts[network.arrivals(from: 0, to: 1, at: .zero).count] += 1 }
        #expect((2700...3300).contains(counts[0]))
        #expect((1200...1600).contains(counts[2]))
    }

    @Test("reorders: what is sent later may arrive earlier")
    func reorders() {
        var network = VirtualNetwork(swarm(), random: RandomSource(seed: 1))
        let arrivals = (0..<100).compactMap { sent in
            network.arrivals(
                from: 0, to: 1, at: Instant(nanoseconds: sent * 1000)
            ).first
        }
        #expect(arrivals != arrivals.sorted())
        #expect(arrivals.allSatisfy { $0 > .zero })
    }

    @Test("cuts one direction alone, and heals all")
    func cuts() {
        var network = VirtualNetwork(swarm(), random: RandomSource(seed: 1))
        network.setCut(true, from: 0, to: 1)
        #expect(network.arrivals(from: 0, to: 1, at: .zero).isEmpty)
        #expect(network.arrivals(from: 1, to: 0, at: .zero).count == 1)
        network.heal()
        #expect(network.arrivals(from: 0, to: 1, at: .zero).count == 1)
    }

    @Test("holds what is sent to a silent node, and lets it all arrive afterwards")
    func holds() {
        var network = VirtualNetwork(swarm(), random: RandomSource(seed: 1))
        let end = Instant.zero + .seconds(3)
        network.hold(from: 0, to: 1, until: end)
        #expect(network.isFaulty(0, at: .zero) && network.isFaulty(1, at: .zero))
        #expect(!network.isFaulty(2, at: .zero) && !network.isFaulty(0, at: end))
        let late = network.arrivals(from: 0, to: 1, at: .zero)
        #expect(late.count == 1 && late.allSatisfy { $0 >= end })
        let other = network.arrivals(from: 1, to: 0, at: .zero)
        #expect(other.allSatisfy { $0 < end })
    }

    @Test("slows one direction of one wire for a while")
    func slow() {
        var network = VirtualNetwork(swarm(), random: RandomSource(seed: 1))
        let end = Instant.zero + .seconds(1)
        network.slow(from: 0, to: 1, by: .seconds(2), until: end)
        #expect(network.arrivals(from: 0, to: 1, at: .zero).allSatisfy { $0 > end })
        #expect(network.arrivals(from: 1, to: 0, at: .zero).allSatisfy { $0 < end })
        let after = network.arrivals(from: 0, to: 1, at: end)
        #expect(after.allSatisfy { $0 < end + .seconds(1) })
    }

    @Test("is as strong as the seed drew: every class of faults, alone and together")
    func swarms() {
        var seen: [FaultClass: Int] = [:]
        var few = 0
        for seed in UInt64(0)..<600 {
            var random = RandomSource(seed: seed)
            let swarm = Swarm(&random)
            for fault in swarm.faults { seen[fault, default: 0] += 1 }
            if (1...2).contains(swarm.faults.count) { few += 1 }
            #expect(swarm.partitions.nonzeroBitCount == 1 && swarm.partitions >= swarm.nodes)
            #expect(swarm.lossPerMille <= 300 && swarm.duplicatePerMille <= 500)
        }
        #expect(FaultAtlas.drawn.allSatisfy { seen[$0, default: 0] > 60 })
        #expect((150...300).contains(few))
    }

    @Test("a set of contents does what sets do")
    func sets() {
        var random = RandomSource(seed: 3)
        for _ in 0..<300 {
            let left = Set((0..<40).map { _ in random.below(150) })
            let right = Set((0..<40).map { _ in random.below(150) })
            let (one, other) = (ContentSet(left), ContentSet(right))
            var union = one
            union.formUnion(other)
            #expect(union.members == left.union(right).sorted())
            #expect(one.subtracting(other).members == left.subtracting(right).sorted())
            #expect(one.intersection(other).members == left.intersection(right).sorted())
            #expect(one.isEmpty == left.isEmpty)
        }
    }
}
