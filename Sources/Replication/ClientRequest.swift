package import Core
package import Storage
package import Wire

/// Names one request of a client until it is answered. The shell keeps what belongs to it.
package struct RequestID: Hashable, Comparable, Sendable {
    package let number: UInt64

    package init(_ number: UInt64) {
        self.number = number
    }

    package static func < (left: RequestID, right: RequestID) -> Bool {
        left.number < right.number
    }

    /// Requests that the parking lot makes itself: shells number theirs from 1 and never come here.
    static func parking(_ number: UInt64) -> RequestID {
        RequestID(number | 1 << 63)
    }

    package var isOfParking: Bool { number >> 63 == 1 }
}

/// What a client asks of the node it talks to: its coordinator.
package enum ClientRequest: Sendable {
    /// Count a sealed and folded batch, once. Answered by `.write`.
    case write(BatchRecord, consistency: Consistency)
    /// Level ANY: the same at QUORUM, or else park it here. Answered by `.write`.
    case writeOrPark(BatchRecord)
    /// The oldest batches that are parked here, or those that came or go under one id; at most
    /// `limit`. Answered by `.parked`.
    case parked(BatchID?, limit: Int)
    /// Give up what is parked here under an id and will never be counted. Answered by `.parked`:
    /// without an item where there is none; with one that `mayBeDiscarded`, once it is gone from
    /// the disk, as it was; with one that may not where it stays, and may still be counted.
    case discardParked(BatchID)
    /// What became of a batch? Answered by `.status`.
    case status(BatchID, createdAt: WallTime?)
    /// Answered by `.read`.
    case read(ReadQuery, consistency: Consistency)
    /// Prove that all members hold the same, that their disks hold what they wrote, and that what
    /// went in is what is there. A disk that was verified at most `age` ago is not read again.
    /// Answered by `.audit`.
    case audit(age: Duration)
    /// Write the memtable to files. Answered by `.flushed` once the manifest names them.
    case flush
    /// Merge the tables of each time bucket into one. Answered by `.compacted` when it is done, or
    /// at the deadline; it goes on then.
    case compact
    /// Read all files of this node again. One verification serves all who asked for none that
    /// began earlier than `age` ago. Answered by `.verified` when it is done, or at the deadline.
    case verify(age: Duration)
}

/// A question whose answer is a function of the applied sets of the partitions it touches.
package enum ReadQuery: Hashable, Sendable {
    /// The windows of one key, in one partition. Answered by `.series`.
    case series(SeriesQuery)
    /// An aggregate over all keys of `spec.partitions`; the coordinator fills the partitions in,
    /// callers leave them empty. Answered by `.scan`.
    case scan(ScanSpec, top: TopSpec?)
    /// Dead letters of home records that are not retired, in the order (segment, id, line).
    /// Answered by `.deadLetters`.
    case deadLetters(DeadLetterQuery)
}

/// Keep only the first `k` keys: exact where a key lies in one partition, or one voter reads all of
/// them; else the coordinator asks for all totals (`ReadSession.Options.splitsKeys`).
package struct TopSpec: Hashable, Sendable {
    package enum Order: UInt8, Sendable {
        case count = 1
        case sum = 2
    }

    package var k: Int
    package var order: Order

    package init(k: Int, order: Order) {
        self.k = k
        self.order = order
    }
}

package struct DeadLetterQuery: Hashable, Sendable {
    package var filter: LetterFilter
    package var limit: Int
    /// Letters behind this place, nil from the beginning.
    package var after: Place?
    /// Whoever walks over all pages does not need to know at each how many there are: with a filter
    /// that costs reading every letter.
    package var wantsTotal: Bool

    package typealias Place = LetterPlace

    package init(
        filter: LetterFilter = .all, limit: Int, after: Place? = nil, wantsTotal: Bool = true
    ) {
        self.wantsTotal = wantsTotal
        self.filter = filter
        self.limit = limit
        self.after = after
    }
}

