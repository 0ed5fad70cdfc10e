import Core
import Node
import Testing

private let fingerprint = ClusterFingerprint([.init("cluster_name", "demo"), .init("window", "1m")])

private func identity(_ name: String, nonce: UInt64 = 1) -> PeerIdentity {
    PeerIdentity(node: NodeID(name), incarnation: Incarnation(1), startNonce: nonce)
}

private func at(_ milliseconds: Int64) -> Instant {
    Instant(nanoseconds: milliseconds * 1_000_000)
}

/// Two sessions that hear each other, without a socket.
private struct Pair {
    var dialler: PeerSession
    var acceptor: PeerSession
    var diallerEffects: [PeerSession.Effect] = []
    var acceptorEffects: [PeerSession.Effect] = []

    init(
        from one: PeerIdentity = identity("n1"), to two: PeerIdentity = identity("n2"),
        dialled: String = "n2", ours: ClusterFingerprint = fingerprint,
        theirs: ClusterFingerprint = fingerprint, wall: WallTime = WallTime(milliseconds: 0)
    ) {
        let clock = Now(monotonic: at(0), wall: wall)
        dialler = PeerSession(
            role: .dialler(of: NodeID(dialled)), identity: one, fingerprint: ours,
            timing: PeerTiming(), at: clock, into: &diallerEffects)
        acceptor = PeerSession(
            role: .acceptor, identity: two, fingerprint: theirs, timing: PeerTiming(), at: clock,
            into: &acceptorEffects)
    }

    /// Carries frames to and fro and admits everyone, until both have nothing to say.
    mutating func settle(at now: Instant = at(1)) -> (
        dialler: [PeerSession.Effect], acceptor: [PeerSession.Effect]
    ) {
        var seen: (dialler: [PeerSession.Effect], acceptor: [PeerSession.Effect]) = ([], [])
        while !diallerEffects.isEmpty || !acceptorEffects.isEmpty {
            let mine = diallerEffects
            let theirs = acceptorEffects
            (diallerEffects, acceptorEffects) = ([], [])
            seen.dialler += mine
            seen.acceptor += theirs
            for effect in mine {
                Self.carry(
                    effect, by: &dialler, &diallerEffects, to: &acceptor, &acceptorEffects, now)
            }
            for effect in theirs {
                Self.carry(
                    effect, by: &acceptor, &acceptorEffects, to: &dialler, &diallerEffects, now)
            }
        }
        return seen
    }

    private static func carry(
        _ effect: PeerSession.Effect, by own: inout PeerSession,
        _ ownEffects: inout [PeerSession.Effect],
        to other: inout PeerSession, _ otherEffects: inout [PeerSession.Effect], _ now: Instant
    ) {
        switch effect {
        case .send(let frame):
            if other.due.contains(frame.kind) { other.receive(frame, at: now, into: &otherEffects) }
        case .consult:
            own.judge(nil, at: now, into: &ownEffects)
        case .open, .deliver, .close:
            break
        }
    }
}

@Suite struct PeerSessionTests {
    @Test("The dialler greets, the acceptor answers, and both are open")
    func handshake() {
        var pair = Pair()
        let seen = pair.settle()
        #expect(seen.dialler.contains(.open(identity("n2"))))
        #expect(seen.acceptor.contains(.open(identity("n1"))))
        #expect(pair.dialler.peer == identity("n2"))
        #expect(pair.acceptor.peer == identity("n1"))
        #expect(pair.dialler.due == [.pong, .refusal])
        #expect(pair.acceptor.due == [.ping, .message, .refusal])
    }

    @Test("Only the greeting is due before the handshake, and nothing while the verdict is awaited")
    func due() {
        var pair = Pair()
        #expect(pair.dialler.due == [.welcome, .refusal])
        #expect(pair.acceptor.due == [.hello])
        guard case .send(let hello) = pair.diallerEffects.first else {
            Issue.record("no hello")
            return
        }
        pair.acceptor.receive(hello, at: at(1), into: &pair.acceptorEffects)
        #expect(pair.acceptorEffects == [.consult(identity("n1"))])
        #expect(pair.acceptor.due.isEmpty)
        #expect(pair.acceptor.peer == nil)
    }

    @Test("A message is delivered to the acceptor, a ping is answered with its number")
    func traffic() {
        var pair = Pair()
        _ = pair.settle()
        var effects: [PeerSession.Effect] = []
        pair.acceptor.receive(
            PeerFrame(kind: .message, payload: [1, 2]), at: at(2), into: &effects)
        pair.acceptor.receive(PeerFrame(kind: .ping, payload: [9]), at: at(2), into: &effects)
        #expect(effects == [.deliver([1, 2]), .send(PeerFrame(kind: .pong, payload: [9]))])
    }

