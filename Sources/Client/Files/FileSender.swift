internal import Core
internal import NIOPosix

/// Sends files: cuts them on a thread of its own and gives the batches to a producer.
///
/// It stops at the first batch that does not end counted, since what holds one batch up (a cluster
/// without quorum, an unusable field name) holds up the next as well; batches under way are
/// finished.
package struct FileSender: Sendable {
    /// How far a run is, for a progress bar.
    package struct Progress: Hashable, Sendable {
        package let bytesRead: Int
        package let report: SendReport
    }

    private let producer: Producer
    private let reader: FileReader
    private let eventsPerSecond: Int?
    private let time: ClientTime

    package init(
        producer: Producer, files: [String], format: EventFormat?, limits: CutLimits,
        patience: Duration? = nil, eventsPerSecond: Int? = nil, time: ClientTime = .real
    ) {
        self.producer = producer
        self.eventsPerSecond = eventsPerSecond
        self.time = time
        reader = FileReader(
            FileCutter(files: files, format: format, limits: limits, patience: patience))
    }

    package var progress: Progress {
        get async { Progress(bytesRead: await reader.bytesRead, report: await producer.report) }
    }

    /// Sends everything; the failure of a file comes beside what was sent before it.
    package func run() async -> (report: SendReport, failure: FileFailure?) {
        var pacer = eventsPerSecond.map {
            Pacer(eventsPerSecond: $0, start: time.now().monotonic)
        }
        var failure: FileFailure?
        do {
            while let batch = try await reader.next() {
                if let due = pacer?.due(next: batch.events) {
                    let wait = due - time.now().monotonic
                    if wait > .zero { await time.sleep(wait) }
                }
                guard await producer.report.failures.isEmpty else { break }
                await producer.submit(
                    body: batch.body, contentType: batch.contentType, events: batch.events)
            }
        } catch {
            failure = error
        }
        let report = await producer.finish()
        await reader.close()
        return (report, failure)
    }
}

/// Reads and cuts on one thread, so that a slow disk or an idle pipe blocks no other task.
private actor FileReader {
    private let cutter: FileCutter
    private let executor = ThreadExecutor()

    nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    init(_ cutter: sending FileCutter) {
        self.cutter = cutter
    }

    var bytesRead: Int { cutter.bytesRead }

    func next() throws(FileFailure) -> CutBatch? {
        try cutter.next()
    }

    func close() {
        executor.stop()
    }
}

/// An executor over one thread.
private final class ThreadExecutor: SerialExecutor {
    private let pool = NIOThreadPool(numberOfThreads: 1)

    init() {
        pool.start()
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        pool.submit { _ in job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        UnownedSerialExecutor(ordinary: self)
    }

    func stop() {
        pool.shutdownGracefully { _ in }
    }
}
