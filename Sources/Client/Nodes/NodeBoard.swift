package import Core

/// What a producer knows of its nodes, and which one it asks next.
///
/// Batches rotate over the nodes that are about equally quick: batch k begins at the node in place
/// k mod n of these n, a retry goes to the node after the one that failed. A node that has lately
/// been much slower than the quickest is asked only where no other takes the request, and now and
/// then to see whether it is quick again. A node is passed over while its breaker is open or while
/// it asked for time by `Retry-After`.
package struct NodeBoard: Hashable, Sendable {
    package enum Choice: Hashable, Sendable {
        /// Ask this node; `succeeded`, `failed`, `stalled` or `refused` must follow.
        case node(Int)
        /// No node takes a request before then.
        case wait(until: Instant)
    }

    /// What is known of one node.
    package struct Node: Hashable, Sendable {
        package fileprivate(set) var breaker = CircuitBreaker()
        package fileprivate(set) var notBefore = Instant.zero
        /// An average in which an answer weighs a quarter; nil before the first one.
        package fileprivate(set) var latency: Duration?
        fileprivate var measuredAt = Instant.zero
        package fileprivate(set) var requests = 0
        package fileprivate(set) var failures = 0
    }

    /// How long to wait where only the end of a probe will tell.
    package static let probeWait: Duration = .milliseconds(100)
    /// No node may send its clients away for longer.
    package static let retryAfterMax: Duration = .seconds(10)
    /// A node is slow that takes more than twice as long as the quickest, and this much longer.
    package static let slowMargin: Duration = .milliseconds(20)
    /// A latency that is older says nothing: a node that was slow is asked again.
    package static let latencyAgeMax: Duration = .seconds(5)

    package private(set) var nodes: [Node]

    package init(count: Int) {
        precondition(count > 0, "a producer needs at least one node")
        nodes = Array(repeating: Node(), count: count)
    }

    package var count: Int { nodes.count }

    /// Where a batch begins, in the turn of those that are quick.
    package func start(of sequence: UInt64, at now: Instant) -> UInt64 {
        let limit = latencyLimit(at: now)
        let quick = nodes.indices.filter { !isSlow($0, limit, at: now) }
        // The quickest is never slow.
        return UInt64(quick[Int(sequence % UInt64(quick.count))])
    }

    /// The first node from `start` on, around the ring of nodes, that takes a request now; a slow
    /// one only where no other does.
    package mutating func choose(from start: UInt64, at now: Instant) -> Choice {
        let limit = latencyLimit(at: now)
        var earliest: Instant?
        let first = Int(start % UInt64(nodes.count))
        for takesSlow in [false, true] {
            for step in nodes.indices {
                let index = (first + step) % nodes.count
                guard isSlow(index, limit, at: now) == takesSlow else { continue }
                let notBefore = nodes[index].notBefore
                if notBefore <= now, nodes[index].breaker.admits(at: now) {
                    nodes[index].requests += 1
                    return .node(index)
                }
                let opens = nodes[index].breaker.opensAt ?? now + NodeBoard.probeWait
                let candidate = max(notBefore, opens)
                earliest = min(earliest ?? candidate, candidate)
            }
        }
        return .wait(until: max(earliest ?? now, now + .milliseconds(1)))
    }

    /// The node answered, whatever it said of the batch.
    package mutating func succeeded(_ index: Int, at now: Instant, taking: Duration) {
        nodes[index].breaker.succeeded()
        measure(index, at: now, taking: taking)
    }

    private mutating func measure(_ index: Int, at now: Instant, taking: Duration) {
        let isRecent = now - nodes[index].measuredAt <= NodeBoard.latencyAgeMax
        if isRecent, let average = nodes[index].latency {
            nodes[index].latency = average + (taking - average) / 4
        } else {
            nodes[index].latency = taking
        }
        nodes[index].measuredAt = now
    }

    /// The node answered that it cannot take more before `retryAfter`.
    package mutating func refused(_ index: Int, at now: Instant, retryAfter: Duration?) {
        nodes[index].breaker.succeeded()
        nodes[index].failures += 1
        guard let retryAfter else { return }
        nodes[index].notBefore = now + min(max(retryAfter, .zero), NodeBoard.retryAfterMax)
    }

    /// The node answered that those whom it needs did not answer it in time (504). It is no use
    /// where others are: cut off from its peers, it costs each batch all of its patience.
    package mutating func stalled(_ index: Int, at now: Instant, taking: Duration) {
        measure(index, at: now, taking: taking)
        failed(index, at: now, taking: taking)
    }

    /// The node could not be reached, did not answer or answered nonsense.
    package mutating func failed(_ index: Int, at now: Instant, taking: Duration = .zero) {
        nodes[index].failures += 1
        nodes[index].breaker.failed(at: now, taking: taking)
    }

    private func recentLatency(_ index: Int, at now: Instant) -> Duration? {
        now - nodes[index].measuredAt <= NodeBoard.latencyAgeMax ? nodes[index].latency : nil
    }

    /// The longest latency of a node that is quick; nil while nothing is known.
    private func latencyLimit(at now: Instant) -> Duration? {
        nodes.indices.compactMap { recentLatency($0, at: now) }.min()
            .map { $0 * 2 + NodeBoard.slowMargin }
    }

    private func isSlow(_ index: Int, _ limit: Duration?, at now: Instant) -> Bool {
        guard let limit, let latency = recentLatency(index, at: now) else { return false }
        return latency > limit
    }
}
