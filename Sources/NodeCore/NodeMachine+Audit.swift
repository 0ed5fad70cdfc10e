package import Core
package import Replication
package import Storage

// The checkers' window: what the simulator compares with its model, and replicas with each other.

extension NodeMachine {
    package var isVotingOnReads: Bool { isVoting && doubt.isEmpty }

    /// All that this node knows of batches; iterate it sorted.
    package var batches: BatchIndex { index }

    /// The digest of the fold of one partition: memtable, flush under way and files.
    package func stateDigest(of partition: PartitionID) -> StateDigest {
        var digest = memtable.stateDigest(of: partition)
        if let frozen = flush.frozen { digest.merge(frozen.stateDigest(of: partition)) }
        for table in tables { digest.merge(table.stateDigest(of: partition)) }
        return digest
    }

    /// The rows of one key as this node holds them, memory and files apart.
    package func heldRows(_ query: SeriesQuery) -> (rows: [SeriesRow], snapshot: TableSnapshot) {
        (
            memtable.series(query),
            TableSnapshot(frozen: flush.frozen.map { [$0] } ?? [], tables: tables)
        )
    }

    /// Batches that are parked here, the oldest first.
    package var parkedBatches: ParkedListing { parking.listing(limit: .max) }

    /// Sizes of everything that is bounded.
    package var sizes: [(name: String, size: Int, limit: Int)] {
        [
            ("drives", drives.running, ReplicationLimits.drivesMax),
            ("pending bytes", pending.byteCount, ReplicationLimits.pendingBytesMax),
            (
                "writes and drives", writes.count,
                ReplicationLimits.sessionsMax + ReplicationLimits.drivesMax
            ),
            ("reads", reads.count, ReplicationLimits.sessionsMax),
            ("parked batches", parking.count, configuration.parking.batchesMax),
            ("parked bytes", parking.byteCount, configuration.parking.bytesMax),
            ("parked submissions", parking.active, configuration.parking.submissionsMax),
        ]
    }
}
