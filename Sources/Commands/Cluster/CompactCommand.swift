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
        try await work.run("compact", done: "compacted", NodeRound.compact)
    }
}
