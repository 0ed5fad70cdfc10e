/// A point on the node's monotonic clock, in nanoseconds since an arbitrary start. Deadlines,
/// intervals and failure detection use it; it never decides what is counted.
package struct Instant: Hashable, Comparable, Sendable {
    package var nanoseconds: Int64

    @inlinable package init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    package static let zero = Instant(nanoseconds: 0)
    /// Never comes: for comparisons only.
    package static let distant = Instant(nanoseconds: .max)

    @inlinable package static func < (left: Instant, right: Instant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    @inlinable package static func + (left: Instant, right: Duration) -> Instant {
        Instant(nanoseconds: left.nanoseconds + right.nanoseconds)
    }

    @inlinable package static func - (left: Instant, right: Duration) -> Instant {
        Instant(nanoseconds: left.nanoseconds - right.nanoseconds)
    }

    @inlinable package static func - (left: Instant, right: Instant) -> Duration {
        .nanoseconds(left.nanoseconds - right.nanoseconds)
    }
}

/// Coordinated universal time in milliseconds since 1970-01-01T00:00Z; negative before.
package struct WallTime: Hashable, Comparable, Sendable {
    package var milliseconds: Int64

    @inlinable package init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    @inlinable package static func < (left: WallTime, right: WallTime) -> Bool {
        left.milliseconds < right.milliseconds
    }

    @inlinable package static func + (left: WallTime, right: Duration) -> WallTime {
        WallTime(milliseconds: left.milliseconds + right.milliseconds)
    }

    @inlinable package static func - (left: WallTime, right: Duration) -> WallTime {
        WallTime(milliseconds: left.milliseconds - right.milliseconds)
    }
}

/// Both clocks, read once by the shell for one input.
package struct Now: Hashable, Sendable {
    package var monotonic: Instant
    package var wall: WallTime

    package init(monotonic: Instant, wall: WallTime) {
        self.monotonic = monotonic
        self.wall = wall
    }
}

extension Duration {
    /// The duration in whole nanoseconds, cut toward zero.
    @inlinable package var nanoseconds: Int64 {
        let whole = attoseconds
        // Below 18 s, as nearly all are: a division of 64 bits instead of 128.
        if whole >= 0, whole <= Int128(UInt64.max) {
            return Int64(UInt64(truncatingIfNeeded: whole) / 1_000_000_000)
        }
        return Int64(whole / 1_000_000_000)
    }

    /// The duration in whole milliseconds, cut toward zero.
    @inlinable package var milliseconds: Int64 {
        nanoseconds / 1_000_000
    }
}
