package import Catalog
package import Core

/// From where the peers' files are read on, where some of their rows came too early: their version
/// is further ahead of this node's clock than it takes, because that clock is behind, or the one
/// that wrote them was ahead. A value without a clock.
///
/// Such rows are not lost: the durable progress stays before the first of them. What stands behind
/// them is read all the same, by a place in memory alone, and from time to time the file is read
/// again from the durable progress, until their time has come.
package struct AttributeReading: Sendable {
    private struct Hold {
        /// Of the peer's file, and of the one here.
        var nonce: UInt64
        var own: UInt64
        var next: Int64
        var againAt: Instant
        /// Questions from `next` on that have no answer, and when the last was asked. An answer
        /// does not say from where it goes: one that is late must not pass for one that goes from
        /// the durable progress.
        var open = 0
        var askedAt = Instant.zero
    }

    private var holds: [NodeID: Hold] = [:]

    package init() {}

    /// After which change of which file a peer is to be asked; nil: not now.
    /// - Parameter own: names the file here.
    package mutating func start(
        of peer: NodeID, _ durable: CatalogProgress?, into own: UInt64, at now: Instant
    ) -> (nonce: UInt64, since: Int64)? {
        if let hold = holds[peer], hold.own == own {
            if now < hold.againAt {
                holds[peer]?.open += 1
                holds[peer]?.askedAt = now
                return (hold.nonce, hold.next)
            }
            guard hold.open == 0 || now - hold.askedAt >= AttributeLimits.answerLateMax else {
                return nil
            }
        }
        holds[peer] = nil
        return (durable?.nonce ?? 0, durable?.sequence ?? 0)
    }

    /// Whether an answer's end may become the durable progress: nothing before it is left out.
    package func mayAdvance(_ peer: NodeID, nonce: UInt64, into own: UInt64) -> Bool {
        guard let hold = holds[peer] else { return true }
        return hold.nonce != nonce || hold.own != own
    }

    /// An answer was taken up to `next`.
    /// - Parameters:
    ///   - early: the least version that came too early; nil: none did.
    ///   - now: of both clocks, at that time.
    /// - Returns: when the file is read again from the durable progress, where that is news.
    package mutating func took(
        _ peer: NodeID, nonce: UInt64, into own: UInt64, next: Int64, early: WallTime?, at now: Now
    ) -> Duration? {
        if !mayAdvance(peer, nonce: nonce, into: own) {
            guard var hold = holds[peer] else { return nil }
            hold.next = next
            hold.open = max(0, hold.open - 1)
            holds[peer] = hold
            return nil
        }
        guard let early else {
            holds[peer] = nil
            return nil
        }
        let taken = now.wall + CatalogLimits.versionAheadMax
        let wait = Duration.milliseconds(early.milliseconds - taken.milliseconds)
        let bounded = min(
            max(wait, AttributeLimits.earlyAgainMin), AttributeLimits.earlyAgainMax)
        holds[peer] = Hold(nonce: nonce, own: own, next: next, againAt: now.monotonic + bounded)
        return bounded
    }
}
