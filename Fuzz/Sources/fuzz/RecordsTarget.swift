import Core
import Replication
import Storage
import Wire

/// What the records of a log say, without their frames: kind (1), length (2), payload, the next.
enum RecordsTarget {
    private static let recordsMax = 64
    private static let all = PartitionSet((0..<8).map { PartitionID($0) })

    private struct Record {
        var kind: UInt8
        var payload: [UInt8]
    }

    /// What two starts must agree on.
    private struct Found: Equatable {
        var malformed: [String]
        var marks: Watermarks
        var lastMark: LSN
        var batches: Int
        var digests: [StateDigest]
    }

    static func recover(_ bytes: [UInt8]) throws {
        let records = cut(bytes)
        for record in records { readAlone(record) }
        let first = try recovered(records)
        let second = try recovered(records)
        precondition(first == second, "two starts read something else")
        // One for the record and one for each time that it is replayed.
        precondition(first.malformed.count <= 2 * records.count)
    }

    private static func cut(_ bytes: [UInt8]) -> [Record] {
        var records: [Record] = []
        var start = 0
        while start + 3 <= bytes.count, records.count < recordsMax {
            let length = Int(bytes[start + 1]) | Int(bytes[start + 2]) << 8
            let end = min(bytes.count, start + 3 + length)
            records.append(Record(kind: bytes[start], payload: Array(bytes[start + 3..<end])))
            start = end
        }
        return records
    }

    private static func recovered(_ records: [Record]) throws -> Found {
        var log = RecoveredLog(
            partitions: 8, mine: all, digestKey: Target.options.digestKey, window: .minute,
            segmentLength: .seconds(10), memtableBytesMax: StorageLimits.memtableBytesDefault)
        log.begin(ManifestState())
        for (number, record) in records.enumerated() {
            let position = LogPosition(
                file: 1, offset: UInt64(number), length: UInt32(record.payload.count))
            log.visit(
                kind: record.kind, lsn: LSN(UInt64(number) + 1), position: position,
                payload: record.payload)
        }
        try log.replay(after: .zero) { position, _ in records[Int(position.offset)].payload }
        let malformed = log.malformed
        let marks = log.marks
        let lastMark = log.lastMark
        let memtable = log.takeMemtable()
        let index = log.takeIndex()
        return Found(
            malformed: malformed, marks: marks, lastMark: lastMark, batches: index.count,
            digests: all.map { memtable.stateDigest(of: $0) })
    }

    /// What can be read is written so that it reads as the same.
    private static func readAlone(_ record: Record) {
        guard let kind = LogKind(rawValue: record.kind) else { return }
        let bytes = record.payload
        switch kind {
        case .home, .slices:
            keeps(bytes, { $0.bytes }) { (bytes) throws(DecodeError) in
                let batch = try BatchRecord(decoding: bytes)
                precondition(batch.bytes == bytes, "a batch has other bytes than it was read from")
                _ = try batch.body()
                return batch
            }
        case .applied:
            keeps(bytes, \.encoded) { (bytes) throws(DecodeError) in
                try AppliedMark(decoding: bytes)
            }
        case .progress, .dropped:
            keeps(bytes, \.encoded) { (bytes) throws(DecodeError) in
                try ProgressMark(decoding: bytes)
            }
        case .peer:
            keeps(bytes, \.encoded) { (bytes) throws(DecodeError) in
                try PeerMemory(decoding: bytes)
            }
        case .frozen, .closed, .sealed:
            keeps(bytes, \.encoded) { (bytes) throws(DecodeError) in
                try SegmentMark(decoding: bytes)
            }
        case .run:
            keeps(bytes, \.encoded) { (bytes) throws(DecodeError) in try RunMark(decoding: bytes) }
        case .state:
            keeps(bytes, \.encoded) { (bytes) throws(DecodeError) in
                try LogState(decoding: bytes)
            }
        case .absence:
            keeps(bytes, \.encoded) { (bytes) throws(DecodeError) in
                try AbsenceRegister(decoding: bytes)
            }
        }
    }

    private static func keeps<Value: Equatable>(
        _ bytes: [UInt8], _ encode: (Value) -> [UInt8],
        _ decode: ([UInt8]) throws(DecodeError) -> Value
    ) {
        let value: Value
        do throws(DecodeError) { value = try decode(bytes) } catch { return }
        do throws(DecodeError) {
            let again = try decode(encode(value))
            precondition(again == value, "what is written reads as something else")
        } catch {
            fatalError("what is written does not read: \(error)")
        }
    }

    // MARK: - Seeds

    static func seed(_ number: Int) -> [UInt8] {
        let header = Seeds.header(number)
        let batch = batch(header)
        var records: [(LogKind, [UInt8])] = [
            (.run, RunMark(run: 5, edits: 2).encoded), (.home, batch.bytes),
            (
                .applied,
                AppliedMark(id: header.id, partitions: PartitionSet([PartitionID(1)])).encoded
            ),
        ]
        let standing = Standing(
            incarnation: Incarnation(2), run: 5, lsn: LSN(3), edits: 2)
        let memory = PeerMemory(node: NodeID("n2"), standing: standing)
        var marks = Watermarks()
        marks.closed = Segment(3)
        let more: [(LogKind, [UInt8])] = [
            (
                .progress,
                ProgressMark(
                    id: header.id, contentHash: header.contentHash, isFinished: true
                ).encoded
            ),
            (.peer, memory.encoded),
            (.frozen, SegmentMark(below: Segment(4)).encoded),
            (.closed, SegmentMark(below: Segment(3), digest: SetDigest(sum: 9, count: 1)).encoded),
            (.state, LogState(marks: marks, peers: [memory], runs: RunHistory()).encoded),
            (.absence, AbsenceRegister().encoded),
            (.sealed, SegmentMark(below: Segment(2)).encoded),
            (
                .dropped,
                ProgressMark(
                    id: header.id, contentHash: header.contentHash, isFinished: false
                ).encoded
            ),
        ]
        records += more.prefix(number)
        return records.flatMap { kind, payload in
            [kind.rawValue, UInt8(payload.count & 255), UInt8(payload.count >> 8)] + payload
        }
    }

    /// One cell in one partition, and a dead letter.
    static func batch(_ header: BatchHeader) -> BatchRecord {
        var slice = SliceWriter()
        Array("key".utf8).withUnsafeBytes { key in
            Array("view".utf8).withUnsafeBytes { type in
                slice.beginSeries(key: key, type: type, cells: 1)
            }
        }
        slice.append(window: 29_000_000, count: 2)
        let cells = slice.bytes()
        return BatchRecord.home(
            header: header, home: PartitionID(1),
            totals: BatchTotals(events: 3, counted: 2, dead: 1),
            slices: [(partition: PartitionID(1), offset: 0, length: cells.count, cells: 1)],
            cells: cells,
            deadLetters: [DeadLetter(line: 3, reason: .badJSON, detail: "no", raw: [0x7b])])
    }
}
