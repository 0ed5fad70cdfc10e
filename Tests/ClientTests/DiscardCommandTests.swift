import Client
import Commands
import Core
import Testing

/// Commands that take something away for good.
@Suite("Deleting and discarding")
struct DiscardCommandTests {
    private static let producer = "00000000-0000-0000-0000-000000000007"

    private static func reply(_ body: String) -> ScriptedCluster.Answer {
        .reply(HTTPReply(status: 200, body: Array(body.utf8)))
    }

    private static var members: ScriptedCluster.Answer {
        let nodes = ScriptedCluster.nodes.enumerated().map { place, address in
            """
            {"name": "n\(place + 1)", "state": "UN", "http": "\(address)", "load": 1,
             "owns": 0.5, "host_id": "h", "dc": "dc1", "rack": "r1"}
            """
        }
        return reply(
            """
            {"cluster": "demo", "epoch": 1, "as_seen_by": "n1",
             "nodes": [\(nodes.joined(separator: ","))]}
            """)
    }

    /// A cluster in which n2 answers the discard, and the others do not have the batch.
    private static func cluster(_ answer: ScriptedCluster.Answer) -> ScriptedCluster {
        ScriptedCluster { request, _ in
            guard request.call.target == "/v1/parked/\(producer)/7" else { return members }
            return request.node == ScriptedCluster.nodes[1]
                ? answer : ScriptedCluster.problem(404)
        }
    }

    private static func discard(_ cluster: ScriptedCluster) async throws -> String {
        try await ParkedDiscard(client: cluster.client(), producer: producer, sequence: "7").run()
    }

    @Test("a parked batch is discarded on the node that has it, and each is asked")
    func discards() async throws {
        let cluster = Self.cluster(Self.reply(#"{"discarded": true}"#))
        let done = try await Self.discard(cluster)
        #expect(done == "parked batch \(Self.producer)/7 discarded on n2")
        let asked = await cluster.requests.filter { $0.call.target.hasPrefix("/v1/parked") }
        #expect(asked.map(\.node) == ScriptedCluster.nodes)
        #expect(asked.allSatisfy { $0.call.method == .delete })
    }

    @Test("one that may still be counted, or is nowhere, is an error that says so")
    func refuses() async throws {
        let refused = await #expect(throws: CommandFailure.self) {
            try await Self.discard(Self.cluster(ScriptedCluster.problem(409)))
        }
        #expect(refused?.text.contains("n2") == true && refused?.text.contains("says 409") == true)
        let nowhere = await #expect(throws: CommandFailure.self) {
            try await Self.discard(Self.cluster(ScriptedCluster.problem(404)))
        }
        #expect(nowhere?.text.contains("is parked on no node") == true)
    }

    @Test("keys are deleted one after the other, and an error says how many are done")
    func attributes() async throws {
        let cluster = ScriptedCluster { request, _ in
            switch request.call.target {
            case "/v1/attributes/a%2Fb": Self.reply(#"{"version": 3, "deleted": true}"#)
            case "/v1/attributes/-c": Self.reply(#"{"version": 3, "deleted": false}"#)
            default: ScriptedCluster.problem(400)
            }
        }
        let deleted = try await AttributeDeletion.run(cluster.client(), ["a/b", "-c"])
        #expect(deleted == 1)
        #expect(await cluster.requests.allSatisfy { $0.call.method == .delete })
        #expect(AttributeDeletion.summary(1, of: 2) == "1 key deleted, 1 had no attributes")
        #expect(AttributeDeletion.summary(2, of: 2) == "2 keys deleted")
        let failure = await #expect(throws: CommandFailure.self) {
            try await AttributeDeletion.run(cluster.client(), ["a/b", "bad", "-c"])
        }
        #expect(failure?.text.contains("bad: ") == true)
        #expect(failure?.text.contains("of 3 keys 1 are done") == true)
    }
}
