internal import NIOCore
internal import Synchronization

/// The open connections of the API, and which of them wait for their client: for its first request,
/// for its next one, for the rest of one, or until it takes an answer. Where as many are open as
/// may be, a new one closes the one that has waited longest, of those that never sent a request
/// first: a client that works is never locked out by clients that do nothing, however many they
/// are. Who sends a body waits as well, since the request before: the node has nothing to do yet.
package final class OpenConnections: Sendable {
    package enum Kind: Int, CaseIterable, Sendable {
        /// Has not sent the head of a request yet.
        case silent
        case begun
    }

    /// One that gives way. It counts no more: its end takes a while, and no other must go for it.
    fileprivate struct Victim {
        let kind: Kind
        let close: @Sendable () -> Void
    }

    fileprivate struct State {
        var next: UInt64 = 0
        var open: [UInt64: Kind] = [:]
        /// By kind.
        var counts = [0, 0]
        var idle: [UInt64: (since: UInt64, close: @Sendable () -> Void)] = [:]
        /// By kind, who began to wait, in this order; some of them have ceased to since.
        var orders: [CircularBuffer<(number: UInt64, since: UInt64)>] = [.init(), .init()]
    }

    private let bounds: ConnectionBounds
    private let metrics: NodeMetrics
    private let state = Mutex(State())

    package init(_ bounds: ConnectionBounds, metrics: NodeMetrics) {
        self.bounds = bounds
        self.metrics = metrics
    }

    package func count(of kind: Kind) -> Int { state.withLock { $0.counts[kind.rawValue] } }
    package var idle: Int { state.withLock { $0.idle.count } }

    /// So many are open that each of them has to cost little.
    package var isCrowded: Bool {
        state.withLock { $0.open.count >= HTTPLimits.connectionsFew }
    }

    /// A connection came, or began its first request, and waits; its number. `close` may be called
    /// from any thread.
    package func open(_ kind: Kind, close: @escaping @Sendable () -> Void) -> UInt64 {
        let (number, victim) = state.withLock { state in
            let number = state.next + 1
            state.open[number] = kind
            state.counts[kind.rawValue] += 1
            let victim: Victim? =
                switch kind {
                case .silent where state.open.count > bounds.max: state.takeOldestOfAll()
                // It was one of all before.
                case .begun where state.counts[kind.rawValue] > bounds.begunMax:
                    state.takeOldest(of: .begun)
                case .silent, .begun: nil
                }
            state.wait(number, kind, close)
            return (number, victim)
        }
        metrics.connectionsOpened[kind.rawValue].increment()
        giveWay(victim)
        return number
    }

    /// Its request is whole: the node works for it.
    package func work(_ number: UInt64) {
        state.withLock { $0.idle[number] = nil }
    }

    /// It waits for its client, from now on.
    package func rest(_ number: UInt64, close: @escaping @Sendable () -> Void) {
        let victim: Victim? = state.withLock { state in
            guard let kind = state.open[number] else { return nil }
            state.wait(number, kind, close)
            // Nobody could give way when they came: all worked.
            return state.open.count > bounds.max ? state.takeOldestOfAll() : nil
        }
        giveWay(victim)
    }

    private func giveWay(_ victim: Victim?) {
        guard let victim else { return }
        metrics.connectionsEnded[victim.kind.rawValue].increment()
        metrics.connectionsGivenWay.increment()
        victim.close()
    }

    package func close(_ number: UInt64) {
        guard let kind = state.withLock({ $0.remove(number) }) else { return }
        metrics.connectionsEnded[kind.rawValue].increment()
    }
}

extension OpenConnections.State {
    fileprivate mutating func wait(
        _ number: UInt64, _ kind: OpenConnections.Kind, _ close: @escaping @Sendable () -> Void
    ) {
        next += 1
        idle[number] = (since: next, close: close)
        // Each lies in it once for each request: of a connection that works much nearly all of its
        // entries are past.
        let place = kind.rawValue
        if orders[place].count >= 2 * idle.count + 64 {
            orders[place].removeAll { idle[$0]?.since != $1 }
        }
        orders[place].append((number: number, since: next))
    }

    fileprivate mutating func remove(_ number: UInt64) -> OpenConnections.Kind? {
        idle[number] = nil
        let kind = open.removeValue(forKey: number)
        if let kind { counts[kind.rawValue] -= 1 }
        return kind
    }

    fileprivate mutating func takeOldestOfAll() -> OpenConnections.Victim? {
        takeOldest(of: .silent) ?? takeOldest(of: .begun)
    }

    fileprivate mutating func takeOldest(
        of kind: OpenConnections.Kind
    ) -> OpenConnections.Victim? {
        while let (number, since) = orders[kind.rawValue].popFirst() {
            guard let oldest = idle[number], oldest.since == since else { continue }
            _ = remove(number)
            return OpenConnections.Victim(kind: kind, close: oldest.close)
        }
        return nil
    }
}
