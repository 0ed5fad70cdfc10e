package import Client

/// Discards one parked batch: each node knows its own alone, so each is asked.
package struct ParkedDiscard {
    private let client: QuipuClient
    private let producer: String
    private let sequence: String

    package init(client: QuipuClient, producer: String, sequence: String) {
        self.client = client
        self.producer = producer
        self.sequence = sequence
    }

    /// What was done, for people. An error where a node says that it may still be counted, or
    /// nowhere anything was discarded.
    package func run(_ show: ([UInt8]) -> Void = { _ in }) async throws -> String {
        let name = "\(producer)/\(sequence)"
        let call = HTTPCall(
            .delete, "/v1/parked/\(PercentEncoding.encode(producer))/\(sequence)")
        var done: [String] = []
        var failures: [String] = []
        for node in try await client.cluster().nodes {
            guard let address = node.http else {
                failures.append("\(node.name): no address known")
                continue
            }
            do throws(ClientError) {
                show(try await client.perform(call, at: [address]).body)
                done.append(node.name)
            } catch {
                // Most nodes do not have it.
                if case .refused(status: 404, _, _) = error { continue }
                failures.append("\(node.name): \(error)")
            }
        }
        let discarded = done.joined(separator: ", ")
        guard failures.isEmpty else {
            throw CommandFailure(
                "dlq purge: \(name): " + failures.joined(separator: "; ")
                    + (done.isEmpty ? "" : "; discarded on \(discarded)"))
        }
        guard !done.isEmpty else {
            throw CommandFailure(
                "dlq purge: \(name) is parked on no node: see 'quipu dlq list' and 'quipu batch'")
        }
        return "parked batch \(name) discarded on \(discarded)"
    }
}
