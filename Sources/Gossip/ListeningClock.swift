package import Core

/// The time during which this node listened: the monotonic clock without the node's own pauses.
///
/// A process that was stopped for ten seconds heard nobody for ten seconds; that says nothing of
/// its peers. A step longer than `pauseIntervals` therefore counts as one interval, and for
/// `graceIntervals` after it nobody is convicted, since the backlog must be read first.
package struct ListeningClock: Hashable, Sendable {
    package private(set) var listened: Instant
    private let interval: Duration
    /// The monotonic clock as it was last observed.
    package private(set) var seen: Instant
    private var graceEnd: Instant

    package init(interval: Duration, now: Instant) {
        self.interval = interval
        listened = now
        seen = now
        graceEnd = now
    }

    package mutating func observe(_ now: Instant) {
        let step = now - seen
        guard step > .zero else { return }
        listened = listened(at: now)
        seen = now
        if isPause(step) { graceEnd = listened + interval * GossipDetection.graceIntervals }
    }

    /// What `listened` would be at `now`.
    package func listened(at now: Instant) -> Instant {
        let step = now - seen
        guard step > .zero else { return listened }
        return listened + (isPause(step) ? interval : step)
    }

    package var isInGrace: Bool { listened < graceEnd }

    private func isPause(_ step: Duration) -> Bool {
        step > interval * GossipDetection.pauseIntervals
    }
}
