package import Core

/// What a producer knows of its nodes, and which one it asks next.
///
/// Batches rotate: batch k begins at node k mod N, a retry goes to the node after the one that
/// failed. A node is passed over while its breaker is open or while it asked for time by
/// `Retry-After`.
package struct NodeBoard: Hashable, Sendable {
    package enum Choice: Hashable, Sendable {
        /// Ask this node; `succeeded`, `failed` or `refused` must follow.
        case node(Int)
        /// No node takes a request before then.
        case wait(until: Instant)
    }

    /// How long to wait where only the end of a probe will tell.
    package static let probeWait: Duration = .milliseconds(100)
    /// No node may send its clients away for longer.
    package static let retryAfterMax: Duration = .seconds(10)

    private struct Entry: Hashable, Sendable {
        var breaker = CircuitBreaker()
        var notBefore = Instant.zero
    }

    private var entries: [Entry]

    package init(count: Int) {
        precondition(count > 0, "a producer needs at least one node")
        entries = Array(repeating: Entry(), count: count)
    }

    package var count: Int { entries.count }

    /// The first node from `start` on, around the ring of nodes, that takes a request now.
    package mutating func choose(from start: UInt64, at now: Instant) -> Choice {
        var earliest: Instant?
        let first = Int(start % UInt64(entries.count))
        for step in entries.indices {
            let index = (first + step) % entries.count
            let notBefore = entries[index].notBefore
            if notBefore <= now, entries[index].breaker.admits(at: now) { return .node(index) }
            let opens = entries[index].breaker.opensAt ?? now + NodeBoard.probeWait
            let candidate = max(notBefore, opens)
            earliest = min(earliest ?? candidate, candidate)
        }
        return .wait(until: max(earliest ?? now, now + .milliseconds(1)))
    }

    /// The node answered, whatever it said of the batch.
    package mutating func succeeded(_ index: Int) {
        entries[index].breaker.succeeded()
    }

    /// The node answered that it cannot take more before `retryAfter`.
    package mutating func refused(_ index: Int, at now: Instant, retryAfter: Duration?) {
        entries[index].breaker.succeeded()
        guard let retryAfter else { return }
        entries[index].notBefore = now + min(max(retryAfter, .zero), NodeBoard.retryAfterMax)
    }

    /// The node could not be reached, did not answer or answered nonsense.
    package mutating func failed(_ index: Int, at now: Instant, taking: Duration = .zero) {
        entries[index].breaker.failed(at: now, taking: taking)
    }
}
