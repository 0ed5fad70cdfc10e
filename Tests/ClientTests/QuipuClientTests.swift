import Client
import Core
import Testing

@Suite("Queries")
struct QuipuClientTests {
    @Test("the next node is asked when one cannot be reached or cannot answer now")
    func failover() async throws {
        let cluster = ScriptedCluster { _, number in
            switch number {
            case 0: .failure(.notConnected("refused"))
            case 1: ScriptedCluster.problem(503)
            default: .reply(HTTPReply(status: 200, body: Array(#"{"items": []}"#.utf8)))
            }
        }
        let answer = try await cluster.client().types()
        #expect(answer.items.isEmpty)
        #expect(await cluster.requests.map(\.node) == ScriptedCluster.nodes)
    }

    @Test("a node that hung is asked last, until its time is over")
    func failedLast() async throws {
        let time = ScriptedTime()
        let nodes = ScriptedCluster.nodes
        let cluster = ScriptedCluster { request, _ in
            guard request.node == nodes[0] else {
                return .reply(HTTPReply(status: 200, body: Array(#"{"items": []}"#.utf8)))
            }
            time.move(by: .seconds(15))
            return .failure(.timedOut)
        }
        let client = QuipuClient(nodes: nodes, transport: cluster, time: time.time)
        for _ in 0..<3 { _ = try await client.types() }
        #expect(await cluster.requests.map(\.node) == [0, 1, 1, 1].map { nodes[$0] })
        time.move(by: CircuitBreaker.openMax)
        for _ in 0..<2 { _ = try await client.types() }
        #expect(await cluster.requests.dropFirst(4).map(\.node) == [0, 1, 1].map { nodes[$0] })
    }

    @Test("where every node failed each is asked all the same, and the first that is back is first")
    func allFailed() async throws {
        let time = ScriptedTime()
        let nodes = ScriptedCluster.nodes
        let cluster = ScriptedCluster { request, number in
            guard number < 7 || request.node != nodes[1] else {
                return .reply(HTTPReply(status: 200, body: Array(#"{"items": []}"#.utf8)))
            }
            return .failure(.notConnected("refused"))
        }
        let client = QuipuClient(nodes: nodes, transport: cluster, time: time.time)
        for _ in 0..<2 { await #expect(throws: ClientError.self) { try await client.types() } }
        for _ in 0..<2 { _ = try await client.types() }
        #expect(
            await cluster.requests.map(\.node)
                == (nodes + nodes + nodes.prefix(2) + [nodes[1]]))
    }

    @Test("a refusal is the cluster's word, with the problem's detail")
    func refusal() async {
        let cluster = ScriptedCluster { _, _ in ScriptedCluster.problem(400) }
        await #expect(
            throws: ClientError.refused(
                status: 400, detail: "says 400", node: ScriptedCluster.nodes[0])
        ) { try await cluster.client().types() }
        #expect(await cluster.requests.count == 1)
    }

    @Test("what no node of this version can do is not asked of the next")
    func notInThisVersion() async {
        let cluster = ScriptedCluster { _, _ in ScriptedCluster.problem(501) }
        await #expect(throws: ClientError.self) { try await cluster.client().types() }
        #expect(await cluster.requests.count == 1)
    }

    @Test("no answer at all names every node that was tried")
    func unreachable() async {
        let cluster = ScriptedCluster { _, _ in .failure(.timedOut) }
        await #expect(
            throws: ClientError.unreachable(
                ScriptedCluster.nodes.map { "\($0): no answer in time" })
        ) { try await cluster.client().cluster() }
    }

    @Test("keys and types of any kind stay one component of the path")
    func encoding() async throws {
        let cluster = ScriptedCluster { _, _ in
            .reply(
                HTTPReply(
                    status: 200, body: Array(#"{"total": {"count": 0}, "windows": []}"#.utf8)))
        }
        let keys = ["a/b", "#en", "%", "a?b&c=d+e", "video-été", "-2-9ZncFOHk", ".."]
        for key in keys {
            _ = try await cluster.client().counts(type: "*", key: key, step: "all")
        }
        let paths = await cluster.requests.map { $0.call.target.prefix { $0 != "?" } }
        #expect(
            paths == [
                "/v1/counts/%2A/a%2Fb", "/v1/counts/%2A/%23en", "/v1/counts/%2A/%25",
                "/v1/counts/%2A/a%3Fb%26c%3Dd%2Be", "/v1/counts/%2A/video-%C3%A9t%C3%A9",
                "/v1/counts/%2A/-2-9ZncFOHk", "/v1/counts/%2A/%2E%2E",
            ])
    }

    @Test("counts are read with their values, attributes and states")
    func counts() async throws {
        let body = """
            {"type": "view", "key": "abc", "attributes": {"title": "T", "n": 3},
             "consistency": "QUORUM", "replicas": ["n1", "n3"], "total": {"count": 12},
             "windows": [{"start": "2015-02-22T21:17:00Z", "count": 12, "sum": "-1.5",
                          "min": "-2", "max": "0.5", "avg": "-0.125", "state": "final"}]}
            """
        let cluster = ScriptedCluster { _, _ in
            .reply(HTTPReply(status: 200, body: Array(body.utf8)))
        }
        let range = TimeRange(from: Timestamp(milliseconds: 0), to: nil)
        let answer = try await cluster.client().counts(type: "view", key: "abc", range: range)
        #expect(answer.total.count == 12)
        #expect(answer.windows.map(\.measure.sum) == ["-1.5"])
        #expect(answer.windows.map(\.state) == ["final"])
        #expect(answer.attributes.map(\.name) == ["title", "n"])
        #expect(answer.replicas == ["n1", "n3"])
        #expect(
            await cluster.requests[0].call.target
                == "/v1/counts/view/abc?from=1970-01-01T00%3A00%3A00Z&consistency=QUORUM",
            "a step was asked for that not every cluster has")
        _ = try await cluster.client().counts(type: "view", key: "abc", step: "1h")
        #expect(await cluster.requests[1].call.target.contains("?step=1h&"))
    }

    @Test("attributes that may be old or cannot be read are told apart from none")
    func attributesStates() async throws {
        let cases: [(String, AttributesState)] = [
            (#""attributes": {}"#, .known),
            (#""attributes": {"a": 1}, "attributes_stale": true"#, .stale),
            (#""attributes": null, "attributes_unavailable": true"#, .unavailable),
        ]
        for (fields, state) in cases {
            let body = #"{"total": {"count": 1}, "windows": [], \#(fields)}"#
            let row = #"{"rank": 1, "key": "k", "count": 1, \#(fields)}"#
            let top = #"{"rows": [\#(row)], "exact": true}"#
            let cluster = ScriptedCluster { request, _ in
                let text = request.call.target.hasPrefix("/v1/top") ? top : body
                return .reply(HTTPReply(status: 200, body: Array(text.utf8)))
            }
            let answer = try await cluster.client().counts(type: "view", key: "abc")
            #expect(answer.attributesState == state && answer.total.count == 1)
            #expect(answer.attributesState.remarks.isEmpty == (state == .known))
            #expect(try await cluster.client().top(type: "view").attributesState == state)
        }
    }

    @Test("an answer that lacks its fields is an error, never a count of nothing")
    func unintelligible() async {
        let bodies = [
            "", "[]", "{", #"{"total": {}, "windows": []}"#,
            #"{"total": {"count": 1}, "windows": [{"count": 1}]}"#,
        ]
        for body in bodies {
            let cluster = ScriptedCluster { _, _ in
                .reply(HTTPReply(status: 200, body: Array(body.utf8)))
            }
            await #expect(throws: ClientError.self, "\(body)") {
                try await cluster.client().counts(type: "view", key: "abc")
            }
        }
    }
}