    @Test("Another fingerprint is refused with the field, and both sides say which")
    func fingerprints() {
        let other = ClusterFingerprint([.init("cluster_name", "demo"), .init("window", "1h")])
        var pair = Pair(theirs: other)
        let seen = pair.settle()
        let rejection = PeerRejection(.fingerprint, field: "window", theirs: "1m", ours: "1h")
        #expect(seen.acceptor.last == .close(.refused(rejection)))
        #expect(seen.dialler.last == .close(.refusedByPeer(rejection)))
        #expect(pair.dialler.isClosed && pair.acceptor.isClosed)
    }

    @Test("Rules that differ about times to come only are no reason to refuse, until they near")
    func rules() {
        let from = WallTime(milliseconds: 1_800_000_000_000)
        let entry = RuleEntry(from: from, futureLimit: .seconds(60), lateness: nil)
        let newer = ClusterFingerprint(
            fingerprint.fields, rules: [RuleNotice(entry, .early)])
        let border = from - RuleLimits.guardTime
        for (ours, theirs) in [(fingerprint, newer), (newer, fingerprint)] {
            var early = Pair(ours: ours, theirs: theirs, wall: border - .milliseconds(1))
            _ = early.settle()
            #expect(early.dialler.peer == identity("n2"))
            #expect(early.dialler.peerRules == theirs.rules)
            #expect(early.acceptor.peerRules == ours.rules)
            #expect(early.dialler.divergence?.end == border)
            #expect(early.acceptor.divergence?.end == border)
            var late = Pair(ours: ours, theirs: theirs, wall: border)
            guard case .close(.refused(let rejection)) = late.settle().acceptor.last else {
                Issue.record("it was not refused")
                return
            }
            #expect(rejection.isAboutRules)
            #expect(rejection.field == "rules.2")
            #expect(rejection.sentence(heard: false).contains("give the node that is behind"))
        }
        var same = Pair(
            ours: newer,
            theirs: ClusterFingerprint(fingerprint.fields, rules: [RuleNotice(entry, .late)]),
            wall: from)
        _ = same.settle()
        #expect(same.dialler.peer == identity("n2"))
        #expect(same.dialler.divergence == nil)
    }

    @Test("An address that belongs to another node is found out by the node that was dialled")
    func wrongAddress() {
        var pair = Pair(to: identity("n3"))
        let seen = pair.settle()
        let rejection = PeerRejection(.wrongAddress, field: "node", theirs: "n2", ours: "n3")
        #expect(seen.dialler.last == .close(.refusedByPeer(rejection)))
    }

    @Test("A dialler refuses a welcome in another's name")
    func wrongName() {
        var effects: [PeerSession.Effect] = []
        var dialler = PeerSession(
            role: .dialler(of: NodeID("n2")), identity: identity("n1"), fingerprint: fingerprint,
            timing: PeerTiming(), at: Now(monotonic: at(0), wall: WallTime(milliseconds: 0)),
            into: &effects)
        let welcome = PeerGreeting(
            identity: identity("n3"), target: NodeID("n1"), fingerprint: fingerprint)
        dialler.receive(
            PeerFrame(kind: .welcome, payload: welcome.encoded), at: at(1), into: &effects)
        #expect(dialler.isClosed)
        guard case .close(.refused(let rejection)) = effects.last else {
            Issue.record("it was not refused")
            return
        }
        #expect(rejection.reason == .wrongAddress)
    }

    @Test("A garbled greeting and a garbled refusal end the connection with that word")
    func garbled() {
        var pair = Pair()
        var effects: [PeerSession.Effect] = []
        pair.acceptor.receive(
            PeerFrame(kind: .hello, payload: [1, 2, 3]), at: at(1), into: &effects)
        #expect(pair.acceptor.isClosed)
        pair.dialler.receive(PeerFrame(kind: .refusal, payload: []), at: at(1), into: &effects)
        #expect(pair.dialler.isClosed)
        #expect(effects.count == 3)
    }

    @Test("The verdict of the consulted one decides, and a late verdict changes nothing")
    func verdict() {
        var pair = Pair()
        var effects: [PeerSession.Effect] = []
        let hello = PeerGreeting(
            identity: identity("n1"), target: NodeID("n2"), fingerprint: fingerprint)
        pair.acceptor.receive(
            PeerFrame(kind: .hello, payload: hello.encoded), at: at(1), into: &effects)
        let twin = PeerRejection(.twin, field: "node", theirs: "n1", ours: "n2")
        pair.acceptor.judge(twin, at: at(2), into: &effects)
        #expect(effects.last == .close(.refused(twin)))
        let count = effects.count
        pair.acceptor.judge(nil, at: at(3), into: &effects)
        #expect(effects.count == count)
    }

