import Core
import Gossip
import Testing

@Suite("Endpoint states")
struct EndpointStateTests {
    private let node = NodeID("n1")

    @Test("one counter numbers the heartbeat and all values")
    func counter() {
        var state = EndpointState(generation: 5)
        state.beat()
        state.set(.rack, "r1")
        state.set(.http, "a")
        state.beat()
        state.set(.rack, "r1")
        #expect(state.heartbeat == 4)
        #expect(state.version == 4)
        #expect(state.values.map(\.key) == [.http, .rack])
        #expect(state.values.map(\.version) == [3, 2])
    }

    @Test("a delta speaks of what lies above a version, and merges into the same state")
    func delta() {
        var state = EndpointState(generation: 5)
        state.set(.rack, "r1")
        var copy = state
        state.set(.http, "a")
        state.beat()
        let delta = state.delta(of: node, after: copy.version)
        #expect(delta.values.map(\.key) == [.http])
        #expect(copy.merge(delta) == .changed)
        #expect(copy == state)
        #expect(copy.merge(delta) == .ignored)
        state.beat()
        #expect(copy.merge(state.delta(of: node, after: 1)) == .beat)
        #expect(copy == state)
    }

    @Test("a delta with a hole before it, or of another life, changes nothing")
    func hole() {
        var state = EndpointState(generation: 5)
        state.set(.rack, "r1")
        state.set(.http, "a")
        state.beat()
        var fresh = EndpointState(generation: 5)
        #expect(fresh.merge(state.delta(of: node, after: 1)) == .ignored)
        #expect(EndpointState(whole: state.delta(of: node, after: 1)) == nil)
        #expect(EndpointState(whole: state.delta(of: node, after: 0)) == state)
        var other = EndpointState(generation: 6)
        #expect(other.merge(state.delta(of: node, after: 0)) == .ignored)
    }

    @Test("neither a value nor the heartbeat goes back, whatever a delta claims")
    func monotone() {
        var state = EndpointState(generation: 5)
        for _ in 0..<9 { state.beat() }
        state.set(.rack, "new")
        let forged = EndpointDelta(
            node: node, generation: 5, heartbeat: 3, after: 0,
            values: [
                GossipValue(key: .rack, version: 4, text: "old"),
                GossipValue(key: .load, version: 20, text: "1"),
            ])
        #expect(state.merge(forged) == .changed)
        #expect(state.text(.rack) == "new")
        #expect(state.text(.load) == "1")
        #expect(state.heartbeat == 9)
    }

    @Test("an endpoint holds at most so many values; a delta that adds more is refused whole")
    func bound() {
        var state = EndpointState(generation: 5)
        for number in 1...GossipLimits.valuesMax {
            state.set(GossipKey(number: UInt8(number)), "x")
        }
        let before = state
        let more = EndpointDelta(
            node: node, generation: 5, heartbeat: 99, after: 0,
            values: [GossipValue(key: GossipKey(number: 200), version: 98, text: "y")])
        #expect(state.merge(more) == .ignored)
        #expect(state == before)
    }
}

@Suite("Generations")
struct GenerationTests {
    private let now = WallTime(milliseconds: 1_000_000_500)
    private let allowance: Int64 = 365 * 86_400

    @Test("a generation is the clock's second, but above the stored one")
    func next() {
        #expect(Generation.next(stored: nil, now: now) == 1_000_000)
        #expect(Generation.next(stored: 5, now: now) == 1_000_000)
        #expect(Generation.next(stored: 1_000_000, now: now) == 1_000_001)
        #expect(Generation.next(stored: 2_000_000, now: now) == 2_000_001)
        #expect(Generation.next(stored: nil, now: WallTime(milliseconds: -5000)) == 1)
        // A clock that has jumped by more than the allowance since is not followed.
        let allowance = GossipLimits.generationAheadMax.components.seconds
        let leap = WallTime(milliseconds: (1_000_000 + allowance) * 1000)
        #expect(Generation.next(stored: 1_000_000, now: leap) == 1_000_000 + allowance)
        #expect(Generation.next(stored: 999_999, now: leap) == 1_000_000)
    }

    @Test("a stored generation that peers refuse for lying in the future is void")
    func void() {
        let limit = Generation.limit(held: 0, now: now)
        #expect(limit == 1_000_000 + allowance)
        #expect(Generation.next(stored: limit - 1, now: now) == limit)
        #expect(Generation.next(stored: limit, now: now) == 1_000_000)
        #expect(Generation.next(stored: .max, now: now) == 1_000_000)
    }

    @Test("the limit follows what a restart would give, from either side")
    func limit() {
        #expect(Generation.limit(held: 7, now: now) == 1_000_000 + allowance)
        #expect(Generation.limit(held: 3_000_000, now: now) == 3_000_000 + allowance)
        #expect(Generation.limit(held: .max, now: now) == .max)
    }
}
