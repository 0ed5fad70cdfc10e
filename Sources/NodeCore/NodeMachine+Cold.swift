import Core
import Replication
import Storage

// Tables of buckets that ended long ago move to another disk (docs/decisions/0029-cold-tier.md): a
// compaction whose table is written there. Which they are follows from the frontier, as for
// retention, and never from this node's clock.

extension NodeMachine {
    /// What belongs on the cold disk, and how much may be written there now.
    func coldRule(_ now: Now) -> ColdRule {
        guard let policy = configuration.cold else { return .none }
        let room = now.monotonic < compaction.coldPausedUntil ? 0 : coldSpare
        guard let age = policy.after else { return ColdRule(before: .min, room: room) }
        return ColdRule(after: age, frontier: frontierTime, buckets, room: room)
    }

    /// Where the disk beside the log has none, moves make some.
    func hasColdRoom(_ now: Now) -> Bool {
        configuration.cold != nil && coldRule(now).room > 0
    }

    /// Tables stay as they are while their bucket becomes cold.
    mutating func noteCold(_ now: Now) {
        let before = coldRule(now).before
        guard before > compaction.coldBefore else { return }
        compaction.coldBefore = before
        compaction.isDue = true
        compaction.lookAt = now.monotonic
    }

    func destination(at location: TableLocation) -> TableDestination {
        switch location {
        case .hot: .hot
        case .cold:
            .cold(
                ColdClaim(
                    hostID: identity.hostID,
                    isFirst: !tables.contains { $0.meta.location == .cold }))
        }
    }

    /// Not even an fsync that fails there is the end: what was written did not count yet, a later
    /// attempt begins with a new file, and no log lies there. The inputs are as they were. After a
    /// pause others are tried: it may be one of them that cannot be read.
    mutating func coldDiskFailed(
        _ error: StorageError, _ work: CompactionWork, into effects: inout [Effect]
    ) {
        compaction.coldPausedUntil = present + Self.coldRetryAfter
        let isFull = if case .diskFull = error { true } else { false }
        if !isFull {
            compaction.avoid(work.plan.inputs, until: present + Self.failureRetryAfter)
        }
        effects.append(.report(.coldDiskFailed("\(error)")))
    }

    private static let coldRetryAfter: Duration = .seconds(60)
}

extension StorageError {
    /// About what tables hold, wherever they lie.
    var isOfContent: Bool { isDamage || isMismatch }
}
