import Core
import Gossip
import Testing

/// Calls and their exact effects. The machine under test is n2 among n1, n2, n3.
@Suite("Gossip machine")
struct GossipMachineTests {
    private let n1 = NodeID("n1")
    private let n2 = NodeID("n2")
    private let n3 = NodeID("n3")
    private let seconds: Int64 = 1_760_000_000

    private func now(_ milliseconds: Int64) -> Now {
        Now(
            monotonic: .zero + .milliseconds(milliseconds),
            wall: WallTime(milliseconds: seconds * 1000 + milliseconds))
    }

    private func machine(_ members: [String] = ["n1", "n2", "n3"]) -> GossipMachine {
        GossipMachine(
            self: n2, members: members.map { NodeID($0) }, seeds: members.map { NodeID($0) },
            cluster: "demo", interval: .milliseconds(200), generation: seconds,
            random: RandomSource(seed: 1), now: now(0))
    }

    private func state(_ generation: Int64, beats: Int = 1, status: NodeStatus = .normal)
        -> EndpointState
    {
        var state = EndpointState(generation: generation)
        state.set(.status, status.rawValue)
        for _ in 0..<beats { state.beat() }
        return state
    }

    private func receive(
        _ message: GossipMessage, from node: NodeID, at time: Int64,
        _ machine: inout GossipMachine
    ) -> [GossipEffect] {
        var effects: [GossipEffect] = []
        machine.receive(message, from: node, at: now(time), into: &effects)
        return effects
    }

    private func advance(to time: Int64, _ machine: inout GossipMachine) -> [GossipEffect] {
        var effects: [GossipEffect] = []
        machine.advance(to: now(time), into: &effects)
        return effects
    }

    private func nonceSent(_ effects: [GossipEffect], to node: NodeID) -> UInt64? {
        for effect in effects {
            if case .send(.probe(let nonce), to: node) = effect { return nonce }
        }
        return nil
    }

    /// Brings a peer up: its state, and its answer to the probe that follows.
    private func raise(
        _ node: NodeID, _ state: EndpointState, at time: Int64, _ machine: inout GossipMachine
    ) throws -> [GossipEffect] {
        let delta = state.delta(of: node, after: 0)
        let effects = receive(.ack2(deltas: [delta]), from: node, at: time, &machine)
        let nonce = try #require(nonceSent(effects, to: node))
        let answer = GossipMessage.probeAnswer(
            nonce: nonce, generation: state.generation, wall: now(time).wall)
        return receive(answer, from: node, at: time, &machine)
    }

    @Test("the first round is due at once and probes all who were never heard of")
    func firstRound() {
        var machine = machine()
        #expect(machine.nextDeadline == .zero)
        let effects = advance(to: 0, &machine)
        #expect(nonceSent(effects, to: n1) != nil)
        #expect(nonceSent(effects, to: n3) != nil)
        let blank = [n1, n3].map { EndpointDigest(node: $0, generation: 0, version: 0) }
        let own = EndpointDigest(node: n2, generation: seconds, version: 2)
        let syn = GossipMessage.syn(cluster: "demo", digests: [blank[0], own, blank[1]])
        let targets = effects.compactMap { effect -> NodeID? in
            guard case .send(let message, let node) = effect, message == syn else { return nil }
            return node
        }
        #expect(!targets.isEmpty)
        #expect(Set(targets).count == targets.count)
        #expect(machine.nextDeadline == .zero + .milliseconds(200))
        #expect(advance(to: 199, &machine).isEmpty)
    }

    @Test("rounds that were missed are not made up for")
    func lateRound() {
        var machine = machine()
        _ = advance(to: 0, &machine)
        _ = advance(to: 250, &machine)
        #expect(machine.nextDeadline == .zero + .milliseconds(400))
        _ = advance(to: 2000, &machine)
        #expect(machine.nextDeadline == .zero + .milliseconds(2200))
        #expect(machine.heartbeat(of: n2) == 4)
    }

