import Core
import Storage
import Testing

@Suite struct LogTests {
    /// A log of records with lengths that never divide a sector.
    static func payload(_ number: Int) -> [UInt8] {
        (0..<37 + number * 13 % 400).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ number) }
    }

    /// A directory as a first start leaves it.
    static func fresh() throws -> MemoryFileSystem {
        let files = MemoryFileSystem()
        _ = try Recovery.open(files, options: StorageModel.options) { _, _ in }
        return files
    }

    static func recover(
        _ files: MemoryFileSystem
    ) throws -> (recovered: Recovered, records: [LogRecord]) {
        var records: [LogRecord] = []
        let recovered = try Recovery.open(files, options: StorageModel.options) { record, _ in
            records.append(record)
        }
        return (recovered, records)
    }

    /// Appends `groups` of records, each group synced, and says what was appended.
    static func write(
        _ groups: [Int], to files: MemoryFileSystem, from cursor: LogCursor? = nil
    ) throws -> (cursor: LogCursor, appends: [LogAppend]) {
        var cursor = cursor ?? LogCursor(options: StorageModel.options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        var appends: [LogAppend] = []
        for group in groups {
            let records = (0..<group).map { _ in
                cursor.append(
                    kind: UInt8(cursor.next.number % 5),
                    payload: payload(Int(cursor.next.number)))
            }
            try writer.append(records)
            try writer.sync()
            if let last = records.last { cursor.markSynced(last.lsn) }
            appends.append(contentsOf: records)
        }
        return (cursor, appends)
    }

    static func matches(_ record: LogRecord, _ append: LogAppend) -> Bool {
        record.kind == append.kind && record.lsn == append.lsn
            && record.position == append.position && record.payload == append.payload
    }

    @Test("a file is closed when a record of the next one is on the disk, not before")
    func closedFiles() throws {
        let files = try Self.fresh()
        var cursor = LogCursor(options: StorageModel.options)
        var appends: [LogAppend] = []
        while cursor.file == 1 { appends.append(cursor.append(kind: 1, payload: Self.payload(1))) }
        let first = appends.removeLast()
        var writer = LogWriter(fileSystem: files, cursor: LogCursor(options: StorageModel.options))
        try writer.append(appends)
        try writer.sync()
        cursor.markSynced(LSN(first.lsn.number - 1))
        #expect(cursor.file == 2 && cursor.closedBefore == 1)
        try writer.append([first])
        try writer.sync()
        cursor.markSynced(first.lsn)
        #expect(cursor.closedBefore == 2)
        // What a start found is on the disk.
        let (recovered, _) = try Self.recover(files)
        #expect(recovered.cursor == cursor)
    }

    @Test("what was appended comes back, over many files, and the log goes on where it ended")
    func roundTrip() throws {
        let files = try Self.fresh()
        let (cursor, appends) = try Self.write([1, 7, 30, 1, 61], to: files)
        let (recovered, records) = try Self.recover(files)
        #expect(records.count == 100)
        #expect(zip(records, appends).allSatisfy { Self.matches($0, $1) })
        #expect(recovered.cursor == cursor)
        #expect(recovered.damage.isEmpty)
        #expect(try files.list("log").count == Int(cursor.file))
        #expect(cursor.file > 3)
        let (_, more) = try Self.write([20], to: files, from: recovered.cursor)
        let (_, all) = try Self.recover(files)
        #expect(all.count == 120)
        #expect(zip(all, appends + more).allSatisfy { Self.matches($0, $1) })
    }

    @Test("a file is closed before it would exceed its limit, and a longer record has its own")
    func rotation() throws {
        let files = try Self.fresh()
        let options = StorageModel.options
        var cursor = LogCursor(options: options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        let lengths = [2000, 2000, 100, 5000, 10, 10]
        let appends = lengths.map {
            cursor.append(kind: 1, payload: Array(repeating: 3, count: $0))
        }
        #expect(appends.map(\.position.file) == [1, 1, 2, 3, 4, 4])
        try writer.append(appends)
        try writer.sync()
        for (name, bytes) in files.contents where name.hasPrefix("log/") {
            #expect(bytes.count <= 5100)
        }
        let (recovered, records) = try Self.recover(files)
        #expect(records.map(\.payload.count) == lengths)
        #expect(recovered.cursor.file == 4)
    }

    @Test("single records are read at their positions, and never in another's place")
    func reading() throws {
        let files = try Self.fresh()
        let (_, appends) = try Self.write([50], to: files)
        for append in appends {
            let record = try LogReader.read(append.position, expecting: append.lsn, from: files)
            #expect(Self.matches(record, append))
            #expect(throws: StorageError.self) {
                try LogReader.read(append.position, expecting: append.lsn.next, from: files)
            }
            var bent = append.position
            bent.offset += 1
            #expect(throws: StorageError.self) {
                try LogReader.read(bent, expecting: append.lsn, from: files)
            }
            bent = append.position
            bent.length += 1
            #expect(throws: StorageError.self) {
                try LogReader.read(bent, expecting: append.lsn, from: files)
            }
        }
        let huge = LogPosition(
            file: 1, offset: 32, length: UInt32(StorageLimits.logPayloadMax) + 33)
        #expect(throws: StorageError.self) {
            try LogReader.read(huge, expecting: nil, from: files)
        }
        let many = try LogReader.read(appends.reversed().map(\.position), from: files)
        #expect(many.map(\.lsn) == appends.reversed().map(\.lsn))
    }

    @Test("a last file cut at any byte loses no record before the cut and is no damage")
    func tornAnywhere() throws {
        let files = try Self.fresh()
        let (_, appends) = try Self.write([12], to: files)
        let path = FileNames.log(appends[11].position.file)
        let bytes = try #require(files.contents[path])
        let inFile = appends.filter { FileNames.log($0.position.file) == path }
        for length in 0...bytes.count {
            let torn = files.clone()
            torn.overwrite(path, with: Array(bytes[0..<length]))
            let (recovered, records) = try Self.recover(torn)
            let whole = inFile.filter {
                $0.position.offset + UInt64($0.position.length) <= UInt64(length)
            }
            #expect(recovered.damage.isEmpty, "cut at \(length)")
            #expect(records.count == appends.count - inFile.count + whole.count)
            let after = torn.contents
            let (again, sameRecords) = try Self.recover(torn)
            #expect(sameRecords == records)
            #expect(again.cursor == recovered.cursor)
            #expect(torn.contents == after)
        }
    }

    @Test("a changed byte under a later synced group is damage, reported, and nothing is cut")
    func damageMidLog() throws {
        let files = try Self.fresh()
        let (_, appends) = try Self.write([3, 3, 3], to: files)
        let path = FileNames.log(1)
        let bytes = try #require(files.contents[path])
        let lastOfFirstGroup = appends[2].position
        let end = Int(lastOfFirstGroup.offset) + Int(lastOfFirstGroup.length)
        for offset in 0..<end {
            var bent = bytes
            bent[offset] ^= 0x40
            let damaged = files.clone()
            damaged.overwrite(path, with: bent)
            let (recovered, records) = try Self.recover(damaged)
            #expect(!recovered.damage.isEmpty, "byte \(offset)")
            #expect(damaged.contents[path] == bent, "byte \(offset) was cut")
            // What is still whole is still visited, with its own content.
            #expect(records.count >= appends.count - 1)
            for record in records {
                #expect(appends.contains { Self.matches(record, $0) })
            }
            #expect(recovered.cursor.file == 2)
            #expect(recovered.cursor.last == LSN(9))
        }
    }

    @Test("behind damage is no torn tail: the next starts find the same, and what came since")
    func damageAboveTornTail() throws {
        let files = try Self.fresh()
        let (_, appends) = try Self.write([3, 3, 2], to: files)
        let path = FileNames.log(1)
        let whole = try #require(files.contents[path])
        // Only later groups know that the first was synced; the second rots, or the third.
        for first in 0..<3 {
            for second in 3..<appends.count {
                var bytes = whole
                for rotten in [first, second] {
                    bytes[Int(appends[rotten].position.offset) + 40] ^= 1
                }
                let damaged = files.clone()
                damaged.overwrite(path, with: bytes)
                let (recovered, records) = try Self.recover(damaged)
                let left = appends.indices.filter { $0 != first && $0 != second }
                #expect(records.map(\.lsn) == left.map { appends[$0].lsn }, "\(first) \(second)")
                let holes = second == first + 1 ? 1 : 2
                #expect(recovered.damage.count == holes, "\(first) \(second)")
                #expect(damaged.contents[path] == bytes, "\(first) \(second)")
                let (again, same) = try Self.recover(damaged)
                #expect(same == records && again.damage == recovered.damage)
                #expect(again.cursor == recovered.cursor)
                let (_, more) = try Self.write([1], to: damaged, from: again.cursor)
                let (third, all) = try Self.recover(damaged)
                #expect(third.damage.count >= holes && Array(all.dropLast()) == records)
                #expect(Self.matches(try #require(all.last), more[0]), "\(first) \(second)")
            }
        }
    }

    @Test("a changed byte below a later file is damage, wherever it is")
    func damageBelowLaterFile() throws {
        let files = try Self.fresh()
        let (_, appends) = try Self.write([40], to: files)
        let path = FileNames.log(1)
        let bytes = try #require(files.contents[path])
        #expect(appends.contains { $0.position.file == 2 })
        for offset in stride(from: 0, to: bytes.count, by: 3) {
            var bent = bytes
            bent[offset] ^= 1
            let damaged = files.clone()
            damaged.overwrite(path, with: bent)
            let (recovered, records) = try Self.recover(damaged)
            #expect(!recovered.damage.isEmpty, "byte \(offset)")
            #expect(records.allSatisfy { record in appends.contains { Self.matches(record, $0) } })
        }
    }

    @Test("a missing, emptied or foreign file in the middle is damage")
    func lostFiles() throws {
        let files = try Self.fresh()
        let (_, appends) = try Self.write([20, 20, 20], to: files)
        let count = try files.list("log").count
        #expect(count >= 4)
        for number in 1..<UInt32(count) {
            let without = files.clone()
            try without.remove(FileNames.log(number))
            let (recovered, records) = try Self.recover(without)
            #expect(!recovered.damage.isEmpty)
            #expect(records.count < appends.count)
            let emptied = files.clone()
            emptied.overwrite(FileNames.log(number), with: [])
            #expect(try !Self.recover(emptied).recovered.damage.isEmpty)
            let swapped = files.clone()
            let other = files.contents[FileNames.log(number % UInt32(count) + 1)] ?? []
            swapped.overwrite(FileNames.log(number), with: other)
            let (found, seen) = try Self.recover(swapped)
            #expect(!found.damage.isEmpty)
            #expect(zip(seen, seen.dropFirst()).allSatisfy { $0.lsn < $1.lsn }, "\(number)")
        }
    }

    @Test("a record that follows another than the one before it is damage: an old file came back")
    func staleFile() throws {
        let files = try Self.fresh()
        let (cursor, _) = try Self.write([5], to: files)
        let other = files.clone()
        var left = cursor
        var right = cursor
        var writer = LogWriter(fileSystem: files, cursor: left)
        try writer.append([left.append(kind: 1, payload: Array(repeating: 1, count: 3900))])
        try writer.append([left.append(kind: 1, payload: Array(repeating: 1, count: 200))])
        try writer.sync()
        writer = LogWriter(fileSystem: other, cursor: right)
        try writer.append([right.append(kind: 1, payload: Array(repeating: 2, count: 3900))])
        try writer.append([right.append(kind: 1, payload: Array(repeating: 1, count: 200))])
        try writer.sync()
        // The last file of one history under the files of the other: every checksum holds.
        let last = FileNames.log(left.file)
        files.overwrite(last, with: other.contents[last] ?? [])
        #expect(try !Self.recover(files).recovered.damage.isEmpty)
    }

    @Test("a full disk can be tried again with the same records, over a file's end too")
    func diskFull() throws {
        let files = try Self.fresh()
        var cursor = LogCursor(options: StorageModel.options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        let appends = (0..<40).map {
            cursor.append(kind: 1, payload: Self.payload($0))
        }
        // Somebody frees a little room after each refusal.
        var failures = 0
        for attempt in 1...100 {
            files.setCapacity(attempt * 150)
            do throws(StorageError) {
                try writer.append(appends)
                break
            } catch {
                guard case .diskFull = error else { throw error }
                failures += 1
            }
        }
        try writer.sync()
        #expect(failures > 2)
        #expect(cursor.file > 1)
        // A start writes the last file anew, which takes room as well.
        files.setCapacity(.max)
        let (recovered, records) = try Self.recover(files)
        #expect(recovered.damage.isEmpty)
        #expect(records.count == 40)
    }

    @Test(
        "a failed sync kills the writer: no later call succeeds, and what it lost is not recovered")
    func failedSync() throws {
        let files = try Self.fresh()
        var cursor = LogCursor(options: StorageModel.options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        try writer.append([cursor.append(kind: 1, payload: [1])])
        try writer.sync()
        cursor.markSynced(LSN(1))
        try writer.append([cursor.append(kind: 1, payload: [2])])
        files.failSyncs(1)
        #expect(
            throws: StorageError.syncFailed(path: FileNames.log(1), detail: "input/output error")
        ) {
            try writer.sync()
        }
        #expect(throws: StorageError.writerDead(path: FileNames.log(1))) { try writer.sync() }
        #expect(throws: StorageError.writerDead(path: FileNames.log(1))) {
            try writer.append([cursor.append(kind: 1, payload: [3])])
        }
        var random = RandomSource(seed: 1)
        let crashed = files.crash(data: .allKept, names: .allKept, &random)
        #expect(try Self.recover(crashed).records.map(\.payload) == [[1]])
    }

    @Test("a failed write kills the writer")
    func failedWrite() throws {
        let files = try Self.fresh()
        var cursor = LogCursor(options: StorageModel.options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        try writer.append([cursor.append(kind: 1, payload: [1])])
        files.fail(at: files.operations, with: .shortWrite)
        let record = cursor.append(kind: 1, payload: Array(repeating: 2, count: 50))
        #expect(throws: StorageError.self) { try writer.append([record]) }
        #expect(throws: StorageError.writerDead(path: FileNames.log(1))) {
            try writer.append([record])
        }
    }

    @Test("a tail full of false beginnings is judged within the probe's budget, as damage")
    func hostileTail() throws {
        let files = try Self.fresh()
        let (_, appends) = try Self.write([2], to: files)
        let path = FileNames.log(1)
        var bytes = try #require(files.contents[path])
        let intact = bytes
        // Each claims all that follows, so that each costs a checksum over it.
        let false32: [UInt8] =
            [0x47, 0x51, 1, 0] + [0, 0, 0x10, 0] + Array(repeating: 9, count: 24)
        for _ in 0..<40_000 { bytes.append(contentsOf: false32) }
        bytes.append(contentsOf: Array(repeating: 0, count: 0x10_0000))
        files.overwrite(path, with: bytes)
        let (recovered, records) = try Self.recover(files)
        #expect(records.count == appends.count)
        #expect(recovered.damage.count == 1)
        #expect(files.contents[path]?.count == bytes.count)
        #expect(intact.count < bytes.count)
    }

    @Test("what is appended after a loss is found again, wherever the last file is cut")
    func goesOnAfterLoss() throws {
        let files = try Self.fresh()
        let (cursor, _) = try Self.write([10, 20, 6], to: files)
        #expect(cursor.file >= 3)
        let path = FileNames.log(cursor.file)
        let bytes = try #require(files.contents[path])
        for lost in 1..<cursor.file {
            let without = files.clone()
            for number in 1...lost { try without.remove(FileNames.log(number)) }
            for length in Array(0...80) + Array(stride(from: 81, through: bytes.count, by: 23)) {
                let torn = without.clone()
                torn.overwrite(path, with: Array(bytes[0..<length]))
                let recovered = try Self.recover(torn).recovered
                #expect(!recovered.damage.isEmpty, "\(lost) lost, cut at \(length)")
                let (end, appends) = try Self.write([1], to: torn, from: recovered.cursor)
                let (again, records) = try Self.recover(torn)
                let last = try #require(records.last, "\(lost) lost, cut at \(length)")
                #expect(Self.matches(last, appends[0]), "\(lost) lost, cut at \(length)")
                #expect(again.cursor.next == end.next, "\(lost) lost, cut at \(length)")
            }
        }
    }

    @Test("records behind a flaw are found at once in a file that begins after a loss, or never")
    func flawAfterLoss() throws {
        var files = try Self.fresh()
        var own: [LogAppend] = []
        for count in 30..<60 where own.count < 3 {
            files = try Self.fresh()
            // Of one group: none of them says that another was synced.
            let (cursor, appends) = try Self.write([count], to: files)
            own = appends.filter { $0.position.file == cursor.file }
        }
        let file = try #require(own.last).position.file
        try #require(own.count == 3 && file >= 2)
        for number in 1..<file { try files.remove(FileNames.log(number)) }
        let path = FileNames.log(file)
        var bytes = try #require(files.contents[path])
        bytes[Int(own[0].position.offset) + 40] ^= 1
        files.overwrite(path, with: bytes)
        let (recovered, records) = try Self.recover(files)
        let (end, more) = try Self.write([1], to: files, from: recovered.cursor)
        let (again, all) = try Self.recover(files)
        #expect(Array(all.dropLast()) == records)
        #expect(Self.matches(try #require(all.last), more[0]))
        #expect(again.cursor.next == end.next)
    }

    @Test("a file of a newer version is refused by name")
    func newerVersion() throws {
        let files = try Self.fresh()
        _ = try Self.write([2], to: files)
        let path = FileNames.log(1)
        var bytes = try #require(files.contents[path])
        bytes[8] = 9
        let checksum = TestChecksum.crc32c(Array(bytes[0..<28]))
        for position in 0..<4 {
            bytes[28 + position] = UInt8(truncatingIfNeeded: checksum >> UInt32(position * 8))
        }
        files.overwrite(path, with: bytes)
        #expect(throws: StorageError.newerFormat(path: path, version: 9, known: 1)) {
            try Self.recover(files)
        }
    }

    @Test("a log that ends before the checkpoint that the manifest names has lost its end")
    func endBeforeCheckpoint() throws {
        let files = try Self.fresh()
        let (cursor, appends) = try Self.write([5, 4], to: files)
        var edit = ManifestEdit()
        edit.base = HistoryBase(partitions: [], through: cursor.last)
        let runner = StorageRunner(fileSystem: files, options: StorageModel.options)
        _ = try ManifestTests.commit(edit, to: runner)
        #expect(try Self.recover(files).recovered.damage.isEmpty)
        let path = FileNames.log(1)
        let bytes = try #require(files.contents[path])
        // What rots at the end looks like a torn tail.
        files.overwrite(path, with: Array(bytes.prefix(Int(appends[6].position.offset))))
        let (recovered, records) = try Self.recover(files)
        #expect(records.count == 6)
        #expect(recovered.damage.count == 1)
        // What is appended does not take the place of what is lost, and so does not hide it.
        let (_, more) = try Self.write([5], to: files, from: recovered.cursor)
        #expect(more.first?.lsn == cursor.next)
        let (again, all) = try Self.recover(files)
        #expect(!again.damage.isEmpty && all.count == 11)
    }
}
