package import Core
package import Replication
internal import Synchronization

/// Who waits for which answer of the core.
package final class ReplyBook: Sendable {
    package typealias Receiver = @Sendable (ClientResponse) -> Void

    private struct State {
        var next: UInt64 = 1
        var waiting: [RequestID: (deadline: Instant, receiver: Receiver)] = [:]
    }

    private let requestsMax: Int
    private let state = Mutex(State())
    private let refused = Counter()

    package init(requestsMax: Int = RuntimeLimits.requestsMax) {
        self.requestsMax = requestsMax
    }

    package var count: Int { state.withLock { $0.waiting.count } }

    package var reading: QueueReading {
        QueueReading(name: "requests", refused: refused.value)
    }

    /// A number under which `receiver` gets exactly one answer; nil at the bound.
    package func open(deadline: Instant, _ receiver: @escaping Receiver) -> RequestID? {
        state.withLock { state in
            guard state.waiting.count < requestsMax else {
                refused.increment()
                return nil
            }
            let id = RequestID(state.next)
            state.next += 1
            state.waiting[id] = (deadline, receiver)
            return id
        }
    }

    /// Hands the answer over. False where nobody waits any more: late answers are harmless.
    @discardableResult
    package func answer(_ id: RequestID, _ response: ClientResponse) -> Bool {
        guard let entry = state.withLock({ $0.waiting.removeValue(forKey: id) }) else {
            return false
        }
        entry.receiver(response)
        return true
    }

    /// Ends all requests whose time was over at `now`, and returns their numbers.
    package func expire(at now: Instant) -> [RequestID] {
        let late = state.withLock { state in
            state.waiting.filter { $0.value.deadline <= now }.keys.sorted()
        }
        for id in late { answer(id, .failed(.timedOut(required: 0, answered: 0))) }
        return late
    }

    /// Ends all requests: the node is closing. What was under way may be counted all the same, so
    /// nothing is said to be not attempted.
    package func closeAll() {
        let open = state.withLock { $0.waiting.keys.sorted() }
        for id in open { answer(id, .failed(.timedOut(required: 0, answered: 0))) }
    }
}
