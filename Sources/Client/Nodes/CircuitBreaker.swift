package import Core

/// Stops a producer from spending its time on a node that does not answer.
///
/// `closed` lets everything through and counts failures in a row; at `failuresToOpen` it opens.
/// `open` lets nothing through until its time is over, then one request as a probe (`probing`). A
/// probe that succeeds closes the breaker, one that fails opens it for twice as long, up to
/// `openMax`. A failure that took long (a node that hangs) opens it at once and for at least as
/// long as it took, so that a run never spends more than half of its time on waiting for that node.
///
/// Source: Nygard, *Release It!* (2007), "Circuit Breaker".
package struct CircuitBreaker: Hashable, Sendable {
    package enum State: Hashable, Sendable {
        /// Requests pass. May become `open`.
        case closed(failures: Int)
        /// Nothing passes until then. Becomes `probing` by the first request after it.
        case open(until: Instant, length: Duration)
        /// One request is under way to find out. Becomes `closed` or `open`.
        case probing(length: Duration)
    }

    package static let failuresToOpen = 2
    package static let slowFailure: Duration = .seconds(1)
    package static let openMin: Duration = .milliseconds(250)
    package static let openMax: Duration = .seconds(8)

    package private(set) var state = State.closed(failures: 0)

    package init() {}

    /// Whether a request may go now. A true answer after `open` makes it the probe: `succeeded` or
    /// `failed` must follow.
    package mutating func admits(at now: Instant) -> Bool {
        switch state {
        case .closed:
            return true
        case .open(let until, let length):
            guard now >= until else { return false }
            state = .probing(length: length)
            return true
        case .probing:
            return false
        }
    }

    /// When `admits` may say yes again; nil while it depends on the probe.
    package var opensAt: Instant? {
        switch state {
        case .closed: .zero
        case .open(let until, _): until
        case .probing: nil
        }
    }

    package mutating func succeeded() {
        state = .closed(failures: 0)
    }

    /// A request failed for a reason of the node (no connection, no answer, a broken answer) after
    /// `taking` so long.
    package mutating func failed(at now: Instant, taking: Duration = .zero) {
        switch state {
        case .closed(let failures):
            if failures + 1 < CircuitBreaker.failuresToOpen, taking < CircuitBreaker.slowFailure {
                state = .closed(failures: failures + 1)
            } else {
                let length = min(max(CircuitBreaker.openMin, taking), CircuitBreaker.openMax)
                state = .open(until: now + length, length: length)
            }
        case .open:
            // A request that was under way when the breaker opened: known already.
            break
        case .probing(let length):
            let longer = min(max(length * 2, taking), CircuitBreaker.openMax)
            state = .open(until: now + longer, length: longer)
        }
    }
}
