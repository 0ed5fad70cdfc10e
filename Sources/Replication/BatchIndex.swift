package import Core
package import Storage
package import Wire

/// What this node knows of each batch: one entry per id, filed by segment, with the digests of the
/// sets that replicas compare.
package struct BatchIndex: Sendable {
    package private(set) var entries: [BatchID: BatchEntry] = [:]
    package private(set) var digests: DigestTable
    /// By home: what the batches in its home digest add up to.
    package private(set) var homeTotals: [HomeTotals]
    /// What is forgotten: of those batches there is no entry.
    package private(set) var base: HistoryBase
    private var recent: RecentBatches
    private var segments: [Segment: [BatchID]] = [:]
    /// All home records of the segments below are decided and done, as far as was looked.
    private var ready = Segment.first
    private let key: SipKey
    private let segmentLength: Duration

    /// - Parameter combinesByXor: the mutant whose digests cannot see what comes twice.
    package init(
        partitions: Int, key: SipKey, segmentLength: Duration, base: HistoryBase = .none,
        combinesByXor: Bool = false
    ) {
        self.base = base
        digests = DigestTable(partitions: partitions, base: base, combinesByXor: combinesByXor)
        homeTotals = Array(repeating: HomeTotals(), count: partitions)
        for (place, held) in base.partitions.enumerated() where place < partitions {
            homeTotals[place].merge(held.totals)
        }
        recent = RecentBatches(partitions: partitions)
        self.key = key
        self.segmentLength = segmentLength
    }

    package func segment(of header: BatchHeader) -> Segment {
        Segment(createdAt: header.createdAt, length: segmentLength)
    }

    package subscript(id: BatchID) -> BatchEntry? {
        entries[id]
    }

    /// The ids of a segment, ascending.
    package func ids(in segment: Segment) -> [BatchID] {
        (segments[segment] ?? []).sorted()
    }

    /// All segments that hold an id, ascending.
    package var heldSegments: [Segment] {
        segments.keys.sorted()
    }

    package var count: Int { entries.count }

    /// The batches that were applied in a partition after `since`, the last one last; not all,
    /// where there are more than `ReplicationLimits.recentMax`.
    package func recent(_ partition: PartitionID, since: Instant) -> [RecentBatch] {
        // One that is forgotten already is left out: the list is a hint.
        recent.newest(partition, since: since).compactMap { entry in
            entries[entry.id].map { RecentBatch(header: $0.header, term: entry.term) }
        }
    }

    /// Ids with an entry, ascending.
    package var ids: [BatchID] {
        entries.keys.sorted()
    }

    /// Every home record that is held of the segments below `end` is durable, bound and applied by
    /// a quorum everywhere.
    package mutating func isReady(below end: Segment) -> Bool {
        // Each answer is remembered: only what is new is looked at.
        for segment in segments.keys.filter({ $0 >= ready && $0 < end }).sorted() {
            let isOpen = (segments[segment] ?? []).contains { id in
                guard let entry = entries[id], let record = entry.record else { return false }
                return !record.isDurable || !entry.isBound || !entry.isFinished
            }
            guard !isOpen else {
                ready = segment
                return false
            }
        }
        ready = max(ready, end)
        return true
    }

    // MARK: - Changes

    package mutating func raiseFloors(_ marks: Watermarks) {
        digests.raiseFloors(applied: marks.sealed, home: marks.closed)
    }

    /// An unbound record is gone: its home's segment closed without it.
    package mutating func drop(_ id: BatchID) {
        guard let entry = entries[id] else { return }
        precondition(
            !entry.isBound && entry.applied.isEmpty, "\(id) is bound, it cannot be dropped")
        entries[id] = nil
        segments[segment(of: entry.header)]?.removeAll { $0 == id }
    }

    /// The log holds (or is about to hold) this home record. A record of another content that was
    /// not bound is replaced: it gave way.
    package mutating func hold(_ record: BatchRecord, lsn: LSN, at position: LogPosition) {
        update(record.header, home: record.home) { entry in
            if entry.header.contentHash != record.header.contentHash {
                precondition(
                    !entry.isBound && entry.applied.isEmpty,
                    "\(record.header.id) is bound, no other content may replace it")
                entry.slices = []
            }
            if let held = entry.record, held.position == position { return }
            entry.header = record.header
            entry.totals = record.totals
            entry.touched = record.partitions
            entry.record = .init(lsn: lsn, position: position, isDurable: false)
        }
        settleForgotten(record.header.id)
        ready = min(ready, segment(of: record.header))
    }

    /// The log holds these slices of a bound batch.
    package mutating func holdSlices(
        _ record: BatchRecord, lsn: LSN, at position: LogPosition
    ) {
        let partitions = record.partitions
        update(record.header, home: record.home) { entry in
            if entry.header.contentHash != record.header.contentHash {
                precondition(
                    !entry.isBound && entry.applied.isEmpty,
                    "\(record.header.id) is bound, no other content may replace it")
                entry.header = record.header
                entry.record = nil
                entry.slices = []
                entry.touched = PartitionSet()
            }
            entry.totals = record.totals
            entry.touched.formUnion(partitions)
            entry.slices.append(
                .init(lsn: lsn, position: position, partitions: partitions, isDurable: false))
        }
        markBound(record.header.id)
        settleForgotten(record.header.id)
    }

    /// Partitions of which everything of its segment is forgotten hold the batch already.
    private mutating func settleForgotten(_ id: BatchID) {
        guard !base.partitions.isEmpty, let entry = entries[id] else { return }
        let segment = segment(of: entry.header)
        for partition in entry.touched where isForgotten(segment, partition) {
            entries[id]?.applied.insert(partition)
        }
    }

    /// Records of the log up to `lsn` are on disk.
    package mutating func markDurable(_ id: BatchID, through lsn: LSN) {
        guard var entry = entries[id] else { return }
        if let record = entry.record, record.lsn <= lsn { entry.record?.isDurable = true }
        for place in entry.slices.indices where entry.slices[place].lsn <= lsn {
            entry.slices[place].isDurable = true
        }
        entries[id] = entry
        countHome(id)
    }

    package mutating func markBound(_ id: BatchID) {
        entries[id]?.isBound = true
        countHome(id)
    }

    package mutating func markFinished(_ id: BatchID) {
        entries[id]?.isFinished = true
    }

    /// The slices of `hashes` are in the fold now. Each (id, partition) at most once.
    package mutating func markApplied(
        _ id: BatchID, _ hashes: [(partition: PartitionID, hash: Hash128)], at now: Instant
    ) {
        guard var entry = entries[id] else {
            preconditionFailure("\(id) is applied without an entry")
        }
        let segment = segment(of: entry.header)
        for (partition, hash) in hashes where !isForgotten(segment, partition) {
            entry.applied.insert(partition)
            let term = SetDigest.term(id, hash, key: key)
            digests.insert(term, segment: segment, partition)
            recent.insert(id, term: term, partition, at: now)
        }
        entry.changedAt = now
        entries[id] = entry
    }

    /// A bound home record on disk joins the set of its home.
    private mutating func countHome(_ id: BatchID) {
        guard var entry = entries[id], entry.isBound, let record = entry.record, record.isDurable,
            !entry.isCounted
        else { return }
        entry.isCounted = true
        entries[id] = entry
        guard !isForgotten(segment(of: entry.header), entry.home) else { return }
        let term = SetDigest.term(id, entry.header.contentHash, key: key)
        digests.insertHome(term, segment: segment(of: entry.header), entry.home)
        homeTotals[Int(entry.home.index)].add(entry.totals)
    }

    private mutating func update(
        _ header: BatchHeader, home: PartitionID, _ change: (inout BatchEntry) -> Void
    ) {
        if var entry = entries[header.id] {
            let before = segment(of: entry.header)
            change(&entry)
            entries[header.id] = entry
            let after = segment(of: entry.header)
            guard before != after else { return }
            segments[before]?.removeAll { $0 == header.id }
            segments[after, default: []].append(header.id)
        } else {
            var entry = BatchEntry(header: header, home: home)
            change(&entry)
            entries[header.id] = entry
            segments[segment(of: header), default: []].append(header.id)
        }
    }
}