    @Test("A handshake that is not done at its deadline is ended, on either side")
    func deadline() {
        var pair = Pair()
        var effects: [PeerSession.Effect] = []
        pair.dialler.advance(to: at(4999), into: &effects)
        pair.acceptor.advance(to: at(4999), into: &effects)
        #expect(effects.isEmpty)
        pair.dialler.advance(to: at(5000), into: &effects)
        pair.acceptor.advance(to: at(5000), into: &effects)
        #expect(effects == [.close(.handshakeTimeout), .close(.handshakeTimeout)])
    }

    @Test("The dialler pings once a second; who hears nothing for five seconds ends it")
    func silence() {
        var pair = Pair()
        _ = pair.settle(at: at(0))
        var pings: [Int64] = []
        var ends: [Int64] = []
        for now in stride(from: Int64(200), through: 8000, by: 200) {
            var effects: [PeerSession.Effect] = []
            pair.dialler.advance(to: at(now), into: &effects)
            if case .send = effects.first { pings.append(now) }
            if case .close = effects.first { ends.append(now) }
            effects = []
            pair.acceptor.advance(to: at(now), into: &effects)
            if !effects.isEmpty {
                #expect(effects == [.close(.silent(.seconds(5)))])
                ends.append(now)
            }
        }
        #expect(pings == [1000, 2000, 3000, 4000])
        #expect(ends == [5000, 5000])
    }

    @Test("Whatever moves keeps it alive: pongs, bytes of a large frame, progress of a write")
    func alive() {
        var pair = Pair()
        _ = pair.settle(at: at(0))
        var effects: [PeerSession.Effect] = []
        for now in stride(from: Int64(200), through: 60_000, by: 200) {
            if now % 4000 == 0 { pair.acceptor.moved(at: at(now)) }
            pair.acceptor.advance(to: at(now), into: &effects)
        }
        #expect(effects.isEmpty)
    }

    @Test("Only what comes in proves that the other process lives, not a write that was taken")
    func heard() {
        var pair = Pair()
        _ = pair.settle(at: at(0))
        var effects: [PeerSession.Effect] = []
        for now in stride(from: Int64(200), through: 10_000, by: 200) {
            pair.dialler.moved(at: at(now))
            pair.dialler.advance(to: at(now), into: &effects)
        }
        #expect(pair.dialler.lastMoved == at(10_000))
        #expect(pair.dialler.lastHeard == at(0))
        pair.dialler.heard(at: at(10_100))
        #expect(pair.dialler.lastHeard == at(10_100))
    }

    @Test("After an own pause nobody is called silent at once")
    func pause() {
        var pair = Pair()
        _ = pair.settle(at: at(0))
        var effects: [PeerSession.Effect] = []
        pair.acceptor.advance(to: at(200), into: &effects)
        pair.acceptor.advance(to: at(60_000), into: &effects)
        #expect(effects.isEmpty)
        for now in stride(from: Int64(60_200), through: 65_000, by: 200) {
            pair.acceptor.advance(to: at(now), into: &effects)
        }
        #expect(effects == [.close(.silent(.seconds(5)))])
    }

    @Test("A closed session says nothing more")
    func closed() {
        var pair = Pair()
        var effects: [PeerSession.Effect] = []
        pair.dialler.fail(.endedByPeer, into: &effects)
        pair.dialler.fail(.shutdown, into: &effects)
        pair.dialler.dismiss(
            PeerRejection(.superseded, field: "", theirs: "", ours: ""), into: &effects)
        pair.dialler.advance(to: at(100_000), into: &effects)
        #expect(effects == [.close(.endedByPeer)])
        #expect(pair.dialler.due.isEmpty)
    }
}

private func push(
    to queue: inout PeerQueue, _ message: [UInt8], _ priority: PeerPriority
) -> Bool {
    queue.push(message, priority)
}

