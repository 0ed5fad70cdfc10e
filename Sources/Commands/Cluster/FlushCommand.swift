import ArgumentParser
import Client

struct FlushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flush",
        abstract: "Write what a node holds in memory to its files.",
        discussion: "Example: quipu flush --all")

    @OptionGroup var work: NodeWork

    func run() async throws {
        try await work.run("flush", done: "flushed") { client, nodes in
            try await client.performAtOne(QueryCall.flush, at: nodes)
        }
    }
}
