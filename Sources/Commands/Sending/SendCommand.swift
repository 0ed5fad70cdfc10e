import ArgumentParser
import Client
import Core

struct SendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send",
        abstract: "Send the events of files, each counted exactly once.",
        discussion: """
            Formats are found by name and first bytes; gzip and LZ4 are undone. Batches rotate \
            over the nodes and are sent again under the same id until their outcome is certain. \
            'duplicates' in the summary counts batches that had been counted before.

            With --spool DIR the command may be killed at any moment: the same command run again \
            sends what is left, and every event of the files is counted once. A file that grew \
            goes on where it ended. Of standard input what was read and sealed is safe, at the \
            latest a second after it came; the rest is lost with the pipe.

            Example: quipu send flights.csv.gz --type flight --key-field dest --time-field time_hour
            Example: quipu send /var/log/app/events.ndjson --spool /var/spool/quipu
            """)

    @OptionGroup var options: SendOptions
    @OptionGroup var connection: ConnectionOptions

    @Flag(help: "Print the summary as JSON.")
    var json = false

    func run() async throws {
        ProcessMemory.keepFreedBuffers()
        let producerOptions = try options.producerOptions()
        let limits = try options.cutLimits(producerOptions)
        let format = try options.eventFormat()
        let rate = try options.eventsPerSecond()
        // A name that is wrong is known before anything is sent.
        for file in options.files {
            if let failure = ByteSource.reasonNotToOpen(file) {
                throw CommandFailure("send: \(failure)")
            }
        }
        let spool = try openSpool()
        let begun = await spool?.inputs
        try await connection.withClient(connectionsPerNode: options.inFlight) { client in
            let producer = Producer(client: client, options: producerOptions, spool: spool)
            let sender = FileSender(
                producer: producer, files: options.files, format: format, limits: limits,
                cutsPauses: producerOptions.createdAt == nil, spool: spool,
                book: begun.map { InputBook($0) }, eventsPerSecond: rate)
            let clock = ContinuousClock()
            let start = clock.now
            let bar = showProgress(of: sender)
            let result = await sender.run()
            await bar?.stop()
            let summary = SendSummary(
                report: result.report, producer: producer.id, seconds: seconds(clock.now - start),
                spool: result.spool)
            for file in result.finishedBefore {
                let remedy = "remove \(options.spool ?? "") to send it again"
                Output.error("quipu: send: \(file): already sent; \(remedy)")
            }
            print(json ? summary.json : summary.text)
            if let hint = summary.deadLetterHint { Output.error(hint) }
            try conclude(summary, result)
        }
    }

    private func openSpool() throws -> Spool? {
        guard let directory = options.spool else { return nil }
        do {
            return try Spool(directory: directory, options: options.spoolOptions())
        } catch let error as SpoolError {
            throw CommandFailure("send: \(error)")
        }
    }

    private func conclude(_ summary: SendSummary, _ result: FileSender.Result) throws {
        let problems = [
            result.fileFailure.map {
                "\($0); the \(summary.report.batches) batches before that are sent"
            },
            summary.unresolved,
            result.spoolFailure?.description,
        ].compactMap { $0 }
        if !problems.isEmpty {
            throw CommandFailure("send: " + problems.joined(separator: "; "))
        }
        if options.strict, summary.report.dead > 0 {
            throw CommandFailure(
                "send: \(summary.report.dead) dead letters and --strict; see 'quipu dlq list'")
        }
    }

    private func showProgress(of sender: FileSender) -> ProgressBar? {
        guard Output.errorIsTerminal else { return nil }
        let sizes = options.files.map { ByteSource.size(ofFile: $0) }
        let total = sizes.contains(nil) ? nil : sizes.reduce(0) { $0 + ($1 ?? 0) }
        return ProgressBar(sender: sender, totalBytes: total)
    }

    private func seconds(_ duration: Duration) -> Double {
        Double(duration.nanoseconds) / 1e9
    }
}
