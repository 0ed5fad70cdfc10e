import Core
import Replication
import Storage
import Wire

/// The index of a log file that tables cover. The first byte, which is no part of it, says which of
/// a few logs it lies beside.
enum LogIndexTarget {
    private static let logs = 3
    private struct Unexpected: Error {}

    static func recover(_ bytes: [UInt8]) throws {
        let files = try directory(Int(bytes.first ?? 0) % logs)
        var options = Target.options
        options.readsLogIndexes = false
        var whole: [LogRecord] = []
        let expected = try Recovery.open(files, options: options) { record, _ in
            whole.append(record)
        }
        let path = FileNames.logIndex(1)
        files.overwrite(path, with: Array(bytes.dropFirst()))
        let contents = files.contents
        for _ in 0..<2 {
            var records: [LogRecord] = []
            let found = try Recovery.open(files, options: Target.options) { record, _ in
                records.append(record)
            }
            // Whatever it says of them, it speaks of the same records.
            precondition(found.cursor == expected.cursor && found.damage.isEmpty)
            precondition(records.map(\.lsn) == whole.map(\.lsn))
            precondition(found.indexed == [1] || found.indexed.isEmpty && records == whole)
            try replay(records, found.manifest)
            precondition(files.contents == contents, "a recovery changed bytes")
        }
        // One that would be believed, and says something else, is found.
        var check = DirectoryCheck(files, options: Target.options)
        _ = try check.run()
        // The next one takes its place.
        try index(files, kinds: LogKind.batchRecords)
        let last = try Recovery.open(files, options: Target.options) { _, _ in }
        precondition(last.indexed == [1] && last.remarks.isEmpty)
    }

    private static func replay(_ records: [LogRecord], _ manifest: ManifestState) throws {
        var log = RecoveredLog(
            partitions: 8, mine: PartitionSet((0..<8).map { PartitionID($0) }),
            digestKey: Target.options.digestKey, window: .minute, segmentLength: .seconds(10),
            memtableBytesMax: StorageLimits.memtableBytesDefault)
        log.begin(manifest)
        for record in records {
            log.visit(
                kind: record.kind, lsn: record.lsn, position: record.position,
                payload: record.payload, isHead: record.isHead)
        }
    }

    /// Two files of a log, both covered.
    private static func directory(_ number: Int) throws -> MemoryFileSystem {
        let files = try Target.fresh()
        var options = Target.options
        options.logFileMax = UInt64(200 + number * 600)
        var cursor = LogCursor(options: options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        var batch = 0
        while cursor.file == 1 {
            let header = Seeds.header(batch)
            let partitions = PartitionSet([PartitionID(1)])
            let records = [
                cursor.append(
                    kind: LogKind.home.rawValue, payload: RecordsTarget.batch(header).bytes),
                cursor.append(
                    kind: LogKind.applied.rawValue,
                    payload: AppliedMark(id: header.id, partitions: partitions).encoded),
            ]
            try writer.append(records)
            try writer.sync()
            cursor.markSynced(cursor.last)
            batch += 1
        }
        let edit = ManifestEdit(coveredThrough: cursor.last)
        _ = try StorageRunner(fileSystem: files, options: Target.options).run(.commit(edit)).get()
        return files
    }

    private static func index(_ files: MemoryFileSystem, kinds: [UInt8]) throws {
        let plan = LogIndexPlan(file: 1, covered: LSN(.max >> 2), batchKinds: kinds)
        let runner = StorageRunner(fileSystem: files, options: Target.options)
        guard case .indexed(true) = try runner.run(.indexLog(plan)).get() else {
            throw Unexpected()
        }
    }

    // MARK: - Seeds

    static func seed(_ number: Int) throws -> [UInt8] {
        let files = try directory(number % logs)
        try index(files, kinds: number % 2 == 0 ? LogKind.batchRecords : [])
        let bytes = try files.readAll(FileNames.logIndex(1))
        // Some of them cut.
        return [UInt8(number % logs)] + bytes.prefix(number < 6 ? .max : bytes.count - number)
    }
}
