import Core
import Replication
import Storage
import Wire

/// What an index says, kept as simply as possible: a dictionary of entries, and sums that are made
/// anew whenever they are asked for.
struct IndexModel {
    let mine: PartitionSet
    let length: Duration
    let key: SipKey
    var entries: [BatchID: BatchEntry] = [:]
    /// Every term that ever joined a set, by partition.
    var applied: [PartitionID: SetDigest] = [:]
    var homes: [PartitionID: SetDigest] = [:]
    var totals: [PartitionID: HomeTotals] = [:]
    var segments: Set<Segment> = []
    var floor = Segment.first

    func segment(_ header: BatchHeader) -> Segment {
        Segment(createdAt: header.createdAt, length: length)
    }

    private func isForgotten(_ header: BatchHeader, _ partition: PartitionID) -> Bool {
        mine.contains(partition) && segment(header) < floor
    }

    mutating func hold(_ record: BatchRecord, _ lsn: LSN, _ position: LogPosition) {
        var entry = replaced(record)
        if entry.record?.position != position {
            entry.header = record.header
            entry.totals = record.totals
            entry.touched = record.partitions
            entry.record = .init(lsn: lsn, position: position, isDurable: false)
        }
        store(entry)
    }

    mutating func holdSlices(_ record: BatchRecord, _ lsn: LSN, _ position: LogPosition) {
        var entry = replaced(record)
        entry.totals = record.totals
        entry.touched.formUnion(record.partitions)
        entry.slices.append(
            .init(lsn: lsn, position: position, partitions: record.partitions, isDurable: false))
        entry.isBound = true
        store(entry)
    }

    private func replaced(_ record: BatchRecord) -> BatchEntry {
        let fresh = BatchEntry(header: record.header, home: record.home)
        guard let held = entries[record.header.id] else { return fresh }
        return held.header.contentHash == record.header.contentHash ? held : fresh
    }

    private mutating func store(_ entry: BatchEntry) {
        var entry = entry
        segments.insert(segment(entry.header))
        for partition in entry.touched where isForgotten(entry.header, partition) {
            entry.applied.insert(partition)
        }
        entries[entry.header.id] = entry
        count(entry.header.id)
    }

    mutating func change(_ id: BatchID, _ change: (inout BatchEntry) -> Void) {
        guard var entry = entries[id] else { return }
        change(&entry)
        entries[id] = entry
        count(id)
    }

    private mutating func count(_ id: BatchID) {
        guard var entry = entries[id], entry.isBound, entry.record?.isDurable == true,
            !entry.isCounted
        else { return }
        entry.isCounted = true
        entries[id] = entry
        guard !isForgotten(entry.header, entry.home) else { return }
        homes[entry.home, default: .empty].insert(
            SetDigest.term(id, entry.header.contentHash, key: key))
        totals[entry.home, default: HomeTotals()].add(entry.totals)
    }

    mutating func markApplied(
        _ id: BatchID, _ hashes: [(partition: PartitionID, hash: Hash128)], at now: Instant
    ) {
        guard var entry = entries[id] else { return }
        for (partition, hash) in hashes where !isForgotten(entry.header, partition) {
            entry.applied.insert(partition)
            applied[partition, default: .empty].insert(SetDigest.term(id, hash, key: key))
        }
        entry.changedAt = now
        entries[id] = entry
    }

    mutating func drop(_ id: BatchID) { entries[id] = nil }

    mutating func forget(below end: Segment) {
        entries = entries.filter { segment($0.value.header) >= end }
        segments = segments.filter { $0 >= end }
        floor = max(floor, end)
    }

    func ids(in segment: Segment) -> [BatchID] {
        entries.values.filter { self.segment($0.header) == segment }.map(\.header.id).sorted()
    }

    func withLetters(in segment: Segment, homes: PartitionSet) -> [BatchEntry] {
        ids(in: segment).compactMap { entries[$0] }.filter {
            $0.isCounted && $0.totals.dead > 0 && homes.contains($0.home)
                && !isForgotten($0.header, $0.home)
        }
    }

    func isReady(below end: Segment) -> Bool {
        entries.values.allSatisfy { entry in
            guard segment(entry.header) < end, let record = entry.record else { return true }
            return record.isDurable && entry.isBound && entry.isFinished
        }
    }

    func oldestFile(from end: Segment) -> UInt32? {
        entries.values.filter { segment($0.header) >= end }.flatMap { entry in
            entry.files
        }.min()
    }
}
