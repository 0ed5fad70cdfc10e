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

            Example: quipu send flights.csv.gz --type flight --key-field dest --time-field time_hour
            """)

    /// How long standard input may pause before what came is sent.
    private static let patience = Duration.seconds(1)

    @OptionGroup var options: SendOptions
    @OptionGroup var connection: ConnectionOptions

    @Flag(help: "Print the summary as JSON.")
    var json = false

    func run() async throws {
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
        try await connection.withClient(connectionsPerNode: options.inFlight) { client in
            let producer = Producer(client: client, options: producerOptions)
            let sender = FileSender(
                producer: producer, files: options.files, format: format, limits: limits,
                patience: producerOptions.createdAt == nil ? SendCommand.patience : nil,
                eventsPerSecond: rate)
            let clock = ContinuousClock()
            let start = clock.now
            let bar = showProgress(of: sender)
            let (report, failure) = await sender.run()
            await bar?.stop()
            let summary = SendSummary(
                report: report, producer: producer.id, seconds: seconds(clock.now - start))
            print(json ? summary.json : summary.text)
            if let hint = summary.deadLetterHint { Output.error(hint) }
            try conclude(summary, failure)
        }
    }

    private func conclude(_ summary: SendSummary, _ failure: FileFailure?) throws {
        let problems = [
            failure.map { "\($0); the \(summary.report.batches) batches before that are sent" },
            summary.unresolved,
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