// MARK: - Forgetting

extension BatchIndex {
    /// All batches of this segment that touch the partition (or are at home in it) are in its sums,
    /// its tables and its history, and nowhere else.
    package func isForgotten(_ segment: Segment, _ partition: PartitionID) -> Bool {
        segment < base[partition].floor
    }

    /// Those of `partitions` of which the segment is forgotten.
    package func forgotten(_ segment: Segment, of partitions: PartitionSet) -> PartitionSet {
        guard !base.partitions.isEmpty else { return PartitionSet() }
        return PartitionSet(partitions.filter { isForgotten(segment, $0) })
    }

    /// What the base becomes when everything below `end` is forgotten of `partitions`.
    package func base(
        of partitions: PartitionSet, below end: Segment, through: LSN, outcomesFrom: Segment
    ) -> HistoryBase {
        var base = HistoryBase(
            partitions: Array(repeating: .none, count: homeTotals.count), through: through,
            outcomesFrom: outcomesFrom)
        let sums = digests.sums(below: end)
        let totals = homeTotals(below: end)
        for partition in partitions {
            let place = Int(partition.index)
            let held = self.base[partition]
            // A copy may have brought a floor that lies higher.
            guard end > held.floor else {
                base.partitions[place] = held
                continue
            }
            base.partitions[place] = PartitionBase(
                floor: end, applied: sums.applied[place], home: sums.home[place],
                events: totals[place].events, counted: totals[place].counted,
                dead: totals[place].dead)
        }
        return base
    }

