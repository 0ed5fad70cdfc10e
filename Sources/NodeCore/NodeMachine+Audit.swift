package import Core
package import Replication
package import Storage
package import Wire

// The checkers' window: what the simulator compares with its model, and replicas with each other.

extension NodeMachine {
    package var isVotingOnReads: Bool { isVoting && doubt.isEmpty }

    /// Somebody may be left out soon, as far as this node knows.
    package var mayBeLeavingOut: Bool {
        absence.round != nil || absence.register.accepted != nil
            || reachableNodes.count <= peers.count
    }

    /// How far its disk has come, as far as it knows.
    package var standing: Standing {
        Standing(
            incarnation: identity.incarnation, run: identity.startNonce, lsn: synced,
            edits: lives.edits)
    }

    /// The life that it will begin once it has recovered.
    package var recoveryTarget: Incarnation? {
        if case .recovering(let recovery) = life { recovery.target } else { nil }
    }

    /// What must never happen while disks and producers are honest.
    package var incidents: [(name: String, count: UInt64)] { [("conflicts", counters.conflicts)] }

    /// All that this node knows of batches; iterate it sorted.
    package var batches: BatchIndex { index }

    /// The digest of the fold of one partition: memtable, flush under way, files, and what expired.
    package func stateDigest(of partition: PartitionID) -> StateDigest {
        var digest = memtable.stateDigest(of: partition)
        if let frozen = flush.frozen { digest.merge(frozen.stateDigest(of: partition)) }
        for table in tables { digest.merge(table.stateDigest(of: partition)) }
        if let dropped = retention.durable.dropped[partition] { digest.merge(dropped.state) }
        return digest
    }

    /// The rows of one key as this node holds them, memory and files apart.
    package func heldRows(_ query: SeriesQuery) -> (rows: [SeriesRow], snapshot: TableSnapshot) {
        (
            memtable.series(query),
            TableSnapshot(frozen: flush.frozen.map { [$0] } ?? [], tables: tables)
        )
    }

    /// What it has forgotten, and the files that know of it.
    package var forgotten: HistoryBase { index.base }
    package var historyFiles: [HistoryHandle] { forgetting.files }

    package var tablePaths: [String] { tables.map(\.path) }

    /// For simulations of damage: a batch is added once more, and neither log nor index know of it.
    package mutating func applyBehindTheLog(
        _ record: BatchRecord, in partition: PartitionID
    ) -> Bool {
        do throws(DecodeError) {
            try memtable.apply(record, PartitionSet([partition]))
            return true
        } catch {
            return false
        }
    }

    /// For simulations of damage: a cell in memory changes, and the sums beside it do not.
    package mutating func corruptCell(of partition: PartitionID) -> Bool {
        memtable.corruptCell(of: partition)
    }
    /// Batches that are parked here, the oldest first.
    package var parkedBatches: ParkedListing { parking.listing(limit: .max) }
    /// Whether it knows what was parked before its start; until then it denies no batch.
    package var knowsParked: Bool { parking.isListed }

    /// Sizes of everything that is bounded.
    package var sizes: [(name: String, size: Int, limit: Int)] {
        [
            ("drives", drives.running, ReplicationLimits.drivesMax),
            ("pending bytes", pending.byteCount, ReplicationLimits.pendingBytesMax),
            (
                // A question about an old write may turn into that write.
                "writes and drives", writes.count,
                2 * configuration.sessionsMax + ReplicationLimits.drivesMax
            ),
            ("reads", reads.count, configuration.sessionsMax),
            ("look-ups of history", forgetting.askers, ReplicationLimits.lookUpsMax),
            ("questions for outcomes", statuses.count, configuration.sessionsMax),
            (
                "bytes on their way to the disk", unsynced.byteCount,
                ReplicationLimits.unsyncedBytesMax + Limits.frameMax
            ),
            ("retired bytes", pending.retiredBytes, ReplicationLimits.retiredBytesMax),
            ("second rounds of reads", unites.count, ReplicationLimits.unitesMax),
            (
                "parked batches", parking.count,
                max(configuration.parking.batchesMax, parking.listedCount)
            ),
            (
                "parked bytes", parking.byteCount,
                max(configuration.parking.bytesMax, parking.listedBytes)
            ),
            ("parked submissions", parking.active, configuration.parking.submissionsMax),
            ("renewed batches", parking.rememberedCount, configuration.parking.renewedMax),
        ]
    }
}
