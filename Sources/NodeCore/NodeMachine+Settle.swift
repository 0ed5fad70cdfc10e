import Core
import Replication
import Ring
import Storage

/// What needs that the memtable has added all that waits in it. Adding it takes tens of
/// milliseconds of a busy node: a few partitions are settled in each step, so that reads come in
/// between, and what is wanted is done when the last was.
struct SettleState {
    /// The next partition. What comes in behind it meanwhile is little.
    var place = 0
    var wantsFlush = false
    /// A peer to compare sums with.
    var comparesWith: NodeID?
    /// Peers that compare theirs, and the last that each asked.
    var asks: [NodeID: AuditAsk] = [:]

    var isWanted: Bool { wantsFlush || comparesWith != nil || !asks.isEmpty }
}

extension NodeMachine {
    /// Between any two inputs but those of reads; without inputs ticks are asked for at once.
    mutating func advanceSettling(_ now: Now, into effects: inout [Effect]) {
        guard settling.isWanted,
            memtable.settle(from: &settling.place, bytesMax: configuration.settleBytesMax)
        else { return }
        var wanted = SettleState()
        swap(&wanted, &settling)
        for (peer, ask) in wanted.asks.sorted(by: { $0.key < $1.key }) {
            answer(ask, to: peer, into: &effects)
        }
        if let peer = wanted.comparesWith { compare(with: peer, into: &effects) }
        if wanted.wantsFlush { freezeMemtable(into: &effects) }
    }
}
