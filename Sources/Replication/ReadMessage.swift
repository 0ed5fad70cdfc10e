package import Core
package import Storage

/// What a coordinator asks of a replica for a read.
package struct ReadAsk: Hashable, Sendable {
    package enum Role: Hashable, Sendable {
        /// Rows and digests.
        case data
        /// Digests alone.
        case digest
        /// Digests alone, from the partner of a coordinator that votes: the asker, who has the
        /// rows, holds this set. What the two lack of each other is closed in the same round.
        case meet(ReadState)
        /// Second round of a union: make batches part of yourself, give what others add to the
        /// rows.
        case unite(ReadUnite)
        /// Pull what the others hold and you lack, read, let them pull from you, then answer.
        case converge(with: [NodeID])
    }

    package var tag: Tag
    package var query: ReadQuery
    package var partitions: PartitionSet
    package var role: Role
    /// An answer at level ONE: a voter that still holds batches in doubt may give it.
    package var isWeak: Bool
    /// Name the batches that were applied last: one partition is asked, and sets are compared.
    package var wantsRecent: Bool
    /// By which the coordinator will show what it reads: who has coarser tables has no answer.
    package var floor: RetentionFloor

    package init(
        tag: Tag, query: ReadQuery, partitions: PartitionSet, role: Role, isWeak: Bool,
        wantsRecent: Bool = false, floor: RetentionFloor = .none
    ) {
        self.tag = tag
        self.query = query
        self.partitions = partitions
        self.role = role
        self.isWeak = isWeak
        self.wantsRecent = wantsRecent
        self.floor = floor
    }
}

/// What one voter does for a union.
package struct ReadUnite: Hashable, Sendable {
    /// A batch that the asked voter lacked in the first round, and a voter that has it.
    package struct Lack: Hashable, Sendable {
        package var header: BatchHeader
        package var source: NodeID

        package init(header: BatchHeader, source: NodeID) {
            self.header = header
            self.source = source
        }
    }

    /// The start that answered the first round. A later one may hold less than it stood for, so it
    /// refuses.
    package var start: UInt64
    /// Answer when these are applied, from records that are on disk.
    package var lacks: [Lack]
    /// Answer with what these add to the rows: the voter with the rows lacked them.
    package var gives: [BatchHeader]

    package init(start: UInt64, lacks: [Lack], gives: [BatchHeader]) {
        self.start = start
        self.lacks = lacks
        self.gives = gives
    }
}

/// What the partner of a coordinator found that the two lack of each other, when it had made what
/// itself lacked part of itself.
package struct ReadMeeting: Hashable, Sendable {
    /// Batches that the coordinator lacks, and what they add to its rows.
    package var lacked: [BatchHeader]
    package var rows: [SeriesRow]
    /// A record had to come from another voter first.
    package var hasFetched: Bool

    package init(lacked: [BatchHeader], rows: [SeriesRow], hasFetched: Bool) {
        self.lacked = lacked
        self.rows = rows
        self.hasFetched = hasFetched
    }
}

package struct ReadReply: Hashable, Sendable {
    package enum Answer: Hashable, Sendable {
        /// Rows (nil for a digest), and the set that they are the fold of.
        case read(ReadResult?, ReadState)
        /// The batches of `ReadUnite.lacks` are part of this voter, and these rows are what those
        /// of `gives` add. `hasFetched`: a record had to come from another voter first.
        case united([SeriesRow], hasFetched: Bool)
        /// The answer to `meet` where the sets differ by a few batches: the set of this voter, as
        /// in `read`, and what follows from it.
        case met(ReadState, ReadMeeting)
        /// Recovering, in doubt, restarted between two rounds, or not a replica.
        case notVoting(String)
        case failed(String)
        /// It would hold more than it may to answer, and so would any other replica.
        case tooLarge(String)
        /// Its tables are coarser than the coordinator knows: ask anew by this floor.
        case rolled(RetentionFloor)
    }

    package var tag: Tag
    package var answer: Answer

    package init(tag: Tag, answer: Answer) {
        self.tag = tag
        self.answer = answer
    }
}

/// The set of batches that a voter held in the step in which it answered.
package struct ReadState: Hashable, Sendable {
    /// Over the asked partitions: of applied slices, or of home records for dead letters.
    package var digest: SetDigest
    /// Names the process that answered, and its life.
    package var start: UInt64
    /// The newest members of the set, the last applied one last; empty unless asked for.
    package var recent: [RecentBatch]

    package init(digest: SetDigest, start: UInt64 = 0, recent: [RecentBatch] = []) {
        self.digest = digest
        self.start = start
        self.recent = recent
    }
}

/// A batch that was applied lately in one partition, and its term in the digest of the set.
package struct RecentBatch: Hashable, Sendable {
    package var header: BatchHeader
    package var term: UInt128

    package init(header: BatchHeader, term: UInt128) {
        self.header = header
        self.term = term
    }
}
