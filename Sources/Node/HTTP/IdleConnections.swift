internal import NIOCore
internal import Synchronization

/// Open connections of one kind, and which of them wait for their client: for its first word, its
/// next request, or the rest of one. Where as many are open as may be, each new one closes the one
/// that has waited longest: a client that works is never locked out by clients that do nothing,
/// however many they are. Who sends a body waits as well, since the request before: the node has
/// nothing to do yet.
package final class IdleConnections: Sendable {
    fileprivate struct State {
        var next: UInt64 = 0
        var open: Set<UInt64> = []
        var idle: [UInt64: (since: UInt64, close: @Sendable () -> Void)] = [:]
        /// Who began to wait, in this order; some of them have ceased to since.
        var order: CircularBuffer<(number: UInt64, since: UInt64)> = []
    }

    private let max: Int
    private let state = Mutex(State())

    /// - Parameter max: above so many open connections the idle ones go.
    package init(max: Int) {
        self.max = max
    }

    package var count: Int { state.withLock { $0.open.count } }
    package var idle: Int { state.withLock { $0.idle.count } }

    /// A connection came, and waits; its number. `close` may be called from any thread.
    package func open(close: @escaping @Sendable () -> Void) -> UInt64 {
        let (number, victim) = state.withLock { state in
            let number = state.next + 1
            state.open.insert(number)
            let victim = state.open.count > max ? state.takeOldest() : nil
            state.wait(number, close)
            return (number, victim)
        }
        victim?()
        return number
    }

    /// Its request is whole: the node works for it.
    package func work(_ number: UInt64) {
        state.withLock { $0.idle[number] = nil }
    }

    /// Its request is answered.
    package func rest(_ number: UInt64, close: @escaping @Sendable () -> Void) {
        state.withLock { state in
            if state.open.contains(number) { state.wait(number, close) }
        }
    }

    package func close(_ number: UInt64) {
        state.withLock { state in
            state.open.remove(number)
            state.idle[number] = nil
        }
    }
}

extension IdleConnections.State {
    fileprivate mutating func wait(_ number: UInt64, _ close: @escaping @Sendable () -> Void) {
        next += 1
        idle[number] = (since: next, close: close)
        // Each lies in it once for each request: of a connection that works much nearly all of its
        // entries are past.
        if order.count >= 2 * idle.count + 64 { order.removeAll { idle[$0]?.since != $1 } }
        order.append((number: number, since: next))
    }

    fileprivate mutating func takeOldest() -> (@Sendable () -> Void)? {
        while let (number, since) = order.popFirst() {
            guard let oldest = idle[number], oldest.since == since else { continue }
            idle[number] = nil
            return oldest.close
        }
        return nil
    }
}
