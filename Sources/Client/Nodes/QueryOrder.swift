internal import Core
internal import Synchronization

/// In which order queries try the nodes: as listed, but those that lately failed come last.
///
/// The order of the list is kept, rather than the quickest asked first, since what goes on over
/// several requests (an audit, pages) does well to stay at one node. No node is left out: where all
/// are unwell each is asked all the same.
final class QueryOrder: Sendable {
    private let nodes: [NodeAddress]
    private let time: ClientTime
    /// One for each node.
    private let breakers: Mutex<[CircuitBreaker]>

    init(_ nodes: [NodeAddress], time: ClientTime) {
        self.nodes = nodes
        self.time = time
        breakers = Mutex(Array(repeating: CircuitBreaker(), count: nodes.count))
    }

    var now: Instant { time.now().monotonic }

    /// All nodes, as they are to be asked now.
    func next() -> [NodeAddress] {
        let now = now
        let isReady = breakers.withLock { breakers in
            breakers.map { $0.opensAt.map { $0 <= now } ?? false }
        }
        let first = nodes.indices.filter { isReady[$0] }
        let last = nodes.indices.filter { !isReady[$0] }
        return (first + last).map { nodes[$0] }
    }

    /// A request goes to a node: `ended` follows.
    func begins(at node: NodeAddress) {
        change(node) { breaker, now in _ = breaker.admits(at: now) }
    }

    /// - Parameter failed: no answer came, or one that says that none came in time (504).
    func ended(at node: NodeAddress, since start: Instant, failed: Bool) {
        change(node) { breaker, now in
            if failed {
                breaker.failed(at: now, taking: now - start)
            } else {
                breaker.succeeded()
            }
        }
    }

    private func change(
        _ node: NodeAddress, _ change: (inout CircuitBreaker, Instant) -> Void
    ) {
        guard let index = nodes.firstIndex(of: node) else { return }
        let now = now
        breakers.withLock { change(&$0[index], now) }
    }
}
