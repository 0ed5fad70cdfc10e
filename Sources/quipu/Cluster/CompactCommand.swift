import ArgumentParser
import Client

struct CompactCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compact",
        abstract: "Merge a node's files: one for each time bucket.",
        discussion: """
            Nodes merge their files by themselves; this merges all of them, at once and \
            unthrottled, and ends when it is done. What is in memory stays there.

            Example: quipu compact --all
            """)

    @OptionGroup var work: NodeWork

    func run() async throws {
        try await work.run("compact", done: "compacted") { client, nodes in
            var reply = try await client.perform(QueryCall.compact, at: nodes)
            // A node answers in time, and says when it is not done yet.
            while reply.status == 202 {
                reply = try await client.perform(QueryCall.compact, at: [reply.node])
            }
            return reply
        }
    }
}
