internal import Synchronization

/// The open connections of the API, and which of them wait for their client: for its next request,
/// or for the rest of one. Where nearly as many are open as may be, each new one closes the one
/// that has waited longest: a client that works is never locked out by clients that do nothing,
/// however many they are. Who sends a body waits as well, since the request before: the node has
/// nothing to do yet.
package final class IdleConnections: Sendable {
    private struct State {
        var next: UInt64 = 0
        var open: Set<UInt64> = []
        var idle: [UInt64: (since: UInt64, close: @Sendable () -> Void)] = [:]
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
            state.next += 1
            let number = state.next
            state.open.insert(number)
            let victim = state.open.count > max ? Self.takeOldest(&state) : nil
            state.idle[number] = (since: number, close: close)
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
            guard state.open.contains(number) else { return }
            state.next += 1
            state.idle[number] = (since: state.next, close: close)
        }
    }

    package func close(_ number: UInt64) {
        state.withLock { state in
            state.open.remove(number)
            state.idle[number] = nil
        }
    }

    /// There are at most as many as `HTTPLimits.connectionsMax`: looking at all is quick enough.
    private static func takeOldest(_ state: inout State) -> (@Sendable () -> Void)? {
        guard let oldest = state.idle.min(by: { $0.value.since < $1.value.since }) else {
            return nil
        }
        state.idle[oldest.key] = nil
        return oldest.value.close
    }
}
