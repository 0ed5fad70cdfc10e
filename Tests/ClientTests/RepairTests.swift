import Client
import Commands
import Testing

@Suite("quipu repair", .timeLimit(.minutes(1)))
struct RepairTests {
    /// A report of an audit.
    ///
    /// - Parameters:
    ///   - answered: nodes that did.
    ///   - differences: each as `kind node`.
    private func report(
        answered: [String] = ["n1", "n2", "n3"], unsettled: Set<String> = [], lagging: Int = 0,
        differences: [String] = [], balance: String = "moving"
    ) -> String {
        let nodes = answered.map {
            #"{"name": "\#($0)", "settled": \#(!unsettled.contains($0)), "partitions": 1}"#
        }
        let found = differences.map { difference in
            let words = difference.split(separator: " ")
            return #"{"kind": "\#(words[0])", "nodes": ["\#(words[1])"], "partition": null}"#
        }
        return """
            {"clean": \(differences.isEmpty), "lagging": \(lagging), "balance": "\(balance)",
             "differences": [\(found.joined(separator: ","))],
             "nodes": [\(nodes.joined(separator: ","))]}
            """
    }

    private func json(_ text: String) throws -> JSONValue {
        try JSONValue(parsing: Array(text.utf8))
    }

    @Test("is done when all nodes answered and nothing lags or differs")
    func done() throws {
        var watch = RepairWatch()
        let steps = try [
            report(lagging: 1), report(), report(differences: ["state n1"], balance: "equal"),
            report(balance: "equal"),
        ].map { watch.take(try json($0), at: .seconds(1)) }
        #expect(steps == [.again(news: nil), .again(news: nil), .again(news: nil), .done])
    }

    private let away = ["n1", "n3"]
    private let named = RepairWatch.Step.again(
        news: "n2 is down and waited for: start n2, or see 'quipu status'")

    @Test("names a node that is down at once, and once")
    func news() throws {
        var watch = RepairWatch()
        let down = try json(report(answered: away, lagging: 3, differences: ["unreachable n2"]))
        #expect(watch.take(down, at: .seconds(1)) == named)
        #expect(watch.take(down, at: .seconds(2)) == .again(news: nil))
        let both = try json(
            report(answered: ["n3"], differences: ["unreachable n2", "unreachable n1"]))
        #expect(
            watch.take(both, at: .seconds(3))
                == .again(
                    news: "n1, n2 are down and waited for: start n1, n2, or see 'quipu status'"))
        #expect(watch.take(try json(report()), at: .seconds(4)) == .again(news: nil))
        #expect(watch.take(down, at: .seconds(5)) == named)
    }

    @Test("names a node that is known to be down before disks are read, and not once more then")
    func begins() throws {
        var watch = RepairWatch()
        #expect(watch.begin(away: []) == nil)
        let text = watch.begin(away: ["n2"])
        #expect(RepairWatch.Step.again(news: text) == named)
        let down = try json(report(answered: away, differences: ["unreachable n2"]))
        #expect(watch.take(down, at: .seconds(1)) == .again(news: nil))
        let both = try json(
            report(answered: ["n3"], differences: ["unreachable n1", "unreachable n2"]))
        #expect(watch.take(both, at: .seconds(1)) != .again(news: nil))
    }

    @Test("ends where a node that is down is all that is left, and not before it may be back")
    func hopeless() throws {
        var watch = RepairWatch()
        let down = try json(report(answered: away, differences: ["unreachable n2"]))
        #expect(watch.take(down, at: .seconds(5)) == named)
        #expect(watch.take(down, at: .seconds(19)) == .again(news: nil))
        let others = [
            report(answered: away, lagging: 1, differences: ["unreachable n2"]),
            report(answered: away, unsettled: ["n3"], differences: ["unreachable n2"]),
            report(answered: away, differences: ["unreachable n2", "damage n1"]),
        ]
        for other in others {
            #expect(watch.take(try json(other), at: .seconds(21)) == .again(news: nil), "\(other)")
        }
        let end = watch.take(down, at: .seconds(20))
        guard case .hopeless(let why) = end else {
            Issue.record("\(end)")
            return
        }
        #expect(why.hasPrefix("n2 is down, and nothing is proved of what is there; the other"))
        #expect(why.hasSuffix("start n2, then repair again"))
    }

    @Test("goes on for a node that came while the audit ran")
    func arriving() throws {
        var watch = RepairWatch()
        let arriving = try json(report(differences: ["unreachable n2"]))
        for time in [1, 20, 500] {
            #expect(watch.take(arriving, at: .seconds(time)) == .again(news: nil))
        }
    }

    @Test("says in the end what is left")
    func remains() throws {
        var watch = RepairWatch()
        let cases = [
            (report(), "batches are under way, or a node is just back: repair again"),
            (
                report(
                    answered: away, lagging: 2, differences: ["unreachable n2", "damage n1"]),
                "n2 is down: start n2; 2 replicas of partitions lag; 1 difference: "
                    + "docs/operating.md says what to do where one stays"
            ),
        ]
        for (report, expected) in cases {
            _ = watch.take(try json(report), at: .seconds(1))
            #expect(watch.remains == expected)
        }
    }

    @Test("as a command names the node that it waited for", arguments: [[], ["--all", "--json"]])
    func command(more: [String]) async throws {
        let body = report(answered: away, differences: ["unreachable n2"])
        let cluster = #"{"nodes": [{"name": "n1", "state": "UN"}, {"name": "n2", "state": "DN"}]}"#
        let node = try await ScriptedNode { request, _ in
            ScriptedNode.json(200, request == "GET /v1/cluster" ? cluster : body)
        }
        let outcome = await Program.outcome(
            of: ["repair", "--timeout", "1ms", "--node", "\(node.address)"] + more)
        let expected = "repair: not done after 1ms: n2 is down: start n2"
        #expect(outcome == Program.Outcome(code: 1, line: expected))
        try await node.close()
    }
}