package enum ClientResponse: Sendable {
    case write(WriteOutcome)
    case status(BatchStatus)
    case read(ReadAnswer)
    case audit(AuditAnswer)
    case flushed
    case compacted(isDone: Bool)
    case verified(VerifyReport)
    case parked(ParkedListing)
    /// The request was not done, and why.
    case failed(RequestFailure)
}

package enum WriteOutcome: Hashable, Sendable {
    /// Counted whole, at the asked level. `acknowledged` voters have it in the partition that has
    /// fewest.
    case counted(duplicate: Bool, required: Int, acknowledged: Int)
    /// Another content is bound under this id: this content is finally not counted.
    case conflict
    /// Nothing was sent by this attempt, which says nothing of earlier ones.
    case notAttempted(NotAttempted)
    /// Older than the horizon, and not known to be counted.
    case expired(BatchStatus)
    /// It may or may not be counted; the same id may be sent again. `required` and `alive` where
    /// too few voters answered.
    case unknown(required: Int, answered: Int)
    /// Level ANY: durable on this node alone, and counted later under the same id.
    case parked

    package enum NotAttempted: Hashable, Sendable {
        case tooFewReplicas(required: Int, alive: Int)
        case aheadOfClock
        case overloaded
        case notReady(String)
        /// Level ANY: its voters are away, and this node has parked as much as it may.
        case parkingFull(batches: Int, bytes: Int, required: Int, alive: Int)
        /// It has dead letters, and these voters of its home hold as many bytes of them as they
        /// may.
        case deadLettersFull([NodeID])
    }
}

package enum BatchStatus: Hashable, Sendable {
    case counted(BatchTotals)
    /// Its segment closed without it: no attempt under this id and time will ever count.
    case notCounted
    /// `heldBy` voters hold it, not known to be bound. `isForgotten`: its time is older than those
    /// of which outcomes are kept, so that it stays so; nil where nobody looked.
    case unknown(heldBy: Int, isForgotten: Bool? = nil)
}

package struct ReadAnswer: Sendable {
    package var result: ReadResult
    /// The voters whose agreement gave the answer, ascending.
    package var replicas: [NodeID]
    package var consistency: Consistency
    /// Batches that were sealed before this time are decided, and counted on a quorum wherever they
    /// count; nil where no segment has been closed yet.
    package var frontier: WallTime?
    /// Below which windows are shown by their hour or day, or not at all.
    package var floor = RetentionFloor.none

    package init(
        result: ReadResult, replicas: [NodeID], consistency: Consistency,
        frontier: WallTime? = nil
    ) {
        self.result = result
        self.replicas = replicas
        self.consistency = consistency
        self.frontier = frontier
    }
}

package enum ReadResult: Hashable, Sendable {
    /// Sorted by (type, window).
    case series([SeriesRow])
    case scan(ScanRows)
    /// `total`: of all that the filter selects. `retired`: how many were purged or replayed,
    /// whatever the filter.
    case deadLetters([DeadLetterItem], total: UInt64, retired: UInt64)
}

/// What a scan found, over all the partitions that were asked.
package enum ScanRows: Hashable, Sendable {
    /// `.totalsByKey`: best first where a `TopSpec` was given, else by key.
    case totals([KeyTotal])
    /// `.types`, ascending.
    case types([[UInt8]])
    /// `.keys`, ascending, at most the asked number.
    case keys([[UInt8]])

    package struct KeyTotal: Hashable, Sendable {
        package var key: [UInt8]
        package var measure: Measure

        package init(key: [UInt8], measure: Measure) {
            self.key = key
            self.measure = measure
        }
    }
}

package typealias DeadLetterItem = LetterItem

package enum RequestFailure: Hashable, Sendable {
    /// Too few voting replicas can be reached for the asked level.
    case tooFewReplicas(required: Int, alive: Int)
    /// No answer before the deadline.
    case timedOut(required: Int, answered: Int)
    /// This node cannot answer now, and why.
    case notReady(String)
    /// As many such questions as may be are under way here, and which.
    case overloaded(String)
    /// A file failed its check: never a wrong number instead.
    case storage(String)
    /// To answer it a replica would hold more than it may; the same again has the same end.
    case tooLarge(String)
}
