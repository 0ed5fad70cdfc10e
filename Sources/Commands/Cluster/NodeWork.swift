import ArgumentParser
package import Client

/// Options of a command that asks one node for some work of its own, or all nodes of the cluster.
///
/// One node is the first of those named that can be reached (`QuipuClient.performAtOne`).
struct NodeWork: ParsableArguments {
    @Flag(help: "Every node of the cluster.")
    var all = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    /// Says of each node that answered that its work is `done`.
    func run(
        _ command: String, done: String,
        _ ask: (QuipuClient, [NodeAddress]?) async throws -> NodeAnswer
    ) async throws {
        try await run(command, show: { "\($0.node): \(done)" }, ask)
    }

    /// As above, where the answer says more than that; `line` is for people.
    func run(
        _ command: String, show line: (NodeAnswer) throws -> String,
        _ ask: (QuipuClient, [NodeAddress]?) async throws -> NodeAnswer
    ) async throws {
        try await connection.withClient { client in
            func show(_ reply: NodeAnswer) throws {
                if result.json { Output.body(reply.body) } else { print(try line(reply)) }
            }
            if all {
                try await NodeRound.ask(client, command, ask, then: show)
            } else {
                try show(try await ask(client, nil))
            }
        }
    }
}

/// All nodes of a cluster, one after the other.
package enum NodeRound {
    /// One that fails does not keep the others from their work; in the end it fails, and names each
    /// that did.
    package static func ask(
        _ client: QuipuClient, _ command: String,
        _ ask: (QuipuClient, [NodeAddress]?) async throws -> NodeAnswer,
        then show: (NodeAnswer) throws -> Void
    ) async throws {
        var failures: [String] = []
        var done = 0
        for node in try await client.cluster().nodes {
            guard let address = node.http else {
                failures.append("\(node.name): no address known")
                continue
            }
            do {
                try show(try await ask(client, [address]))
                done += 1
            } catch ClientError.unreachable(let attempts) {
                failures += attempts.map { "\(node.name): \($0)" }
            } catch {
                failures.append("\(node.name): \(error)")
            }
        }
        guard failures.isEmpty else {
            throw CommandFailure(
                "\(command): \(failures.joined(separator: "; "))"
                    + (done > 0 ? "; the other \(done) are done" : ""))
        }
    }

    /// A node answers in time, and says when it is not done yet: then it is asked again.
    package static func compact(
        _ client: QuipuClient, at nodes: [NodeAddress]?
    ) async throws -> NodeAnswer {
        var reply = try await client.performAtOne(QueryCall.compact, at: nodes)
        while reply.status == 202 {
            reply = try await client.performAtOne(QueryCall.compact, at: [reply.node])
        }
        return reply
    }
}
