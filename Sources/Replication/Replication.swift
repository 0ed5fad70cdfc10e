internal import Core

// Replication: what makes every batch count once, on every replica, whoever dies in between.
//
// The unit is the sealed batch. Its *home* is the partition of its id's token; the voters of the
// home keep the *home record*: header, totals, dead letters and all slices.
//
//     coordinator            home voters                 voters of each touched partition
//         |-- bind (record) ----->| append, fsync
//         |<-- ok ----------------|
//         |   a majority said ok: the batch is BOUND, decided, to be counted whole
//         |-- apply --------------------------------------------->| if unseen: add the slice
//         |<-- applied --------------------------------------------|
//         |   every touched partition has W that applied: the client hears "counted"
//
// Two contents of one id cannot both be bound, since a voter keeps the first that it sees and two
// majorities meet. Binding and applying are idempotent, so anyone may repeat them: a home voter
// that sees a batch unfinished for some seconds drives it on, and a restarted node settles what its
// log holds in doubt before it votes.
//
// Everything after that is set union by id (`BatchIndex` holds the sets and their digests):
//
// - *Sync* (`SyncSession`): the one way in which a replica learns what another has. It compares
//   sums of set digests, newest segments apart, lists the ids where they differ, applies what its
//   own home records already hold and fetches the rest. Catch-up, recovery and quorum reads all use
//   it.
// - *Quorum reads* (`ReadSession`): one voter answers with rows, R-1 with digests, all with the
//   batches that they applied last. Equal digests: equal rows. Unequal: the newest batches nearly
//   always explain the difference (`ReadUnion`). Then each voter makes what it lacks part of
//   itself, and what the rows lack is added to them: two round trips
//   (docs/decisions/0013-union-reads.md). Otherwise the voter with the rows pulls from the others
//   what it lacks, reads, and the others pull from it
//   (docs/decisions/0005-converging-reads.md). Either way the answer contains all that was
//   acknowledged before and is durable on R voters. Never the maximum, never the newest.
//
// Sources: DeCandia et al., *Dynamo* (2007) for the shape; the write-back of Attiya, Bar-Noy and
// Dolev (1995) for reads that do not go back; Cassandra's CEP-45 for reconciling logs instead of
// trees.
//
// Invariants (the simulator checks them): S1 no phantom, S2 state = fold(applied set), S5 each id
// applied at most once, S6 one content per id, S14 counted + dead = events.

/// The bounds of replication. A test reaches each.
package enum ReplicationLimits {
    /// Batches that this node drives on at once.
    package static let drivesMax = 32
    /// Client writes and reads under way at once on this coordinator.
    package static let sessionsMax = 4096
    /// Bytes of the totals that one answer brings: it is one frame.
    package static let totalsBytesMax = Limits.frameMax - (64 << 10)
    /// Entries of one page of a listing of ids.
    package static let listingMax = 4096
    /// Bytes of records in one answer to a fetch; at least one record is sent.
    package static let fetchBytesMax = 8 << 20
    /// Ids in one fetch.
    package static let fetchMax = 256
    /// Bytes of records kept in memory between bind and apply; beyond it they are read back from
    /// the log.
    package static let pendingBytesMax = 256 << 20
    /// Bytes of one page of packed entries of the index, with an array's header 4 KiB, and pages:
    /// some 50 million entries. Beyond it they stay unpacked.
    package static let indexPageBytes = 4064
    package static let indexPagesMax = 1 << 20
    /// Storage jobs under way before reads and fetches of others are refused.
    package static let jobsMax = 4096
    /// How soon a node that had no room for more of a peer's records looks again.
    package static let roomRetryAfter: Duration = .milliseconds(100)
    /// Bytes that scans took from the memtable and hold while their files are read, from where on
    /// further ones wait.
    package static let scanBytesMax = 128 << 20
    /// Younger batches in one piece of a whole copy, and sealed ones with their letters.
    package static let copyListMax = 1024
    package static let copySealedMax = 64
    /// A whole copy without a word from the other side is given up after this.
    package static let copyIdleMax: Duration = .seconds(5)
    /// Askers for outcomes of forgotten batches that wait for a file at once.
    package static let lookUpsMax = 4096
    /// Bytes of records that were taken and are not yet on disk: beyond it this node takes no more,
    /// and senders repeat themselves.
    package static let unsyncedBytesMax = 256 << 20
    /// Lives of one directory, and the age below which a sync leaves entries out: what peers may
    /// claim.
    package static let incarnationMax: UInt32 = 1 << 31
    package static let ageMax: Duration = .seconds(86_400)
    /// Runs of its process that a node knows; beyond it the oldest are forgotten.
    package static let runsMax = 1024
    /// Nodes of which one vote says that they began another life.
    package static let supersededMax = 255
    /// How often a node tells its peers how far its disk has come.
    package static let vouchInterval: Duration = .seconds(1)
    /// How long records that nobody waits for may be on their way.
    package static let fetchTimeMax: Duration = .seconds(30)
    /// How many times faster than monotonic time a freeze may run to catch up with the wall clock.
    package static let freezeSpeedMax: Int64 = 60
    /// How long the words of others, that a member may be left out, are waited for and hold.
    package static let absenceRoundMax: Duration = .seconds(1)
    /// A comparison of segments without all its answers is given up after this.
    package static let closeRoundMax: Duration = .seconds(2)
    /// Comparisons with peers under way before more are refused.
    package static let syncsMax = 1024
    /// The longest rest of a catch-up between two fetches, well within its patience with a peer.
    package static let catchUpRestMax: Duration = .seconds(5)
    /// Batches applied last that a voter keeps, and names to a reader, of each partition; it names
    /// none that is older than `recentAge`.
    package static let recentMax = 128
    package static let recentAge: Duration = .seconds(2)
    /// Batches that a read makes part of one voter; beyond it the read converges.
    package static let uniteMax = 1024
    /// Second rounds of reads under way at one voter, and first ones that make them needless.
    package static let unitesMax = 4096
    /// From so many on a first round gives its digest only: a second one has no other way.
    package static let meetingsMax = unitesMax / 2
    /// Bytes of records kept in memory behind their application, for reads that unite.
    package static let retiredBytesMax = 32 << 20
    /// Newest segments that a sync compares one by one.
    package static let recentSegments: Int64 = 8
    /// What one node tells of its findings in an audit, and the length of one's text in characters.
    package static let findingsMax = 256
    package static let findingTextMax = 512
    /// Cluster-wide audits that one node coordinates at once.
    package static let surveysMax = 8
    /// Records that one job of a recount reads.
    package static let recountMax = 256
}

/// Names an exchange between a node that asks and one that answers. Unique over the restarts of the
/// asker, so that a late answer to an earlier life matches nothing.
package struct Tag: Hashable, Comparable, Sendable {
    package let number: UInt64

    package init(_ number: UInt64) {
        self.number = number
    }

    package static func < (left: Tag, right: Tag) -> Bool {
        left.number < right.number
    }
}
