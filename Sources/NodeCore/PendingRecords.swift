import Core
import Wire

/// Home records between bind and apply, by id, within a bound of bytes: what does not fit is read
/// back from the log when it is applied.
struct PendingRecords {
    private var records: [BatchID: BatchRecord] = [:]
    private(set) var byteCount = 0

    subscript(id: BatchID) -> BatchRecord? { records[id] }

    mutating func insert(_ record: BatchRecord, limit: Int) {
        remove(record.header.id)
        guard byteCount + record.bytes.count <= limit else { return }
        byteCount += record.bytes.count
        records[record.header.id] = record
    }

    mutating func remove(_ id: BatchID) {
        guard let record = records.removeValue(forKey: id) else { return }
        byteCount -= record.bytes.count
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
