package import Core

/// Asks a peer to compare sets. The asker sends what it has; the answer lists what the peer has
/// where they differ. Sums run over `partitions` and over both sets (applied slices, bound home
/// records).
package struct SyncAsk: Hashable, Sendable {
    package enum Scope: Hashable, Sendable {
        /// First word: each segment from `boundary` on that is not empty here, and all older ones
        /// in one.
        case newest(boundary: Segment, [SegmentSum], older: SetDigest)
        /// The older segments one by one, since their sum differs.
        case older(before: Segment, [SegmentSum])
        /// More of a listing: ids of `segment` behind `after`, then of the later `segments`.
        case more([Segment], after: BatchID)
    }

    package var tag: Tag
    /// Counts the asks of one session; the reply repeats it.
    package var round: UInt32
    package var partitions: PartitionSet
    package var scope: Scope
    /// Leave out what changed here within this time: it is in flight.
    package var ageMin: Duration
    /// Also list home records that are not known to be bound.
    package var wantsUnbound: Bool

    package init(
        tag: Tag, round: UInt32, partitions: PartitionSet, scope: Scope, ageMin: Duration,
        wantsUnbound: Bool
    ) {
        self.tag = tag
        self.round = round
        self.wantsUnbound = wantsUnbound
        self.partitions = partitions
        self.scope = scope
        self.ageMin = ageMin
    }
}

package struct SegmentSum: Hashable, Sendable {
    package var segment: Segment
    package var digest: SetDigest

    package init(segment: Segment, digest: SetDigest) {
        self.segment = segment
        self.digest = digest
    }
}

package struct SyncReply: Hashable, Sendable {
    package var tag: Tag
    package var round: UInt32
    /// What the answerer holds in the segments that differ; possibly not all: see `rest`.
    package var listing: [SyncEntry]
    /// Segments whose listing continues behind the last entry; empty when it is complete.
    package var rest: [Segment]
    /// The older sums differ: ask with `.older`.
    package var olderDiffers: Bool
    /// The answerer votes and holds nothing in doubt: what it holds is a source for a recovery.
    package var isSource: Bool
    /// The answerer's freeze: a recovering node takes it over, with the promise that lies in it.
    package var frozen: Segment
    /// What the answerer no longer lists, to one that recovers: it needs a whole copy where that is
    /// more than it holds.
    package var marks: HistoryMarks?

    package init(
        tag: Tag, round: UInt32, listing: [SyncEntry], rest: [Segment], olderDiffers: Bool,
        isSource: Bool, frozen: Segment
    ) {
        self.tag = tag
        self.round = round
        self.listing = listing
        self.rest = rest
        self.olderDiffers = olderDiffers
        self.isSource = isSource
        self.frozen = frozen
    }
}

/// One batch that the answerer holds durably.
package struct SyncEntry: Hashable, Sendable {
    package var header: BatchHeader
    package var home: PartitionID
    /// It keeps the home record, and the home is one of the asked partitions.
    package var hasRecord: Bool
    /// Asked partitions in which it has applied the batch.
    package var applied: PartitionSet
    /// It knows that every touched partition has a quorum that applied.
    package var isFinished: Bool
    package var isBound: Bool
    /// Not all of it can be fetched: payloads were let go of.
    package var isHusk: Bool

    package init(
        header: BatchHeader, home: PartitionID, hasRecord: Bool, applied: PartitionSet,
        isFinished: Bool, isBound: Bool, isHusk: Bool = false
    ) {
        self.header = header
        self.home = home
        self.hasRecord = hasRecord
        self.applied = applied
        self.isFinished = isFinished
        self.isBound = isBound
        self.isHusk = isHusk
    }
}
