import ArgumentParser
import Client

struct DrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract: "Prepare a node for its stop: no more batches from clients, memory to files.",
        discussion: """
            It goes on answering queries and its peers until it is stopped; after a start it takes \
            batches again. A SIGTERM does the same by itself, but for clients that are to be moved \
            away before.

            Example: quipu drain --node 127.0.0.1:8182
            """)

    @OptionGroup var work: NodeWork

    func run() async throws {
        try await work.run("drain", done: "drained; stop it, or start it again") { client, nodes in
            try await client.performAtOne(QueryCall.drain, at: nodes)
        }
    }
}
