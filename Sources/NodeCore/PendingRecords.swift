import Core
import Wire

/// Home records between bind and apply, by id, within a bound of bytes: what does not fit is read
/// back from the log when it is applied. Those that were applied last stay for a while, for reads
/// that meet a voter which has not applied them yet.
struct PendingRecords {
    private var records: [BatchID: BatchRecord] = [:]
    /// Of those that wait for their application.
    private(set) var byteCount = 0
    /// Applied, the oldest first; of one that was taken again meanwhile the entry is stale.
    private var retired: [BatchID] = []
    private var head = 0
    private var isRetired: Set<BatchID> = []
    private(set) var retiredBytes = 0

    subscript(id: BatchID) -> BatchRecord? { records[id] }

    mutating func insert(_ record: BatchRecord, limit: Int) {
        remove(record.header.id)
        guard byteCount + record.footprint <= limit else { return }
        byteCount += record.footprint
        records[record.header.id] = record
    }

    /// It was applied: it stays as long as there is room.
    mutating func retire(_ id: BatchID, limit: Int) {
        guard let record = records[id], isRetired.insert(id).inserted else { return }
        byteCount -= record.footprint
        let rest = record.withoutMadeBody
        records[id] = rest
        retiredBytes += rest.footprint
        retired.append(id)
        while retiredBytes > limit, head < retired.count {
            let oldest = retired[head]
            head += 1
            if isRetired.contains(oldest) { remove(oldest) }
        }
        if head > 1024, head * 2 > retired.count {
            retired.removeFirst(head)
            head = 0
        }
    }

    mutating func remove(_ id: BatchID) {
        guard let record = records.removeValue(forKey: id) else { return }
        if isRetired.remove(id) != nil {
            retiredBytes -= record.footprint
        } else {
            byteCount -= record.footprint
        }
    }
}

extension BatchRecord {
    /// What it takes in memory: of a small batch its directory is the larger part.
    fileprivate var footprint: Int {
        bytes.count + madeBytes + slices.count * MemoryLayout<Slice>.stride
            + MemoryLayout<BatchRecord>.stride * 2
    }
}

/// Bytes of records that were appended and are not yet on disk, by LSN ascending.
struct UnsyncedRecords {
    private var sizes: [(lsn: LSN, bytes: Int)] = []
    private(set) var byteCount = 0

    mutating func insert(_ lsn: LSN, _ bytes: Int) {
        sizes.append((lsn: lsn, bytes: bytes))
        byteCount += bytes
    }

    mutating func remove(through lsn: LSN) {
        let done = sizes.prefix { $0.lsn <= lsn }
        byteCount -= done.reduce(0) { $0 + $1.bytes }
        sizes.removeFirst(done.count)
    }
}
