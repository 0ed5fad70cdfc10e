import ArgumentParser
import Client
import Core
import Node

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
    /// The table is made whole before it is printed.
    private static let limitMax = 100_000

    @OptionGroup var filter: LetterOptions

    @Option(help: "How many on a page: at most 100000, with --json 10000.")
    var limit = 50

    @Option(help: "The page after another, by the token that it ended with.")
    var page: String?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func validate() throws {
        let max = result.json ? HTTPLimits.pageMax : DeadLettersListCommand.limitMax
        guard (1...max).contains(limit) else {
            let kind = result.json ? " with --json" : ""
            throw ValidationError(
                "--limit \(limit)\(kind): give 1 to \(max), and go on with --page")
        }
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
            var pages = LetterPages(client: client, query: filter.query, limit: limit, page: page)
            var table = DeadLettersListCommand.table
            while let letters = try await pages.next() {
                for letter in letters { DeadLettersListCommand.add(letter, to: &table) }
            }
            show(table, pages)
        }
    }

    private static var table: TextTable {
        TextTable([
            ("Batch", .left), ("Line", .right), ("Reason", .left), ("Type", .left),
            ("Key", .left), ("Detail", .left),
        ])
    }

    private static func add(_ item: JSONValue, to table: inout TextTable) {
        let detail = item["detail"]?.plain ?? ""
        table.add([
            LetterText.batch(item["batch"]), item["line"]?.plain ?? "",
            item["reason"]?.plain ?? "", item["type"]?.plain ?? "", item["key"]?.plain ?? "",
            TextTable.cut(detail, columns: detailColumns),
        ])
    }

    private func show(_ table: TextTable, _ pages: LetterPages) {
        if !table.isEmpty { table.print() }
        let total = pages.head["total"]?.int.map { " of \(Quantity.grouped($0))" } ?? ""
        let retired = pages.head["retired"]?.int ?? 0
        print(
            "\(Quantity.grouped(pages.seen))\(total) dead letters"
                + (retired > 0 ? "; \(Quantity.grouped(retired)) were purged or replayed" : ""))
        if let next = pages.following { print("next page: --page \(next)") }
    }
}
