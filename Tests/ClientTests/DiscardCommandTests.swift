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

    private static let members = members(without: nil)

    /// - Parameter silent: a node whose address is not known.
    private static func members(without silent: NodeAddress?) -> ScriptedCluster.Answer {
        let nodes = ScriptedCluster.nodes.enumerated().map { place, address in
            """
            {"name": "n\(place + 1)", "state": "UN",
             "http": \(address == silent ? "null" : "\"\(address)\""), "load": 1,
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

    @Test("of a node without a known address nobody says that the batch is not there")
    func unknownAddress() async throws {
        let cluster = ScriptedCluster { request, _ in
            request.call.target.hasPrefix("/v1/parked")
                ? ScriptedCluster.problem(404) : Self.members(without: ScriptedCluster.nodes[1])
        }
        let failure = await #expect(throws: CommandFailure.self) {
            try await Self.discard(cluster)
        }
        #expect(failure?.text == "dlq purge: \(Self.producer)/7: n2: no address known")
        #expect(await cluster.requests.filter { $0.call.method == .delete }.count == 2)
    }

    /// A node's list of as many batches, of which it shows these: an id's sequence, and a state.
    private static func listing(
        _ batches: Int, _ items: [(sequence: Int, state: String?)]
    ) -> ScriptedCluster.Answer {
        let items = items.map { item in
            """
            {"batch": {"producer": "\(producer)", "sequence": \(item.sequence)}, "events": 3,
             "parked": "2026-01-01T00:00:00Z", "attempts": 2,
             \(item.state.map { "\"state\": \"\($0)\"," } ?? "") "reason": "so"}
            """
        }
        return reply(#"{"batches": \#(batches), "items": [\#(items.joined(separator: ","))]}"#)
    }

    @Test("the list shows which batches will never be counted, and which nodes told nothing")
    func listed() async throws {
        let nodes = ScriptedCluster.nodes
        let cluster = ScriptedCluster { request, _ in
            guard request.call.target.hasPrefix("/v1/parked") else {
                return Self.members(without: nodes[1])
            }
            return request.node == nodes[0]
                ? Self.listing(3, [(1, nil), (2, "forgotten"), (3, nil)])
                : ScriptedCluster.problem(400)
        }
        let (lines, unknown) = try await ParkedList(client: cluster.client(), limit: 50).read()
        try #require(lines.count == 6)
        #expect(lines[0].hasSuffix("Attempts  State      Waits because"))
        #expect(lines[1].hasSuffix("       2  waiting    so"))
        #expect(lines[2].hasSuffix("       2  forgotten  so"))
        #expect(
            lines[4] == "3 parked batches, 2 to be counted when their voters are back; 1 of those "
                + "shown never will be: 'quipu dlq purge --parked' discards one")
        #expect(unknown.first == "n2: no address known")
        #expect(unknown.count == 2 && unknown.last?.hasPrefix("n3: ") == true)
    }

    @Test("where not all are listed, its numbers are of those that are")
    func listedInPart() async throws {
        let cluster = ScriptedCluster { request, _ in
            guard request.call.target.hasPrefix("/v1/parked") else { return Self.members }
            return request.node == ScriptedCluster.nodes[0]
                ? Self.listing(9, [(1, nil)]) : Self.listing(0, [])
        }
        let (lines, unknown) = try await ParkedList(client: cluster.client(), limit: 1).read()
        #expect(
            lines.dropLast().last == "9 parked batches, 1 of them shown, 1 to be counted when "
                + "their voters are back")
        #expect(unknown.isEmpty)
        #expect(
            await cluster.requests.filter { $0.call.target == "/v1/parked?limit=1" }.count == 3)
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
