package import Core

/// The life of one sealed batch at its producer, from the first attempt to an outcome.
///
/// Invariant: once an attempt's fate is unknown, no refusal makes the batch "not attempted" again;
/// only a final word (`counted`, `not-counted`) ends the doubt.
package struct BatchAttempts: Hashable, Sendable {
    package enum Step: Hashable, Sendable {
        case finished(BatchOutcome)
        /// Do the same again, at the next node: send the same bytes, or ask.
        case again
        /// As `again`, and without a wait: what failed is the connection to one node.
        case failOver
        /// Sending brings no more: ask what became of the batch until that is decided.
        case ask
    }

    private let deadline: Instant
    private let nodes: Int
    package private(set) var attempts = 0
    private var mayBeCounted: Bool
    /// Ended as not counted by time alone, so that its events may be sealed anew.
    package private(set) var mayBeSealedAnew = false
    /// Ended as unknown for ever: time has taken the outcome out of the nodes' memory.
    package private(set) var isForgotten = false
    private let isPastMemory: Bool
    private var undecidedAnswers = 0
    private var clockRefusals = 0
    private var connectionFailures = 0
    private var last = "every node failed or asked for time just before"

    /// - Parameters:
    ///   - mayBeCounted: an earlier round, or an earlier process, may have sent it.
    ///   - isPastMemory: it is so old that nodes need not remember its outcome.
    package init(
        deadline: Instant, nodes: Int, mayBeCounted: Bool = false, isPastMemory: Bool = false
    ) {
        self.mayBeCounted = mayBeCounted
        self.isPastMemory = isPastMemory
        self.deadline = deadline
        self.nodes = nodes
    }

    /// The time an attempt may take, nil when there is none left.
    package func timeout(at now: Instant, attemptMax: Duration) -> Duration? {
        let left = deadline - now
        return left > .zero ? min(left, attemptMax) : nil
    }

    /// The longest wait that still leaves time for an attempt; nil when there is none left.
    package func wait(_ delay: Duration, at now: Instant) -> Duration? {
        now + delay < deadline ? delay : nil
    }

    package mutating func record(_ result: AttemptResult) -> Step {
        attempts += 1
        switch result {
        case .unreached(let detail):
            last = detail
            return connectionFailed()
        case .lost(let detail):
            last = detail
            mayBeCounted = true
            return connectionFailed()
        case .counted(let counts, let duplicate):
            return .finished(.counted(counts, duplicate: duplicate))
        case .parked(let events):
            return .finished(.parked(events: events))
        case .notCounted(let detail):
            return .finished(.notCounted(detail))
        case .closedWithout(let detail):
            mayBeSealedAnew = true
            return .finished(.notCounted(detail))
        case .unusable(let detail):
            last = detail
            return .finished(gaveUp())
        case .clockAhead(let detail):
            last = detail
            clockRefusals += 1
            // Every node's clock says so: the time is wrong, not a clock.
            return clockRefusals >= nodes ? .finished(gaveUp()) : .again
        case .notAttempted(let detail):
            last = detail
            return .again
        case .unknown(let detail):
            last = detail
            mayBeCounted = true
            return .again
        case .otherContent(let detail):
            last = detail
            mayBeCounted = true
            return .finished(gaveUp())
        case .undecided(let detail):
            last = detail
            mayBeCounted = true
            undecidedAnswers += 1
            // The first refused the batch; as many as there are nodes were asked for it since.
            guard isPastMemory, undecidedAnswers > nodes else { return .ask }
            isForgotten = true
            last =
                "\(detail), and so old that nodes forget its outcome (batch_status_retention, "
                + "7d by default): compare what it holds with what is counted, see 'Forgotten "
                + "batches' in docs/client.md"
            return .finished(gaveUp())
        }
    }

    /// Once as many connections have failed as there are nodes, they get time.
    private mutating func connectionFailed() -> Step {
        connectionFailures += 1
        return connectionFailures.isMultiple(of: nodes) ? .again : .failOver
    }

    /// The outcome where no more attempts are made.
    package func gaveUp() -> BatchOutcome {
        mayBeCounted ? .unknown(last) : .notAttempted(last)
    }
}
