import Core
import Storage
import Testing
import Wire

@Suite("Indexes of log files")
struct LogIndexTests {
    private static let batchKind: UInt8 = 1

    /// Batch records between others, over some files; those of a kind of their own are none.
    private static func write(_ count: Int, to files: MemoryFileSystem) throws -> LogCursor {
        var cursor = LogCursor(options: StorageModel.options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        for number in 0..<count {
            let append =
                number % 3 == 0
                ? cursor.append(kind: 2, payload: LogTests.payload(number))
                : cursor.append(kind: batchKind, payload: record(number).bytes)
            try writer.append([append])
            try writer.sync()
            cursor.markSynced(append.lsn)
        }
        return cursor
    }

    /// Of two slices whose cells are most of it, every fifth with dead letters.
    private static func record(_ number: Int) -> BatchRecord {
        var random = RandomSource(seed: UInt64(number))
        let cells = (0..<400).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let letters = HistoryTests.letters(number)
        return BatchRecord.home(
            header: HistoryTests.header(number), home: PartitionID(number % 4),
            totals: BatchTotals(
                events: UInt32(letters.count + 3), counted: 3, dead: UInt32(letters.count)),
            slices: [0, 200].enumerated().map { place, offset in
                (partition: PartitionID(place * 3), offset: offset, length: 200, cells: 2)
            }, cells: cells, deadLetters: letters)
    }

    private static func index(
        _ file: UInt32, _ files: MemoryFileSystem, covered: LSN
    ) throws -> Bool {
        let plan = LogIndexPlan(file: file, covered: covered, batchKinds: [batchKind])
        let result = try ManifestTests.runner(files).run(.indexLog(plan)).get()
        guard case .indexed(let isDone) = result else { throw TableTests.Unexpected() }
        return isDone
    }

    /// A log of some files, all of which but the last are covered and have indexes.
    private static func indexed() throws -> (files: MemoryFileSystem, cursor: LogCursor) {
        let files = try LogTests.fresh()
        let cursor = try write(60, to: files)
        try #require(cursor.file >= 5)
        _ = try ManifestTests.runner(files)
            .run(.commit(ManifestEdit(coveredThrough: cursor.last))).get()
        for file in 1..<cursor.file {
            #expect(try index(file, files, covered: cursor.last))
        }
        return (files, cursor)
    }

    private static func whole(_ files: MemoryFileSystem) throws -> [LogRecord] {
        var records: [LogRecord] = []
        var options = StorageModel.options
        options.readsLogIndexes = false
        _ = try Recovery.open(files.clone(), options: options) { record, _ in
            records.append(record)
        }
        return records
    }

    @Test("a start reads them in the place of covered files: the same records, without bodies")
    func start() throws {
        let (files, cursor) = try Self.indexed()
        let whole = try Self.whole(files)
        let (recovered, records) = try LogTests.recover(files)
        #expect(recovered.indexed == Array(1..<cursor.file))
        #expect(recovered.remarks.isEmpty && recovered.damage.isEmpty)
        #expect(recovered.cursor == cursor)
        #expect(whole.count == 60 && records.count == 60)
        var heads = 0
        for (one, other) in zip(records, whole) {
            #expect(one.kind == other.kind && one.lsn == other.lsn)
            #expect(one.position == other.position)
            guard one.isHead else {
                #expect(one.payload == other.payload)
                continue
            }
            heads += 1
            let batch = try BatchRecord(decoding: other.payload)
            let head = try BatchRecord(decodingHead: one.payload)
            #expect(one.payload == Array(batch.head) && head.size == batch.size)
            #expect(head.header == batch.header && head.totals == batch.totals)
            #expect(head.home == batch.home && head.slices == batch.slices)
            #expect(head.letterBytes == batch.letterBytes)
            // What is not there is an error.
            #expect(throws: DecodeError.self) { try head.body() }
            #expect(throws: DecodeError.self) { try head.cells(of: PartitionID(0)) }
            // A record at its place is read from the log, whole.
            let read = try LogReader.read(one.position, expecting: one.lsn, from: files)
            #expect(read.payload == other.payload)
        }
        #expect(heads > 20)
        let sizes = (1..<cursor.file).map { file in
            [FileNames.log(file), FileNames.logIndex(file)].map { files.contents[$0]?.count ?? 0 }
        }
        #expect(sizes.allSatisfy { $0[1] < $0[0] })
    }

    @Test("none is written of a file that tables do not cover whole, nor of the last one")
    func uncovered() throws {
        let files = try LogTests.fresh()
        let cursor = try Self.write(30, to: files)
        let (_, records) = try LogTests.recover(files)
        let last = try #require(records.last { $0.position.file == 1 }).lsn
        let before = files.contents
        #expect(try !Self.index(1, files, covered: LSN(last.number - 1)))
        #expect(try !Self.index(cursor.file, files, covered: cursor.last))
        #expect(files.contents == before)
        #expect(try Self.index(1, files, covered: last))
        // Nor is one read while the manifest does not say so.
        #expect(try LogTests.recover(files).recovered.indexed.isEmpty)
        _ = try ManifestTests.runner(files)
            .run(.commit(ManifestEdit(coveredThrough: last))).get()
        #expect(try LogTests.recover(files).recovered.indexed == [1])
    }

    @Test("one of another file is of no use: the log file is read, and an operator hears of it")
    func misfits() throws {
        let (files, _) = try Self.indexed()
        let whole = try Self.whole(files)
        let path = FileNames.logIndex(2)
        let own = try #require(files.contents[path])
        let log = try #require(files.contents[FileNames.log(2)])
        let wrong: [[UInt8]] = [
            [], try #require(files.contents[FileNames.logIndex(1)]), Array(own.dropLast(3)),
            own + [0], log,
        ]
        for bytes in wrong {
            files.overwrite(path, with: bytes)
            let (recovered, records) = try LogTests.recover(files)
            #expect(!recovered.indexed.contains(2) && recovered.indexed.contains(1))
            #expect(recovered.remarks.count == 1 && recovered.damage.isEmpty)
            #expect(recovered.remarks.first?.hasPrefix(path) == true)
            #expect(
                records.filter { $0.position.file == 2 }
                    == whole.filter { $0.position.file == 2 })
        }
        files.overwrite(path, with: own)
        #expect(try LogTests.recover(files).recovered.remarks.isEmpty)
        // The log file has another last record, or another size, than the index says.
        let place = Int(try #require(whole.last { $0.position.file == 2 }).position.offset)
        for change in [{ $0[place + 28] ^= 1 }, { $0.append(0) }] as [(inout [UInt8]) -> Void] {
            let bent = files.clone()
            var bytes = log
            change(&bytes)
            bent.overwrite(FileNames.log(2), with: bytes)
            let recovered = try LogTests.recover(bent).recovered
            #expect(!recovered.indexed.contains(2) && !recovered.damage.isEmpty)
        }
    }

    @Test("a log file that cannot be read gets none, and is what is said to be damaged")
    func damagedLog() throws {
        let files = try LogTests.fresh()
        let cursor = try Self.write(30, to: files)
        let log = FileNames.log(1)
        let bytes = try #require(files.contents[log])
        let count = files.contents.count
        for place in stride(from: 0, to: bytes.count, by: 97) {
            var bent = bytes
            bent[place] ^= 4
            files.overwrite(log, with: bent)
            #expect(throws: StorageError.self, "byte \(place)") {
                do throws(StorageError) {
                    _ = try Self.runIndex(files, cursor)
                } catch {
                    #expect(error.isDamage && error.path == log)
                    throw error
                }
            }
            #expect(files.contents.count == count, "byte \(place)")
        }
        files.overwrite(log, with: bytes)
        // A payload that is no batch record, under the kind of one.
        let plan = LogIndexPlan(file: 1, covered: cursor.last, batchKinds: [1, 2])
        #expect(throws: StorageError.self) {
            try ManifestTests.runner(files).run(.indexLog(plan)).get()
        }
        #expect(try Self.index(1, files, covered: cursor.last))
    }

    private static func runIndex(
        _ files: MemoryFileSystem, _ cursor: LogCursor
    ) throws(StorageError) -> StorageResult {
        let plan = LogIndexPlan(file: 1, covered: cursor.last, batchKinds: [batchKind])
        return try ManifestTests.runner(files).run(.indexLog(plan)).get()
    }

    @Test("they go with their files, and a start removes what is left of them")
    func removal() throws {
        let (files, cursor) = try Self.indexed()
        let runner = ManifestTests.runner(files)
        _ = try runner.run(.commit(ManifestEdit(logStart: 3))).get()
        // A crash kept the files from being removed, and one of them from having its log.
        try files.remove(FileNames.log(2))
        files.overwrite(FileNames.logIndex(4) + FileNames.draftSuffix, with: [1, 2])
        #expect(try LogTests.recover(files).recovered.indexed == Array(3..<cursor.file))
        let left = files.contents.keys.filter { $0.hasPrefix("log/") }.sorted()
        let expected = (3...cursor.file).flatMap { file in
            (file < cursor.file ? [FileNames.logIndex(file)] : []) + [FileNames.log(file)]
        }
        #expect(left == expected.sorted())
        _ = try runner.run(.removeLogs(before: cursor.file)).get()
        #expect(files.contents.keys.filter { $0.hasPrefix("log/") } == [FileNames.log(cursor.file)])
    }

    @Test("a record longer than a block, and many blocks, come back as they were")
    func blocks() throws {
        let files = try LogTests.fresh()
        var options = StorageModel.options
        options.logFileMax = 8 << 20
        var cursor = LogCursor(options: options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        var random = RandomSource(seed: 31)
        let lengths = [10, 3 << 20, 0, 200_000, 200_000, 200_000, 1 << 20, 5 << 20, 7]
        for length in lengths {
            let payload = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            try writer.append([cursor.append(kind: 9, payload: payload)])
        }
        try writer.sync()
        try #require(cursor.file == 2)
        _ = try ManifestTests.runner(files)
            .run(.commit(ManifestEdit(coveredThrough: cursor.last))).get()
        #expect(try Self.index(1, files, covered: cursor.last))
        let (recovered, records) = try LogTests.recover(files)
        #expect(recovered.indexed == [1])
        #expect(records == (try Self.whole(files)))
    }

    // MARK: - Crashes

    private static let script = CrashScript(seed: 281) { life in
        try life.identify()
        for round in 0..<12 {
            try life.append(20)
            if round % 3 == 1 { try life.flush() }
            if round % 4 == 2 { try life.indexLogs() }
            if round == 7 { try life.releaseLog() }
        }
    }

    @Test("a power cut at any change, also of the start after it, leaves what was promised")
    func crashes() throws {
        let files = MemoryFileSystem()
        Self.script.live(on: files)
        #expect(try LogTests.recover(files).recovered.indexed.count > 0)
        var random = RandomSource(seed: 282)
        #expect(try Self.script.cutEverywhere(&random) > 600)
        #expect(try Self.script.cutStartsEverywhere(&random) > 60)
    }

    @Test("a single failed operation ends in an error or is harmless, and then recovers clean")
    func faults() throws {
        var random = RandomSource(seed: 283)
        for fault in [MemoryFileSystem.Fault.inputOutput, .diskFull, .shortWrite] {
            try Self.script.failEverywhere(with: fault, &random)
        }
    }

    // MARK: - Forging

    /// An index of one block whose last record says something else, sealed anew as
    /// docs/formats/log-index.md says.
    static func forged(_ bytes: [UInt8]) throws -> [UInt8] {
        let frames = RotSweep.frames(of: bytes)
        try #require(frames.count == 2)
        var records = try BitRotTests.raw(bytes[frames[0]])
        records[records.count - 1] ^= 1
        let block = BitRotTests.sealed(bytes[frames[0]], records[...], id: 1, at: 0)
        var footer = ByteWriter()
        footer.write(raw: Array(try BitRotTests.raw(bytes[frames[1]]).prefix(44)))
        footer.write(count: 1)
        footer.write(count: block.count)
        footer.write(raw: Array(block[12..<16]))
        let end = BitRotTests.sealed(
            bytes[frames[1]], footer.bytes[...], id: 1, at: block.count)
        var tail = ByteWriter()
        tail.write(fixed: UInt64(block.count))
        tail.write(fixed: UInt32(end.count))
        tail.write(raw: Array(bytes.suffix(12)))
        return block + end + tail.bytes
    }
}
