import Core
import Replication
import Ring
import Storage

/// A whole copy under way: as the one that gives it, or as the one that takes it.
struct CopyState {
    enum Phase {
        case none
        /// Records that this node lacks are forgotten; who has forgotten least is asked for.
        case probing(since: Instant, Tag)
        /// What is on this disk is set aside; `through` must be durable before the edit says so.
        case clearing(through: LSN, isCommitting: Bool)
        case copying(CopyTarget)
    }

    var phase = Phase.none
    /// What peers said since the probing began.
    var marks: [NodeID: HistoryMarks] = [:]
    var repeatAt = Instant.zero
    /// Whom this node gives a copy to.
    var source: CopySource?

    /// From the probing to the end this replica takes nothing but the copy.
    var isReceiving: Bool {
        if case .none = phase { false } else { true }
    }

    /// Nothing has been set aside for it yet.
    var canBeGivenUp: Bool {
        switch phase {
        case .none, .probing: true
        case .clearing, .copying: false
        }
    }

    /// It has said what its tables come to, and not yet which they are.
    var isAboutToGive: Bool {
        if let source { source.tables == nil } else { false }
    }

    var target: CopyTarget? {
        if case .copying(let target) = phase { target } else { nil }
    }
}

/// One giver's part of a copy.
struct CopyWork {
    var peer: NodeID
    var tag: Tag
    var partitions: PartitionSet
    var offer: CopyOffer?
    var cursor = CopyCursor.start
    /// Of the records of what it listed.
    var fetch: Tag
}

/// A copy that is being taken.
struct CopyTarget {
    enum Stage {
        /// Pieces come, from one giver after the other.
        case pulling
        /// The records of the younger batches come.
        case fetching
        /// Their marks are on the way to the disk.
        case marking(through: LSN)
        case committing(HistoryBase, through: LSN)
    }

    struct Listed {
        var header: BatchHeader
        var home: PartitionID
        var applied = PartitionSet()
        /// By giver: what it lists.
        var givers: [(work: Int, entry: SyncEntry)] = []
        /// The hashes of its slices, from its records or its husk.
        var hashes: [PartitionID: Hash128] = [:]

        /// Where it is counted from a record of the log.
        var logged: PartitionSet {
            var partitions = PartitionSet()
            for giver in givers where !giver.entry.isHusk {
                partitions.formUnion(giver.entry.applied)
            }
            return partitions
        }
    }

    var works: [CopyWork]
    var current = 0
    var stage = Stage.pulling
    var tables: [TableHandle] = []
    var files: [HistoryHandle] = []
    var drafts: [HistoryDraft] = []
    var list: [BatchID: Listed] = [:]
    /// Of batches whose payload the givers let go of: what came; once all has come, what counts.
    var husks: [BatchID: Husk] = [:]
    var hasHusks = false
    var huskDrafts: [HuskDraft] = []
    /// Those whose records are not on disk yet, ascending.
    var open: [BatchID] = []
    /// A file is being written: the next piece waits.
    var isWriting = false
    var idleSince: Instant

    init(works: [CopyWork], now: Instant) {
        self.works = works
        idleSince = now
    }

    /// What this node will have forgotten.
    func base(partitions: Int, through: LSN) -> HistoryBase {
        var base = HistoryBase(
            partitions: Array(repeating: .none, count: partitions), through: through)
        for offer in works.compactMap(\.offer) {
            base.outcomesFrom = max(base.outcomesFrom, offer.outcomesFrom)
            for line in offer.lines where Int(line.partition.index) < partitions {
                base.partitions[Int(line.partition.index)] = line.base
            }
        }
        return base
    }
}

extension CopyTarget {
    /// What this node's tables will be, and will have lost, as the givers' are and have.
    func retention(after own: Retention) -> Retention {
        var retention = Retention(floor: own.floor)
        for offer in works.compactMap(\.offer) {
            retention.floor = retention.floor.merged(with: offer.retained)
            for line in offer.lines where line.dropped != .zero {
                retention.dropped[line.partition] = line.dropped
            }
        }
        return retention
    }
}

/// A copy that is being given: everything as it was in one step of this machine.
struct CopySource {
    var peer: NodeID
    var tag: Tag
    var partitions: PartitionSet
    var offer: CopyOffer
    /// nil until the flush that empties the memtable is done.
    var tables: [TableHandle]?
    var files: [HistoryHandle]
    var sealed: [HistoryDraft]
    var list: [SyncEntry]
    /// The piece that is being read.
    var reading: CopyCursor?
    var deadline: Instant
}