    @Test("a SYN is answered with what the sender lacks and what we lack")
    func syn() throws {
        var machine = machine()
        let held = state(10, beats: 4)
        #expect(try raise(n1, held, at: 0, &machine) == [.peerUp(n1)])
        let digests = [
            EndpointDigest(node: n1, generation: 10, version: 2),
            EndpointDigest(node: n3, generation: 7, version: 9),
        ]
        let own = try #require(machine.state(of: n2))
        #expect(
            receive(.syn(cluster: "demo", digests: digests), from: n3, at: 1, &machine) == [
                .send(
                    .ack(
                        deltas: [held.delta(of: n1, after: 2), own.delta(of: n2, after: 0)],
                        requests: [EndpointDigest(node: n3, generation: 7, version: 0)]),
                    to: n3)
            ])
    }

    @Test("an empty SYN asks for everything and changes nothing")
    func shadow() throws {
        var machine = machine()
        let held = state(10)
        _ = try raise(n1, held, at: 0, &machine)
        let before = machine.endpoints(at: .zero)
        let own = try #require(machine.state(of: n2))
        #expect(
            receive(.syn(cluster: "demo", digests: []), from: n3, at: 0, &machine) == [
                .send(
                    .ack(
                        deltas: [held.delta(of: n1, after: 0), own.delta(of: n2, after: 0)],
                        requests: []),
                    to: n3)
            ])
        #expect(machine.endpoints(at: .zero) == before)
    }

    @Test("a SYN of another cluster gets no answer")
    func foreign() {
        var machine = machine()
        #expect(
            receive(.syn(cluster: "other", digests: []), from: n3, at: 0, &machine)
                == [.foreignCluster(n3, name: "other")])
    }

    @Test("an ACK's requests are answered, above the version asked for")
    func ack2() throws {
        var machine = machine()
        machine.set(.rack, "r1")
        let own = try #require(machine.state(of: n2))
        let request = EndpointDigest(node: n2, generation: seconds, version: 1)
        #expect(
            receive(.ack(deltas: [], requests: [request]), from: n1, at: 0, &machine)
                == [.send(.ack2(deltas: [own.delta(of: n2, after: 1)]), to: n1)])
        let current = EndpointDigest(node: n2, generation: seconds, version: own.version)
        #expect(receive(.ack(deltas: [], requests: [current]), from: n1, at: 0, &machine).isEmpty)
    }

    @Test("hearsay makes nobody UP; its own answer to our probe does, and only a matching one")
    func probe() throws {
        var machine = machine()
        let delta = state(10).delta(of: n1, after: 0)
        let heard = receive(.ack2(deltas: [delta]), from: n3, at: 0, &machine)
        let nonce = try #require(nonceSent(heard, to: n1))
        #expect(heard == [.statesChanged(n1), .send(.probe(nonce: nonce), to: n1)])
        #expect(!machine.isUp(n1))
        let right = GossipMessage.probeAnswer(
            nonce: nonce, generation: 10, wall: now(0).wall)
        let wrong = GossipMessage.probeAnswer(
            nonce: nonce ^ 1, generation: 10, wall: now(0).wall)
        #expect(receive(wrong, from: n1, at: 1, &machine).isEmpty)
        #expect(receive(right, from: n3, at: 1, &machine).isEmpty)
        #expect(receive(right, from: n1, at: 1, &machine) == [.peerUp(n1)])
        #expect(receive(right, from: n1, at: 2, &machine).isEmpty)
        #expect(machine.livePeers == [n1])
        #expect(machine.liveNodes == [n1, n2])
    }

    @Test("an answer that comes before the state counts once the state of that life is here")
    func answerFirst() throws {
        var machine = machine()
        let nonce = try #require(nonceSent(advance(to: 0, &machine), to: n1))
        let answer = GossipMessage.probeAnswer(
            nonce: nonce, generation: 10, wall: now(0).wall)
        guard case .send(.syn, to: n1) = receive(answer, from: n1, at: 5, &machine).first else {
            Issue.record("a life without a state was not asked for it")
            return
        }
        let delta = state(10).delta(of: n1, after: 0)
        #expect(
            receive(.ack(deltas: [delta], requests: []), from: n1, at: 9, &machine)
                == [.statesChanged(n1), .peerUp(n1)])
    }

    @Test("an answer of a new life does not raise the old one")
    func answerOfAnotherLife() throws {
        var machine = machine()
        let nonce = try #require(nonceSent(advance(to: 0, &machine), to: n1))
        let answer = GossipMessage.probeAnswer(
            nonce: nonce, generation: 11, wall: now(0).wall)
        _ = receive(answer, from: n1, at: 5, &machine)
        let old = GossipMessage.ack2(deltas: [state(10).delta(of: n1, after: 0)])
        #expect(receive(old, from: n3, at: 6, &machine) == [.statesChanged(n1)])
        let new = GossipMessage.ack2(deltas: [state(11).delta(of: n1, after: 0)])
        #expect(
            receive(new, from: n3, at: 7, &machine) == [
                .peerRestarted(n1, generation: 11), .statesChanged(n1), .peerUp(n1),
            ])
    }

    @Test("a probe is answered with our generation")
    func answered() {
        var machine = machine()
        #expect(
            receive(.probe(nonce: 4), from: n1, at: 0, &machine)
                == [.send(.probeAnswer(nonce: 4, generation: seconds, wall: now(0).wall), to: n1)])
    }

    @Test("an old life resurrected changes nothing")
    func resurrected() throws {
        var machine = machine()
        _ = try raise(n1, state(10), at: 0, &machine)
        let old = state(9, beats: 500).delta(of: n1, after: 0)
        #expect(receive(.ack2(deltas: [old]), from: n3, at: 1, &machine).isEmpty)
        #expect(machine.generation(of: n1) == 10)
        #expect(machine.isUp(n1))
    }

    @Test("a new life is down, restarted and probed")
    func restarted() throws {
        var machine = machine()
        _ = try raise(n1, state(10), at: 0, &machine)
        let delta = state(11).delta(of: n1, after: 0)
        let effects = receive(.ack2(deltas: [delta]), from: n3, at: 1, &machine)
        let nonce = try #require(nonceSent(effects, to: n1))
        #expect(
            effects == [
                .peerDown(n1), .peerRestarted(n1, generation: 11), .statesChanged(n1),
                .send(.probe(nonce: nonce), to: n1),
            ])
    }

    @Test("a delta of a new life that is not whole is ignored")
    func partial() throws {
        var machine = machine()
        let life = state(11, beats: 5)
        let partial = life.delta(of: n1, after: 2)
        #expect(receive(.ack2(deltas: [partial]), from: n3, at: 0, &machine).isEmpty)
        _ = try raise(n1, state(10), at: 0, &machine)
        #expect(receive(.ack2(deltas: [partial]), from: n3, at: 1, &machine).isEmpty)
        #expect(machine.generation(of: n1) == 10)
    }

    @Test("a generation up to the allowance is believed; beyond it is refused, and said once")
    func future() {
        var machine = machine()
        let limit = Generation.limit(held: 0, now: now(0).wall)
        let refused: [GossipEffect] = [.generationRefused(n1, generation: limit + 1)]
        let delta = state(limit + 1).delta(of: n1, after: 0)
        #expect(receive(.ack2(deltas: [delta]), from: n1, at: 0, &machine) == refused)
        #expect(receive(.ack2(deltas: [delta]), from: n3, at: 0, &machine).isEmpty)
        let digest = EndpointDigest(node: n1, generation: limit + 1, version: 1)
        guard
            case .send(.ack(_, let requests), to: n1) = receive(
                .syn(cluster: "demo", digests: [digest]), from: n1, at: 0, &machine
            ).first
        else {
            Issue.record("no ACK")
            return
        }
        #expect(requests.isEmpty)
        #expect(machine.state(of: n1) == nil)
        let believed = state(limit).delta(of: n1, after: 0)
        _ = receive(.ack2(deltas: [believed]), from: n1, at: 0, &machine)
        #expect(machine.generation(of: n1) == limit)
    }

    @Test("a farewell is down at once, and no late heartbeat raises it again")
    func shutdown() throws {
        var machine = machine()
        var life = state(10)
        _ = try raise(n1, life, at: 0, &machine)
        life.set(.status, NodeStatus.shutdown.rawValue)
        let farewell = GossipMessage.shutdown(life.delta(of: n1, after: 0))
        #expect(receive(farewell, from: n3, at: 1, &machine).isEmpty)
        #expect(
            receive(farewell, from: n1, at: 1, &machine) == [.statesChanged(n1), .peerDown(n1)])
        life.beat()
        let late = life.delta(of: n1, after: 0)
        #expect(receive(.ack2(deltas: [late]), from: n3, at: 2, &machine).isEmpty)
        #expect(!machine.isUp(n1))
    }

    @Test("leaving tells those who are up, and then nothing more is said")
    func leave() throws {
        var machine = machine()
        _ = try raise(n1, state(10), at: 0, &machine)
        var effects: [GossipEffect] = []
        machine.leave(into: &effects)
        let own = try #require(machine.state(of: n2))
        #expect(own.status == .shutdown)
        #expect(effects == [.send(.shutdown(own.delta(of: n2, after: 0)), to: n1)])
        #expect(advance(to: 9000, &machine).isEmpty)
        #expect(receive(.probe(nonce: 1), from: n1, at: 9000, &machine).isEmpty)
        #expect(machine.nextDeadline == Instant(nanoseconds: .max))
        machine.leave(into: &effects)
        #expect(effects.count == 1)
    }

    @Test("a refused connection stops routing, not life; a connection or an answer resumes it")
    func refused() throws {
        var machine = machine()
        _ = try raise(n1, state(10), at: 0, &machine)
        #expect(machine.isReachable(n1))
        machine.connectionRefused(by: n1)
        #expect(machine.isUp(n1))
        #expect(!machine.isReachable(n1))
        machine.connected(to: n1)
        #expect(machine.isReachable(n1))
        machine.connectionRefused(by: n1)
        let nonce = try #require(nonceSent(advance(to: 0, &machine), to: n1))
        let answer = GossipMessage.probeAnswer(
            nonce: nonce, generation: 10, wall: now(0).wall)
        _ = receive(answer, from: n1, at: 1, &machine)
        #expect(machine.isReachable(n1))
        #expect(!machine.isReachable(n3))
        #expect(machine.isReachable(n2))
    }

    @Test("silence convicts, once, and phi tells how near it is")
    func conviction() throws {
        var machine = machine()
        _ = advance(to: 0, &machine)
        _ = try raise(n1, state(10), at: 100, &machine)
        var downs: [Int64] = []
        for time in stride(from: Int64(200), through: 20_000, by: 200) {
            let phi = machine.phi(of: n1, at: now(time).monotonic)
            for effect in advance(to: time, &machine) where effect == .peerDown(n1) {
                downs.append(time)
                // 20 intervals without an answer come before phi 8 of the cautious first mean.
                #expect(phi == 4451)
            }
        }
        #expect(downs == [4200])
        #expect(machine.phi(of: n1, at: now(20_000).monotonic) == nil)
    }

    @Test("a peer that answers but no longer beats is convicted when phi passes 8")
    func heartless() throws {
        var machine = machine()
        var life = state(10)
        _ = try raise(n1, life, at: 0, &machine)
        var downs: [Int64] = []
        for time in stride(from: Int64(0), through: 60_000, by: 200) {
            if time <= 20_000 {
                life.beat()
                let news = GossipMessage.ack2(deltas: [life.delta(of: n1, after: 0)])
                _ = receive(news, from: n3, at: time, &machine)
            }
            let effects = advance(to: time, &machine)
            if effects.contains(.peerDown(n1)) { downs.append(time) }
            if let nonce = nonceSent(effects, to: n1) {
                let answer = GossipMessage.probeAnswer(
                    nonce: nonce, generation: 10, wall: now(0).wall)
                #expect(receive(answer, from: n1, at: time, &machine).isEmpty)
            }
        }
        // 18.4 intervals, at the next round: 3.8 s.
        #expect(downs == [23_800])
        #expect(!machine.isUp(n1))
    }

    @Test("a removed node is forgotten, and no claim brings it back until it is added again")
    func removed() throws {
        var machine = machine()
        _ = try raise(n1, state(10), at: 0, &machine)
        var effects: [GossipEffect] = []
        machine.remove(n1, into: &effects)
        #expect(effects == [.peerDown(n1)])
        #expect(machine.knownNodes == [n2, n3])
        let claim = GossipMessage.ack2(deltas: [state(12).delta(of: n1, after: 0)])
        #expect(receive(claim, from: n3, at: 1, &machine).isEmpty)
        #expect(receive(.probe(nonce: 1), from: n1, at: 1, &machine).isEmpty)
        let isAdded = machine.add(n1)
        #expect(isAdded)
        #expect(try raise(n1, state(12), at: 2, &machine) == [.peerUp(n1)])
    }

    @Test("a node that nobody named is asked for and admitted, until the cluster is full")
    func discovery() throws {
        var machine = machine(
            ["n2"] + (1..<Limits.nodesMax - 1).map { "m\($0)" })
        let n4 = NodeID("n4")
        let digest = EndpointDigest(node: n4, generation: 10, version: 3)
        guard
            case .send(.ack(_, let requests), to: n4) = receive(
                .syn(cluster: "demo", digests: [digest]), from: n4, at: 0, &machine
            ).first
        else {
            Issue.record("no ACK")
            return
        }
        #expect(requests == [EndpointDigest(node: n4, generation: 10, version: 0)])
        #expect(try raise(n4, state(10), at: 0, &machine) == [.peerUp(n4)])
        #expect(machine.knownNodes.count == Limits.nodesMax)
        let surplus = state(10).delta(of: NodeID("n5"), after: 0)
        #expect(receive(.ack2(deltas: [surplus]), from: n4, at: 0, &machine).isEmpty)
        let isAdded = machine.add(NodeID("n5"))
        #expect(!isAdded)
    }

    @Test("we rise above a former life of ours that others hold, but follow no absurd claim")
    func outranked() {
        var machine = machine()
        machine.set(.rack, "r1")
        func syn(_ generation: Int64, _ version: UInt64) -> GossipMessage {
            let digest = EndpointDigest(node: n2, generation: generation, version: version)
            return .syn(cluster: "demo", digests: [digest])
        }
        func outrank(_ effects: [GossipEffect]) -> [GossipEffect] {
            effects.filter { if case .outranked = $0 { true } else { false } }
        }
        #expect(outrank(receive(syn(seconds, 1), from: n1, at: 0, &machine)) == [])
        #expect(outrank(receive(syn(.max, 1), from: n1, at: 0, &machine)) == [])
        let higher = outrank(receive(syn(seconds + 9, 1), from: n1, at: 0, &machine))
        #expect(higher == [.outranked(by: seconds + 9)])
        #expect(outrank(receive(syn(seconds + 9, 1), from: n3, at: 0, &machine)) == [])
        machine.takeGeneration(seconds + 10)
        #expect(machine.generation(of: n2) == seconds + 10)
        #expect(machine.state(of: n2)?.text(.rack) == "r1")
        // The same generation with a version that we never reached: another process.
        let twin = outrank(receive(syn(seconds + 10, 999), from: n1, at: 0, &machine))
        #expect(twin == [.outranked(by: seconds + 10)])
    }

    @Test("what does not fit into a message is told in later exchanges, whole endpoints each")
    func messageBound() throws {
        var machine = machine()
        let text = String(repeating: "v", count: GossipLimits.valueMax)
        for number in 1...100 {
            var state = EndpointState(generation: 10)
            for key in 1...GossipLimits.valuesMax where key != 1 {
                state.set(GossipKey(number: UInt8(key)), text)
            }
            let delta = state.delta(of: NodeID("m\(number)"), after: 0)
            _ = receive(.ack2(deltas: [delta]), from: n1, at: 0, &machine)
        }
        #expect(machine.knownNodes.count == 103)
        var reader = GossipMachine(
            self: n3, members: [n3], seeds: [], cluster: "demo", interval: .milliseconds(200),
            generation: seconds, random: RandomSource(seed: 2), now: now(0))
        var exchanges = 0
        while reader.knownNodes.count < 102, exchanges < 10 {
            let digests = reader.endpoints(at: .zero).map {
                EndpointDigest(
                    node: $0.node, generation: $0.state?.generation ?? 0,
                    version: $0.state?.version ?? 0)
            }
            let answer = receive(.syn(cluster: "demo", digests: digests), from: n3, at: 0, &machine)
            guard case .send(let message, to: n3) = answer.first else { break }
            var bytes: [UInt8] = []
            message.encode(into: &bytes)
            #expect(bytes.count <= GossipLimits.messageMax)
            _ = receive(try GossipMessage.decode(bytes), from: n2, at: 0, &reader)
            exchanges += 1
        }
        #expect(exchanges == 4)
        #expect(reader.state(of: NodeID("m7"))?.values.count == GossipLimits.valuesMax - 1)
    }

    @Test("with a large cluster each peer that is up is still probed within four rounds")
    func probeTurns() throws {
        var machine = machine((1...40).map { "n\($0)" })
        for number in 1...40 where number != 2 {
            _ = try raise(NodeID("n\(number)"), state(10), at: 0, &machine)
        }
        var probed: Set<NodeID> = []
        for round in 0..<4 {
            let effects = advance(to: Int64(round) * 200, &machine)
            let targets = effects.compactMap { effect -> NodeID? in
                if case .send(.probe, let node) = effect { node } else { nil }
            }
            #expect(targets.count == 10)
            probed.formUnion(targets)
        }
        #expect(probed.count == 39)
    }
}
