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

    @Flag(help: "Every node of the cluster.")
    var all = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        try await connection.withClient { client in
            guard all else {
                let reply = try await client.perform(QueryCall.compact)
                show(try await end(of: reply, client))
                return
            }
            var failures: [String] = []
            for node in try await client.cluster().nodes {
                guard let address = node.http else {
                    failures.append("\(node.name): no address known")
                    continue
                }
                do {
                    let reply = try await client.perform(QueryCall.compact, at: [address])
                    show(try await end(of: reply, client))
                } catch ClientError.unreachable(let attempts) {
                    failures += attempts.map { "\(node.name): \($0)" }
                } catch {
                    failures.append("\(node.name): \(error)")
                }
            }
            guard failures.isEmpty else {
                throw CommandFailure("compact: \(failures.joined(separator: "; "))")
            }
        }
    }

    /// A node answers in time, and says when it is not done yet.
    private func end(of first: NodeAnswer, _ client: QuipuClient) async throws -> NodeAnswer {
        var reply = first
        while reply.status == 202 {
            reply = try await client.perform(QueryCall.compact, at: [reply.node])
        }
        return reply
    }

    private func show(_ reply: NodeAnswer) {
        if result.json { Output.body(reply.body) } else { print("\(reply.node): compacted") }
    }
}
