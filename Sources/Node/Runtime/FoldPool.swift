package import Core
package import Ingest
package import Ring
internal import Synchronization
package import Wire

/// A batch that is ready to be counted.
package struct FoldedRecord: Sendable {
    package var record: BatchRecord
    /// The first few, for the answer.
    package var errors: [DeadLetter]
}

package enum FoldFailure: Error, Sendable {
    /// Too many batches wait.
    case busy
    /// The bytes can never be counted as they are: every node says the same.
    case refused(IngestError)
    /// The record would not fit into a frame or the log.
    case tooLarge(bytes: Int)
}

/// Hashes and folds batches beside the core, on as many threads as there are processors: two
/// batches of different requests at once, one after the other never interleaved with the core's own
/// work. Small ones are folded where they came from, in less time than the way to such a thread
/// takes behind others.
package final class FoldPool: Sendable {
    private let workers: WorkerPool
    /// Of large batches, which take up to a second each: small ones never wait behind them.
    private let largeWorkers: WorkerPool
    private let table: RuleTable
    private let partitioning: Partitioning
    private let partitioner: CellPartitioner
    private let metrics: NodeMetrics
    /// Folders that rest: their tables are kept from batch to batch. At most as many as there are
    /// threads, of both pools and of those that answer HTTP.
    private let folders = Mutex<[Folder]>([])

    /// A folder that is used by one thread at a time: whoever took it from the list.
    private final class Folder: @unchecked Sendable {
        var folder: BatchFolder

        init(seed: UInt64) {
            folder = BatchFolder(seed: seed)
        }
    }

    package init(
        threads: Int, rules: RuleTable, placement: KeyPlacement, metrics: NodeMetrics,
        queueMax: Int = RuntimeLimits.foldsMax
    ) {
        workers = WorkerPool(
            name: "fold", threads: threads, queueMax: queueMax, standing: .bulk)
        largeWorkers = WorkerPool(
            name: "fold-large", threads: max(1, threads - 1),
            queueMax: min(queueMax, RuntimeLimits.largeFoldsMax), standing: .bulk)
        table = rules
        partitioning = placement.partitioning
        partitioner = CellPartitioner(windowsPerDay: placement.windowsPerPlace) {
            placement.partition(of: $0, window: $1)
        }
        self.metrics = metrics
    }

    package var waiting: Int { workers.waiting + largeWorkers.waiting }

    package var meters: [QueueMeter] { [workers.meter, largeWorkers.meter] }

    package func stop(by deadline: Instant) {
        workers.stop(by: deadline)
        largeWorkers.stop(by: deadline)
    }

    /// Folds `bytes` under an id. The bytes are not kept.
    package func fold(
        _ bytes: [UInt8], id: BatchID, createdAt: WallTime, parameters: ParseParameters
    ) async throws(FoldFailure) -> FoldedRecord {
        if bytes.count <= RuntimeLimits.smallFoldBytes {
            return try fold(now: bytes, id: id, createdAt: createdAt, parameters: parameters)
        }
        let result = await run(bytes: bytes.count) { [self] in
            Result { () throws(FoldFailure) in
                try fold(now: bytes, id: id, createdAt: createdAt, parameters: parameters)
            }
        }
        guard let result else { throw .busy }
        return try result.get()
    }

    /// Runs other work that is pure and may take as long as folding so many bytes; nil where too
    /// much waits.
    package func run<Result: Sendable>(
        bytes: Int, _ body: @escaping @Sendable () -> Result
    ) async -> Result? {
        await (bytes > RuntimeLimits.largeFoldBytes ? largeWorkers : workers).run(body)
    }

    private func fold(
        now bytes: [UInt8], id: BatchID, createdAt: WallTime, parameters: ParseParameters
    ) throws(FoldFailure) -> FoldedRecord {
        let began = SystemClock.monotonic
        let worker = folders.withLock { $0.popLast() } ?? Folder(seed: .random(in: .min ... .max))
        defer {
            folders.withLock { $0.append(worker) }
            metrics.fold.observe(SystemClock.monotonic - began)
        }
        let rules = table.rules(at: createdAt)
        let outcome = bytes.withUnsafeBytes { buffer in
            let hash = ContentHash.of(
                buffer, parameters: parameters, createdAt: createdAt, rules: rules)
            return Result { () throws(IngestError) in
                (
                    hash,
                    try worker.folder.fold(
                        buffer, parameters: parameters, createdAt: createdAt, rules: rules,
                        partitioner: partitioner)
                )
            }
        }
        switch outcome {
        case .failure(let error):
            throw .refused(error)
        case .success(let (hash, batch)):
            let record = BatchRecord.home(
                header: BatchHeader(
                    id: id, createdAt: createdAt, contentHash: hash, rule: rules.version),
                home: partitioning.home(of: id), totals: batch.totals,
                slices: batch.slices.map { ($0.partition, $0.offset, $0.length, $0.cells) },
                cells: batch.body, deadLetters: batch.deadLetters)
            guard record.bytes.count <= FoldPool.recordBytesMax else {
                throw .tooLarge(bytes: record.bytes.count)
            }
            return FoldedRecord(
                record: record,
                errors: Array(batch.deadLetters.prefix(Limits.errorsInAnswerMax)))
        }
    }

    /// A record travels in one frame together with a message's few fields.
    package static let recordBytesMax = Limits.frameMax - (64 << 10)
}
