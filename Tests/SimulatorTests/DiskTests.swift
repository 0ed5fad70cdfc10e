import Core
import NodeCore
import Simulator
import Storage
import Testing

/// Three nodes of which one's disk runs full while nothing else happens.
@Suite("Disks in a simulated cluster")
struct DiskTests {
    private func cluster(memtable: Int) throws -> VirtualCluster {
        var random = RandomSource(seed: 5)
        var swarm = Swarm(&random)
        swarm.nodes = 3
        swarm.replication = 3
        // The watch over the disk runs; nothing strikes.
        swarm.faults = [.diskFull]
        swarm.faultInterval = .seconds(1000)
        swarm.lossPerMille = 0
        swarm.duplicatePerMille = 0
        swarm.skewMax = .zero
        swarm.diskLatency = .milliseconds(1)
        swarm.gossipInterval = .milliseconds(200)
        swarm.memtableBytesMax = memtable
        swarm.memtableAgeMax = .milliseconds(500)
        swarm.contents = 70
        swarm.pace = .milliseconds(60)
        swarm.chaos = .seconds(20)
        return try VirtualCluster(seed: 5, swarm: swarm, mutants: [])
    }

    private func hasRoom(_ index: Int, _ cluster: VirtualCluster) throws -> Bool {
        let node = cluster.nodes[index]
        let process = try #require(node.process)
        return process.core.view(at: cluster.clocks(of: node, process)).hasDiskRoom
    }

    @Test(
        "a full disk ends nothing: the node takes nothing new, and comes back by itself",
        arguments: [0, 300, 3000, 11_000])
    func full(room: Int) throws {
        let cluster = try cluster(memtable: 2 << 10)
        cluster.begin()
        try cluster.run(until: .zero + .milliseconds(1500))
        let victim = cluster.nodes[2]
        let life = try #require(victim.process).instance
        let written = victim.disk.usedBytes
        #expect(written > 0)
        victim.disk.setCapacity(written + room)
        try cluster.run(until: .zero + .seconds(6))
        #expect(try !hasRoom(2, cluster))
        #expect(try hasRoom(0, cluster) && hasRoom(1, cluster))
        #expect(victim.disk.usedBytes <= written + room)
        victim.disk.setCapacity(.max)
        try cluster.run(until: .zero + .seconds(8))
        #expect(try hasRoom(2, cluster))
        // The same process all along, and in the end it holds all that the others hold.
        #expect(victim.process?.instance == life)
        try cluster.heal()
        try cluster.conclude()
        #expect(victim.disk.usedBytes > written)
    }
}
