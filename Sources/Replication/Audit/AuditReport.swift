package import Core

/// What a cluster-wide audit says.
package struct AuditReport: Hashable, Sendable {
    package var differences: [AuditDifference]
    /// Replicas of partitions that do not hold what the fullest of them holds: on its way, or to be
    /// caught up.
    package var lagging: Int
    package var members: [AuditMember]
    package var balance: AuditBalance

    package init(
        differences: [AuditDifference], lagging: Int, members: [AuditMember],
        balance: AuditBalance
    ) {
        self.differences = differences
        self.lagging = lagging
        self.members = members
        self.balance = balance
    }

    /// Lag is no difference: it heals by itself.
    package var isClean: Bool { differences.isEmpty }

    /// Batches that comparisons brought to those who lacked them.
    package var healed: UInt64 { members.reduce(0) { $0 &+ $1.healed } }
}

/// Something that is not as it must be.
package struct AuditDifference: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable, CaseIterable {
        /// Replicas hold the same batches and not the same sums.
        case state
        /// Replicas keep the same batches as their home and not the same totals of them.
        case totals
        /// The batches of a home do not add up: events are not counted + dead.
        case balance
        /// What the homes say was counted is not what all cells hold.
        case inputOutput = "input-output"
        /// Sets differ, and catching up does not change it.
        case divergence
        /// Seen earlier by one of the two and not over: see `state`.
        case incident
        /// A file or a memory that fails its own recount.
        case damage
        /// A member that did not answer: nothing is proved of it.
        case unreachable
    }

    package var kind: Kind
    package var nodes: [NodeID]
    package var partition: PartitionID?
    package var detail: String

    package init(kind: Kind, nodes: [NodeID], partition: PartitionID? = nil, detail: String) {
        self.kind = kind
        self.nodes = nodes
        self.partition = partition
        self.detail = detail
    }
}

/// What one member proved of itself.
package struct AuditMember: Hashable, Sendable {
    package var node: NodeID
    /// Votes, and holds nothing in doubt: its sets are compared with those of the others.
    package var isSettled: Bool
    package var tables: UInt64
    package var verifiedBytes: UInt64
    package var partitions: Int
    package var lagging: Int
    package var healed: UInt64
    package var incidents: UInt64

    package init(
        node: NodeID, isSettled: Bool, tables: UInt64, verifiedBytes: UInt64, partitions: Int,
        lagging: Int, healed: UInt64, incidents: UInt64
    ) {
        self.node = node
        self.isSettled = isSettled
        self.tables = tables
        self.verifiedBytes = verifiedBytes
        self.partitions = partitions
        self.lagging = lagging
        self.healed = healed
        self.incidents = incidents
    }
}

/// Input against output: each home counted once, each partition counted once.
package struct AuditBalance: Hashable, Sendable {
    package enum State: String, Hashable, Sendable {
        case equal
        case different
        /// Batches are under way, or a member is missing: the two sums are of different moments.
        case moving
    }

    package var state: State
    package var input: HomeTotals
    /// Events in all cells.
    package var output: UInt64

    package init(state: State, input: HomeTotals, output: UInt64) {
        self.state = state
        self.input = input
        self.output = output
    }
}

/// What a request for an audit is answered by.
package enum AuditAnswer: Hashable, Sendable {
    case report(AuditReport)
    /// Disks are still being read; asked again, the audit goes on where it is.
    case verifying(doneBytes: UInt64, totalBytes: UInt64)
}

/// What one node found when it read its own files.
package struct VerifyReport: Hashable, Sendable {
    /// How far it is, where the time did not suffice.
    package var state: VerificationState
    /// What was found, and is still so.
    package var damage: [AuditFinding]

    package init(state: VerificationState, damage: [AuditFinding]) {
        self.state = state
        self.damage = damage
    }
}
