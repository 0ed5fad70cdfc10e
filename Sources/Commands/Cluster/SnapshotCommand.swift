import ArgumentParser
import Client
import Node

struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot",
        abstract: "Take, list and remove snapshots of nodes' files.",
        discussion: """
            A snapshot is a directory inside a node's own, snapshots/NAME, which holds all that \
            the node holds at that moment. It takes little room at first, since files that never \
            change are shared, and as much as the data in the end. 'quipu restore' puts it back.

            Example: quipu snapshot create before-upgrade --all
            """,
        subcommands: [Create.self, List.self, Remove.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a snapshot of a node, or with --all of each.",
            discussion: "Example: quipu snapshot create before-upgrade --all")

        @Argument(help: "Its name; by default the time, as 20261127T120000Z.")
        var name: String?

        @OptionGroup var work: NodeWork

        func run() async throws {
            // One name for all nodes, whatever their clocks say.
            let name = name ?? TimeText.stamp(SystemClock.wall)
            try await work.run("snapshot", show: SnapshotText.line) { client, nodes in
                try await client.performAtOne(QueryCall.takeSnapshot(name: name), at: nodes)
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The snapshots that a node keeps, or with --all each.",
            discussion: "Example: quipu snapshot list --all")

        @OptionGroup var work: NodeWork

        func run() async throws {
            try await work.run("snapshot", show: SnapshotText.list) { client, nodes in
                try await client.perform(QueryCall.snapshots, at: nodes)
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a snapshot, which frees the room that only it took.",
            discussion: "Example: quipu snapshot remove before-upgrade --all")

        @Argument(help: "Its name.")
        var name: String

        @OptionGroup var work: NodeWork

        func run() async throws {
            try await work.run("snapshot", done: "\(name) removed") { client, nodes in
                try await client.performAtOne(QueryCall.removeSnapshot(name: name), at: nodes)
            }
        }
    }
}

/// What nodes say of their snapshots, for people.
enum SnapshotText {
    static func line(_ reply: NodeAnswer) throws -> String {
        let answer = try reply.json()
        return "\(answer["node"]?.plain ?? "\(reply.node)"): snapshot \(sum(answer))"
    }

    static func list(_ reply: NodeAnswer) throws -> String {
        let items = try reply.json()["items"]?.array ?? []
        guard !items.isEmpty else { return "\(reply.node): no snapshots" }
        return items.map { item in
            let node = item["node"]?.plain ?? "\(reply.node)"
            return "\(node): \(sum(item)), \(item["created"]?.plain ?? "?")"
        }.joined(separator: "\n")
    }

    private static func sum(_ label: JSONValue) -> String {
        let tables = Quantity.plural(label["tables"]?.int ?? 0, "table", "tables")
        let files = Quantity.plural(label["files"]?.int ?? 0, "file", "files")
        let bytes = Quantity.bytes(label["bytes"]?.double ?? 0)
        return "\(label["name"]?.plain ?? "?"): \(tables), \(files), \(bytes)"
    }
}
