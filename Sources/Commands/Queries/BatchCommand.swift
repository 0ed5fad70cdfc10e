import ArgumentParser
import Client

struct BatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "batch",
        abstract: "The outcome of a batch.",
        discussion: """
            Without --created an id that nobody holds stays unknown; with it the cluster can say \
            that it is finally not counted.

            Example: quipu batch 0190e1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b 7 --created 1424639820000
            """)

    @OptionGroup var batch: BatchName

    @Option(help: "The time the batch was sealed with.")
    var created: Timestamp?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let call = QueryCall.batch(
            producer: batch.producer, sequence: batch.sequence, createdAt: created)
        let reply = try await connection.withClient { try await $0.perform(call) }
        if result.json {
            Output.body(reply.body)
            return
        }
        let answer = try reply.reading(BatchAnswer.init(json:))
        var text = "\(batch.text): \(answer.outcome)\(answer.isFinal ? " (final)" : "")"
        if let counts = answer.counts {
            text += ", \(counts.events) events: \(counts.counted) counted, \(counts.dead) dead"
        }
        print(text)
    }
}
