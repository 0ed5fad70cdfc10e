import ArgumentParser
import Client

struct TypesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "types",
        abstract: "The types of events that were counted.",
        discussion: "Example: quipu types")

    @Option(help: "With --json: the page to print, by the token of the one before.")
    var page: String?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        try await connection.withClient { client in
            try await ListPrinter(client: client, json: result.json).print(
                from: page, limit: nil, call: { QueryCall.types(page: $0) },
                line: { $0["type"]?.plain ?? $0.plain })
        }
    }
}

struct KeysCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys",
        abstract: "The keys of a type.",
        discussion: "Example: quipu keys watch --prefix 0x --limit 20")

    /// How many keys one request asks for.
    private static let pageKeys = 1000

    @Argument(help: "The events' type.")
    var type: String

    @Option(help: "Only keys that begin with this.")
    var prefix: String?

    @Option(help: "How many at most; all by default.")
    var limit: Int?

    @Option(help: "With --json: the page to print, by the token of the one before.")
    var page: String?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit \(limit): give at least 1") }
    }

    func run() async throws {
        let pageLimit = min(limit ?? KeysCommand.pageKeys, KeysCommand.pageKeys)
        try await connection.withClient { client in
            try await ListPrinter(client: client, json: result.json).print(
                from: page, limit: limit,
                call: {
                    QueryCall.keys(type: type, prefix: prefix, limit: pageLimit, page: $0)
                },
                line: { $0["key"]?.plain ?? $0.plain })
        }
    }
}

/// Prints a list, page after page, as lines; with `--json` one page as it came.
struct ListPrinter {
    let client: QuipuClient
    let json: Bool

    func print(
        from page: String?, limit: Int?, call: (String?) -> HTTPCall,
        line: (JSONValue) -> String
    ) async throws {
        var next = page
        var left = limit ?? .max
        repeat {
            let reply = try await client.perform(call(next))
            if json {
                Output.body(reply.body)
                return
            }
            let answer = try reply.reading(ListAnswer.init(json:))
            for item in answer.items.prefix(left) { Swift.print(TextTable.printable(line(item))) }
            left -= min(left, answer.items.count)
            next = answer.next
        } while next != nil && left > 0
    }
}
