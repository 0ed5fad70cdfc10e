package import Core
package import Storage

/// What replicas say to each other to prove that they hold the same.
package enum AuditMessage: Hashable, Sendable {
    /// One pairwise comparison: the sums over all shared partitions.
    case ask(AuditAsk)
    case reply(AuditReply)
    /// You and I have applied the same set in this partition, and our folds differ: recount yours,
    /// as I do mine.
    case suspect(AuditLine)
    /// One member's part of a cluster-wide audit.
    case survey(SurveyAsk)
    case surveyed(SurveyReply)
}

/// What a node holds of one partition, or of several summed: taken in one step of its machine,
/// since a set and a state of two moments say nothing about each other.
package struct AuditSum: Hashable, Sendable {
    package var applied: SetDigest
    package var home: SetDigest
    package var state: StateDigest

    package init(
        applied: SetDigest = .empty, home: SetDigest = .empty, state: StateDigest = .zero
    ) {
        self.applied = applied
        self.home = home
        self.state = state
    }

    package mutating func merge(_ other: AuditSum) {
        applied.merge(other.applied)
        home.merge(other.home)
        state.merge(other.state)
    }

    package func hasSameSets(as other: AuditSum) -> Bool {
        applied == other.applied && home == other.home
    }
}

package struct AuditLine: Hashable, Sendable {
    package var partition: PartitionID
    package var sum: AuditSum

    package init(partition: PartitionID, sum: AuditSum) {
        self.partition = partition
        self.sum = sum
    }
}

package struct AuditAsk: Hashable, Sendable {
    package var tag: Tag
    package var partitions: PartitionSet
    package var sum: AuditSum

    package init(tag: Tag, partitions: PartitionSet, sum: AuditSum) {
        self.tag = tag
        self.partitions = partitions
        self.sum = sum
    }
}

package struct AuditReply: Hashable, Sendable {
    package var tag: Tag
    /// It votes and holds nothing in doubt: what it lacks, it lacks for no stated reason.
    package var isSettled: Bool
    /// How often, since its start, it has pulled from the asker all that the asker listed.
    package var pulls: UInt64
    /// Empty where the sums were equal; else a line for each partition that was asked for.
    package var lines: [AuditLine]

    package init(tag: Tag, isSettled: Bool, pulls: UInt64, lines: [AuditLine]) {
        self.tag = tag
        self.isSettled = isSettled
        self.pulls = pulls
        self.lines = lines
    }
}

// MARK: - Cluster-wide

package struct SurveyAsk: Hashable, Sendable {
    package var tag: Tag
    /// 0 asks for the state of the verification alone, later rounds for lines as well.
    package var round: UInt32
    /// A verification of the disk counts if it began at most this long ago.
    package var age: Duration

    package init(tag: Tag, round: UInt32, age: Duration) {
        self.tag = tag
        self.round = round
        self.age = age
    }
}

package struct SurveyReply: Hashable, Sendable {
    package var tag: Tag
    package var round: UInt32
    package var isSettled: Bool
    /// Batches that this node still watches until they are finished, or holds in doubt.
    package var unfinished: UInt64
    package var healed: UInt64
    /// Incidents since this node's start, whatever became of them.
    package var incidents: UInt64
    package var verification: VerificationState
    /// What this node has found by itself and what is still so.
    package var findings: [AuditFinding]
    /// Of all partitions that it replicates; empty in round 0.
    package var lines: [SurveyLine]

    package init(
        tag: Tag, round: UInt32, isSettled: Bool, unfinished: UInt64, healed: UInt64,
        incidents: UInt64, verification: VerificationState, findings: [AuditFinding],
        lines: [SurveyLine]
    ) {
        self.tag = tag
        self.round = round
        self.isSettled = isSettled
        self.unfinished = unfinished
        self.healed = healed
        self.incidents = incidents
        self.verification = verification
        self.findings = findings
        self.lines = lines
    }
}

/// How far a node is with reading its files again.
package struct VerificationState: Hashable, Sendable {
    package var isDone: Bool
    package var tables: UInt64
    /// Of all files.
    package var doneBytes: UInt64
    package var totalBytes: UInt64

    package init(
        isDone: Bool = false, tables: UInt64 = 0, doneBytes: UInt64 = 0, totalBytes: UInt64 = 0
    ) {
        self.isDone = isDone
        self.tables = tables
        self.doneBytes = doneBytes
        self.totalBytes = totalBytes
    }
}

/// One partition of one replica, with what an account of input against output needs.
package struct SurveyLine: Hashable, Sendable {
    package var line: AuditLine
    /// Events in the fold.
    package var events: UInt64
    /// Totals over the bound home records of the partition.
    package var home: HomeTotals

    package init(line: AuditLine, events: UInt64, home: HomeTotals) {
        self.line = line
        self.events = events
        self.home = home
    }
}

/// What the bound batches of a home add up to.
package struct HomeTotals: Hashable, Sendable {
    package var events: UInt64 = 0
    package var counted: UInt64 = 0
    package var dead: UInt64 = 0

    package init(events: UInt64 = 0, counted: UInt64 = 0, dead: UInt64 = 0) {
        self.events = events
        self.counted = counted
        self.dead = dead
    }

    package mutating func add(_ totals: BatchTotals) {
        events &+= UInt64(totals.events)
        counted &+= UInt64(totals.counted)
        dead &+= UInt64(totals.dead)
    }

    package mutating func merge(_ other: HomeTotals) {
        events &+= other.events
        counted &+= other.counted
        dead &+= other.dead
    }

    package var isBalanced: Bool { counted &+ dead == events }
}

/// Something that an audit found and that no lag explains.
package struct AuditFinding: Hashable, Sendable {
    package enum Kind: UInt8, Hashable, Sendable, CaseIterable {
        /// Equal sets, different folds: a disk or a memory lies.
        case incident = 1
        /// Different sets that stay so although both sides have pulled all that the other listed.
        case divergence = 2
        /// A table, a cell or a fold of this node that fails its own recount.
        case damage = 3
    }

    package var kind: Kind
    /// The other side of a comparison; nil for damage, which a node finds alone.
    package var peer: NodeID?
    package var partition: PartitionID?
    package var detail: String

    package init(kind: Kind, peer: NodeID?, partition: PartitionID?, detail: String) {
        self.kind = kind
        self.peer = peer
        self.partition = partition
        self.detail = detail
    }
}
