internal import Synchronization

/// What the shell itself knows about whether requests can be served.
package final class ServingState: Sendable {
    private struct State {
        var isDraining = false
        var isDrained = false
        var diskReason: String?
        var rulesReason: String?
    }

    private let state = Mutex(State())

    package init() {}

    /// Why the node takes no writes and will not before it is started again; empty where it does.
    package var endReasons: [String] {
        state.withLock { state in
            (state.isDraining ? ["the node is shutting down"] : [])
                + (state.isDrained ? ["the node was drained: start it again"] : [])
        }
    }

    /// All that keeps the node from being sent requests.
    package var reasons: [String] { endReasons + [rulesReason, readOnlyReason].compactMap(\.self) }

    /// From SIGTERM on: requests under way are finished, new ones are turned away.
    package func drain() {
        state.withLock { $0.isDraining = true }
    }

    /// An operator wants it to be stopped: it answers queries and its peers, and takes no batch
    /// from clients until it is started again.
    package func setDrained() {
        state.withLock { $0.isDrained = true }
    }

    /// Why the node takes no writes at the moment although it answers queries; nil where it does.
    package var readOnlyReason: String? { state.withLock(\.diskReason) }

    /// Why the node takes no batches under the rules that it has; nil where it does.
    package var rulesReason: String? { state.withLock(\.rulesReason) }

    package func setRules(_ reason: String?) {
        state.withLock { $0.rulesReason = reason }
    }

    package func setReadOnly(_ reason: String?) {
        state.withLock { $0.diskReason = reason }
    }
}
