import Core
import Logging
import NIOCore
import NIOPosix
import Node
import Synchronization
import Testing

private let fingerprint = ClusterFingerprint([.init("cluster_name", "demo"), .init("window", "1m")])

/// What a transport reported, to be waited for.
private final class Journal: Sendable {
    enum Entry: Hashable, Sendable {
        case frame(NodeID, [UInt8])
        case state(NodeID, PeerConnectionState)
    }

    private let entries = Mutex<[Entry]>([])

    func add(_ entry: Entry) {
        entries.withLock { $0.append(entry) }
    }

    var all: [Entry] { entries.withLock { $0 } }

    /// Returns when the entries satisfy the condition, false when they still do not after 2,000
    /// looks: a machine that is busy elsewhere makes it slow, not wrong.
    func wait(until isMet: @Sendable ([Entry]) -> Bool) async -> Bool {
        for _ in 0..<2_000 {
            if isMet(all) { return true }
            do { try await Task.sleep(for: .milliseconds(10)) } catch { return false }
        }
        return isMet(all)
    }

    func waitForState(
        _ node: String, _ isMet: @escaping @Sendable (PeerConnectionState) -> Bool
    ) async -> Bool {
        await wait { entries in
            entries.contains {
                if case .state(NodeID(node), let state) = $0 { isMet(state) } else { false }
            }
        }
    }

    func waitForConnection(_ node: String, times: Int = 1) async -> Bool {
        await wait { entries in
            let count = entries.count {
                if case .state(NodeID(node), .connected) = $0 { true } else { false }
            }
            return count >= times
        }
    }
}

/// One node's transport with its journal, listening on a port of the system's choice.
private struct Station {
    let name: String
    let transport: PeerTransport
    let journal = Journal()
    let endpoint: Endpoint

    init(
        _ name: String, nonce: UInt64 = 1, fingerprint: ClusterFingerprint = fingerprint,
        rules: RuleService? = nil,
        wall: @escaping @Sendable () -> WallTime = {
            WallTime(milliseconds: 0)
        },
        timing: PeerTiming = PeerTiming(), port: Int = 0
    ) async throws {
        self.name = name
        let journal = journal
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        transport = PeerTransport(
            identity: PeerIdentity(
                node: NodeID(name), incarnation: Incarnation(1), startNonce: nonce),
            fingerprint: fingerprint, rules: rules, wall: wall,
            group: MultiThreadedEventLoopGroup.singleton,
            timing: timing, seed: nonce, logger: logger,
            onFrame: { journal.add(.frame($0, $1)) }, onState: { journal.add(.state($0, $1)) })
        let bound = try await transport.bind(to: Endpoint(host: "127.0.0.1", port: port))
        endpoint = Endpoint(host: "127.0.0.1", port: bound)
    }

    func connect(to other: Station) {
        transport.connect(to: [NodeID(other.name): other.endpoint])
    }

    /// Admits a name without being able to dial it.
    func admit(_ name: String) {
        transport.connect(to: [NodeID(name): Endpoint(host: "127.0.0.1", port: 1)])
    }
}

/// The rules of a node of two that keeps them in memory, and what kept it from taking batches.
private final class RuleJournal: Sendable {
    let service: RuleService
    private let heard: RefusalList

    init(_ memory: RuleMemory) {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let heard = RefusalList()
        self.heard = heard
        service = RuleService(
            RuleWatch(memory, members: 2), logger: logger, store: { _ in .success(()) },
            onHalt: { _ in }, onRefusal: { heard.add($0) })
    }

    var refusals: [String] { heard.all }

    func wait(until isMet: @Sendable ([String]) -> Bool) async -> Bool {
        for _ in 0..<2_000 {
            if isMet(refusals) { return true }
            do { try await Task.sleep(for: .milliseconds(10)) } catch { return false }
        }
        return isMet(refusals)
    }
}

private final class RefusalList: Sendable {
    private let entries = Mutex<[String]>([])
    var all: [String] { entries.withLock { $0 } }

    func add(_ reason: String?) {
        entries.withLock { $0.append(reason ?? "none") }
    }
}

/// A bare client of a peer port.
private func rawClient(to endpoint: Endpoint) async throws -> any Channel {
    try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connect(host: endpoint.host, port: endpoint.port).get()
}