    /// What the batches below `end` add up to, by home.
    private func homeTotals(below end: Segment) -> [HomeTotals] {
        var totals = homeTotals.indices.map { base[PartitionID($0)].totals }
        for (segment, ids) in segments where segment < end {
            for id in ids {
                guard let entry = entries[id], entry.isCounted, !isForgotten(segment, entry.home)
                else { continue }
                totals[Int(entry.home.index)].add(entry.totals)
            }
        }
        return totals
    }

    /// The oldest log file with a record of a batch that is not below `end`.
    package func oldestFile(from end: Segment) -> UInt32? {
        var oldest: UInt32?
        for (segment, ids) in segments where segment >= end {
            for id in ids {
                guard let entry = entries[id] else { continue }
                let files =
                    [entry.record?.position.file].compactMap(\.self)
                    + entry.slices.map(\.position.file)
                // A minimum does not depend on the order.
                for file in files { oldest = min(oldest ?? file, file) }
            }
        }
        return oldest
    }

    /// Ids of the segments below `end`, ascending by segment and id.
    package func ids(below end: Segment) -> [BatchID] {
        segments.keys.filter { $0 < end }.sorted().flatMap { ids(in: $0) }
    }

    /// Lets go of everything below `end`; `base` says what it added up to.
    package mutating func forget(below end: Segment, base: HistoryBase) {
        for segment in segments.keys.filter({ $0 < end }) {
            for id in segments[segment] ?? [] { entries[id] = nil }
            segments[segment] = nil
        }
        digests.forget(below: end)
        self.base = base
    }

    /// Takes over what other replicas forgot. Entries that are here belong to later segments of
    /// some partition; of others the base holds them.
    package mutating func install(_ base: HistoryBase) {
        precondition(self.base.partitions.isEmpty, "nothing was forgotten here")
        self.base = base
        digests.add(base)
        for (place, held) in base.partitions.enumerated() where place < homeTotals.count {
            homeTotals[place].merge(held.totals)
        }
        for id in ids { settleForgotten(id) }
    }
}

extension PartitionBase {
    package var totals: HomeTotals { HomeTotals(events: events, counted: counted, dead: dead) }
}

/// One batch as one node knows it.
package struct BatchEntry: Sendable {
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

    package struct Held: Sendable {
        package var lsn: LSN
        package var position: LogPosition
        package var isDurable: Bool
    }

    package struct HeldSlices: Sendable {
        package var lsn: LSN
        package var position: LogPosition
        package var partitions: PartitionSet
        package var isDurable: Bool
    }

    package init(header: BatchHeader, home: PartitionID) {
        self.header = header
        self.home = home
    }

    /// Holds the home record of exactly this content on disk.
    package func holdsDurably(_ hash: Hash128) -> Bool {
        header.contentHash == hash && record?.isDurable == true
    }
}
