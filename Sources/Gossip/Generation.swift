package import Core

/// The number of a node's life: wall-clock seconds at its start, but always greater than the last.
package enum Generation {
    /// The generation of a life that begins now. The shell stores it before the node's first word.
    ///
    /// A stored generation that peers refuse for lying in the future (it was drawn while this
    /// node's clock was wrong) is void: to count on from it would lock the node out until then. A
    /// clock that is further ahead of it than the allowance is not followed either: it may be
    /// wrong, and the next number is all that is needed.
    package static func next(stored: Int64?, now: WallTime) -> Int64 {
        let clock = max(1, seconds(now))
        guard let stored, stored < limit(held: 0, now: now) else { return clock }
        return clock - max(0, stored) <= allowance ? max(stored + 1, clock) : stored + 1
    }

    /// The greatest generation that is believed of a node of which `held` is known: what it would
    /// get if it restarted now, plus an allowance. To bound against the last one seen alone would
    /// lock out every node that stayed up for longer than the allowance.
    package static func limit(held: Int64, now: WallTime) -> Int64 {
        let restart = max(held, seconds(now))
        let (sum, overflow) = restart.addingReportingOverflow(allowance)
        return overflow ? Int64.max : sum
    }

    private static let allowance = GossipLimits.generationAheadMax.components.seconds

    private static func seconds(_ wall: WallTime) -> Int64 {
        floorDivide(wall.milliseconds, 1000)
    }
}
