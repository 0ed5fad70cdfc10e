import ArgumentParser
import Client

/// Options of a command that asks one node for some work of its own, or all nodes of the cluster.
struct NodeWork: ParsableArguments {
    @Flag(help: "Every node of the cluster.")
    var all = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    /// Asks, and says of each node that the work is `done`. One that fails does not keep the others
    /// from theirs; in the end the command fails, and names each that did.
    func run(
        _ command: String, done: String,
        _ ask: (QuipuClient, [NodeAddress]?) async throws -> NodeAnswer
    ) async throws {
        try await connection.withClient { client in
            guard all else {
                show(try await ask(client, nil), done)
                return
            }
            var failures: [String] = []
            for node in try await client.cluster().nodes {
                guard let address = node.http else {
                    failures.append("\(node.name): no address known")
                    continue
                }
                do {
                    show(try await ask(client, [address]), done)
                } catch ClientError.unreachable(let attempts) {
                    failures += attempts.map { "\(node.name): \($0)" }
                } catch {
                    failures.append("\(node.name): \(error)")
                }
            }
            guard failures.isEmpty else {
                throw CommandFailure("\(command): \(failures.joined(separator: "; "))")
            }
        }
    }

    private func show(_ reply: NodeAnswer, _ done: String) {
        if result.json { Output.body(reply.body) } else { print("\(reply.node): \(done)") }
    }
}
