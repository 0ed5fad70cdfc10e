internal import Core

/// Sends files: cuts them on a thread of its own and gives the batches to a producer.
///
/// It stops at the first batch that does not end counted, since what holds one batch up (a cluster
/// without quorum, an unusable field name) holds up the next as well; batches under way are
/// finished. With a spool standard input is the exception: what comes from a pipe comes once, so it
/// is sealed as it comes, and batches that wait for the cluster are tried until the pipe ends.
package struct FileSender: Sendable {
    /// How far a run is, for a progress bar.
    package struct Progress: Hashable, Sendable {
        package let bytesRead: Int
        package let report: SendReport
        package let spool: SpoolStatus?

        package init(bytesRead: Int, report: SendReport, spool: SpoolStatus? = nil) {
            self.bytesRead = bytesRead
            self.report = report
            self.spool = spool
        }
    }

    /// What came of a run. A failure comes beside what was sent before it.
    package struct Result: Sendable {
        package let report: SendReport
        package let fileFailure: FileFailure?
        package let spoolFailure: SpoolError?
        /// Files that an earlier run over the same spool had sent to their ends.
        package let finishedBefore: [String]
        package let spool: SpoolStatus?
    }

    /// A pipe's batches are cut when it pauses for so long, and with a spool at this age.
    package static let patience = Duration.seconds(1)

    private let producer: Producer
    private let spool: Spool?
    private let readsPipe: Bool
    private let reader: FileReader
    private let eventsPerSecond: Int?
    private let time: ClientTime

    /// - Parameter cutsPauses: Whether a batch of standard input may end where the input pauses;
    /// its
    ///   batches depend on time then.
    package init(
        producer: Producer, files: [String], format: EventFormat?, limits: CutLimits,
        cutsPauses: Bool = false, spool: Spool? = nil, book: InputBook? = nil,
        eventsPerSecond: Int? = nil, time: ClientTime = .real
    ) {
        self.producer = producer
        self.spool = spool
        self.eventsPerSecond = eventsPerSecond
        self.time = time
        readsPipe = files.contains("-")
        let age = spool == nil ? Duration.seconds(1 << 30) : FileSender.patience
        let pause = CutPause(
            patience: FileSender.patience, age: age, now: { time.now().monotonic })
        reader = FileReader(
            FileCutter(
                files: files, format: format, limits: limits, pause: cutsPauses ? pause : nil,
                book: book))
    }

    package var progress: Progress {
        get async {
            Progress(
                bytesRead: await reader.bytesRead, report: await producer.report,
                spool: await spool?.status)
        }
    }

    /// Sends everything.
    package func run() async -> Result {
        var fileFailure: FileFailure?
        var spoolFailure: SpoolError?
        do {
            try await sendAll()
        } catch {
            switch error {
            case .file(let failure): fileFailure = failure
            case .spool(let failure): spoolFailure = failure
            }
        }
        var report = await producer.report
        do {
            report = try await producer.finish()
        } catch {
            report = await producer.report
            spoolFailure = spoolFailure ?? error
        }
        let finishedBefore = await reader.finishedBefore
        await reader.close()
        return Result(
            report: report, fileFailure: fileFailure,
            spoolFailure: spoolFailure ?? report.spoolFailure, finishedBefore: finishedBefore,
            spool: await spool?.status)
    }

    private enum Failure: Error {
        case file(FileFailure)
        case spool(SpoolError)
    }

    private func sendAll() async throws(Failure) {
        var pacer = eventsPerSecond.map {
            Pacer(eventsPerSecond: $0, start: time.now().monotonic)
        }
        while let batch = try await next() {
            if let due = pacer?.due(next: batch.events) {
                let wait = due - time.now().monotonic
                if wait > .zero { await time.sleep(wait) }
            }
            if spool != nil, !readsPipe { await producer.waitForPlace() }
            guard await producer.takesMore else { return }
            do {
                try await producer.submit(
                    BatchDraft(
                        body: batch.body, contentType: batch.contentType, events: batch.events,
                        mark: batch.mark))
            } catch {
                throw .spool(error)
            }
        }
    }

    private func next() async throws(Failure) -> CutBatch? {
        do {
            return try await reader.next()
        } catch {
            throw .file(error)
        }
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
    var finishedBefore: [String] { cutter.finishedBefore }

    func next() throws(FileFailure) -> CutBatch? {
        try cutter.next()
    }

    func close() {
        executor.stop()
    }
}