@Suite struct PeerTransportTests {
    @Test("Nodes whose rules part are cut off as the time comes, and say what to do")
    func rules() async throws {
        let from = WallTime(milliseconds: 1_800_000_000_000)
        let wall = Mutex(from - .seconds(86_400))
        var memory = RuleMemory(futureLimit: .seconds(86_400), lateness: nil)
        let clock: @Sendable () -> WallTime = { wall.withLock(\.self) }
        let old = RuleJournal(memory)
        memory.entries = [
            RuleNotice(RuleEntry(from: from, futureLimit: .seconds(60), lateness: nil), .early)
        ]
        let new = RuleJournal(memory)
        let one = try await Station("n1", rules: new.service, wall: clock)
        let two = try await Station("n2", rules: old.service, wall: clock)
        one.connect(to: two)
        two.connect(to: one)
        #expect(await one.journal.waitForConnection("n2"))
        #expect(await two.journal.waitForConnection("n1"))
        #expect(new.refusals.isEmpty && old.refusals.isEmpty)
        wall.withLock { $0 = from - RuleLimits.guardTime }
        for (station, peer) in [(one, "n2"), (two, "n1")] {
            #expect(
                await station.journal.waitForState(peer) { state in
                    switch state {
                    case .rejected(let rejection), .rejectedByPeer(let rejection):
                        rejection.isAboutRules
                    case .connected, .refused, .lost: false
                    }
                })
        }
        // Half of two is not most of them: neither takes batches.
        #expect(await new.wait { $0.last?.contains("version 2") == true })
        #expect(await old.wait { $0.last?.hasPrefix("n1: rules.2 is from 2027-") == true })
        #expect(!one.transport.isConnected(to: NodeID("n2")))
    }

    @Test("Two nodes connect both ways and messages of all sizes arrive whole")
    func messages() async throws {
        let one = try await Station("n1")
        let two = try await Station("n2")
        one.connect(to: two)
        two.connect(to: one)
        #expect(await one.journal.waitForConnection("n2"))
        #expect(await two.journal.waitForConnection("n1"))
        var random = RandomSource(seed: 1)
        var sent: [[UInt8]] = []
        for size in [0, 1, 9, 1000, 65_536, 262_144, 3_000_000] {
            let fill = UInt8(random.below(256))
            sent.append((0..<size).map { UInt8(truncatingIfNeeded: $0) ^ fill })
        }
        for message in sent { #expect(one.transport.send(message, to: NodeID("n2"))) }
        #expect(two.transport.send([1, 2, 3], to: NodeID("n1")))
        let expected = sent.map { Journal.Entry.frame(NodeID("n1"), $0) }
        #expect(await two.journal.wait { Set($0).isSuperset(of: expected) })
        #expect(await one.journal.wait { $0.contains(.frame(NodeID("n2"), [1, 2, 3])) })
        // Messages of one priority keep their order.
        let frames = two.journal.all.filter { if case .frame = $0 { true } else { false } }
        #expect(frames == expected)
        let status = try await one.transport.status()
        #expect(status.peers.map(\.isConnected) == [true])
        #expect(status.peers[0].sent.frames == UInt64(sent.count))
        #expect(status.peers[0].received.frames == 1)
        #expect(status.refusals == 0)
        await one.transport.shutDown()
        await two.transport.shutDown()
    }

    @Test("Many small messages of both priorities all arrive")
    func many() async throws {
        let one = try await Station("n1")
        let two = try await Station("n2")
        one.connect(to: two)
        two.connect(to: one)
        #expect(await one.journal.waitForConnection("n2"))
        let count = 20_000
        for number in 0..<count {
            let message = withUnsafeBytes(of: UInt32(number)) { Array($0) }
            let priority: PeerPriority = number % 3 == 0 ? .bulk : .urgent
            #expect(one.transport.send(message, to: NodeID("n2"), priority: priority))
        }
        #expect(
            await two.journal.wait { entries in
                entries.count { if case .frame = $0 { true } else { false } } == count
            })
        #expect(Set(two.journal.all).count >= count)
        await one.transport.shutDown()
        await two.transport.shutDown()
    }

    @Test("A peer that is not running is reported as refusing, and found when it starts")
    func reconnect() async throws {
        let two = try await Station("n2")
        let endpoint = two.endpoint
        await two.transport.shutDown()
        let one = try await Station("n1")
        one.connect(to: two)
        #expect(await one.journal.waitForState("n2") { $0 == .refused })
        #expect(!one.transport.send([1], to: NodeID("n2")))
        let again = try await Station("n2", nonce: 2, port: endpoint.port)
        again.connect(to: one)
        #expect(await one.journal.waitForConnection("n2"))
        #expect(one.transport.send([1], to: NodeID("n2")))
        #expect(await again.journal.wait { $0.contains(.frame(NodeID("n1"), [1])) })
        // It goes away and comes back once more.
        await again.transport.shutDown()
        #expect(await one.journal.waitForState("n2") { if case .lost = $0 { true } else { false } })
        let third = try await Station("n2", nonce: 3, port: endpoint.port)
        third.connect(to: one)
        #expect(await one.journal.waitForConnection("n2", times: 2))
        await third.transport.shutDown()
        await one.transport.shutDown()
    }

    @Test("Another cluster's node is rejected on both sides, with the field that differs")
    func fingerprints() async throws {
        let one = try await Station("n1")
        let other = ClusterFingerprint([.init("cluster_name", "demo"), .init("window", "1h")])
        let two = try await Station("n2", fingerprint: other)
        one.connect(to: two)
        two.admit("n1")
        #expect(
            await one.journal.waitForState("n2") {
                guard case .rejectedByPeer(let rejection) = $0 else { return false }
                return rejection.reason == .fingerprint && rejection.field == "window"
                    && rejection.sentence(heard: true).contains("1h there and 1m here")
            })
        #expect(!one.transport.isConnected(to: NodeID("n2")))
        await one.transport.shutDown()
        await two.transport.shutDown()
    }

    @Test("A node that the cluster does not list is turned away by name")
    func stranger() async throws {
        let one = try await Station("n1")
        let two = try await Station("n2")
        one.connect(to: two)
        #expect(
            await one.journal.waitForState("n2") {
                guard case .rejectedByPeer(let rejection) = $0 else { return false }
                return rejection.reason == .stranger && rejection.theirs == "n1"
            })
        await one.transport.shutDown()
        await two.transport.shutDown()
    }

    @Test("An address that belongs to another node is reported as that")
    func wrongAddress() async throws {
        let one = try await Station("n1")
        let three = try await Station("n3")
        three.admit("n1")
        one.transport.connect(to: [NodeID("n2"): three.endpoint])
        #expect(
            await one.journal.waitForState("n2") {
                guard case .rejectedByPeer(let rejection) = $0 else { return false }
                return rejection.reason == .wrongAddress
            })
        await one.transport.shutDown()
        await three.transport.shutDown()
    }

    @Test("A second live process under one name is told so, and the first goes on")
    func twin() async throws {
        var timing = PeerTiming()
        timing.twinPatience = .milliseconds(100)
        let one = try await Station("n1")
        let two = try await Station("n2", nonce: 7)
        one.connect(to: two)
        two.connect(to: one)
        #expect(await one.journal.waitForConnection("n2"))
        #expect(await two.journal.waitForConnection("n1"))
        let twin = try await Station("n2", nonce: 8, timing: timing)
        twin.connect(to: one)
        #expect(
            await twin.journal.waitForState("n1") {
                guard case .rejectedByPeer(let rejection) = $0 else { return false }
                return rejection.reason == .twin && rejection.theirs == "n2"
            })
        #expect(two.transport.isConnected(to: NodeID("n1")))
        #expect(two.transport.send([5], to: NodeID("n1")))
        #expect(await one.journal.wait { $0.contains(.frame(NodeID("n2"), [5])) })
        await twin.transport.shutDown()
        await one.transport.shutDown()
        await two.transport.shutDown()
    }

    @Test("A taken port is an error that names the address and the remedy")
    func takenPort() async throws {
        let one = try await Station("n1")
        do {
            _ = try await Station("n2", port: one.endpoint.port)
            Issue.record("the port was bound twice")
        } catch let error as PeerTransportError {
            #expect(error.description.hasPrefix("the peer address \(one.endpoint) cannot be bound"))
        }
        await one.transport.shutDown()
    }

    @Test("A message above frameMax, to an unknown node or to an absent one is not taken")
    func dropped() async throws {
        let one = try await Station("n1")
        one.admit("n2")
        #expect(!one.transport.send([1], to: NodeID("n2")))
        #expect(!one.transport.send([1], to: NodeID("n9")))
        let large = [UInt8](repeating: 0, count: Limits.frameMax + 1)
        #expect(!one.transport.send(large, to: NodeID("n2")))
        await one.transport.shutDown()
    }
}

