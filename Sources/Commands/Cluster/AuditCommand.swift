import ArgumentParser
package import Client

struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Replicas against each other, disks against digests, input against output.",
        discussion: """
            Every node reads its files again and adds up what it holds; the sums are compared \
            partition by partition, and what went in with what is there. Exits with 1 on any \
            difference. Lag is no difference: it heals by itself.

            Example: quipu audit --node 127.0.0.1:8181
            """)

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let showsProgress = Output.errorIsTerminal && !result.json
        let reply = try await connection.withClient { client in
            try await DiskReading.wait(for: client, showsProgress: showsProgress) {
                client, since, wait, _ in
                try await client.perform(QueryCall.audit(since: since, wait: wait))
            }
        }
        let json = try reply.json()
        if result.json {
            Output.body(reply.body)
        } else {
            for line in AuditTable.lines(json) { print(line) }
        }
        guard json["clean"]?.bool == true else {
            let count = json["differences"]?.array?.count ?? 0
            throw CommandFailure(
                "audit: \(Quantity.plural(count, "difference", "differences")); "
                    + "docs/operating.md says what to do")
        }
    }
}

/// Answers that come when disks have been read.
package enum DiskReading {
    /// Asks again while disks are being read: each answer says how far they are.
    ///
    /// - Parameter ask: with the `since` of the last answer, for so many seconds, and the node
    ///   that gave it.
    static func wait(
        for client: QuipuClient, showsProgress: Bool,
        _ ask: (QuipuClient, _ since: Int?, _ wait: Int, _ last: NodeAddress?) async throws
            -> NodeAnswer
    ) async throws -> NodeAnswer {
        var since: Int?
        var last: NodeAddress?
        defer { if showsProgress { Output.progress("\r\u{1b}[K") } }
        while true {
            if showsProgress, since == nil { Output.progress("\r\u{1b}[Kreading disks…") }
            let reply = try await ask(client, since, showsProgress ? 1 : 10, last)
            let json = try reply.json()
            guard json["verifying"]?.bool == true else { return reply }
            since = json["since"]?.int ?? since
            last = reply.node
            if showsProgress { Output.progress("\r\u{1b}[K" + AuditTable.progress(json)) }
        }
    }
}

/// An audit for people.
package enum AuditTable {
    package static func progress(_ json: JSONValue) -> String {
        let done = json["verified_bytes"]?.double ?? 0
        let total = json["total_bytes"]?.double ?? 0
        let percent = total > 0 ? Int(done / total * 100) : 100
        return "reading disks: \(percent)%, \(Quantity.bytes(done)) of \(Quantity.bytes(total))"
    }

    package static func lines(_ json: JSONValue) -> [String] {
        var table = TextTable([
            ("Node", .left), ("State", .left), ("Partitions", .right), ("Lagging", .right),
            ("Tables", .right), ("Verified", .right), ("Healed", .right), ("Incidents", .right),
        ])
        for node in json["nodes"]?.array ?? [] {
            table.add([
                node["name"]?.plain ?? "?",
                node["settled"]?.bool == true ? "settled" : "recovering",
                number(node["partitions"]), number(node["lagging"]), number(node["tables"]),
                Quantity.bytes(node["verified_bytes"]?.double ?? 0), number(node["healed"]),
                number(node["incidents"]),
            ])
        }
        var lines = table.lines()
        lines.append(balance(json))
        let differences = json["differences"]?.array ?? []
        for difference in differences { lines.append(TextTable.printable(text(difference))) }
        let lagging = json["lagging"]?.int ?? 0
        if lagging > 0 {
            lines.append(
                "\(Quantity.plural(lagging, "replica", "replicas")) of partitions lagging: "
                    + "batches are on their way")
        }
        lines.append(
            differences.isEmpty
                ? "✓ no difference"
                : "✗ " + Quantity.plural(differences.count, "difference", "differences"))
        return lines
    }

    private static func balance(_ json: JSONValue) -> String {
        let input = json["input"]
        let text =
            "\(number(input?["events"])) events in: \(number(input?["counted"])) counted, "
            + "\(number(input?["dead"])) dead; cells hold \(number(json["output"]))"
        switch json["balance"]?.plain {
        case "equal": return "✓ " + text
        case "different": return "✗ " + text
        default: return "  \(text) (not compared: batches are under way, or a node is missing)"
        }
    }

    private static func text(_ difference: JSONValue) -> String {
        let nodes = difference["nodes"]?.array?.map(\.plain).joined(separator: ", ") ?? ""
        let partition = difference["partition"]?.int.map { ", partition \($0)" } ?? ""
        let place = nodes.isEmpty ? "cluster" : nodes
        return "✗ \(difference["kind"]?.plain ?? "?"), \(place)\(partition): "
            + (difference["detail"]?.plain ?? "")
    }

    private static func number(_ json: JSONValue?) -> String {
        json?.int.map(Quantity.grouped) ?? "?"
    }
}
