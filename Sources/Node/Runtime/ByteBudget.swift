internal import Synchronization

/// A number of bytes that all requests together may hold.
package final class ByteBudget: Sendable {
    package let max: Int
    private let used = Mutex(0)
    private let refused = Counter()

    package init(max: Int) {
        self.max = max
    }

    package var inUse: Int { used.withLock { $0 } }

    package var reading: QueueReading {
        QueueReading(name: "bodies", refused: refused.value)
    }

    /// False where it would exceed the budget: nothing is taken then.
    package func take(_ bytes: Int) -> Bool {
        used.withLock { used in
            guard used + bytes <= max else {
                refused.increment()
                return false
            }
            used += bytes
            return true
        }
    }

    package func give(back bytes: Int) {
        used.withLock { used in
            precondition(bytes <= used, "\(bytes) bytes given back of \(used)")
            used -= bytes
        }
    }
}
