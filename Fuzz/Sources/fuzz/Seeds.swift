import Core
import Storage
import Wire

/// The committed corpus: small files of every kind, the same from every run.
enum Seeds {
    static func of(_ target: Target) -> [[UInt8]] {
        do {
            return try (0..<12).map { number in
                switch target {
                case .block: try block(number)
                case .table: try tableFile(number)
                case .log: try log(number)
                case .logindex: try LogIndexTarget.seed(number)
                case .manifest: try manifest(number)
                case .history: try history(number)
                case .attributetable: try AttributeTableTarget.seed(number)
                case .records: RecordsTarget.seed(number)
                case .peer: PeerTarget.messageSeed(number)
                case .connection: PeerTarget.connectionSeed(number)
                case .spool: try SpoolTarget.seed(number)
                default: EventSeeds.of(target, number)
                }
            }
        } catch {
            fatalError("no seed: \(error)")
        }
    }

    private struct Unexpected: Error {}

    // MARK: - Tables

    private static func memtable(_ number: Int) throws -> Memtable {
        var random = RandomSource(seed: UInt64(number + 1))
        var memtable = Memtable(
            partitions: 8, digestKey: Target.options.digestKey, window: .minute,
            bytesMax: StorageLimits.memtableBytesDefault)
        for key in 0..<1 + number {
            var slice = SliceWriter()
            let text = Array("key-\(key)".utf8)
            let cells = 1 + random.below(3)
            text.withUnsafeBytes { key in
                Array("view".utf8).withUnsafeBytes { type in
                    slice.beginSeries(key: key, type: type, cells: cells)
                }
            }
            for window in 0..<cells {
                let at = Int64(20 + window * 3)
                if random.chance(1, in: 2) {
                    let measure = Measure(event: Int64(random.below(2000)) - 1000)
                    guard let values = measure.values else { throw Unexpected() }
                    slice.append(window: at, count: 1, values: values)
                } else {
                    slice.append(window: at, count: UInt64(1 + random.below(300)))
                }
            }
            let bytes = slice.bytes()
            let partition = PartitionID(random.below(8))
            let fault: SliceError? = bytes.withUnsafeBytes { buffer in
                do throws(SliceError) {
                    try memtable.apply(slice: buffer, partition: partition)
                    return nil
                } catch {
                    return error
                }
            }
            if let fault { throw fault }
        }
        return memtable
    }

    private static func tables(
        _ number: Int, in files: MemoryFileSystem
    ) throws -> [TableHandle] {
        var options = Target.options
        options.blockTarget = number % 2 == 0 ? 40 : 1 << 15
        let runner = StorageRunner(fileSystem: files, options: options)
        var memtable = try memtable(number)
        let frozen = memtable.freeze(through: LSN(1))
        guard case .tables(let tables) = try runner.run(.writeTables(frozen, firstID: 1)).get()
        else { throw Unexpected() }
        return tables
    }

    private static func tableFile(_ number: Int) throws -> [UInt8] {
        let files = try Target.fresh()
        return try files.readAll(try tables(number, in: files)[0].path)
    }

    /// The raw first block of a table that was not compressed.
    private static func block(_ number: Int) throws -> [UInt8] {
        let bytes = try tableFile(number & ~1)
        guard bytes[1] == 0 else { return Array(bytes[16..<32]) }
        return Array(bytes[16..<16 + Int(bytes[8])])
    }

    /// A whole table whose only block has these raw bytes.
    static func table(around block: [UInt8]) -> [UInt8] {
        var file = ByteWriter()
        frame(1, block, into: &file)
        let indexOffset = file.bytes.count
        var index = ByteWriter()
        index.write(count: 1)
        index.write(count: indexOffset)
        index.write(count: 1)
        index.write(fixed: UInt16(0))
        index.write(sized: [])
        index.write(sized: [])
        index.write(zigzag: 0)
        index.write(fixed: UInt32(0))
        frame(2, index.bytes, into: &file)
        let filterOffset = file.bytes.count
        frame(3, [UInt8](repeating: 0xff, count: 32), into: &file)
        let footerOffset = file.bytes.count
        frame(4, footer(indexOffset, filterOffset), into: &file)
        let length = file.bytes.count - footerOffset
        file.write(fixed: UInt64(footerOffset))
        file.write(fixed: UInt32(length))
        file.write(fixed: UInt16(2))
        file.write(fixed: UInt16(0))
        file.write(raw: Array("QUIPUSST".utf8))
        return file.bytes
    }

