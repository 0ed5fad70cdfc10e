import Core
import Gossip
import Testing

@Suite("Gossip in a cluster")
struct GossipScenarioTests {
    @Test(
        "three nodes are up within two intervals and a few delays",
        arguments: 1...20 as ClosedRange<UInt64>)
    func start(seed: UInt64) {
        var mesh = Mesh.started(3, seed: seed)
        mesh.jitterPercent = 10
        mesh.run(until: \.allUp, limit: .milliseconds(500))
        #expect(mesh.allUp)
        #expect(mesh.machines[0]?.state(of: NodeID("n2"))?.text(.http) == "127.0.0.1:8182")
    }

    @Test("nodes that start one by one, far apart, find each other", arguments: [3, 9])
    func staggeredStart(count: Int) {
        var mesh = Mesh(count, seed: 5)
        for index in 0..<count {
            mesh.start(index)
            mesh.run(for: .seconds(3))
        }
        mesh.run(until: \.allUp, limit: .seconds(3))
        #expect(mesh.allUp)
        #expect(mesh.downs().isEmpty)
    }

    @Test(
        "a dead node is convicted by all in time",
        arguments: [(3, 5), (5, 5), (9, 8)], 1...8 as ClosedRange<UInt64>)
    func detection(cluster: (count: Int, seconds: Int), seed: UInt64) {
        var mesh = Mesh.started(cluster.count, seed: seed)
        mesh.lossPercent = seed.isMultiple(of: 2) ? 5 : 0
        mesh.run(until: \.allUp, limit: .seconds(5))
        #expect(mesh.allUp)
        // Also right after the start, when the detector has learnt little.
        if seed > 2 { mesh.run(for: .seconds(Int64(seed) * 4)) }
        mesh.kill(0)
        let killed = mesh.time
        mesh.run(until: \.allUp, limit: .seconds(cluster.seconds))
        #expect(mesh.allUp)
        #expect(mesh.downs(after: killed).allSatisfy { $0.effect == .peerDown(NodeID("n1")) })
        #expect(mesh.downs().count == cluster.count - 1)
    }

    @Test("ten minutes of jitter and loss convict nobody", arguments: [3, 5, 9])
    func noFalseConviction(count: Int) {
        var mesh = Mesh.started(count, seed: UInt64(count))
        mesh.lossPercent = 5
        mesh.run(until: \.allUp, limit: .seconds(5))
        #expect(mesh.allUp)
        mesh.run(for: .seconds(600))
        #expect(mesh.downs() == [])
        #expect(mesh.allUp)
    }

    @Test("a change reaches nine nodes within a few intervals")
    func spread() {
        var mesh = Mesh.started(9, seed: 8)
        mesh.run(for: .seconds(3))
        mesh.withMachine(4) { $0.set(.epoch, "7") }
        mesh.run(for: .seconds(2))
        for machine in mesh.machines {
            #expect(machine?.state(of: NodeID("n5"))?.text(.epoch) == "7")
        }
    }

