import Core
import Replication
import Ring
import Storage

/// What needs that the memtable has added all that waits in it. Adding it takes tens of
/// milliseconds of a busy node, and all replicas are as full at the same time: a few partitions are
/// settled in each step, with a rest behind it, so that reads and writes come in between, and what
/// is wanted is done when little waits any more.
struct SettleState {
    /// The next partition of this pass.
    var place = 0
    /// When it goes on.
    var resumesAt = Instant.zero
    var passes = 0
    var wantsFlush = false
    /// A peer to compare sums with.
    var comparesWith: NodeID?
    /// Peers that compare theirs, and the last that each asked.
    var asks: [NodeID: AuditAsk] = [:]

    var isWanted: Bool { wantsFlush || comparesWith != nil || !asks.isEmpty }

    /// What comes in behind a pass is less than the pass found; then it is as good as nothing, or
    /// more comes in than is settled.
    static let passesMax = 3
    /// From one step, which takes a third of it, to the next.
    static let pace: Duration = .milliseconds(1)
}

extension NodeMachine {
    /// A flush as soon as the memtable is settled; none while one is under way.
    mutating func wantFlush() {
        if flush.frozen == nil { settling.wantsFlush = true }
    }

    /// At a tick.
    mutating func advanceSettling(_ now: Now, into effects: inout [Effect]) {
        guard settling.isWanted, now.monotonic >= settling.resumesAt else { return }
        settling.resumesAt = now.monotonic + SettleState.pace
        guard settleStep() else { return }
        // One thing a step: each of them looks at all partitions.
        if let peer = settling.asks.keys.min() {
            let ask = settling.asks.removeValue(forKey: peer)
            if let ask { answer(ask, to: peer, into: &effects) }
        } else if let peer = settling.comparesWith {
            settling.comparesWith = nil
            compare(with: peer, into: &effects)
        } else {
            settling.wantsFlush = false
            beginFlush(into: &effects)
        }
        if !settling.isWanted { settling = SettleState() }
    }

    /// Settles a few partitions more, and says whether that is enough.
    private mutating func settleStep() -> Bool {
        guard settling.passes < SettleState.passesMax else { return true }
        let step = configuration.settleBytesMax
        guard memtable.settle(from: &settling.place, bytesMax: step) else { return false }
        let isEnough = memtable.pendingBytes <= step
        settling.passes = isEnough ? SettleState.passesMax : settling.passes + 1
        settling.place = 0
        return settling.passes == SettleState.passesMax
    }
}
