package import Core

/// How long to wait before dialling again: exponential with full jitter (Brooker, *Exponential
/// backoff and jitter*, 2015), so that peers that lost each other at once do not meet at once.
package struct PeerBackoff: Sendable {
    private let first: Duration
    private let max: Duration
    private var attempts = 0

    package init(first: Duration, max: Duration) {
        self.first = first
        self.max = max
    }

    /// A wait below `min(max, first · 2^attempts)` and at least `first / 2`: never zero, so that a
    /// peer that refuses at once is not dialled in a busy loop.
    package mutating func next(_ random: inout RandomSource) -> Duration {
        let bound = Swift.min(max, first * (1 << Swift.min(attempts, 20)))
        attempts += 1
        return Swift.max(first / 2, random.duration(below: bound))
    }

    package mutating func reset() {
        attempts = 0
    }
}
