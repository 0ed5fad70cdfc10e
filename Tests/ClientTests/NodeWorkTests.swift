import Client
import Commands
import Testing

@Suite("Work of one node", .timeLimit(.minutes(1)))
struct NodeWorkTests {
    @Test("goes to the next node only where nothing was sent to the one before")
    func notConnected() async throws {
        let cluster = ScriptedCluster { _, number in
            number == 0
                ? .failure(.notConnected("refused"))
                : .reply(HTTPReply(status: 200, body: Array("{}".utf8)))
        }
        let reply = try await cluster.client().performAtOne(QueryCall.drain)
        #expect(reply.node == ScriptedCluster.nodes[1])
        #expect(await cluster.requests.map(\.node) == Array(ScriptedCluster.nodes.prefix(2)))
    }

    @Test("stays at a node that was reached, whatever it says, and tells which and what")
    func stays() async {
        let node = ScriptedCluster.nodes[0]
        let refused = ClientError.refused(status: 429, detail: "says 429", node: node)
        let cases: [(ScriptedCluster.Answer, ClientError)] = [
            (.failure(.timedOut), .uncertain(detail: "no answer in time", node: node)),
            (
                .failure(.broken("reset")),
                .uncertain(detail: "the connection broke (reset)", node: node)
            ),
            (
                ScriptedCluster.problem(503),
                .uncertain(detail: "it answered 503 (says 503)", node: node)
            ),
            (
                ScriptedCluster.problem(504),
                .uncertain(detail: "it answered 504 (says 504)", node: node)
            ),
            (ScriptedCluster.problem(429), refused),
            (
                ScriptedCluster.problem(409),
                .refused(status: 409, detail: "says 409", node: node)
            ),
            (
                ScriptedCluster.problem(501),
                .refused(status: 501, detail: "says 501", node: node)
            ),
        ]
        for (answer, expected) in cases {
            let cluster = ScriptedCluster { _, _ in answer }
            await #expect(throws: expected) {
                try await cluster.client().performAtOne(QueryCall.drain)
            }
            #expect(await cluster.requests.map(\.node) == [node], "\(expected)")
        }
        let text = ClientError.uncertain(detail: "no answer in time", node: node).description
        #expect(text.hasPrefix("\(node): no answer in time; it may be done there all the same"))
        #expect(text.hasSuffix("--node \(node)"))
    }

    @Test("names every node where none could be reached")
    func unreachable() async {
        let cluster = ScriptedCluster { _, _ in .failure(.notConnected("refused")) }
        await #expect(
            throws: ClientError.unreachable(
                ScriptedCluster.nodes.map { "\($0): no connection (refused)" })
        ) { try await cluster.client().performAtOne(QueryCall.flush) }
    }

    /// Of every command whose work one node does to itself.
    private static let works: [([String], String)] = [
        (["drain"], "POST /v1/drain"), (["flush"], "POST /v1/flush"),
        (["compact"], "POST /v1/compact"), (["verify"], "POST /v1/verify?wait=1"),
        (["snapshot", "create", "monday"], "POST /v1/snapshots?name=monday"),
        (["snapshot", "remove", "monday"], "DELETE /v1/snapshots/monday"),
    ]

    @Test("never reaches a second node, by any command", arguments: works)
    func commands(arguments: [String], request: String) async throws {
        for isSilent in [true, false] {
            let first = try await ScriptedNode { _, _ in
                isSilent ? nil : ScriptedNode.json(503, #"{"detail": "not now"}"#)
            }
            let second = try await ScriptedNode { _, _ in ScriptedNode.json(200, "{}") }
            let names = "\(first.address),\(second.address)"
            let outcome = await Program.outcome(of: arguments + ["--node", names])
            #expect(outcome.code == 1)
            let line = try #require(outcome.line)
            #expect(line.hasPrefix("\(first.address): "), "\(line)")
            #expect(line.contains("it may be done there all the same"), "\(line)")
            #expect(first.asked.count == 1 && second.asked.isEmpty)
            #expect(first.asked.first?.hasPrefix(request) == true, "\(first.asked)")
            try await first.close()
            try await second.close()
        }
    }

    @Test("reads go on to the next node as ever")
    func reads() async throws {
        let first = try await ScriptedNode { _, _ in nil }
        let second = try await ScriptedNode { _, _ in
            ScriptedNode.json(200, #"{"items": [], "next": null}"#)
        }
        let names = "\(first.address),\(second.address)"
        let outcome = await Program.outcome(of: ["snapshot", "list", "--node", names])
        #expect(outcome == Program.Outcome(code: 0, line: nil))
        #expect(second.asked == ["GET /v1/snapshots"])
        try await first.close()
        try await second.close()
    }
}
