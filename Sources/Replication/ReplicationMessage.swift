package import Core
package import Wire

/// What replicas say to each other. Every message may be lost, repeated or late.
package enum ReplicationMessage: Hashable, Sendable {
    // Binding and applying.
    indirect case bind(Bind)
    case bindReply(BindReply)
    case apply(Apply)
    /// The slices of a bound batch, to a voter that may not hold its home record.
    indirect case applySlices(Tag, BatchRecord)
    case applyReply(ApplyReply)
    /// Every touched partition has a quorum that applied: home voters need not drive it on.
    case finished(BatchID, Hash128)

    // Outcomes.
    /// With the batch's `createdAt` where it is known: an id that nobody holds is decided only in
    /// its segment.
    case statusAsk(Tag, BatchID, createdAt: WallTime?)
    case statusReply(StatusReply)

    // Reading.
    indirect case read(ReadAsk)
    case readReply(ReadReply)

    // Converging.
    case syncAsk(SyncAsk)
    case syncReply(SyncReply)
    case fetch(Tag, [FetchItem])
    case fetched(Tag, [BatchRecord], isLast: Bool)
    /// Pull from me what I hold of these partitions, and say when it is durable.
    case pull(Tag, PartitionSet)
    case pulled(Tag)

    // Closing and sealing segments.
    case closeAsk(CloseAsk)
    indirect case closeReply(CloseReply)
    /// Who is left out.
    case absence(AbsenceMessage)

    // Lives.
    case hello(Hello)
    case helloReply(HelloReply)
    /// I begin to vote as this incarnation: remember it, durably, before I do.
    case remember(Tag, Incarnation)
    case remembered(Tag, AbsenceRegister)
    /// So far has my disk come: remember it, durably, in case that it is ever set back.
    case vouch(Standing)

    // Beginning anew where records are gone.
    case copy(CopyMessage)

    // Proving that all is well.
    case audit(AuditMessage)
}

/// Who answers, and whether it may be counted.
package struct Vote: Hashable, Sendable {
    package var incarnation: Incarnation
    /// Neither recovering nor waiting for a first start.
    package var isVoting: Bool
    /// Nodes that began another life after the loss of a disk, as far as this one knows: what an
    /// earlier life of theirs answered counts no more.
    package var superseded: [Successor]

    package struct Successor: Hashable, Sendable {
        package var node: NodeID
        package var incarnation: Incarnation

        package init(node: NodeID, incarnation: Incarnation) {
            self.node = node
            self.incarnation = incarnation
        }
    }

    package init(incarnation: Incarnation, isVoting: Bool, superseded: [Successor] = []) {
        self.incarnation = incarnation
        self.isVoting = isVoting
        self.superseded = superseded
    }
}

package struct Bind: Hashable, Sendable {
    package var tag: Tag
    package var header: BatchHeader
    package var home: PartitionID
    /// nil asks a voter that probably holds it already; `.missing` answers where it does not.
    package var record: BatchRecord?
    /// The sender saw a majority hold this content: another, unbound one gives way.
    package var isBound: Bool
    /// A home voter holds it and drives it on: it was admitted, so its age is judged no more.
    package var isAdmitted: Bool

    package init(
        tag: Tag, header: BatchHeader, home: PartitionID, record: BatchRecord?, isBound: Bool,
        isAdmitted: Bool
    ) {
        self.tag = tag
        self.header = header
        self.home = home
        self.record = record
        self.isBound = isBound
        self.isAdmitted = isAdmitted
    }
}

package enum BindAnswer: Hashable, Sendable {
    /// The home record of this content is on my disk. `wasBound`: I knew it as bound before.
    case holds(wasBound: Bool)
    case missing
    /// I hold another content.
    case conflict(Hash128, isBound: Bool)
    /// By my clock too old or too far ahead, and I do not know it.
    case tooOld
    case ahead
    /// Its segment is closed at this home, and it is not in it: it is finally not counted.
    case closed
    /// I take nothing new at present, and have not taken this, a home record or slices of a bound
    /// batch. It may be taken when it is sent again.
    case unable(Inability)

    package enum Inability: UInt8, Hashable, Sendable, CaseIterable {
        /// My clock disagrees with those of my peers.
        case clock = 1
        /// My disk is nearly full.
        case disk = 2
        /// More comes in than my flushes write out.
        case flushes = 3
    }
}

package struct BindReply: Hashable, Sendable {
    package var tag: Tag
    package var answer: BindAnswer
    package var vote: Vote

    package init(tag: Tag, answer: BindAnswer, vote: Vote) {
        self.tag = tag
        self.answer = answer
        self.vote = vote
    }
}

/// The batch is bound: count its slices in these partitions from the home record. An empty set only
/// tells a home voter that it is bound.
package struct Apply: Hashable, Sendable {
    package var tag: Tag
    package var header: BatchHeader
    package var partitions: PartitionSet

    package init(tag: Tag, header: BatchHeader, partitions: PartitionSet) {
        self.tag = tag
        self.header = header
        self.partitions = partitions
    }
}

package struct ApplyReply: Hashable, Sendable {
    package var tag: Tag
    /// Partitions of the message in which the fold contains the batch now.
    package var applied: PartitionSet
    /// The home record of this content is not held here: send the slices.
    package var isMissing: Bool
    package var vote: Vote

    package init(tag: Tag, applied: PartitionSet, isMissing: Bool, vote: Vote) {
        self.tag = tag
        self.applied = applied
        self.isMissing = isMissing
        self.vote = vote
    }
}

package struct StatusReply: Hashable, Sendable {
    package var tag: Tag
    package var held: Held?
    /// Its segment is closed here, and it is not in it.
    package var isClosed: Bool
    package var vote: Vote

    package struct Held: Hashable, Sendable {
        package var contentHash: Hash128
        package var isBound: Bool
        package var totals: BatchTotals

        package init(contentHash: Hash128, isBound: Bool, totals: BatchTotals) {
            self.contentHash = contentHash
            self.isBound = isBound
            self.totals = totals
        }
    }

    package init(tag: Tag, held: Held?, isClosed: Bool, vote: Vote) {
        self.tag = tag
        self.held = held
        self.isClosed = isClosed
        self.vote = vote
    }
}

package struct FetchItem: Hashable, Sendable {
    package var id: BatchID
    package var contentHash: Hash128
    /// The whole home record; else the slices of `partitions`.
    package var wantsRecord: Bool
    package var partitions: PartitionSet

    package init(id: BatchID, contentHash: Hash128, wantsRecord: Bool, partitions: PartitionSet) {
        self.id = id
        self.contentHash = contentHash
        self.wantsRecord = wantsRecord
        self.partitions = partitions
    }
}

package struct Hello: Hashable, Sendable {
    package var tag: Tag
    package var incarnation: Incarnation

    package init(tag: Tag, incarnation: Incarnation) {
        self.tag = tag
        self.incarnation = incarnation
    }
}

package struct HelloReply: Hashable, Sendable {
    package var tag: Tag
    /// The answerer's own.
    package var incarnation: Incarnation
    /// The furthest that the answerer remembers of the asker; `.none` if it has no memory.
    package var remembers: Standing

    package init(tag: Tag, incarnation: Incarnation, remembers: Standing) {
        self.tag = tag
        self.incarnation = incarnation
        self.remembers = remembers
    }
}
