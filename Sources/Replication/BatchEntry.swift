package import Core
package import Storage

/// One batch as one node knows it.
package struct BatchEntry: Hashable, Sendable {
    package var header: BatchHeader
    package let home: PartitionID
    package var totals = BatchTotals(events: 0, counted: 0, dead: 0)
    /// The home record in this node's log.
    package var record: Held?
    /// Slices that came alone, to a node that held no home record of this content.
    package var slices: [HeldSlices] = []
    /// Partitions of which this node knows that the batch touches them: all, where it holds the
    /// record.
    package var touched = PartitionSet()
    /// A majority of home voters holds this content: it is decided.
    package var isBound = false
    /// Every touched partition has a quorum that applied: nobody needs to drive it on.
    package var isFinished = false
    /// Partitions in which this node's fold contains it.
    package var applied = PartitionSet()
    /// When `applied` last grew: what is young is in flight to others, not missing there.
    package var changedAt = Instant.zero
    /// In the home digest.
    package var isCounted = false

    package struct Held: Hashable, Sendable {
        package var lsn: LSN
        package var position: LogPosition
        package var isDurable: Bool

        package init(lsn: LSN, position: LogPosition, isDurable: Bool) {
            self.lsn = lsn
            self.position = position
            self.isDurable = isDurable
        }
    }

    package struct HeldSlices: Hashable, Sendable {
        package var lsn: LSN
        package var position: LogPosition
        package var partitions: PartitionSet
        package var isDurable: Bool

        package init(lsn: LSN, position: LogPosition, partitions: PartitionSet, isDurable: Bool) {
            self.lsn = lsn
            self.position = position
            self.partitions = partitions
            self.isDurable = isDurable
        }
    }

    package init(header: BatchHeader, home: PartitionID) {
        self.header = header
        self.home = home
    }

    /// Holds the home record of exactly this content on disk.
    package func holdsDurably(_ hash: Hash128) -> Bool {
        header.contentHash == hash && record?.isDurable == true
    }

    /// Nothing of it waits for anything on a node with the partitions `mine`: what is held of it is
    /// durable and bound, and applied there; where that is its home record, it is finished.
    package func isSettled(on mine: PartitionSet) -> Bool {
        guard isBound, slices.allSatisfy(\.isDurable) else { return false }
        if let record {
            guard record.isDurable, isFinished, isCounted else { return false }
        } else {
            guard !slices.isEmpty, !isCounted else { return false }
        }
        return applied.isSuperset(of: touched, within: mine)
    }

    /// The files of the log that hold something of it.
    var files: [UInt32] {
        [record?.position.file].compactMap(\.self) + slices.map(\.position.file)
    }
}
