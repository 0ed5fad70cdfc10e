package import Core

/// # Rules: versions of what decides how a batch is folded
///
/// `future_limit` and `lateness` may change on a running cluster. Each change is an entry of
/// `rules` in cluster.conf, with the time from which it holds; which version a batch is folded
/// under is a function of its `createdAt` alone (`RuleTable`), so that no attempt of it ever folds
/// otherwise. The file goes to one node after the other, so for a while nodes have different
/// tables: harmless as long as they differ about times to come only. This folder sees to the rest
/// (docs/decisions/0032-rule-versions.md):
///
///     cluster.conf ─▶ RuleMemory: what this node ran with before, and may not unsay
///                          │
///     greetings ─────▶ RuleWatch: who has which table, whether most have it ─▶ batches refused?
///
/// What holds:
///
/// - Two nodes are connected only while their tables say the same of all times up to
///   `RuleLimits.guardTime` from now. No node admits a batch that is created that far ahead of its
///   clock, so a batch meets one table on all voters that it meets.
/// - From then on a node that has an entry takes batches only if most members of the cluster had
///   the entry in time (`RuleStanding.early`): it is `confirmed`, durably, and stays for good.
/// - A node that knows of another table takes batches only while most members agree with it.
/// - Neither ever changes what is counted: they refuse whole batches, before anything is sent.
package enum RuleLimits {
    /// From so long before an entry holds, nodes without it are kept apart from those with it. More
    /// than a batch may be created ahead of a clock, and two clocks may be apart.
    package static let guardTime: Duration = .seconds(600)
    /// An entry that a node sees for the first time with less than this to go came too late. More
    /// than the guard: while the connections still stand.
    package static let leadMin: Duration = .seconds(900)
    /// Entries of one table: they stay for good.
    package static let entriesMax = 32
    /// Between two attempts to write down that an entry is confirmed.
    package static let storeRetry: Duration = .seconds(5)
}

/// How this node came by an entry. Stored and sent: do not change numbers or names.
package enum RuleStanding: UInt8, Hashable, Sendable, CaseIterable {
    /// It lay `RuleLimits.leadMin` ahead when the node first ran with it.
    case early = 1
    /// It lay less far ahead, or behind: other nodes may have counted batches without it.
    case late = 2
    /// The node held nothing when it first ran with it, so it has counted nothing otherwise.
    case fresh = 3
    /// Most members of the cluster have it and had it in time. Final.
    case confirmed = 4

    package var name: String {
        switch self {
        case .early: "early"
        case .late: "late"
        case .fresh: "fresh"
        case .confirmed: "confirmed"
        }
    }
}

/// A version of the rules after the first, as cluster.conf has it.
package struct RuleEntry: Hashable, Sendable {
    /// The start of a segment.
    package var from: WallTime
    package var futureLimit: Duration
    /// nil: history of any age.
    package var lateness: Duration?

    package init(from: WallTime, futureLimit: Duration, lateness: Duration?) {
        self.from = from
        self.futureLimit = futureLimit
        self.lateness = lateness
    }
}

extension RuleEntry: CustomStringConvertible {
    package var description: String {
        "from \(TimeText.format(from)), future_limit \(QuantityText.format(futureLimit)), "
            + "lateness \(lateness.map { QuantityText.format($0) } ?? "unlimited")"
    }
}

/// The number of the version that stands at this place of `rules`.
func ruleVersion(at index: Int) -> RuleVersion {
    RuleVersion(RuleVersion.first.number + UInt16(index) + 1)
}
