public import ArgumentParser
public import Client
import Foundation
import Yams

/// `--node`, for every command that asks a cluster.
struct ConnectionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Nodes to ask, in this order; else QUIPU_NODE, else ./cluster.conf.",
            valueName: "host:port,…"))
    var node: String?

    /// Runs `body` with a client and closes it, whatever happens.
    func withClient<Result>(
        connectionsPerNode: Int = 8, _ body: (QuipuClient) async throws -> Result
    ) async throws -> Result {
        let client = QuipuClient(nodes: try addresses(), connectionsPerNode: connectionsPerNode)
        do {
            let result = try await body(client)
            await client.shutdown()
            return result
        } catch {
            await client.shutdown()
            throw error
        }
    }

    /// The nodes to ask: by option, environment or file, whichever names any first.
    func addresses() throws -> [NodeAddress] {
        if let node { return try ConnectionOptions.parse(node, named: "--node") }
        if let named = ProcessInfo.processInfo.environment["QUIPU_NODE"], !named.isEmpty {
            return try ConnectionOptions.parse(named, named: "QUIPU_NODE")
        }
        let file = "cluster.conf"
        guard let data = FileManager.default.contents(atPath: file) else {
            throw ValidationError(
                "no node named: give --node HOST:PORT, set QUIPU_NODE, "
                    + "or run where a cluster.conf lies")
        }
        let nodes = try ConnectionOptions.nodes(
            ofConfiguration: String(decoding: data, as: UTF8.self))
        guard !nodes.isEmpty else {
            throw ValidationError("\(file): names no node's http: give --node HOST:PORT")
        }
        return nodes
    }

    static func parse(_ text: String, named name: String) throws -> [NodeAddress] {
        let parts = text.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
        guard !parts.isEmpty else { throw ValidationError("\(name) is empty: give HOST:PORT") }
        return try parts.map { part in
            guard let address = NodeAddress(part) else {
                throw ValidationError("\(name): '\(part)' is not HOST:PORT, such as 127.0.0.1:8181")
            }
            return address
        }
    }

    /// The `http` of every node of a `cluster.conf`, in its order. Everything else in the file is
    /// the node's business.
    static func nodes(ofConfiguration text: String) throws -> [NodeAddress] {
        let root: Yams.Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw ValidationError("cluster.conf is no YAML: mend it or give --node HOST:PORT")
        }
        let nodes = root?.mapping?["nodes"]?.mapping?.map(\.value) ?? []
        return nodes.compactMap { $0.mapping?["http"]?.string.flatMap { NodeAddress($0) } }
    }
}

/// `--json`, for every command that prints results.
struct ResultOptions: ParsableArguments {
    @Flag(help: "Print the body of the HTTP answer unchanged.")
    var json = false
}

/// `--from` and `--to`.
struct RangeOptions: ParsableArguments {
    @Option(help: "First instant: RFC 3339, YYYY-MM-DD, epoch s or ms, now, or -15m, -2h, -7d.")
    var from: Timestamp?

    @Option(help: "First instant after the range.")
    var to: Timestamp?

    var range: TimeRange { TimeRange(from: from, to: to) }

    func validate() throws {
        if let from, let to, from > to {
            throw ValidationError("--from \(from) lies after --to \(to): swap them")
        }
    }
}

extension Timestamp: ExpressibleByArgument {
    /// One `now` for all arguments of a run.
    private static let start = Timestamp(
        milliseconds: Int64(Date().timeIntervalSince1970 * 1000))

    /// A time as users write it, relative to the start of the run.
    public init?(argument: String) {
        self.init(argument, now: Timestamp.start)
    }
}

extension ConsistencyLevel: ExpressibleByArgument {
    /// A level in either case.
    public init?(argument: String) {
        self.init(rawValue: argument.uppercased())
    }
}
