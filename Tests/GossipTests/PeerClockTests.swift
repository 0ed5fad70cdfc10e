import Core
import Gossip
import Testing

/// The clocks of peers, read from their answers to probes. The machine under test is n2.
@Suite("Peers' clocks")
struct PeerClockTests {
    private let n1 = NodeID("n1")
    private let n3 = NodeID("n3")
    private let seconds: Int64 = 1_760_000_000

    private func now(_ milliseconds: Int64, ownError: Int64 = 0) -> Now {
        Now(
            monotonic: .zero + .milliseconds(milliseconds),
            wall: WallTime(milliseconds: seconds * 1000 + milliseconds + ownError))
    }

    private func machine() -> GossipMachine {
        let nodes = ["n1", "n2", "n3"].map { NodeID($0) }
        return GossipMachine(
            self: NodeID("n2"), members: nodes, seeds: nodes, cluster: "demo",
            interval: .milliseconds(200), generation: seconds, random: RandomSource(seed: 1),
            now: now(0))
    }

    /// Probes at `sent` and hands in the answer at `received`, in which the peer's clock, read at
    /// `read`, is wrong by `error`.
    private func exchange(
        with peer: NodeID, sent: Int64, read: Int64, received: Int64, error: Int64,
        _ machine: inout GossipMachine
    ) throws {
        var effects: [GossipEffect] = []
        machine.advance(to: now(sent), into: &effects)
        let nonce = try #require(
            effects.compactMap { effect -> UInt64? in
                guard case .send(.probe(let nonce), to: peer) = effect else { return nil }
                return nonce
            }.first)
        let wall = now(read, ownError: error).wall
        machine.receive(
            .probeAnswer(nonce: nonce, generation: 10, wall: wall), from: peer, at: now(received),
            into: &effects)
    }

    @Test("a reading is right to half the round trip, whichever way was the slow one")
    func middle() throws {
        for read: Int64 in [0, 40, 100] {
            var machine = machine()
            try exchange(with: n1, sent: 0, read: read, received: 100, error: 5000, &machine)
            let offset = try #require(machine.clockOffsets(at: now(100)).first)
            #expect(offset.node == n1)
            #expect(offset.uncertainty == .milliseconds(50))
            let wrong = offset.ahead - .milliseconds(5000)
            #expect(wrong >= .milliseconds(-50) && wrong <= .milliseconds(50))
        }
    }

    @Test("only what is certain exceeds the allowed skew")
    func exceeds() throws {
        var machine = machine()
        try exchange(with: n1, sent: 0, read: 1000, received: 2000, error: 60_500, &machine)
        var offset = try #require(machine.clockOffsets(at: now(2000)).first)
        #expect(offset.ahead == .milliseconds(60_500))
        #expect(!offset.exceeds(.seconds(60)))
        #expect(offset.exceeds(.milliseconds(59_499)))
        // Our own clock steps: the same reading says so at once.
        offset = try #require(machine.clockOffsets(at: now(2000, ownError: -7_200_000)).first)
        #expect(offset.ahead == .milliseconds(7_260_500))
        #expect(offset.exceeds(.seconds(60)))
        offset = try #require(
            machine.clockOffsets(at: now(2000, ownError: 315_576_000_000)).first)
        #expect(offset.ahead < .zero && offset.exceeds(.seconds(60)))
    }

    @Test("a reading is forgotten after its time, and one long on its way is not taken")
    func bounds() throws {
        let age = GossipLimits.clockAgeMax.milliseconds
        let trip = GossipLimits.clockRoundTripMax.milliseconds
        var machine = machine()
        try exchange(with: n1, sent: 0, read: 0, received: 0, error: 0, &machine)
        #expect(machine.clockOffsets(at: now(age)).map(\.node) == [n1])
        #expect(machine.clockOffsets(at: now(age + 1)).isEmpty)
        let start = age + 2
        try exchange(
            with: n3, sent: start, read: start, received: start + trip + 1, error: 0, &machine)
        #expect(machine.clockOffsets(at: now(start + trip + 1)).isEmpty)
        let later = start + trip + 1000
        try exchange(
            with: n3, sent: later, read: later, received: later + trip, error: 0, &machine)
        #expect(machine.clockOffsets(at: now(later + trip)).map(\.node) == [n3])
    }

    @Test("a time outside the years 1 to 9999 is no message, and our own is never told so")
    func hostile() throws {
        for wall in [Int64.min, -62_135_596_800_001, 253_402_300_800_000, .max] {
            var bytes: [UInt8] = []
            GossipMessage.probeAnswer(
                nonce: 1, generation: 1, wall: WallTime(milliseconds: wall)
            ).encode(into: &bytes)
            #expect(throws: GossipDecodingError.badNumber(offset: 26)) {
                try GossipMessage.decode(bytes)
            }
        }
        var machine = machine()
        var effects: [GossipEffect] = []
        machine.receive(
            .probe(nonce: 4), from: n1,
            at: Now(monotonic: .zero, wall: WallTime(milliseconds: .max)), into: &effects)
        let most = WallTime(milliseconds: 253_402_300_799_999)
        #expect(
            effects == [
                .send(.probeAnswer(nonce: 4, generation: seconds, wall: most), to: n1)
            ])
    }
}
