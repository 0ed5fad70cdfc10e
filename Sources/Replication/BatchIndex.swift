package import Core
package import Storage
package import Wire

/// What this node knows of each batch: one entry per id, filed by segment, with the digests of the
/// sets that replicas compare.
///
/// Nearly all entries are settled a second after their batch came, and do not change until they are
/// forgotten. Those are packed (`PackedBatches`, docs/decisions/0023-index-memory.md) and unpacked
/// when they are asked for; one that changes all the same is open again until it is settled.
package struct BatchIndex: Sendable {
    /// Entries that are not settled yet.
    private var open: [BatchID: BatchEntry] = [:]
    /// By segment, also where none is open any more: the segments that hold or held an id.
    private var openIDs: [Segment: Set<BatchID>] = [:]
    private var packed: PackedBatches
    package private(set) var digests: DigestTable
    /// By home: what the batches in its home digest add up to.
    package private(set) var homeTotals: [HomeTotals]
    /// What is forgotten: of those batches there is no entry.
    package private(set) var base: HistoryBase
    private var recent: RecentBatches
    /// All home records of the segments below are decided and done, as far as was looked.
    private var ready = Segment.first
    private let mine: PartitionSet
    private let key: SipKey
    private let segmentLength: Duration
    /// The log begins with this file: what entries say of older ones is gone. Entries are not
    /// changed for it; it is left out whenever one is looked at.
    package private(set) var logStart: UInt32 = 0

    /// - Parameters:
    ///   - mine: the partitions that this node replicates.
    ///   - combinesByXor: the mutant whose digests cannot see what comes twice.
    package init(
        partitions: Int, mine: PartitionSet, key: SipKey, segmentLength: Duration,
        base: HistoryBase = .none, combinesByXor: Bool = false
    ) {
        self.base = base
        self.mine = mine
        packed = PackedBatches(partitions: partitions, mine: mine, segmentLength: segmentLength)
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
        guard var entry = open[id] ?? packed[id] else { return nil }
        entry.release(before: logStart)
        return entry
    }

    /// The ids of a segment, ascending.
    package func ids(in segment: Segment) -> [BatchID] {
        ((openIDs[segment] ?? []) + packed.ids(in: segment)).sorted()
    }

    /// Those of a segment that are counted, at home in `homes`, and have dead letters, ascending.
    package func idsWithLetters(in segment: Segment, homes: PartitionSet) -> [BatchID] {
        var found: [BatchID] = []
        forEachCounted(in: segment) { id, home, totals in
            if totals.dead > 0, homes.contains(home) { found.append(id) }
        }
        return found.sorted()
    }

    /// Every batch of a segment that is counted and whose home is not forgotten, in no order. Rows
    /// are looked at without being unpacked.
    private func forEachCounted(
        in segment: Segment, _ visit: (BatchID, _ home: PartitionID, BatchTotals) -> Void
    ) {
        for id in openIDs[segment] ?? [] {
            guard let entry = open[id], entry.isCounted, !isForgotten(segment, entry.home)
            else { continue }
            visit(id, entry.home, entry.totals)
        }
        packed.forEach(in: segment) { row in
            guard row.isCounted, !isForgotten(segment, row.home) else { return }
            visit(row.id, row.home, row.totals)
        }
    }

    /// Dead letters of all batches that are counted and at home in `homes`, forgotten ones too.
    package func letters(of homes: PartitionSet) -> UInt64 {
        homes.reduce(0) { $0 + homeTotals[Int($1.index)].dead }
    }

    /// All segments that hold an id, ascending.
    package var heldSegments: [Segment] {
        openIDs.keys.sorted()
    }

    package var count: Int { open.count + packed.count }

    /// Ids with an entry, ascending.
    package var ids: [BatchID] {
        heldSegments.flatMap { (openIDs[$0] ?? []) + packed.ids(in: $0) }.sorted()
    }

    /// Ids whose entries are not settled, ascending.
    package var unsettledIDs: [BatchID] {
        open.keys.sorted()
    }

    /// The batches that were applied in a partition after `since`, the last one last; not all,
    /// where there are more than `ReplicationLimits.recentMax`.
    package func recent(_ partition: PartitionID, since: Instant) -> [RecentBatch] {
        // One that is forgotten already is left out: the list is a hint.
        recent.newest(partition, since: since).compactMap { entry in
            (open[entry.id]?.header ?? packed.header(of: entry.id)).map {
                RecentBatch(header: $0, term: entry.term)
            }
        }
    }

    /// Every home record that is held of the segments below `end` is durable, bound and applied by
    /// a quorum everywhere.
    package mutating func isReady(below end: Segment) -> Bool {
        // Each answer is remembered: only what is new is looked at. What is settled is done.
        for segment in openIDs.keys.filter({ $0 >= ready && $0 < end }).sorted() {
            let isOpen = (openIDs[segment] ?? []).contains { id in
                guard let entry = open[id], let record = entry.record else { return false }
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
        guard let entry = self[id] else { return }
        precondition(
            !entry.isBound && entry.applied.isEmpty, "\(id) is bound, it cannot be dropped")
        open[id] = nil
        isOpenNoMore(id, in: segment(of: entry.header))
    }

    /// The log holds (or is about to hold) this home record. A record of another content that was
    /// not bound is replaced: it gave way.
    package mutating func hold(_ record: BatchRecord, lsn: LSN, at position: LogPosition) {
        update(record.header, home: record.home) { entry in
            entry.adopt(record.header)
            if let held = entry.record, held.position == position { return }
            entry.header = record.header
            entry.totals = record.totals
            entry.touched = record.partitions
            entry.record = .init(lsn: lsn, position: position, isDurable: false)
        }
        settleForgotten(record.header.id)
        settle(record.header.id)
        ready = min(ready, segment(of: record.header))
    }

    /// The log holds these slices of a bound batch.
    package mutating func holdSlices(
        _ record: BatchRecord, lsn: LSN, at position: LogPosition
    ) {
        let partitions = record.partitions
        update(record.header, home: record.home) { entry in
            entry.adopt(record.header)
            entry.totals = record.totals
            entry.touched.formUnion(partitions)
            entry.slices.append(
                .init(lsn: lsn, position: position, partitions: partitions, isDurable: false))
        }
        markBound(record.header.id)
        settleForgotten(record.header.id)
        settle(record.header.id)
    }

    /// Records of the log up to `lsn` are on disk.
    package mutating func markDurable(_ id: BatchID, through lsn: LSN) {
        // What is settled is durable.
        guard let place = open.index(forKey: id) else { return }
        if let record = open.values[place].record, record.lsn <= lsn {
            open.values[place].record?.isDurable = true
        }
        for slices in open.values[place].slices.indices
        where open.values[place].slices[slices].lsn <= lsn {
            open.values[place].slices[slices].isDurable = true
        }
        countHome(id)
        settle(id)
    }

    package mutating func markBound(_ id: BatchID) {
        // What is settled is bound.
        guard let place = open.index(forKey: id) else { return }
        open.values[place].isBound = true
        countHome(id)
        settle(id)
    }

    package mutating func markFinished(_ id: BatchID) {
        guard open.index(forKey: id) != nil || packed[id]?.isFinished == false else { return }
        reopen(id)
        open[id]?.isFinished = true
        settle(id)
    }

    /// The slices of `hashes` are in the fold now. Each (id, partition) at most once.
    package mutating func markApplied(
        _ id: BatchID, _ hashes: [(partition: PartitionID, hash: Hash128)], at now: Instant
    ) {
        reopen(id)
        guard let place = open.index(forKey: id) else {
            preconditionFailure("\(id) is applied without an entry")
        }
        let segment = segment(of: open.values[place].header)
        var terms: [(partition: PartitionID, term: UInt128)] = []
        terms.reserveCapacity(hashes.count)
        for (partition, hash) in hashes where !isForgotten(segment, partition) {
            terms.append((partition: partition, term: SetDigest.term(id, hash, key: key)))
        }
        digests.insert(terms, segment: segment)
        for (partition, term) in terms {
            open.values[place].applied.insert(partition)
            recent.insert(id, term: term, partition, at: now)
        }
        open.values[place].changedAt = now
        settle(id)
    }

    /// A bound home record on disk joins the set of its home.
    private mutating func countHome(_ id: BatchID) {
        guard let place = open.index(forKey: id) else { return }
        let entry = open.values[place]
        guard entry.isBound, entry.record?.isDurable == true, !entry.isCounted else { return }
        open.values[place].isCounted = true
        guard !isForgotten(segment(of: entry.header), entry.home) else { return }
        let term = SetDigest.term(id, entry.header.contentHash, key: key)
        digests.insertHome(term, segment: segment(of: entry.header), entry.home)
        homeTotals[Int(entry.home.index)].add(entry.totals)
    }

    /// The entry of a batch, or a new one, is changed and stays open.
    private mutating func update(
        _ header: BatchHeader, home: PartitionID, _ change: (inout BatchEntry) -> Void
    ) {
        let id = header.id
        reopen(id)
        guard let place = open.index(forKey: id) else {
            var entry = BatchEntry(header: header, home: home)
            change(&entry)
            open[id] = entry
            openIDs[segment(of: header), default: []].insert(id)
            return
        }
        let before = segment(of: open.values[place].header)
        change(&open.values[place])
        let after = segment(of: open.values[place].header)
        guard before != after else { return }
        isOpenNoMore(id, in: before)
        openIDs[after, default: []].insert(id)
    }

    // MARK: - Packing

    /// Packs it once nothing more is expected of it.
    private mutating func settle(_ id: BatchID) {
        guard let place = open.index(forKey: id), open.values[place].isSettled(on: mine) else {
            return
        }
        let segment = segment(of: open.values[place].header)
        guard packed.insert(open.values[place], in: segment) else { return }
        open.remove(at: place)
        isOpenNoMore(id, in: segment)
    }

    private mutating func isOpenNoMore(_ id: BatchID, in segment: Segment) {
        openIDs[segment]?.remove(id)
        // A set keeps the room for all that were ever in it.
        if openIDs[segment]?.isEmpty == true { openIDs[segment] = [] }
    }

    /// It is about to change.
    private mutating func reopen(_ id: BatchID) {
        guard open.index(forKey: id) == nil, var entry = packed.remove(id) else { return }
        entry.release(before: logStart)
        open[id] = entry
        openIDs[segment(of: entry.header), default: []].insert(id)
    }

    /// Partitions of which everything of its segment is forgotten hold the batch already.
    private mutating func settleForgotten(_ id: BatchID) {
        guard !base.partitions.isEmpty, let entry = self[id] else { return }
        let segment = segment(of: entry.header)
        let isMissing = entry.touched.contains { partition in
            isForgotten(segment, partition) && !entry.applied.contains(partition)
        }
        guard isMissing else { return }
        reopen(id)
        let held = forgotten(segment, of: entry.touched)
        open[id]?.applied.formUnion(held)
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
        // A sum does not depend on the order.
        for segment in openIDs.keys where segment < end {
            forEachCounted(in: segment) { _, home, held in totals[Int(home.index)].add(held) }
        }
        return totals
    }

    /// The oldest log file with a record of a batch that is not below `end`.
    package func oldestFile(from end: Segment) -> UInt32? {
        var oldest = packed.oldestFile(from: end, notBefore: logStart)
        for (segment, ids) in openIDs where segment >= end {
            for id in ids {
                // A minimum does not depend on the order.
                for file in self[id]?.files ?? [] { oldest = min(oldest ?? file, file) }
            }
        }
        return oldest
    }

    /// Ids of the segments below `end`, ascending by segment and id.
    package func ids(below end: Segment) -> [BatchID] {
        openIDs.keys.filter { $0 < end }.sorted().flatMap { ids(in: $0) }
    }

    /// Lets go of everything below `end`; `base` says what it added up to.
    package mutating func forget(below end: Segment, base: HistoryBase) {
        // Ascending, so that the places that become free are reused in the same order everywhere.
        for segment in openIDs.keys.filter({ $0 < end }).sorted() {
            for id in openIDs[segment] ?? [] { open[id] = nil }
            openIDs[segment] = nil
            packed.forget(segment)
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
        for id in ids {
            settleForgotten(id)
            settle(id)
        }
    }
}

// MARK: - Letting go of payloads

extension BatchIndex {
    /// The log begins with this file now: of what lay before it, history files keep the rest.
    /// `through`: marks of it that still lie in the log have this LSN at most.
    package mutating func release(before start: UInt32, through: LSN) {
        logStart = max(logStart, start)
        base.through = max(base.through, through)
    }

    /// The oldest file of the log with something of a batch that is not settled.
    package var oldestUnsettledFile: UInt32? {
        // A minimum does not depend on the order.
        open.keys.lazy.compactMap { self[$0]?.files.min() }.min()
    }

    /// Segments of batches of which something may lie before `end`, ascending.
    package func segments(before end: UInt32) -> [Segment] {
        guard logStart < end else { return [] }
        var found = Set(packed.segments(in: logStart..<end))
        for (segment, ids) in openIDs where !found.contains(segment) {
            let isOld = ids.contains { id in
                self[id]?.files.contains { $0 < end } == true
            }
            if isOld { found.insert(segment) }
        }
        return found.sorted()
    }

    /// What must be kept of the batches of one segment when the files before `end` go, ascending by
    /// id.
    package func husks(of segment: Segment, before end: UInt32) -> [HuskDraft] {
        guard logStart < end else { return [] }
        var drafts: [HuskDraft] = []
        for entry in packed.entries(of: segment, in: logStart..<end) {
            var entry = entry
            entry.release(before: logStart)
            if let draft = entry.husk(before: end) { drafts.append(draft) }
        }
        for id in openIDs[segment] ?? [] {
            if let draft = self[id]?.husk(before: end) { drafts.append(draft) }
        }
        return drafts.sorted { $0.husk.header.id < $1.husk.header.id }
    }

    /// A batch whose payload was let go of: durable, bound and applied, from a history file. Any
    /// record of it that the log still holds comes later.
    package mutating func hold(_ husk: Husk, at now: Instant) {
        let id = husk.header.id
        let partitions = husk.partitions
        update(husk.header, home: husk.home) { entry in
            entry.adopt(husk.header)
            entry.totals = husk.totals
            entry.touched.formUnion(husk.touched)
            entry.isBound = true
            entry.isFinished = entry.isFinished || husk.isFinished
            if husk.hasRecord, entry.record == nil {
                entry.record = .init(lsn: .zero, position: nil, isDurable: true)
            } else if !husk.hasRecord {
                entry.slices.append(
                    .init(lsn: .zero, position: nil, partitions: partitions, isDurable: true))
            }
        }
        countHome(id)
        settleForgotten(id)
        let held = self[id]?.applied ?? PartitionSet()
        let added = husk.applied.filter { !held.contains($0.partition) }
        markApplied(id, added.map { (partition: $0.partition, hash: $0.hash) }, at: now)
    }
}

extension PartitionBase {
    package var totals: HomeTotals { HomeTotals(events: events, counted: counted, dead: dead) }
}

// MARK: - Memory

extension BatchIndex {
    /// Bytes that are taken for what is kept of batches one by one, and for the digests.
    package var memory: IndexMemory {
        IndexMemory(
            open: openIDs.values.reduce(
                DictionaryBytes.of(open) + DictionaryBytes.of(openIDs)
            ) { $0 + DictionaryBytes.of($1) },
            rows: packed.rowBytes, lookUp: packed.lookUpBytes, digests: digests.byteCount,
            recent: recent.byteCount)
    }
}

/// What an index takes, counted by the capacities of its containers.
package struct IndexMemory: Hashable, Sendable {
    /// Entries that are not settled, without the sets of partitions in them.
    package var open: Int
    /// Packed entries.
    package var rows: Int
    /// What finds them by id: their places, and the producers.
    package var lookUp: Int
    package var digests: Int
    package var recent: Int

    package var total: Int { open + rows + lookUp + digests + recent }
}
