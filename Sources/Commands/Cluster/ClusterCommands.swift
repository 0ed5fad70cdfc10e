import ArgumentParser
package import Client
import Node

struct InfoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "What the node that answers says of itself.",
        discussion: "Example: quipu info --node 127.0.0.1:8182")

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let reply = try await connection.withClient { try await $0.perform(QueryCall.info) }
        if result.json {
            Output.body(reply.body)
            return
        }
        for line in NodeInfo.lines(try reply.json()) { print(line) }
    }
}

/// One node in the layout of `nodetool info`.
package enum NodeInfo {
    private static let titleColumns = 22
    /// What the layout calls otherwise than the answer does.
    private static let titles = [
        "host_id": "ID", "generation": "Generation No", "uptime_seconds": "Uptime (seconds)",
        "log_lsn": "Log LSN", "window_ms": "Window (ms)", "horizon_ms": "Horizon (ms)",
    ]

    package static func lines(_ json: JSONValue) -> [String] {
        (json.members ?? []).flatMap { member in
            if member.name == "rules" { return rules(member.value) }
            let title = titles[member.name] ?? words(member.name)
            let space = String(repeating: " ", count: max(1, titleColumns - title.count))
            let value =
                member.name == "load" ? ClusterStatus.load(member.value) : text(member.value)
            return [TextTable.printable("\(title)\(space): \(value)")]
        }
    }

    /// A line for each version of the rules.
    private static func rules(_ value: JSONValue) -> [String] {
        (value.array ?? []).map { rule in
            let text = { (name: String) in rule[name]?.plain ?? "" }
            let duration = { (name: String) in
                Int64(text(name)).map { QuantityText.format(.milliseconds($0)) } ?? "unlimited"
            }
            let title = "Rules " + text("version")
            let from = text("from").isEmpty ? "the beginning" : text("from")
            let standing = text("standing").isEmpty ? "" : ", \(text("standing"))"
            let space = String(repeating: " ", count: max(1, titleColumns - title.count))
            return TextTable.printable(
                "\(title)\(space): \(text("state")), from \(from)\(standing): future_limit "
                    + "\(duration("future_limit_ms")), lateness \(duration("lateness_ms"))")
        }
    }

    private static func text(_ value: JSONValue) -> String {
        value.array.map { $0.map(\.plain).joined(separator: ", ") } ?? value.plain
    }

    /// `memtable_bytes` as `Memtable bytes`.
    private static func words(_ name: String) -> String {
        let text = name.split(separator: "_").joined(separator: " ")
        return text.prefix(1).uppercased() + text.dropFirst()
    }
}

struct GossipInfoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gossipinfo",
        abstract: "What gossip brought to the node that answers, node by node.",
        discussion: "Example: quipu gossipinfo")

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let reply = try await connection.withClient { try await $0.perform(QueryCall.gossip) }
        if result.json {
            Output.body(reply.body)
            return
        }
        for node in try reply.json()["nodes"]?.array ?? [] {
            print(TextTable.printable("/\(node["name"]?.plain ?? "?")"))
            for member in node.members ?? [] where member.name != "name" {
                print(TextTable.printable("  \(member.name):\(member.value.plain)"))
            }
        }
    }
}

struct EndpointsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "endpoints",
        abstract: "The replicas of a key.",
        discussion: """
            Where placement is key+day, they are those of one day, by default today's; else all \
            days have the same, and --at is refused.

            Example: quipu endpoints angrave/SystemProgramming
            """)

    @Argument(help: "The key.")
    var key: String

    @Option(
        help: "Only where placement is key+day: a time in the UTC day that is meant; default now.")
    var at: String?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let reply = try await connection.withClient {
            try await $0.perform(QueryCall.endpoints(key: key, at: at))
        }
        if result.json {
            Output.body(reply.body)
            return
        }
        let json = try reply.json()
        let replicas = json["replicas"]?.array ?? []
        let day = json["day"].map { " on \($0.plain)" } ?? ""
        let partition = json["partition"]?.plain ?? "?"
        print("token \(json["token"]?.plain ?? "?"), partition \(partition)\(day)")
        for replica in replicas { print(TextTable.printable(replica.plain)) }
    }
}

struct RingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ring",
        abstract: "The arcs of the ring and their owners.",
        discussion: "Example: quipu ring")

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let reply = try await connection.withClient { try await $0.perform(QueryCall.ring) }
        if result.json {
            Output.body(reply.body)
            return
        }
        let json = try reply.json()
        let owners = json["owners"]?.array?.map(\.plain) ?? []
        let factor = json["replication_factor"]?.plain ?? "?"
        let placement = json["placement"].map { ", placement by \($0.plain)" } ?? ""
        let partitions = json["partitions"]?.plain ?? "?"
        print("\(partitions) partitions, replication factor \(factor)\(placement)")
        var counts: [String: Int] = [:]
        for owner in owners { counts[owner, default: 0] += 1 }
        for (owner, count) in counts.sorted(by: { $0.key < $1.key }) {
            print(TextTable.printable("\(owner) owns \(count) arcs"))
        }
        var table = TextTable([("Partition", .right), ("Owner", .left)])
        for (partition, owner) in owners.enumerated() { table.add([String(partition), owner]) }
        table.print()
    }
}

struct PartitionsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "partitions",
        abstract: "The partitions with their replicas and what these hold.",
        discussion: "Example: quipu partitions")

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let reply = try await connection.withClient { try await $0.perform(QueryCall.partitions) }
        if result.json {
            Output.body(reply.body)
            return
        }
        for line in ObjectTable.lines(try reply.json()) { print(line) }
    }
}

/// Any list of objects as a table: a column for each name, in the order of appearance.
package enum ObjectTable {
    package static func lines(_ json: JSONValue) -> [String] {
        let arrays = [json.array] + (json.members ?? []).map(\.value.array)
        let items = arrays.compactMap { $0 }.first { $0.first?.members != nil } ?? []
        guard !items.isEmpty else { return [json.plain] }
        var names: [String] = []
        for item in items {
            for member in item.members ?? [] where !names.contains(member.name) {
                names.append(member.name)
            }
        }
        var table = TextTable(
            names.map { name in
                let isNumber = items.allSatisfy { $0[name]?.double != nil }
                return (TextTable.printable(name), isNumber ? .right : .left)
            })
        for item in items {
            table.add(
                names.map { name in
                    let value = item[name] ?? .null
                    return value.array.map { $0.map(\.plain).joined(separator: ", ") }
                        ?? value.plain
                })
        }
        return table.lines()
    }
}
