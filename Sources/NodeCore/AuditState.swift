import Core
import Replication
import Storage

/// What a node remembers between the steps of its audits.
struct AuditState {
    /// The whole disk, file by file, and each step by step.
    struct Verification {
        let began: Instant
        /// The last comes first.
        var rest: [DataFile]
        var state: VerificationState
        /// The file that is being read.
        var reading: FileReading?
        /// A file could not be looked at; the next is read then.
        var resumesAt: Instant?
    }

    /// One partition, from the log.
    struct Recount {
        /// What memory and files say, and how many batches that is.
        let held: PartitionSum
        var rest: [LogPosition]
        var found = PartitionSum.zero
    }

    var replicas: ReplicaAudit
    var turn = 0
    var auditAt: Instant
    var scrubAt: Instant
    var scrubTurns = ScrubTurns()
    /// The file that the scrubber reads.
    var scrub: FileReading?
    /// The comparison under way with each peer: what this node held when it asked.
    var exchanges: [NodeID: AuditExchange] = [:]
    /// Complete catch-ups from each peer since the start.
    var pulls: [NodeID: UInt64] = [:]
    var recounts: [PartitionID: Recount] = [:]
    /// What peers held of partitions that they and this node have other sums of.
    var suspects: [PartitionID: [NodeID: AuditSum]] = [:]
    var verification: Verification?
    var verified: (began: Instant, state: VerificationState)?
    var surveys: [Tag: SurveySession] = [:]
    var verifyRequests: [VerifyRequest] = []
    /// Since when each survey wants disks to be verified: fixed by its first message, since later
    /// ones travel longer or shorter.
    private var needs: [(tag: Tag, since: Instant)] = []
    private static let needsMax = 64
    private var damage: [(finding: AuditFinding, table: UInt64?)] = []
    /// Of the mutant that compares sets with states of an earlier moment.
    var earlierStates: [PartitionID: StateDigest] = [:]

    init(at now: Instant, interval: Duration, scrubInterval: Duration, isBlind: Bool) {
        replicas = ReplicaAudit(isBlind: isBlind)
        auditAt = now + interval
        scrubAt = now + scrubInterval
    }

    /// How long ago a verification may have begun that somebody asks for.
    static func bounded(age: Duration) -> Duration {
        min(max(age, .zero), ReplicationLimits.ageMax / 2)
    }

    mutating func need(of tag: Tag, _ since: Instant) -> Instant {
        if let known = needs.first(where: { $0.tag == tag }) { return known.since }
        if needs.count == Self.needsMax { needs.removeFirst() }
        needs.append((tag: tag, since: since))
        return since
    }

    /// False where it is known.
    mutating func keep(_ finding: AuditFinding, table: UInt64?) -> Bool {
        guard damage.count < ReplicationLimits.findingsMax,
            !damage.contains(where: { $0.finding == finding && $0.table == table })
        else { return false }
        damage.append((finding: finding, table: table))
        return true
    }

    /// All that this node held is gone, and what was found wrong with it. What is left of it and
    /// still wrong, such as a file of the log, is found again.
    mutating func setAside() {
        recounts = [:]
        damage = []
    }

    /// What was found and is still so.
    func findings(tables: [TableHandle]) -> [AuditFinding] {
        let present = Set(tables.map(\.meta.id))
        let damage = damage.filter { $0.table.map(present.contains) ?? true }.map(\.finding)
        return Array((damage + replicas.open).prefix(ReplicationLimits.findingsMax))
    }
}

/// What a node finds wrong with what it holds itself.
enum FoundDamage {
    /// Cells in memory that do not add up to the sums kept beside them.
    case memory(PartitionID)
    /// Memory and files together are not the fold of the batches that the log says are in it.
    case fold(PartitionID, held: PartitionSum, logged: PartitionSum)
    /// Enough peers hold other cells of the same batches, and agree with each other.
    case outvoted(PartitionID, by: [NodeID])
    /// A file whose cells do not add up to its footer, or cannot be read.
    case table(UInt64, String)
    /// A compaction whose table does not hold the sum of its inputs.
    case compaction(String)
    /// A file of outcomes that cannot be read.
    case history(String)
    /// A file of the log, or a record in it, that cannot be read.
    case log(String)
    /// The manifest that is on the disk is not the one that was written.
    case manifest(String)

    /// A cut in the middle of a character makes one of three bytes of it.
    private static func cut(_ text: String) -> String {
        guard text.utf8.count > ReplicationLimits.findingTextMax else { return text }
        return String(
            decoding: text.utf8.prefix(ReplicationLimits.findingTextMax - 3), as: UTF8.self)
    }

    var finding: AuditFinding {
        switch self {
        case .memory(let partition):
            AuditFinding(
                kind: .damage, peer: nil, partition: partition,
                detail: "cells in memory do not add up to their sums")
        case .fold(let partition, let held, let logged):
            AuditFinding(
                kind: .damage, peer: nil, partition: partition,
                detail: "the cells hold \(held.events) events, "
                    + "the batches applied to them \(logged.events)")
        case .outvoted(let partition, let peers):
            AuditFinding(
                kind: .damage, peer: nil, partition: partition,
                detail: peers.map(\.name).joined(separator: " and ")
                    + " agree on other cells of the same batches")
        case .table(_, let what), .history(let what), .log(let what), .manifest(let what),
            .compaction(let what):
            AuditFinding(
                kind: .damage, peer: nil, partition: nil,
                detail: Self.cut(what))
        }
    }
}

/// A comparison under way: what this node said of itself, all of it at one moment.
struct AuditExchange {
    var tag: Tag
    var lines: [AuditLine]
    /// Catch-ups from that peer which had ended by then. One that ends while the answer is on its
    /// way brings what `lines` do not show.
    var pulls: UInt64
}
