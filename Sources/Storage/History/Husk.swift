package import Core
package import Wire

/// What is kept of a batch whose payload was let go of although its id is not forgotten: enough to
/// know it after a start as if its records were still in the log
/// (docs/decisions/0026-payloads.md).
package struct Husk: Hashable, Sendable {
    package struct Slice: Hashable, Sendable {
        package var partition: PartitionID
        /// Of the slice's cells: what its term in a set digest is made of.
        package var hash: Hash128

        package init(partition: PartitionID, hash: Hash128) {
            self.partition = partition
            self.hash = hash
        }
    }

    package var header: BatchHeader
    package var home: PartitionID
    package var totals: BatchTotals
    /// The home record was held: the outcome and its dead letters are in history files.
    package var hasRecord: Bool
    package var isFinished: Bool
    /// Partitions of which the records said that the batch touches them.
    package var touched: PartitionSet
    /// Where it is applied, ascending by partition: its cells are in tables.
    package var applied: [Slice]

    package init(
        header: BatchHeader, home: PartitionID, totals: BatchTotals, hasRecord: Bool,
        isFinished: Bool, touched: PartitionSet, applied: [Slice] = []
    ) {
        self.header = header
        self.home = home
        self.totals = totals
        self.hasRecord = hasRecord
        self.isFinished = isFinished
        self.touched = touched
        self.applied = applied
    }

    package var partitions: PartitionSet { PartitionSet(applied.lazy.map(\.partition)) }

    package func segment(_ length: Duration) -> Segment {
        Segment(createdAt: header.createdAt, length: length)
    }

    /// Takes in what another husk of the same batch says.
    package mutating func merge(_ other: Husk) {
        hasRecord = hasRecord || other.hasRecord
        isFinished = isFinished || other.isFinished
        touched.formUnion(other.touched)
        let held = partitions
        let added = other.applied.filter { !held.contains($0.partition) }
        guard !added.isEmpty else { return }
        applied = (applied + added).sorted { $0.partition < $1.partition }
    }

    /// What of it concerns a replica of these partitions; nil where nothing does.
    package func part(of wanted: PartitionSet) -> Husk? {
        var part = self
        part.applied = applied.filter { wanted.contains($0.partition) }
        part.hasRecord = hasRecord && wanted.contains(home)
        if !part.hasRecord { part.touched = part.partitions }
        return part.hasRecord || !part.applied.isEmpty ? part : nil
    }
}

/// A husk on its way into a history file.
package struct HuskDraft: Hashable, Sendable {
    /// What of it is known already.
    package var husk: Husk
    /// Partitions whose hashes are to be read from the records at `places`.
    package var wanted: PartitionSet
    package var places: [LogPosition]

    package init(_ husk: Husk, wanted: PartitionSet = PartitionSet(), places: [LogPosition] = []) {
        self.husk = husk
        self.wanted = wanted
        self.places = places
    }

    /// What the same file tells of its outcome, where it held the home record in the log.
    package var outcome: HistoryDraft? {
        guard husk.hasRecord, let position = places.first else { return nil }
        return HistoryDraft(
            header: husk.header, home: husk.home, totals: husk.totals, letters: .inLog(position))
    }
}

extension ByteWriter {
    package mutating func write(_ husk: Husk) {
        write(husk.header)
        write(fixed: husk.home.index)
        write(varint: UInt64(husk.totals.counted))
        write(varint: UInt64(husk.totals.dead))
        write(UInt8(husk.hasRecord ? 1 : 0) | UInt8(husk.isFinished ? 2 : 0))
        write(husk.touched)
        write(count: husk.applied.count)
        for slice in husk.applied {
            write(fixed: slice.partition.index)
            write(slice.hash)
        }
    }
}

extension ByteReader {
    package mutating func husk() throws(DecodeError) -> Husk {
        let outcome = try outcome()
        let flags = try byte()
        guard flags < 4 else { throw fail("a husk's flags \(flags)") }
        var husk = Husk(
            header: outcome.header, home: outcome.home, totals: outcome.totals,
            hasRecord: flags & 1 != 0, isFinished: flags & 2 != 0, touched: try partitions())
        for _ in 0..<(try count(ofSize: 18)) {
            let slice = Husk.Slice(partition: try partition(), hash: try hash())
            if let last = husk.applied.last, last.partition >= slice.partition {
                throw fail("a husk's slices out of order")
            }
            husk.applied.append(slice)
        }
        return husk
    }
}

// MARK: - Reading what the log still has

extension LogRecord {
    /// What is wanted of the batch with this header, whose record it must be.
    func batch<Wanted>(
        _ header: BatchHeader, _ read: (BatchRecord) throws(DecodeError) -> Wanted
    ) throws(StorageError) -> Wanted {
        do throws(DecodeError) {
            let batch = try BatchRecord(decoding: payload)
            guard batch.header == header else {
                throw DecodeError("the record of \(batch.header.id) stands here", at: 0)
            }
            return try read(batch)
        } catch {
            throw .damaged(
                path: FileNames.log(position.file), offset: position.offset,
                what: error.description)
        }
    }
}

extension HuskDraft {
    /// How many bytes of records are in memory at once; one record at least.
    private static let bytesMax = 8 << 20

    /// The husks of `drafts`, ascending by id, with the hashes that the log gives: its files are
    /// read from front to back.
    static func fill(
        _ drafts: [HuskDraft], from fileSystem: any FileSystem
    ) throws(StorageError) -> [Husk] {
        var husks = drafts.map(\.husk)
        var places: [(position: LogPosition, draft: Int)] = []
        for (number, draft) in drafts.enumerated() {
            for position in draft.places { places.append((position: position, draft: number)) }
        }
        places.sort { $0.position < $1.position }
        var start = 0
        while start < places.count {
            var end = start
            var bytes = 0
            while end < places.count, end == start || bytes < bytesMax {
                bytes += Int(places[end].position.length)
                end += 1
            }
            let chunk = places[start..<end]
            let records = try LogReader.read(chunk.map(\.position), from: fileSystem)
            for (place, record) in zip(chunk, records) {
                try take(record, of: drafts[place.draft], into: &husks[place.draft])
            }
            start = end
        }
        for (draft, husk) in zip(drafts, husks) {
            guard draft.wanted.isSubset(of: husk.partitions) else {
                let position = draft.places.first ?? LogPosition(file: 0, offset: 0, length: 0)
                throw .damaged(
                    path: FileNames.log(position.file), offset: position.offset,
                    what: "the records of \(husk.header.id) lack a slice that was applied")
            }
        }
        return husks.sorted { $0.header.id < $1.header.id }
    }

    private static func take(
        _ record: LogRecord, of draft: HuskDraft, into husk: inout Husk
    ) throws(StorageError) {
        var part = husk
        part.applied = try record.batch(husk.header) { batch in
            batch.slices.filter { draft.wanted.contains($0.partition) }.map {
                Husk.Slice(partition: $0.partition, hash: $0.hash)
            }
        }
        husk.merge(part)
    }
}
