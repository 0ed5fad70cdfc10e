package import Core

/// The wall clock of a peer, as it was read at the middle of an exchange: a probe of ours and its
/// answer. The reading is half the round trip wrong at most, whichever way was the slow one.
///
/// It is kept as a pair of the peer's wall time and our monotonic time, and not as an offset from
/// our own wall clock: a step of our own clock is then seen at once.
struct PeerClock: Hashable, Sendable {
    private let wall: WallTime
    private let middle: Instant
    private let uncertainty: Duration

    /// Nil for an answer that was so long on its way that it says too little.
    init?(_ wall: WallTime, sent: Instant, received: Instant) {
        let roundTrip = received - sent
        guard roundTrip >= .zero, roundTrip <= GossipLimits.clockRoundTripMax else { return nil }
        self.wall = wall
        uncertainty = .nanoseconds(roundTrip.nanoseconds / 2)
        middle = sent + uncertainty
    }

    /// Nil where the reading has grown too old.
    func offset(of node: NodeID, at now: Now) -> ClockOffset? {
        let elapsed = now.monotonic - middle
        guard elapsed <= GossipLimits.clockAgeMax else { return nil }
        let ahead = (wall + elapsed).milliseconds - PeerClock.shown(now.wall).milliseconds
        return ClockOffset(
            node: node, ahead: .milliseconds(ahead), uncertainty: uncertainty)
    }

    /// The years 0001 to 9999. Differences of two such times never overflow.
    static let believable: ClosedRange<Int64> = -62_135_596_800_000...253_402_300_799_999

    /// Our own clock as it may be told.
    static func shown(_ wall: WallTime) -> WallTime {
        WallTime(
            milliseconds: min(max(wall.milliseconds, believable.lowerBound), believable.upperBound))
    }
}

/// By how much a peer's wall clock differs from ours.
package struct ClockOffset: Hashable, Sendable {
    package let node: NodeID
    /// Positive where the peer's clock is ahead of ours.
    package let ahead: Duration
    package let uncertainty: Duration

    /// Whether the clocks differ by more than `skew` for certain.
    package func exceeds(_ skew: Duration) -> Bool {
        (ahead < .zero ? .zero - ahead : ahead) - uncertainty > skew
    }
}

extension GossipMachine {
    /// The clocks of the peers that were read lately, in order of names.
    package func clockOffsets(at now: Now) -> [ClockOffset] {
        roster.peers.compactMap { peer in peer.clock?.offset(of: peer.node, at: now) }
    }

    /// The middle one of the peers' differences, where most of them are larger than `skew`.
    package func clockDisagreement(beyond skew: Duration, at now: Now) -> Duration? {
        let offsets = clockOffsets(at: now)
        let wrong = offsets.count { $0.exceeds(skew) }
        guard 2 * wrong > offsets.count else { return nil }
        return offsets.map(\.ahead).sorted()[offsets.count / 2]
    }
}
