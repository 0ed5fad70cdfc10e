package import Core

/// The life of one sealed batch at its producer, from the first attempt to an outcome.
///
/// Invariant: once an attempt's fate is unknown, no refusal makes the batch "not attempted" again;
/// only a final word (`counted`, `not-counted`) ends the doubt.
///
/// At level ANY "closed without it" is no such word. The node that parked the batch counts its
/// events under an id of its own then, and whoever is asked need not know of that: who seals them
/// anew as well has them counted twice. So only a batch that no attempt can have brought to a node
/// ends as not counted by time.
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
    /// Ended as unknown, at ANY: a node that cannot be asked may have parked it.
    package private(set) var isPerhapsParked = false
    private let mayBeParked: Bool
    private let isPastMemory: Bool
    private var forgottenAnswers = 0
    private var clockRefusals = 0
    private var connectionFailures = 0
    private var last = "every node failed or asked for time just before"

    /// - Parameters:
    ///   - mayBeCounted: an earlier round, or an earlier process, may have sent it.
    ///   - mayBeParked: nodes may park it (level ANY).
    ///   - isPastMemory: it is older than the default of batch_status_retention; counts only where
    ///     a node does not say whether it has forgotten the batch.
    package init(
        deadline: Instant, nodes: Int, mayBeCounted: Bool = false, mayBeParked: Bool = false,
        isPastMemory: Bool = false
    ) {
        self.mayBeParked = mayBeParked
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
            guard !mayBeParked || !mayBeCounted else { return perhapsParked(detail) }
            mayBeSealedAnew = true
            return .finished(.notCounted(detail))
        case .keptParked(let detail):
            mayBeCounted = true
            return mayBeParked ? perhapsParked(detail) : undecided(detail, nil)
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
        case .undecided(let detail, let isForgotten):
            return undecided(detail, isForgotten)
        }
    }

    private mutating func undecided(_ detail: String, _ isForgotten: Bool?) -> Step {
        last = detail
        mayBeCounted = true
        if isForgotten ?? isPastMemory { forgottenAnswers += 1 }
        // The first refused the batch; as many as there are nodes were asked for it since.
        guard forgottenAnswers > nodes else { return .ask }
        self.isForgotten = true
        last =
            "\(detail), and so old that nodes forget its outcome (batch_status_retention, "
            + "7d by default): compare what it holds with what is counted, see 'Forgotten "
            + "batches' in docs/client.md"
        return .finished(gaveUp())
    }

    private mutating func perhapsParked(_ detail: String) -> Step {
        isPerhapsParked = true
        last = BatchAttempts.perhapsParked(detail)
        return .finished(gaveUp())
    }

    /// What is said of a batch of level ANY of which a node may keep a copy; `detail` is what one
    /// answered.
    package static func perhapsParked(_ detail: String) -> String {
        "\(detail); but at ANY a node may have parked it and count its events under another id, so "
            + "they are not sealed anew: ask each node for it ('quipu batch' with --node), and see "
            + "'quipu dlq list' and 'Perhaps parked' in docs/client.md"
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