@Suite struct PeerDecisionTests {
    @Test("The first of two processes under one name stays while it is heard")
    func twins() {
        let old = PeerTwins.Link(startNonce: 1, lastHeard: at(1000))
        func judge(_ nonce: UInt64, _ links: [PeerTwins.Link], _ now: Int64) -> PeerTwins.Verdict {
            PeerTwins.judge(startNonce: nonce, against: links, silence: .seconds(2), at: at(now))
        }
        #expect(judge(2, [], 0) == .admit)
        #expect(judge(1, [old], 1000) == .admit)
        #expect(judge(2, [old], 2999) == .twin)
        #expect(judge(2, [old], 3000) == .admit)
        let lively = PeerTwins.Link(startNonce: 1, lastHeard: at(2900))
        #expect(judge(2, [old, lively], 3000) == .twin)
        #expect(
            judge(1, [old, lively, PeerTwins.Link(startNonce: 3, lastHeard: at(3000))], 3000)
                == .twin)
    }

    @Test("Waits grow to the bound, are spread over it, and are never zero")
    func backoff() {
        var random = RandomSource(seed: 1)
        var backoff = PeerBackoff(first: .milliseconds(20), max: .seconds(1))
        #expect(backoff.next(&random) <= .milliseconds(20))
        var waits: [Duration] = []
        for _ in 0..<2000 { waits.append(backoff.next(&random)) }
        #expect(waits.allSatisfy { $0 >= .milliseconds(10) && $0 < .seconds(1) })
        #expect(waits.contains { $0 > .milliseconds(900) })
        #expect(waits.suffix(1000).contains { $0 < .milliseconds(100) })
        backoff.reset()
        #expect(backoff.next(&random) <= .milliseconds(20))
    }

    @Test("A log line comes once per interval, with the number that was held back")
    func gate() {
        var gate = PeerLogGate(interval: .seconds(1))
        #expect(gate.admit(at: at(0)) == 0)
        for now in 1..<1000 { #expect(gate.admit(at: at(Int64(now))) == nil) }
        #expect(gate.admit(at: at(1000)) == 999)
        #expect(gate.admit(at: at(2000)) == 0)
    }

    @Test("A queue takes what its bound allows, and a written message makes room")
    func bound() {
        var queue = PeerQueue(bytesMax: 100)
        #expect(push(to: &queue, [UInt8](repeating: 0, count: 41), .bulk))
        #expect(push(to: &queue, [UInt8](repeating: 0, count: 41), .urgent))
        #expect(queue.bytes == 100)
        #expect(!push(to: &queue, [], .urgent))
        #expect(queue.pop()?.count == 41)
        #expect(!push(to: &queue, [], .urgent))
        queue.written(50)
        #expect(push(to: &queue, [], .urgent))
        var empty = PeerQueue(bytesMax: 100)
        #expect(push(to: &empty, [UInt8](repeating: 0, count: 500), .bulk))
    }

    @Test("What is awaited goes first, each in its order, and nothing is starved")
    func order() {
        var queue = PeerQueue()
        let count = 200
        for number in 0..<count {
            for priority in PeerPriority.allCases {
                #expect(
                    push(to: &queue, [UInt8(priority.rawValue), UInt8(number)], priority))
            }
        }
        var taken: [[UInt8]] = [[], [], []]
        var run = [0, 0, 0]
        while let message = queue.pop() {
            let lane = Int(message[0])
            taken[lane].append(message[1])
            run[lane] += 1
            for before in 0..<lane { run[before] = 0 }
            let isLast = taken[(lane + 1)...].allSatisfy { $0.count == count }
            #expect(isLast || run[lane] <= PeerLimits.runMax)
            for before in 0..<lane where taken[before].count < count {
                // It gave way because it had its run.
                #expect(taken[before].count % PeerLimits.runMax == 0)
            }
        }
        #expect(taken.allSatisfy { $0 == (0..<count).map { UInt8($0) } })
        #expect(queue.isEmpty)
    }

    @Test("A long queue gives its memory back and stays in order")
    func longQueue() {
        var queue = PeerQueue()
        var next: UInt32 = 0
        var expected: UInt32 = 0
        var random = RandomSource(seed: 2)
        for _ in 0..<20_000 {
            if random.chance(11, in: 20) {
                #expect(push(to: &queue, withUnsafeBytes(of: next) { Array($0) }, .bulk))
                next += 1
            } else if let message = queue.pop() {
                #expect(message == withUnsafeBytes(of: expected) { Array($0) })
                expected += 1
            }
        }
        #expect(expected > 5000)
    }

    @Test(
        "An outbox takes messages while connected, tells the loop once, forgets with its link"
    )
    func outbox() {
        let outbox = PeerOutbox()
        #expect(outbox.offer([1], .urgent) == .dropped)
        let first = outbox.connect()
        #expect(outbox.offer([1], .urgent) == .queuedFirst)
        #expect(outbox.offer([2], .urgent) == .queued)
        outbox.wake()
        #expect(outbox.offer([3], .urgent) == .queuedFirst)
        #expect(outbox.take(bytes: 1) == [[1]])
        #expect(outbox.take(bytes: 1000) == [[2], [3]])
        #expect(outbox.queuedBytes == 30)
        outbox.written(10, epoch: first)
        #expect(outbox.queuedBytes == 20)
        outbox.disconnect()
        #expect(outbox.queuedBytes == 0)
        #expect(!outbox.isConnected)
        let second = outbox.connect()
        #expect(second != first)
        #expect(outbox.offer([4], .bulk) == .queuedFirst)
        outbox.written(20, epoch: first)
        #expect(outbox.queuedBytes == 10)
        #expect(outbox.dropped == 1)
        #expect(outbox.sent.frames == 3)
    }
}
