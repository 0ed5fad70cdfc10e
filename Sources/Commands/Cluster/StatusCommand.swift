import ArgumentParser
package import Client

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "The nodes, as one of them sees the cluster.",
        discussion: """
            The first letter is U (up) or D (down), the second N (normal), R (recovering), \
            J (joining), L (leaving) or M (moving).

            Example: quipu status --node 127.0.0.1:8181
            """)

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let reply = try await connection.withClient { try await $0.perform(QueryCall.cluster) }
        if result.json {
            Output.body(reply.body)
            return
        }
        let answer = try reply.reading(ClusterAnswer.init(json:))
        for line in ClusterStatus.lines(answer) { print(line) }
    }
}

/// The cluster in the layout of `nodetool status`.
package enum ClusterStatus {
    package static func lines(_ answer: ClusterAnswer) -> [String] {
        var lines: [String] = []
        for name in Set(answer.nodes.map(datacenter)).sorted() {
            let title = "Datacenter: \(TextTable.printable(name))"
            lines += [
                title, String(repeating: "=", count: title.count), "Status=Up/Down",
                "|/ State=Normal/Leaving/Joining/Moving/Recovering",
            ]
            var table = TextTable([
                ("--", .left), ("Address", .left), ("Load", .right), ("Owns", .right),
                ("Host ID", .left), ("Rack", .left), ("Name", .left),
            ])
            for node in answer.nodes where datacenter(node) == name {
                table.add([
                    node.state, node.http?.description ?? node.json["http"]?.plain ?? "?",
                    load(node.json["load"]), owns(node.json["owns"]),
                    node.json["host_id"]?.plain ?? "?", node.json["rack"]?.plain ?? "?",
                    node.name,
                ])
            }
            lines += table.lines() + [""]
        }
        let epoch = answer.epoch.map { ", epoch \($0)" } ?? ""
        let note = "cluster \(answer.cluster)\(epoch), as seen by \(answer.asSeenBy)"
        return lines + [TextTable.printable(note)]
    }

    private static func datacenter(_ node: ClusterAnswer.Node) -> String {
        node.json["dc"]?.plain ?? "?"
    }

    /// Bytes where a number came, else the text.
    static func load(_ json: JSONValue?) -> String {
        guard let json, json != .null else { return "?" }
        return json.double.map(Quantity.bytes) ?? json.plain
    }

    /// A share of 1 as a percentage, else the text.
    static func owns(_ json: JSONValue?) -> String {
        guard let json, json != .null else { return "?" }
        guard let share = json.double else { return json.plain }
        return Quantity.fixed(share * 100, digits: 1) + "%"
    }
}
