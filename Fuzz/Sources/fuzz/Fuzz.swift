import Core
import Ingest
import Spooling
import Storage
import Wire

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// `fuzz TARGET [libFuzzer's arguments]` runs one target; `fuzz --seeds TARGET DIRECTORY` writes
/// its seeds.
@main
enum Fuzz {
    static func main() {
        let arguments = CommandLine.arguments
        let name =
            arguments.count == 4 && arguments[1] == "--seeds"
            ? arguments[2] : arguments.dropFirst().first
        guard let name, let target = Target(rawValue: name) else {
            let known = Target.allCases.map(\.rawValue).joined(separator: " ")
            let text = "fuzz: name a target: \(known)\n"
            _ = text.withCString { write(2, $0, strlen($0)) }
            exit(2)
        }
        if arguments[1] == "--seeds" {
            for (number, seed) in Seeds.of(target).enumerated() {
                save(seed, to: "\(arguments[3])/\(number < 10 ? "0" : "")\(number)")
            }
            return
        }
        Target.chosen = target
        var count = CommandLine.argc - 1
        var values: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? =
            CommandLine.unsafeArgv.advanced(by: 1)
        exit(runDriver(&count, &values, one))
    }

    private static func save(_ bytes: [UInt8], to path: String) {
        guard let file = fopen(path, "w"), fwrite(bytes, 1, bytes.count, file) == bytes.count,
            fclose(file) == 0
        else {
            perror(path)
            exit(1)
        }
    }
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<Int32>,
    _ values: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ one: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

private func one(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    Target.chosen.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

/// What is fed with bytes. An error is an answer; a trap, a read out of bounds and a broken promise
/// are findings.
enum Target: String, CaseIterable {
    case block
    case table
    case log
    case logindex
    case manifest
    case history
    case attributetable
    case records
    // What other nodes send.
    case peer
    case connection
    // What a sender keeps.
    case spool
    // What users send.
    case ndjson
    case array
    case csv
    case tsv
    case clf
    case cloudevent
    case cloudevents
    case binary
    case gzip
    case lz4
    case time
    case attributes

    nonisolated(unsafe) static var chosen = Target.block

    static let options = StorageOptions(digestKey: SipKey(low: 1, high: 2), logFileMax: 4096)

    func run(_ bytes: [UInt8]) {
        do {
            switch self {
            case .block: try Self.readTable(Seeds.table(around: bytes))
            case .table: try Self.readTable(bytes)
            case .log: try Self.recoverLog(bytes)
            case .logindex: try LogIndexTarget.recover(bytes)
            case .manifest: try Self.recoverManifest(bytes)
            case .history: try Self.readHistory(bytes)
            case .attributetable: try AttributeTableTarget.read(bytes)
            case .records: try RecordsTarget.recover(bytes)
            case .peer: PeerTarget.message(bytes)
            case .connection: PeerTarget.connection(bytes)
            case .spool: try SpoolTarget.recover(bytes)
            case .ndjson: try FoldTarget.fold(bytes, .ndjson)
            case .array: try FoldTarget.fold(bytes, .jsonArray)
            case .csv: try FoldTarget.fold(bytes, .csv)
            case .tsv: try FoldTarget.fold(bytes, .tsv)
            case .clf: try FoldTarget.fold(bytes, .commonLog)
            case .cloudevent: try FoldTarget.fold(bytes, .cloudEvent)
            case .cloudevents: try FoldTarget.fold(bytes, .cloudEventBatch)
            case .binary: try FoldTarget.fold(bytes, .binary)
            case .gzip: try StreamTarget.decode(bytes, .gzip)
            case .lz4: try StreamTarget.decode(bytes, .lz4)
            case .time: try FoldTarget.time(bytes)
            case .attributes: AttributesTarget.parse(bytes)
            }
        } catch {
            guard
                error is StorageError || error is IngestError || error is StreamDamage
                    || error is SpoolError
            else { fatalError("an error of another kind: \(error)") }
        }
    }

    /// A directory as a first start leaves it.
    static func fresh() throws -> MemoryFileSystem {
        let files = MemoryFileSystem()
        _ = try Recovery.open(files, options: options) { _, _ in }
        return files
    }

    // MARK: - Tables

    private static func readTable(_ bytes: [UInt8]) throws {
        let files = MemoryFileSystem()
        let path = FileNames.table(1)
        files.overwrite(path, with: bytes)
        let table = try TableHandle.open(
            try files.open(path, .read), id: 1, as: path, options: options)
        var failure: (any Error)?
        for attempt in [get, scan, { try $0.verify() }] as [(TableHandle) throws -> Void] {
            do { try attempt(table) } catch { failure = error }
        }
        if let failure { throw failure }
        // What is sound is merged with itself.
        let compaction = TableCompaction([table, table], id: 2)
        try files.createDirectory(FileNames.tableDirectory)
        let runner = StorageRunner(fileSystem: files, options: options)
        _ = try runner.run(.compact(compaction, bytes: .max / 2)).get()
    }

    private static func get(_ table: TableHandle) throws {
        for key in [table.meta.firstKey, table.meta.lastKey, Array("key-1".utf8)] {
            for held in table.partitions.prefix(4) {
                var rows: [SeriesRow] = []
                let query = SeriesQuery(partition: held.partition, key: key, from: 20)
                try table.series(query, into: &rows)
                _ = SeriesRow.merge(rows)
            }
        }
    }

    private static func scan(_ table: TableHandle) throws {
        let all = PartitionSet(table.partitions.map(\.partition))
        for output in [.totalsByKey, .statistics] as [ScanSpec.Output] {
            var aggregate = ScanAggregate(ScanSpec(partitions: all, output: output))
            try table.scan(into: &aggregate)
            _ = aggregate.top(3, by: .sum)
        }
        // In zones, by what its index says.
        let runner = StorageRunner(fileSystem: MemoryFileSystem(), options: options)
        for order in [.count, .sum] as [ScanAggregate.Order] {
            let base = ScanAggregate(
                ScanSpec(partitions: all, output: .totalsByKey), keeping: .init(1, by: order))
            _ = try runner.run(.scan(TableSnapshot(tables: [table, table]), base: base)).get()
        }
    }

    // MARK: - Logs and manifests

    /// One file, or two where the first byte is odd: it is not part of either.
    private static func recoverLog(_ bytes: [UInt8]) throws {
        let files = try fresh()
        let body = bytes.dropFirst()
        let isTwo = (bytes.first ?? 0) & 1 == 1
        let cut = isTwo ? body.startIndex + body.count / 2 : body.endIndex
        files.overwrite(FileNames.log(1), with: Array(body[..<cut]))
        if isTwo { files.overwrite(FileNames.log(2), with: Array(body[cut...])) }
        try recoverTwice(files)
    }

    private static func recoverManifest(_ bytes: [UInt8]) throws {
        let files = try fresh()
        files.overwrite(FileNames.manifest, with: bytes)
        try recoverTwice(files)
    }

    private static let lsnMax: UInt64 = 1 << 62

    private static func recoverTwice(_ files: MemoryFileSystem) throws {
        var last = LSN.zero
        let first = try Recovery.open(files, options: options) { record, _ in
            precondition(record.lsn > last, "records out of order")
            last = record.lsn
        }
        var cursor = first.cursor
        let contents = files.contents
        let second = try Recovery.open(files, options: options) { _, _ in }
        precondition(files.contents == contents, "a second recovery changed bytes")
        precondition(second.cursor == cursor && second.manifest == first.manifest)
        // The log goes on, but for the last number that a record may have: checksums keep a real
        // one from ever claiming it.
        guard cursor.next.number <= lsnMax else { return }
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        try writer.append([cursor.append(kind: 1, payload: [1, 2, 3])])
        try writer.sync()
        let runner = StorageRunner(fileSystem: files, options: options)
        _ = try runner.run(.commit(ManifestEdit())).get()
        let third = try Recovery.open(files, options: options) { _, _ in }
        precondition(third.cursor.next == cursor.next, "a record that was synced is gone")
    }

    // MARK: - History

    private static func readHistory(_ bytes: [UInt8]) throws {
        let files = MemoryFileSystem()
        try files.createDirectory(FileNames.historyDirectory)
        let path = FileNames.history(1)
        files.overwrite(path, with: bytes)
        let history = try HistoryHandle.open(try files.open(path, .read), id: 1, as: path)
        let runner = StorageRunner(fileSystem: files, options: options)
        let homes = PartitionSet((0..<8).map { PartitionID($0) })
        let query = LetterQuery(homes: homes, limit: 10)
        var failure: (any Error)?
        let attempts: [() throws -> Void] = [
            { _ = try history.lookUp(Seeds.header(3).id) },
            { _ = try runner.run(.letters(query, [history])).get() },
            { try history.forEachHusk { _ in } },
            { try history.verify() },
        ]
        for attempt in attempts {
            do { try attempt() } catch { failure = error }
        }
        if let failure { throw failure }
        let plan = HistoryPlan(
            id: 2, level: 1, segmentLength: .seconds(10), drafts: [], merged: [history, history])
        _ = try runner.run(.writeHistory(plan)).get()
    }
}
