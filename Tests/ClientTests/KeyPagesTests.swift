import Client
import Commands
import Testing

@Suite("quipu keys", .timeLimit(.minutes(1)))
struct KeyPagesTests {
    /// Answers each request for a page with what follows from its token: `k0` and on.
    private func cluster(of keys: Int) -> ScriptedCluster {
        ScriptedCluster { request, _ in
            let query = request.call.target.split(separator: "?").last ?? ""
            var fields: [Substring: Int] = [:]
            for field in query.split(separator: "&") {
                let parts = field.split(separator: "=")
                if parts.count == 2 { fields[parts[0]] = Int(parts[1]) }
            }
            let first = fields["page"] ?? 0
            let limit = fields["limit"] ?? 0
            let end = min(first + limit, keys)
            let items = (first..<end).map { #"{ "key":"k\#($0)", "attributes":{"n":1.50} }"# }
            let next = end - first == limit ? "\"\(end)\"" : "null"
            let body = #"{"items":[\#(items.joined(separator: ","))],"next":\#(next)}"#
            return .reply(HTTPReply(status: 200, body: Array(body.utf8)))
        }
    }

    /// What `--json` prints of a type with so many keys, and what was asked for it.
    private func body(
        limit: Int?, pageKeys: Int, keys: Int = 5, page: String? = nil
    ) async throws -> (text: String, asked: [String]) {
        let cluster = cluster(of: keys)
        var pages = KeyPages(
            client: cluster.client(), type: "view", prefix: nil, limit: limit, page: page,
            pageKeys: pageKeys)
        var bytes: [UInt8] = []
        try await pages.writeBody { bytes += $0 }
        let asked = await cluster.requests.map {
            String($0.call.target.split(separator: "?").last ?? "")
        }
        return (text: String(decoding: bytes, as: UTF8.self), asked: asked)
    }

    @Test("one page that is all is printed as it came")
    func onePage() async throws {
        let all = try await body(limit: nil, pageKeys: 10)
        #expect(all.text.hasPrefix(#"{"items":[{ "key":"k0", "attributes":{"n":1.50} },{ "key""#))
        #expect(all.text.hasSuffix(#"],"next":null}"#))
        #expect(all.asked == ["limit=10"])
        let some = try await body(limit: 2, pageKeys: 10)
        #expect(some.text.hasSuffix(#"{ "key":"k1", "attributes":{"n":1.50} }],"next":"2"}"#))
        #expect(some.asked == ["limit=2"])
    }

    @Test("several pages become one body with as many keys as were asked for")
    func joined() async throws {
        let cases: [(limit: Int?, keys: Int, page: String?, names: Range<Int>, next: JSONValue)] = [
            (nil, 5, nil, 0..<5, .null), (nil, 6, nil, 0..<6, .null), (9, 6, nil, 0..<6, .null),
            (3, 6, nil, 0..<3, .string("3")), (4, 6, nil, 0..<4, .string("4")),
            (3, 6, "2", 2..<5, .string("5")), (nil, 6, "1", 1..<6, .null),
        ]
        for (limit, keys, page, names, next) in cases {
            let result = try await body(limit: limit, pageKeys: 2, keys: keys, page: page)
            let json = try JSONValue(parsing: Array(result.text.utf8))
            let shown = json["items"]?.array?.compactMap { $0["key"]?.string }
            #expect(shown == names.map { "k\($0)" })
            #expect(json["items"]?.array?.first?["attributes"]?["n"] == .number("1.50"))
            #expect(json["next"] == next)
            #expect(json.members?.map(\.name) == ["items", "next"])
        }
        #expect(
            try await body(limit: 5, pageKeys: 2, keys: 9).asked
                == ["limit=2", "limit=2&page=2", "limit=1&page=4"])
    }

    @Test("--json asks for as much as a node gives at once, and for more until all are there")
    func command() async throws {
        let node = try await ScriptedNode { request, _ in
            ScriptedNode.json(
                200,
                request.contains("page=")
                    ? #"{"items":[{"key":"b"}],"next":null}"#
                    : #"{"items":[{"key":"a"}],"next":"t"}"#)
        }
        let cases: [([String], [String])] = [
            ([], ["limit=10000", "limit=10000&page=t"]),
            (["--limit", "5000"], ["limit=5000", "limit=4999&page=t"]),
            (["--limit", "10001"], ["limit=10000", "limit=10000&page=t"]),
        ]
        var asked: [String] = []
        for (more, expected) in cases {
            let outcome = await Program.outcome(
                of: ["keys", "view", "--json", "--node", "\(node.address)"] + more)
            #expect(outcome == Program.Outcome(code: 0, line: nil))
            asked += expected.map { "GET /v1/keys/view?\($0)" }
            #expect(node.asked == asked)
        }
        try await node.close()
    }
}
