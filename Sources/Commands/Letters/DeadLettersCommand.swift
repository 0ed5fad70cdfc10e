import ArgumentParser
import Client
import Core

struct DeadLettersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dlq",
        abstract: "Events that could not be counted, with their reasons, and parked batches.",
        discussion: """
            Examples: quipu dlq list --reason bad-time --limit 20
                      quipu dlq replay --reason missing-key --key-field repo
            """,
        subcommands: [
            DeadLettersListCommand.self, DeadLettersShowCommand.self,
            DeadLettersReplayCommand.self, DeadLettersPurgeCommand.self,
        ])
}

struct DeadLettersListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List dead letters and parked batches of the whole cluster.",
        discussion: "Example: quipu dlq list --reason bad-time --limit 20")

    private static let detailColumns = 48

    @OptionGroup var filter: LetterOptions

    @Option(help: "How many on a page.")
    var limit = 50

    @Option(help: "The page after another, by the token that it ended with.")
    var page: String?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func validate() throws {
        guard limit > 0 else { throw ValidationError("--limit \(limit): give at least 1") }
    }

    func run() async throws {
        let call = QueryCall.deadLetters(filter.query, limit: limit, page: page)
        try await connection.withClient { client in
            if result.json {
                Output.body(try await client.perform(call).body)
                return
            }
            // First what is answered also while no quorum can be reached.
            try await ParkedList(client: client, limit: limit).print()
            try show(try await client.perform(call))
        }
    }

    private func show(_ reply: NodeAnswer) throws {
        let json = try reply.json()
        let answer = try reply.reading(ListAnswer.init(json:))
        var table = TextTable([
            ("Batch", .left), ("Line", .right), ("Reason", .left), ("Type", .left),
            ("Key", .left), ("Detail", .left),
        ])
        for item in answer.items {
            let detail = item["detail"]?.plain ?? ""
            table.add([
                LetterText.batch(item["batch"]), item["line"]?.plain ?? "",
                item["reason"]?.plain ?? "", item["type"]?.plain ?? "", item["key"]?.plain ?? "",
                TextTable.cut(detail, columns: DeadLettersListCommand.detailColumns),
            ])
        }
        if !table.isEmpty { table.print() }
        let total = json["total"]?.int.map { " of \(Quantity.grouped($0))" } ?? ""
        let retired = json["retired"]?.int ?? 0
        print(
            "\(Quantity.grouped(answer.items.count))\(total) dead letters"
                + (retired > 0 ? "; \(Quantity.grouped(retired)) were purged or replayed" : ""))
        if let next = answer.next { print("next page: --page \(next)") }
    }
}
