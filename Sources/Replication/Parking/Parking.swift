package import Core

// Parking: what level ANY adds (docs/decisions/0015-parked-batches.md).
//
// A write at ANY is first tried at QUORUM. Where its voters are away it is *parked*: stored durably
// in the embedded database of the node that was asked, answered at once, and submitted again from
// there, as its client would, until it has an outcome.
//
//     client            this node                                  home and other voters
//       |-- ANY ------------>|-- as at QUORUM (half of the time) ------->|
//       |                    |<-- too few, or silence -------------------|
//       |                    | store the record, fsync
//       |<-- parked ---------|
//       |                    |-- again, after a wait that doubles, with full jitter: QUORUM -->|
//       |                    |<-- counted ---------------------------------------------------- |
//       |                    | remove the record
//
// Nothing about a parked batch is new to the voters: it is a client's write under the client's id,
// judged by its age like any other, so that twice is once. A parked copy is no vote: it is on one
// disk, and no reader looks there.
//
// Finally not counted, because its home segment closed without it, it is sealed anew (`Renewal`).
// To its home the batch is over then; not to the node that keeps it, or has counted it as a
// renewal and remembers that (`RenewalMemory`). Such a node does not pass on "finally not counted":
// who heard it would seal the events anew, and they would count twice.
//
// Its home may have forgotten what became of it, where its node was away for long. Nobody knows
// then whether it counts, so it is neither counted nor renewed: it is kept, shown, and discarded by
// an operator's word alone. Nor is it known of one whose record is damaged after a submission that
// ended without an outcome: so of what was discarded nobody is told that it was not counted.
//
// Invariants: nothing is answered as parked before it is on disk; what was answered as parked stays
// on disk until a quorum has counted it, another content of its id was counted, or an operator
// discarded what nobody can count; at most `batchesMax` and `bytesMax` are parked, at most
// `submissionsMax` under way, at most `renewedMax` remembered.

/// What the shell does with its embedded database, beside the core. At most one job per batch is
/// under way.
package enum ParkingJob: Hashable, Sendable {
    /// What is parked there? Answered by `.listed`.
    case list
    /// Answered by `.stored` once it is durable.
    case store(ParkedNote, [UInt8])
    case load(ParkedKey)
    case remove(ParkedKey)
    /// In one commit: it is removed, remembered as counted under a renewal, and another one that
    /// was remembered makes room for it. Answered by `.removed`.
    case settle(RenewedBatch, forgetting: RenewedBatch?)
    /// In one commit: it is removed by an operator's word, and of what was sealed no later nobody
    /// is told any more that it was not counted. Answered by `.removed`.
    case discard(ParkedKey, createdAt: WallTime)
}

package enum ParkingResult: Hashable, Sendable {
    case listed([ParkedNote], renewed: RenewalMemory = RenewalMemory())
    case listFailed(String)
    case stored(ParkedKey)
    /// It is not known whether it is durable.
    case storeFailed(ParkedKey, String)
    /// nil: there is no such batch.
    case loaded(ParkedKey, [UInt8]?)
    case loadFailed(ParkedKey, String)
    case removed(ParkedKey)
    case removeFailed(ParkedKey, String)
}

/// The bounds and times of parking.
package struct ParkingOptions: Hashable, Sendable {
    /// Bytes of records; 0: nothing is parked, what is parked already is still submitted.
    package var bytesMax = 0
    package var batchesMax = 10_000
    /// Batches that are remembered as counted under renewals: some 100 bytes each.
    package var renewedMax = 20_000
    /// Batches that are loaded or submitted at once.
    package var submissionsMax = 4
    /// The bound of the first wait; it doubles up to `waitMax`, and each wait is drawn below it.
    package var waitMin: Duration = .milliseconds(500)
    package var waitMax: Duration = .seconds(30)
    /// Planted bugs: a parked copy is counted as a voter's; it is answered before it is durable.
    package var countsParked = false
    package var answersEarly = false

    package init() {}
}

/// What may still become of a parked batch.
package enum ParkedState: String, Hashable, Sendable {
    /// It is submitted until it is counted.
    case waiting
    /// Its record is no longer what was stored: it cannot be submitted.
    case damaged
    /// Its home knows no more whether it was counted: it is not submitted again.
    case forgotten

    /// An operator may discard it: this node will never count it.
    package var mayBeDiscarded: Bool { self != .waiting }
}

/// One parked batch, for people.
package struct ParkedItem: Hashable, Sendable {
    package var note: ParkedNote
    /// Submissions that ended without an outcome.
    package var attempts: Int
    /// How often it was sealed anew.
    package var renewals: Int
    /// The id under which it is submitted now.
    package var id: BatchID
    /// Why it is still here.
    package var reason: String
    package var state: ParkedState

    package init(
        note: ParkedNote, attempts: Int, renewals: Int, id: BatchID, reason: String,
        state: ParkedState = .waiting
    ) {
        self.state = state
        self.note = note
        self.attempts = attempts
        self.renewals = renewals
        self.id = id
        self.reason = reason
    }
}

package struct ParkedListing: Hashable, Sendable {
    package var count: Int
    package var bytes: Int
    /// The oldest first.
    package var items: [ParkedItem]

    package init(count: Int, bytes: Int, items: [ParkedItem]) {
        self.count = count
        self.bytes = bytes
        self.items = items
    }
}