@Suite struct PeerPortAbuseTests {
    /// Sends bytes to the port and waits until the node ends the connection.
    private func abuse(_ station: Station, with bytes: [UInt8]) async throws {
        let client = try await rawClient(to: station.endpoint)
        // The node may end the connection before all is sent: that is what is asked for.
        client.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
        try await client.closeFuture.get()
    }

    @Test(
        "Garbage, a declared gibibyte and an early message end their own connection only"
    )
    func garbage() async throws {
        let one = try await Station("n1")
        let two = try await Station("n2")
        one.connect(to: two)
        two.connect(to: one)
        #expect(await one.journal.waitForConnection("n2"))
        // Whoever dialled before the other side had heard of it was refused once.
        let before = try await two.transport.status().refusals
        var random = RandomSource(seed: 12)
        try await abuse(two, with: Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8))
        try await abuse(two, with: [0, 0, 0, 0x40, 0, 0, 0, 0, 6])
        try await abuse(two, with: [0, 0, 0, 0x40, 0, 0, 0, 0, 1])
        try await abuse(two, with: PeerFrame(kind: .message, payload: [1]).encoded)
        try await abuse(two, with: PeerFrame(kind: .hello, payload: [1, 2, 3]).encoded)
        var hello = PeerFrame(
            kind: .hello,
            payload: PeerGreeting(
                identity: PeerIdentity(node: NodeID("n1"), incarnation: .none, startNonce: 1),
                target: NodeID("n2"), fingerprint: fingerprint
            ).encoded
        ).encoded
        hello[40] ^= 1
        try await abuse(two, with: hello)
        for _ in 0..<20 {
            var noise = (0..<1 + random.below(5000)).map { _ in UInt8(random.below(256)) }
            if noise.count > 3 { noise[3] = 0xff }
            noise += [UInt8](repeating: 0xff, count: 16)
            try await abuse(two, with: noise)
        }
        #expect(one.transport.send([7], to: NodeID("n2")))
        #expect(await two.journal.wait { $0.contains(.frame(NodeID("n1"), [7])) })
        let status = try await two.transport.status()
        #expect(status.refusals - before == 26)
        await one.transport.shutDown()
        await two.transport.shutDown()
    }

    @Test("A client that says nothing is ended at the deadline")
    func slowHandshake() async throws {
        var timing = PeerTiming()
        timing.handshakeDeadline = .milliseconds(200)
        timing.tick = .milliseconds(20)
        let one = try await Station("n1", timing: timing)
        let client = try await rawClient(to: one.endpoint)
        try await client.closeFuture.get()
        await one.transport.shutDown()
    }

    @Test("At most strangersMax connections wait for their handshake, and a peer still gets in")
    func flood() async throws {
        let one = try await Station("n1")
        let two = try await Station("n2")
        var clients: [any Channel] = []
        for _ in 0..<PeerLimits.strangersMax + 30 {
            clients.append(try await rawClient(to: two.endpoint))
        }
        // The oldest are ended, so their end tells that the newest were seen.
        for client in clients.prefix(30) { try await client.closeFuture.get() }
        #expect(try await two.transport.status().strangers <= PeerLimits.strangersMax)
        one.connect(to: two)
        two.connect(to: one)
        #expect(await one.journal.waitForConnection("n2"))
        for client in clients.suffix(PeerLimits.strangersMax) { client.close(promise: nil) }
        await one.transport.shutDown()
        await two.transport.shutDown()
    }

    @Test("A peer that accepts and never answers is given up, and one that falls silent is lost")
    func silence() async throws {
        var timing = PeerTiming()
        timing.handshakeDeadline = .milliseconds(200)
        timing.tick = .milliseconds(20)
        let mute = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        let one = try await Station("n1", timing: timing)
        let port = mute.localAddress?.port ?? 0
        one.transport.connect(to: [NodeID("n2"): Endpoint(host: "127.0.0.1", port: port)])
        #expect(
            await one.journal.waitForState("n2") {
                $0 == .lost("\(PeerClosing.handshakeTimeout)")
            })
        await one.transport.shutDown()
        try await mute.close()
    }

    @Test("While reading is off nothing is delivered and the sender's queue is bounded")
    func backpressure() async throws {
        let one = try await Station("n1")
        let two = try await Station("n2")
        one.connect(to: two)
        two.connect(to: one)
        #expect(await one.journal.waitForConnection("n2"))
        #expect(await two.journal.waitForConnection("n1"))
        two.transport.setReading(false)
        // The status is answered after the switch, on the same loop.
        _ = try await two.transport.status()
        let message = [UInt8](repeating: 1, count: 8 << 20)
        var taken = 0
        while one.transport.send(message, to: NodeID("n2"), priority: .bulk) { taken += 1 }
        #expect(one.transport.queuedBytes(for: NodeID("n2")) <= PeerLimits.queuedBytesMax)
        #expect(taken >= PeerLimits.queuedBytesMax / (message.count + PeerFrameHeader.size))
        two.transport.setReading(true)
        let expected = taken
        #expect(
            await two.journal.wait { entries in
                entries.count { if case .frame = $0 { true } else { false } } == expected
            })
        #expect(one.transport.send([2], to: NodeID("n2")))
        #expect(try await one.transport.status().peers[0].dropped == 1)
        await one.transport.shutDown()
        await two.transport.shutDown()
    }
}