    /// Of every partition and any key.
    private static func footer(_ indexOffset: Int, _ filterOffset: Int) -> [UInt8] {
        var footer = ByteWriter()
        footer.write(fixed: UInt64(1))
        footer.write(UInt8(1))
        footer.write(zigzag: 0)
        footer.write(zigzag: 60_000)
        footer.write(varint: 1)
        footer.write(varint: 1)
        footer.write(fixed: UInt64(0))
        footer.write(zigzag: 0)
        footer.write(zigzag: 46_079)
        footer.write(sized: [])
        footer.write(sized: Array("zzzz".utf8))
        footer.write(count: indexOffset)
        footer.write(count: filterOffset)
        footer.write(count: 8)
        for partition in 0..<8 {
            footer.write(fixed: UInt16(partition))
            footer.write(varint: 1)
            footer.write(varint: 1)
            footer.write(flag: false)
            for _ in 0..<2 { footer.write(fixed: UInt128(0)) }
        }
        // The checksums of index and filter.
        for _ in 0..<2 { footer.write(fixed: UInt32(0)) }
        return footer.bytes
    }

    private static func frame(_ kind: UInt8, _ raw: [UInt8], into file: inout ByteWriter) {
        file.write(kind)
        file.write(UInt8(0))
        file.write(fixed: UInt16(0))
        file.write(fixed: UInt32(raw.count))
        file.write(fixed: UInt32(raw.count))
        file.write(fixed: UInt32(0))
        file.write(raw: raw)
    }

    // MARK: - Log and manifest

    private static func log(_ number: Int) throws -> [UInt8] {
        let files = try Target.fresh()
        var options = Target.options
        options.logFileMax = number % 3 == 0 ? 120 : 4096
        var cursor = LogCursor(options: options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        for group in 0..<1 + number % 5 {
            let records = (0..<2).map { place in
                cursor.append(
                    kind: UInt8(place + 1), payload: [UInt8](repeating: 7, count: group * 3))
            }
            try writer.append(records)
            try writer.sync()
            cursor.markSynced(cursor.last)
        }
        let first = try files.readAll(FileNames.log(1))
        guard cursor.file > 1 else { return [0] + first }
        return [1] + first + (try files.readAll(FileNames.log(2)))
    }

    private static func manifest(_ number: Int) throws -> [UInt8] {
        let files = try Target.fresh()
        let runner = StorageRunner(fileSystem: files, options: Target.options)
        var identity = NodeIdentity(
            hostID: 9, incarnation: Incarnation(1), generation: 3, startNonce: 4)
        identity.mustRecover = number % 2 == 1
        let written = try tables(number, in: files)
        var edits = [
            ManifestEdit(identity: identity),
            ManifestEdit(addTables: written.map(\.meta), coveredThrough: .zero),
        ]
        var forget = ManifestEdit()
        forget.addHistory = [try historyHandle(number, in: files).meta]
        forget.base = HistoryBase(partitions: [.none, PartitionBase(events: 3, counted: 3)])
        edits.append(forget)
        edits.append(ManifestEdit(removeTables: written.map(\.meta.id)))
        for edit in edits.prefix(1 + number % 4) { _ = try runner.run(.commit(edit)).get() }
        if number >= 6 { _ = try Recovery.open(files, options: Target.options) { _, _ in } }
        return try files.readAll(FileNames.manifest)
    }

    // MARK: - History

    static func header(_ number: Int) -> BatchHeader {
        BatchHeader(
            id: BatchID(producer: UInt128(number % 3), sequence: UInt64(number)),
            createdAt: WallTime(milliseconds: Int64(number) * 1000),
            contentHash: Hash128(UInt128(number)), rule: .first)
    }

    private static func historyHandle(
        _ number: Int, in files: MemoryFileSystem
    ) throws -> HistoryHandle {
        let drafts = (0..<1 + number).map { batch in
            let letters = (0..<batch % 3).map {
                DeadLetter(
                    line: UInt32($0 + 1), reason: .badJSON, detail: "no", raw: [1], type: [2])
            }
            return HistoryDraft(
                header: header(batch), home: PartitionID(batch % 4),
                totals: BatchTotals(
                    events: UInt32(3 + letters.count), counted: 3, dead: UInt32(letters.count)),
                letters: .given(letters))
        }
        var plan = HistoryPlan(
            id: 1, level: 0, segmentLength: .seconds(10), drafts: number % 4 == 3 ? [] : drafts)
        if number % 2 == 1 {
            plan.husks = drafts.map { draft in
                HuskDraft(
                    Husk(
                        header: draft.header, home: draft.home, totals: draft.totals,
                        hasRecord: true, isFinished: false,
                        touched: PartitionSet([draft.home]),
                        applied: [Husk.Slice(partition: draft.home, hash: Hash128(5))]))
            }
        }
        let runner = StorageRunner(fileSystem: files, options: Target.options)
        guard case .history(let handle?) = try runner.run(.writeHistory(plan)).get() else {
            throw Unexpected()
        }
        return handle
    }

    private static func history(_ number: Int) throws -> [UInt8] {
        let files = try Target.fresh()
        return try files.readAll(try historyHandle(number, in: files).path)
    }
}
