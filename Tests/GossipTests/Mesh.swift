import Core
import Gossip

/// A cluster of gossip machines in virtual time: seeded loss, delay, cuts, kills and pauses. The
/// same seed gives the same run. Every message goes through its bytes.
struct Mesh {
    struct Report: Equatable {
        let time: Duration
        let observer: NodeID
        let effect: GossipEffect
    }

    private enum Event {
        case tick(Int, life: Int)
        case message([UInt8], from: Int, to: Int)
    }

    private struct Entry {
        let time: Duration
        let sequence: Int
        let event: Event
    }

    private struct Link: Hashable {
        let from: Int
        let to: Int
    }

    static let epoch: Int64 = 1_760_000_000
    let nodes: [NodeID]
    let interval: Duration
    var lossPercent = 0
    /// Ticks come late by up to this part of the interval, and messages are under way as long.
    var jitterPercent = 50
    private(set) var time: Duration = .zero
    private(set) var reports: [Report] = []
    private(set) var machines: [GossipMachine?]
    /// What each node's wall clock is off by.
    var clockOffsets: [Duration]
    private var storedGenerations: [Int64?]
    private var lives: [Int]
    private var pausedUntil: [Duration]
    private var cuts: Set<Link> = []
    private var heap: [Entry] = []
    private var sequence = 0
    private var random: RandomSource

    init(_ count: Int, seed: UInt64, interval: Duration = .milliseconds(200)) {
        nodes = (1...count).map { NodeID("n\($0)") }
        self.interval = interval
        machines = Array(repeating: nil, count: count)
        clockOffsets = Array(repeating: .zero, count: count)
        storedGenerations = Array(repeating: nil, count: count)
        lives = Array(repeating: 0, count: count)
        pausedUntil = Array(repeating: .zero, count: count)
        random = RandomSource(seed: seed)
    }

    static func started(_ count: Int, seed: UInt64) -> Mesh {
        var mesh = Mesh(count, seed: seed)
        for index in 0..<count { mesh.start(index) }
        return mesh
    }

    // MARK: What befalls nodes

    mutating func start(_ index: Int, wiped: Bool = false) {
        let now = self.now(of: index)
        let stored = wiped ? nil : storedGenerations[index]
        let generation = Generation.next(stored: stored, now: now.wall)
        storedGenerations[index] = generation
        var machine = GossipMachine(
            self: nodes[index], members: nodes, seeds: nodes, cluster: "mesh", interval: interval,
            generation: generation, random: random.fork(), now: now)
        machine.set(.normal)
        machine.set(.http, "127.0.0.1:\(8181 + index)")
        machines[index] = machine
        lives[index] += 1
        push(.tick(index, life: lives[index]), at: time)
    }

    mutating func kill(_ index: Int) {
        machines[index] = nil
        lives[index] += 1
    }

    mutating func leave(_ index: Int) {
        var effects: [GossipEffect] = []
        machines[index]?.leave(into: &effects)
        run(effects, of: index)
    }

    mutating func pause(_ index: Int, for duration: Duration) {
        pausedUntil[index] = time + duration
    }

    mutating func cut(from: Int, to: Int) { cuts.insert(Link(from: from, to: to)) }
    mutating func heal() { cuts.removeAll() }

    mutating func withMachine(_ index: Int, _ body: (inout GossipMachine) -> Void) {
        guard var machine = machines[index] else { return }
        body(&machine)
        machines[index] = machine
    }

    // MARK: Time

    mutating func run(for duration: Duration) {
        let end = time + duration
        while let first = heap.first, first.time <= end {
            let entry = pop()
            time = entry.time
            handle(entry.event)
        }
        time = end
    }

    /// Runs until the condition holds, for `limit` at most.
    mutating func run(until condition: (Mesh) -> Bool, limit: Duration) {
        let end = time + limit
        while time < end, !condition(self) { run(for: .milliseconds(20)) }
    }

    var allUp: Bool {
        machines.allSatisfy { $0 == nil || $0?.liveNodes == running }
    }

    var running: [NodeID] {
        machines.indices.filter { machines[$0] != nil }.map { nodes[$0] }.sorted()
    }

    func reports(after start: Duration = .zero, of kind: (GossipEffect) -> Bool) -> [Report] {
        reports.filter { $0.time >= start && kind($0.effect) }
    }

    func downs(after start: Duration = .zero) -> [Report] {
        reports(after: start) { if case .peerDown = $0 { true } else { false } }
    }

    private func now(of index: Int) -> Now {
        let wall = WallTime(milliseconds: Self.epoch * 1000) + time + clockOffsets[index]
        return Now(monotonic: Instant.zero + time, wall: wall)
    }

    private mutating func jitter() -> Duration {
        let bound = Duration.nanoseconds(interval.nanoseconds * Int64(jitterPercent) / 100)
        return random.duration(below: bound)
    }

    private mutating func handle(_ event: Event) {
        let target =
            switch event {
            case .tick(let index, _): index
            case .message(_, _, let to): to
            }
        guard pausedUntil[target] <= time else {
            push(event, at: pausedUntil[target])
            return
        }
        // Moved out and back, so that the machine is not copied.
        guard var machine = machines[target] else { return }
        machines[target] = nil
        var effects: [GossipEffect] = []
        switch event {
        case .tick(let index, let life):
            if life == lives[index] {
                machine.advance(to: now(of: index), into: &effects)
                if machine.nextDeadline < Instant.zero + .seconds(1_000_000) {
                    let due = machine.nextDeadline - Instant.zero
                    push(.tick(index, life: life), at: due + jitter())
                }
            }
        case .message(let bytes, let from, let to):
            do {
                let message = try GossipMessage.decode(bytes)
                machine.receive(message, from: nodes[from], at: now(of: to), into: &effects)
            } catch {
                preconditionFailure("a machine sent what does not decode: \(error)")
            }
        }
        machines[target] = machine
        run(effects, of: target)
    }

    private mutating func run(_ effects: [GossipEffect], of index: Int) {
        for effect in effects {
            switch effect {
            case .send(let message, let node):
                send(message, from: index, to: node)
            case .outranked(let generation):
                reports.append(Report(time: time, observer: nodes[index], effect: effect))
                let next = Generation.next(stored: generation, now: now(of: index).wall)
                storedGenerations[index] = next
                machines[index]?.takeGeneration(next)
            default:
                reports.append(Report(time: time, observer: nodes[index], effect: effect))
            }
        }
    }

    private mutating func send(_ message: GossipMessage, from: Int, to node: NodeID) {
        guard let to = nodes.firstIndex(of: node), machines[to] != nil,
            !cuts.contains(Link(from: from, to: to)), !random.chance(lossPercent, in: 100)
        else { return }
        var bytes: [UInt8] = []
        message.encode(into: &bytes)
        push(.message(bytes, from: from, to: to), at: time + .milliseconds(1) + jitter())
    }

    // MARK: A binary heap by (time, sequence)

    private mutating func push(_ event: Event, at time: Duration) {
        sequence += 1
        heap.append(Entry(time: time, sequence: sequence, event: event))
        var child = heap.count - 1
        while child > 0, precedes(child, (child - 1) / 2) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func pop() -> Entry {
        heap.swapAt(0, heap.count - 1)
        let first = heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && precedes(child, least) {
                least = child
            }
            guard least != parent else { return first }
            heap.swapAt(parent, least)
            parent = least
        }
    }

    private func precedes(_ left: Int, _ right: Int) -> Bool {
        (heap[left].time, heap[left].sequence) < (heap[right].time, heap[right].sequence)
    }
}
