internal import Synchronization

/// Lets one in.
package final class OneAtATime: Sendable {
    private let isTaken = Mutex(false)

    package init() {}

    package func enter() -> Bool {
        isTaken.withLock { isTaken in
            defer { isTaken = true }
            return !isTaken
        }
    }

    package func leave() { isTaken.withLock { $0 = false } }
}
