import ArgumentParser
import Client
import Node

struct TypesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "types",
        abstract: "The types of events that were counted.",
        discussion: "Example: quipu types")

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let reply = try await connection.withClient { try await $0.perform(QueryCall.types) }
        if result.json {
            Output.body(reply.body)
            return
        }
        for item in try reply.reading(ListAnswer.init(json:)).items {
            print(TextTable.printable(item["type"]?.plain ?? item.plain))
        }
    }
}

struct KeysCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys",
        abstract: "The keys of a type.",
        discussion: """
            --json prints one body: the node's own where one page has all (at most 10,000 keys), \
            else its pages joined as they come.

            Example: quipu keys watch --prefix 0x --limit 20
            """)

    @Argument(help: "The events' type.")
    var type: String

    @Option(help: "Only keys that begin with this.")
    var prefix: String?

    @Option(help: "How many at most; all by default.")
    var limit: Int?

    @Option(help: "Where to begin: the 'next' that an answer with --json ended with.")
    var page: String?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit \(limit): give at least 1") }
    }

    func run() async throws {
        try await connection.withClient { client in
            var pages = KeyPages(
                client: client, type: type, prefix: prefix, limit: limit, page: page,
                pageKeys: result.json ? HTTPLimits.pageMax : KeyPages.pageOfLines)
            if result.json {
                try await pages.writeBody(to: Output.part)
                Output.end()
                return
            }
            while let page = try await pages.next() {
                for item in page.list.items {
                    print(TextTable.printable(item["key"]?.plain ?? item.plain))
                }
            }
        }
    }
}
