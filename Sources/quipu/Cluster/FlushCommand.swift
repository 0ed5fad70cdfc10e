import ArgumentParser
import Client

struct FlushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flush",
        abstract: "Write what a node holds in memory to its files.",
        discussion: "Example: quipu flush --all")

    @Flag(help: "Every node of the cluster.")
    var all = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        try await connection.withClient { client in
            guard all else {
                show(try await client.perform(QueryCall.flush))
                return
            }
            var failures: [String] = []
            for node in try await client.cluster().nodes {
                guard let address = node.http else {
                    failures.append("\(node.name): no address known")
                    continue
                }
                do {
                    show(try await client.perform(QueryCall.flush, at: [address]))
                } catch ClientError.unreachable(let attempts) {
                    failures += attempts.map { "\(node.name): \($0)" }
                } catch {
                    failures.append("\(node.name): \(error)")
                }
            }
            guard failures.isEmpty else {
                throw CommandFailure("flush: \(failures.joined(separator: "; "))")
            }
        }
    }

    private func show(_ reply: NodeAnswer) {
        if result.json { Output.body(reply.body) } else { print("\(reply.node): flushed") }
    }
}
