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
        /// nil: its payload was let go of; history files hold what is left of it.
        package var position: LogPosition?
        package var isDurable: Bool

        package init(lsn: LSN, position: LogPosition?, isDurable: Bool) {
            self.lsn = lsn
            self.position = position
            self.isDurable = isDurable
        }
    }

    package struct HeldSlices: Hashable, Sendable {
        package var lsn: LSN
        /// nil: their payload was let go of.
        package var position: LogPosition?
        package var partitions: PartitionSet
        package var isDurable: Bool

        package init(lsn: LSN, position: LogPosition?, partitions: PartitionSet, isDurable: Bool) {
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

    /// What is known belongs to `header`'s content from now on; another one gave way.
    mutating func adopt(_ header: BatchHeader) {
        guard self.header.contentHash != header.contentHash else { return }
        precondition(
            !isBound && applied.isEmpty,
            "\(header.id) is bound, no other content may replace it")
        self.header = header
        record = nil
        slices = []
        touched = PartitionSet()
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

    /// Its outcome on the way into a history file; nil where the log does not hold its home record:
    /// if it ever did, history files have it.
    package var outcome: HistoryDraft? {
        record?.position.map {
            HistoryDraft(header: header, home: home, totals: totals, letters: .inLog($0))
        }
    }

    /// The files of the log that hold something of it.
    package var files: [UInt32] {
        [record?.position?.file].compactMap(\.self) + slices.compactMap(\.position?.file)
    }
}

// Payloads that were let go of (docs/decisions/0026-payloads.md).
extension BatchEntry {
    /// Whatever lies in files before `start` is there no more.
    mutating func release(before start: UInt32) {
        if let position = record?.position, position.file < start { record?.position = nil }
        for place in slices.indices {
            guard let position = slices[place].position, position.file < start else { continue }
            slices[place].position = nil
        }
    }

    /// Something of it is held as a husk.
    package var isHusk: Bool {
        record.map { $0.position == nil } ?? false || slices.contains { $0.position == nil }
    }

    /// Those of `partitions` whose cells no record of this node's log gives any more.
    package func husks(of partitions: PartitionSet) -> PartitionSet {
        guard record?.position == nil else { return PartitionSet() }
        var held = PartitionSet()
        for slices in slices where slices.position != nil { held.formUnion(slices.partitions) }
        return partitions.subtracting(held)
    }

    /// Whatever is not applied of `partitions` can be counted from a record of this node's log.
    package func canGive(_ partitions: PartitionSet) -> Bool {
        husks(of: partitions.intersection(touched).subtracting(applied)).isEmpty
    }

    /// The record that the cells of a partition can be read from, `onDisk` or written at least. Of
    /// several slices records any one that has them: they are the same cells.
    package func source(of partition: PartitionID, onDisk: Bool = true) -> LogPosition? {
        if let record, record.isDurable || !onDisk, let position = record.position {
            return position
        }
        let held = slices.first {
            ($0.isDurable || !onDisk) && $0.position != nil && $0.partitions.contains(partition)
        }
        return held?.position
    }

    /// What must be kept of it when the files before `end` go; nil where nothing lies there.
    package func husk(before end: UInt32) -> HuskDraft? {
        var husk = Husk(
            header: header, home: home, totals: totals, hasRecord: false, isFinished: isFinished,
            touched: touched)
        if let position = record?.position, position.file < end {
            husk.hasRecord = true
            let wanted = applied.intersection(touched)
            return HuskDraft(husk, wanted: wanted, places: [position])
        }
        var wanted = PartitionSet()
        var places: [LogPosition] = []
        for slices in slices {
            guard let position = slices.position, position.file < end else { continue }
            wanted.formUnion(slices.partitions.intersection(applied))
            places.append(position)
        }
        guard !places.isEmpty else { return nil }
        husk.touched = wanted
        return HuskDraft(husk, wanted: wanted, places: places)
    }
}
