import Core
import NodeCore
import Simulator
import Testing

/// Three nodes of which one's clock is set wrong while nothing else happens.
@Suite("Clocks in a simulated cluster")
struct ClockTests {
    private func cluster() throws -> VirtualCluster {
        var random = RandomSource(seed: 3)
        var swarm = Swarm(&random)
        swarm.nodes = 3
        swarm.replication = 3
        swarm.faults = []
        swarm.lossPerMille = 0
        swarm.skewMax = .zero
        swarm.clockSkewMax = .seconds(60)
        swarm.gossipInterval = .milliseconds(200)
        swarm.chaos = .seconds(60)
        let cluster = try VirtualCluster(seed: 3, swarm: swarm, mutants: [])
        cluster.begin()
        try cluster.run(until: .zero + .seconds(3))
        return cluster
    }

    private func trusts(_ index: Int, _ cluster: VirtualCluster) throws -> Bool {
        let node = cluster.nodes[index]
        let process = try #require(node.process)
        return process.core.isClockTrusted(cluster.clocks(of: node, process))
    }

    @Test("one clock that is wrong by more than a minute is doubted by its own node alone, at once")
    func step() throws {
        for seconds: Int64 in [61, -61, 3600, 315_576_000, -315_576_000] {
            let cluster = try cluster()
            #expect(try (0..<3).allSatisfy { try trusts($0, cluster) })
            cluster.nodes[2].skew = .seconds(seconds)
            #expect(try !trusts(2, cluster))
            try cluster.run(until: .zero + .seconds(5))
            #expect(try !trusts(2, cluster))
            let process = try #require(cluster.nodes[2].process)
            let view = process.core.view(at: cluster.clocks(of: cluster.nodes[2], process))
            #expect(view.notReady.contains { $0.contains("clock") })
            // The others see one wrong clock out of two, which is no majority.
            #expect(try trusts(0, cluster) && trusts(1, cluster))
            cluster.nodes[2].skew = .zero
            #expect(try trusts(2, cluster))
            try cluster.run(until: .zero + .seconds(6))
            #expect(
                process.core.view(at: cluster.clocks(of: cluster.nodes[2], process))
                    .clockDoubt == nil)
        }
    }

    @Test("a clock that is wrong by less is not doubted")
    func small() throws {
        let cluster = try cluster()
        cluster.nodes[2].skew = .seconds(59)
        try cluster.run(until: .zero + .seconds(5))
        #expect(try (0..<3).allSatisfy { try trusts($0, cluster) })
    }
}
