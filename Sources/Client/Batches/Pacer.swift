package import Core

/// Spreads events evenly over time for `--rate`: event number n is due n / rate after the start.
package struct Pacer: Hashable, Sendable {
    private let eventsPerSecond: Int
    private let start: Instant
    private var events: Int64 = 0

    package init(eventsPerSecond: Int, start: Instant) {
        precondition(eventsPerSecond > 0, "a rate is positive")
        self.eventsPerSecond = eventsPerSecond
        self.start = start
    }

    /// When a batch of `count` events that follows all before it may go.
    package mutating func due(next count: Int) -> Instant {
        let (seconds, rest) = events.quotientAndRemainder(dividingBy: Int64(eventsPerSecond))
        events += Int64(count)
        return start + .seconds(seconds)
            + .nanoseconds(rest * 1_000_000_000 / Int64(eventsPerSecond))
    }
}
