package import Core
package import Replication
package import Storage

/// Names a storage job until its completion comes back.
package struct JobID: Hashable, Comparable, Sendable {
    package let number: UInt64

    package init(_ number: UInt64) {
        self.number = number
    }

    package static func < (left: JobID, right: JobID) -> Bool {
        left.number < right.number
    }
}

/// Everything that reaches the core. The shell reads both clocks once for each. What is large lies
/// beside it, as in `PeerMessage`.
package enum Input: Sendable {
    /// `nextDeadline` has come. Early and late ticks are harmless.
    case tick
    /// A whole, checked frame of a peer.
    case message(PeerMessage, from: NodeID)
    /// The outgoing link to a peer is up; what is sent from now on may arrive.
    case connected(NodeID)
    /// The link is gone. `refused`: the peer's port refused the connection, so its process is not
    /// there.
    case disconnected(NodeID, refused: Bool)
    indirect case request(RequestID, ClientRequest, deadline: Instant)
    /// The client is gone; its answer is no longer wanted.
    case cancel(RequestID)
    /// Every record appended with an LSN up to this one is on disk.
    case logSynced(through: LSN)
    /// Whether more than the reserve is free on the disk, and how many bytes more. Said at a
    /// change, or repeatedly; a node that was told nothing believes that there is room.
    case disk(hasRoom: Bool, spare: UInt64)
    /// As much for the cold disk, which holds no log: where it is full nothing moves.
    case coldDisk(spare: UInt64)
    indirect case completed(JobID, Result<StorageResult, StorageError>)
    /// The embedded database's answer to a `park`.
    case parked(ParkingResult)
}

extension Input {
    /// It does not queue behind batches: what is on disk now lets those before it go on.
    package var overtakes: Bool {
        if case .logSynced = self { true } else { isOfRead }
    }

    /// A step of a read of one key: whoever asked waits for it, and it takes the core little time.
    private var isOfRead: Bool {
        switch self {
        case .request(_, .read(.series, _), _): true
        // What its second round lacks.
        case .message(.awaited(.fetch, _), _), .message(.awaited(.fetched, _), _): true
        case .message(.replication(let message), _), .message(.awaited(let message, _), _):
            switch message {
            case .read(let ask): if case .series = ask.query { true } else { false }
            case .readReply: true
            default: false
            }
        case .completed(_, .success(.rows)): true
        case .tick, .message, .connected, .disconnected, .request, .cancel, .logSynced, .disk,
            .coldDisk, .completed, .parked:
            false
        }
    }
}

/// Everything that the core wants done. The shell carries effects out in their order.
package enum Effect: Sendable {
    /// Hand a message to the link of a peer. It may be lost: every exchange repeats or gives up by
    /// time.
    case send(PeerMessage, to: NodeID)
    /// Append to the log, in order; the shell batches. No answer but `logSynced`.
    case append(LogAppend)
    /// What was appended must become durable soon: write and fsync, then `logSynced`. The shell may
    /// join several into one; appends without a `sync` behind them may wait for the next.
    case sync
    /// Run a job beside the core; its result comes back as `completed`.
    indirect case run(JobID, StorageJob)
    /// Do this in the embedded database, beside the core; its result comes back as `parked`.
    indirect case park(ParkingJob)
    indirect case reply(RequestID, ClientResponse)
    /// Something an operator wants to read in the node's log.
    case report(Report)
    /// The process must end: its disk can no longer be trusted.
    case halt(String)
    /// The process must end, and the data be set aside before the next start (`Quarantine`): the
    /// others hold what it held.
    case condemn(String)
}

package enum Report: Hashable, Sendable {
    case peerUp(NodeID)
    case peerDown(NodeID)
    case voting(incarnation: Incarnation)
    case recovering(String)
    /// This life began without what could not be copied, by an operator's word.
    case acceptedLoss(Incarnation)
    case waiting(String)
    case inDoubt(batches: Int)
    case caughtUp(from: NodeID, batches: Int)
    case flushed(cells: Int, tables: Int)
    case flushFailed(String)
    /// Tables became one; bytes of their files, and of its.
    case compacted(tables: Int, read: UInt64, written: UInt64)
    /// Tables became one on the cold disk; bytes of their files, and of its.
    case moved(tables: Int, read: UInt64, written: UInt64)
    /// A move is given up, or something there cannot be read or removed; nothing is lost by it.
    case coldDiskFailed(String)
    /// What was merged is not used; the tables count as before.
    case compactionFailed(String)
    /// Windows below are shown by their hour or day, or not at all.
    case floorRisen(RetentionFloor, window: WindowLength)
    case tablesExpired(Int)
    /// A write waits for room.
    case diskFull(String)
    case generationRefused(NodeID, Int64)
    /// Most peers' clocks are ahead of this node's by so much (behind, where negative).
    case clockDoubted(ahead: Duration)
    case clockTrusted
    case drivenOn(BatchID)
    case conflict(BatchID)
    /// Every batch of the segments below is decided at this node's homes.
    /// All that share a home with it agreed.
    case closed(below: Segment, with: [NodeID])
    /// The replicas of this node's partitions hold the same of the segments below.
    case sealed(below: Segment, with: [NodeID])
    /// A home record that was held here alone when its segment closed; one that was thought bound
    /// is an incident.
    case dropped(BatchID, isBound: Bool)
    /// A member that is away for long: segments close without it, and it must recover.
    /// The incarnation: the life that it must begin.
    case leftOut(NodeID, Incarnation)
    /// A batch that a recovering node alone held, of a segment that may be closed.
    case gaveUp(BatchID)
    case malformed(from: NodeID, String)
    /// Sealed history left memory and the log, which begins with this file now.
    case forgot(below: Segment, batches: Int, logStart: UInt32?)
    /// Payloads of batches that all replicas hold left the log, which begins with this file now.
    case released(batches: Int, logStart: UInt32)
    /// Records that this replica lacks are forgotten: it takes a whole copy from these.
    case copying(from: [NodeID])
    case copied(from: [NodeID], batches: Int)
    case copyInterrupted(String)
    /// What was on this disk counts no more.
    case setAside(through: LSN)
    /// A batch that was forgotten is asked for, and known.
    case lookedUp(BatchID)
    /// The same batches, other sums: one of the two is wrong.
    case incident(NodeID, PartitionID)
    /// Other batches, and catching up does not change it.
    case divergence(NodeID, PartitionID)
    /// After an incident: this node's sums are what its log says.
    case recounted(PartitionID)
    case recountFailed(PartitionID, String)
    /// A file could not be looked at, which says nothing of it; it is read again later.
    case unverified(String)
    /// What this node holds fails its own recount.
    case damaged(String)
    case parking(ParkingLot.Event)
}