    @Test("a restarted node is seen under its new generation, even with its clock set back")
    func restart() throws {
        var mesh = Mesh.started(3, seed: 9)
        mesh.run(for: .seconds(3))
        let before = try #require(mesh.machines[0]?.generation(of: NodeID("n3")))
        mesh.kill(2)
        mesh.run(for: .seconds(1))
        mesh.clockOffsets[2] = .seconds(-100_000)
        mesh.start(2)
        let restarted = mesh.time
        mesh.run(for: .seconds(2))
        #expect(mesh.allUp)
        #expect(mesh.machines[0]?.generation(of: NodeID("n3")) == before + 1)
        // Quicker than any conviction: each peer saw it fall, restart and rise.
        for observer in ["n1", "n2"] {
            let seen = mesh.reports(after: restarted) { _ in true }
                .filter { $0.observer == NodeID(observer) }.map(\.effect)
            #expect(
                seen == [
                    .peerDown(NodeID("n3")),
                    .peerRestarted(NodeID("n3"), generation: before + 1),
                    .statesChanged(NodeID("n3")), .peerUp(NodeID("n3")),
                ])
        }
    }

    @Test("a wiped node whose clock is behind outranks its former life")
    func outranked() throws {
        var mesh = Mesh.started(3, seed: 10)
        mesh.run(for: .seconds(3))
        let before = try #require(mesh.machines[0]?.generation(of: NodeID("n3")))
        mesh.kill(2)
        mesh.run(for: .seconds(8))
        mesh.clockOffsets[2] = .seconds(-3600)
        mesh.start(2, wiped: true)
        mesh.run(for: .seconds(5))
        #expect(mesh.allUp)
        #expect(mesh.machines[2]?.generation(of: NodeID("n3")) == before + 1)
        #expect(mesh.machines[2]?.state(of: NodeID("n3"))?.status == .normal)
        let reports = mesh.reports { if case .outranked = $0 { true } else { false } }
        #expect(reports.map(\.effect) == [.outranked(by: before)])
    }

    @Test(
        "a node that restarts with its clock ten years off keeps its place", arguments: [10, -10])
    func leap(years: Int) throws {
        var mesh = Mesh.started(3, seed: 11)
        mesh.run(for: .seconds(3))
        mesh.kill(2)
        mesh.clockOffsets[2] = .seconds(Int64(years) * 365 * 86_400)
        mesh.start(2)
        mesh.run(for: .seconds(10))
        // A clock that is behind shows a number that others take for an old life.
        #expect(mesh.machines[0]?.isUp(NodeID("n3")) == (years > 0))
        mesh.clockOffsets[2] = .zero
        mesh.run(for: .seconds(5))
        #expect(mesh.allUp)
    }

    @Test("a new node's clock ten years ahead is refused, and put right it is as if it never was")
    func future() throws {
        var mesh = Mesh.started(3, seed: 11)
        mesh.run(for: .seconds(3))
        let before = try #require(mesh.machines[0]?.generation(of: NodeID("n3")))
        mesh.kill(2)
        mesh.clockOffsets[2] = .seconds(10 * 365 * 86_400)
        mesh.start(2, wiped: true)
        mesh.run(for: .seconds(10))
        #expect(mesh.machines[0]?.generation(of: NodeID("n3")) == before)
        #expect(mesh.machines[0]?.isUp(NodeID("n3")) == false)
        let refused = mesh.reports { if case .generationRefused = $0 { true } else { false } }
        // Once per observer, however often it was heard.
        #expect(refused.map(\.observer).sorted() == [NodeID("n1"), NodeID("n2")])

        mesh.kill(2)
        mesh.clockOffsets[2] = .zero
        mesh.start(2)
        mesh.run(for: .seconds(5))
        #expect(mesh.allUp)
        #expect(mesh.machines[0]?.generation(of: NodeID("n3")) == Mesh.epoch + 13)
    }

    @Test("a node that was up for longer than the allowance is not locked out when it restarts")
    func longUptime() {
        var mesh = Mesh.started(3, seed: 12)
        mesh.run(for: .seconds(3))
        mesh.kill(2)
        for index in 0..<3 { mesh.clockOffsets[index] = .seconds(3 * 365 * 86_400) }
        mesh.start(2)
        mesh.run(for: .seconds(3))
        #expect(mesh.allUp)
    }

    @Test("a cut of one node is seen on both sides and heals")
    func symmetricCut() {
        var mesh = Mesh.started(3, seed: 13)
        mesh.run(for: .seconds(5))
        for other in [0, 1] {
            mesh.cut(from: 2, to: other)
            mesh.cut(from: other, to: 2)
        }
        mesh.run(for: .seconds(6))
        #expect(mesh.machines[0]?.liveNodes == ["n1", "n2"].map { NodeID($0) })
        #expect(mesh.machines[2]?.liveNodes == [NodeID("n3")])
        mesh.heal()
        mesh.run(until: \.allUp, limit: .seconds(3))
        #expect(mesh.allUp)
    }

    @Test("a node whose answers do not reach us is not up, though others relay its heartbeats")
    func asymmetricCut() throws {
        var mesh = Mesh.started(3, seed: 14)
        mesh.run(for: .seconds(5))
        mesh.cut(from: 1, to: 0)
        mesh.run(for: .seconds(6))
        #expect(mesh.machines[0]?.isUp(NodeID("n2")) == false)
        let heartbeat = try #require(mesh.machines[0]?.heartbeat(of: NodeID("n2")))
        let flaps = mesh.time
        mesh.run(for: .seconds(60))
        #expect(try #require(mesh.machines[0]?.heartbeat(of: NodeID("n2"))) > heartbeat + 200)
        // Hearsay never raised it, and the witness in the middle sees both.
        #expect(mesh.machines[0]?.isUp(NodeID("n2")) == false)
        #expect(mesh.reports(after: flaps) { _ in true } == [])
        #expect(mesh.machines[2]?.liveNodes == mesh.nodes)
        mesh.heal()
        mesh.run(until: \.allUp, limit: .seconds(2))
        #expect(mesh.allUp)
    }

    @Test("a node that was paused convicts nobody", arguments: [2, 6, 60])
    func ownPause(seconds: Int) {
        var mesh = Mesh.started(3, seed: 15)
        mesh.run(for: .seconds(5))
        mesh.pause(0, for: .seconds(seconds))
        mesh.run(for: .seconds(seconds + 20))
        #expect(mesh.downs().filter { $0.observer == NodeID("n1") } == [])
        // The others saw a long pause as death, and it ended.
        let fallen = mesh.downs().map(\.effect)
        #expect(fallen == (seconds > 5 ? Array(repeating: .peerDown(NodeID("n1")), count: 2) : []))
        #expect(mesh.allUp)
    }

    @Test("a node that says farewell is down at once, everywhere, until its next life")
    func farewell() {
        var mesh = Mesh.started(5, seed: 16)
        mesh.run(for: .seconds(3))
        mesh.leave(4)
        mesh.run(for: .milliseconds(200))
        for index in 0..<4 { #expect(mesh.machines[index]?.isUp(NodeID("n5")) == false) }
        mesh.kill(4)
        mesh.run(for: .seconds(5))
        #expect(mesh.allUp)
        mesh.start(4)
        mesh.run(until: \.allUp, limit: .seconds(3))
        #expect(mesh.allUp)
    }

    @Test("the same seed gives the same run, another seed another")
    func determinism() {
        func trace(_ seed: UInt64) -> [Mesh.Report] {
            var mesh = Mesh.started(5, seed: seed)
            mesh.lossPercent = 20
            mesh.run(for: .seconds(20))
            mesh.kill(1)
            mesh.run(for: .seconds(20))
            return mesh.reports
        }
        #expect(trace(17) == trace(17))
        #expect(trace(17) != trace(18))
    }

    @Test("under kills, restarts, loss and wrong clocks nothing that is held goes back")
    func monotone() {
        var mesh = Mesh.started(5, seed: 19)
        mesh.lossPercent = 20
        var random = RandomSource(seed: 20)
        var held: [[(Int64, UInt64)]] = Array(
            repeating: Array(repeating: (0, 0), count: 5), count: 5)
        for _ in 0..<400 {
            mesh.run(for: .milliseconds(250))
            let victim = random.below(5)
            if random.chance(1, in: 20) {
                mesh.kill(victim)
                // A machine's memory ends with it.
                held[victim] = Array(repeating: (0, 0), count: 5)
                mesh.clockOffsets[victim] = .seconds(random.below(20_000) - 10_000)
                mesh.start(victim)
            }
            for observer in 0..<5 {
                for subject in 0..<5 {
                    let state = mesh.machines[observer]?.state(of: mesh.nodes[subject])
                    let now = (state?.generation ?? 0, state?.version ?? 0)
                    #expect(now >= held[observer][subject])
                    held[observer][subject] = now
                }
            }
        }
        mesh.lossPercent = 0
        mesh.run(for: .seconds(10))
        #expect(mesh.allUp)
    }
}
