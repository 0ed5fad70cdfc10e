import Core
import Ring

extension ClusterConfiguration {
    static func readNodes(
        _ top: ConfigurationSection
    ) throws(ConfigurationError) -> [NodeEntry] {
        guard let section = try top.section("nodes"), !section.names.isEmpty else {
            throw .missing(
                key: "nodes", at: top.place(of: "nodes"),
                remedy: "write nodes: {n1: {http: 127.0.0.1:8181, peer: 127.0.0.1:7181}}")
        }
        guard section.names.count <= Limits.nodesMax else {
            throw .badValue(
                key: "nodes", at: section.place, problem: "\(section.names.count) nodes",
                remedy: "list at most \(Limits.nodesMax)")
        }
        var entries: [NodeEntry] = []
        var taken: [(endpoint: Endpoint, key: String)] = []
        for name in section.names {
            try Setting.checkName(name, key: "nodes.\(name)", at: section.place(of: name))
            guard let fields = try section.section(name) else { continue }
            try fields.allowOnly(["http", "peer", "dc", "rack"])
            let http = try endpoint("http", of: fields, taken: &taken)
            let peer = try endpoint("peer", of: fields, taken: &taken)
            entries.append(
                NodeEntry(
                    node: NodeID(name), http: http, peer: peer,
                    dc: try fields.setting("dc")?.name() ?? "dc1",
                    rack: try fields.setting("rack")?.name() ?? "r1"))
        }
        return entries.sorted { $0.node < $1.node }
    }

    static func readPartitions(
        _ top: ConfigurationSection, nodes: [NodeEntry]
    ) throws(ConfigurationError) -> Int {
        guard let setting = try top.setting("partitions") else { return 256 }
        let count = try setting.integer(in: 1...Limits.partitionsMax)
        guard count.nonzeroBitCount == 1 else {
            var below = 1
            while below * 2 < count { below *= 2 }
            let choices =
                below * 2 <= Limits.partitionsMax ? "\(below) or \(below * 2)" : "\(below)"
            throw setting.bad("\(count) is no power of two", remedy: "choose \(choices)")
        }
        guard count >= nodes.count else {
            throw setting.bad(
                "\(count) partitions cannot be shared by \(nodes.count) nodes",
                remedy: "choose a power of two of at least \(nodes.count)")
        }
        return count
    }

    static func readReplicationFactor(
        _ top: ConfigurationSection, nodes: [NodeEntry]
    ) throws(ConfigurationError) -> ReplicationFactor {
        if top.isSection("replication_factor"), let section = try top.section("replication_factor")
        {
            return try readFactors(section, nodes: nodes)
        }
        guard let setting = try top.setting("replication_factor") else {
            return .everywhere(min(3, nodes.count))
        }
        let factor = try setting.integer(in: 1...ReplicationFactor.factorMax)
        guard factor <= nodes.count else {
            throw setting.bad(
                "\(factor) replicas need \(factor) nodes and there \(listed(nodes.count))",
                remedy: "set it to at most \(nodes.count), or list more nodes")
        }
        return .everywhere(factor)
    }

    static func readSeeds(
        _ top: ConfigurationSection, nodes: [NodeEntry]
    ) throws(ConfigurationError) -> [NodeID] {
        let known = nodes.map(\.node)
        guard let list = try top.list("seeds") else { return known }
        var seeds: [NodeID] = []
        for setting in list {
            let seed = NodeID(setting.text)
            guard known.contains(seed) else {
                let nearest = NameDistance.nearest(to: seed.name, among: known.map(\.name))
                throw setting.bad(
                    "\(seed) is not among the nodes",
                    remedy: nearest.map { "did you mean \($0)?" } ?? "name listed nodes only")
            }
            if !seeds.contains(seed) { seeds.append(seed) }
        }
        return seeds.isEmpty ? known : seeds
    }

    private static func readFactors(
        _ section: ConfigurationSection, nodes: [NodeEntry]
    ) throws(ConfigurationError) -> ReplicationFactor {
        let centres = Set(nodes.map(\.dc)).sorted()
        try section.allowOnly(centres)
        var factors: [String: Int] = [:]
        for centre in centres {
            let count = nodes.count { $0.dc == centre }
            guard let setting = try section.setting(centre) else {
                throw .missing(
                    key: "replication_factor.\(centre)", at: section.place,
                    remedy: "\(count) of the nodes are there: say how many replicas")
            }
            let factor = try setting.integer(in: 1...ReplicationFactor.factorMax)
            guard factor <= count else {
                throw setting.bad(
                    "\(factor) replicas need \(factor) nodes and in \(centre) \(listed(count))",
                    remedy: "set it to at most \(count), or list more nodes there")
            }
            factors[centre] = factor
        }
        return .perDataCentre(factors)
    }

    private static func listed(_ count: Int) -> String {
        count == 1 ? "is 1" : "are \(count)"
    }

    /// An address of a node, which no other may have.
    private static func endpoint(
        _ name: String, of fields: ConfigurationSection,
        taken: inout [(endpoint: Endpoint, key: String)]
    ) throws(ConfigurationError) -> Endpoint {
        let key = (fields.path + [name]).joined(separator: ".")
        guard let setting = try fields.setting(name) else {
            throw .missing(key: key, at: fields.place, remedy: "write \(name): HOST:PORT")
        }
        let endpoint = try setting.endpoint()
        if name == "peer", endpoint.isWildcard {
            throw setting.bad(
                "\(endpoint) is no address that the other nodes can dial",
                remedy: "write this node's own address or host name")
        }
        if let other = taken.first(where: { $0.endpoint.collides(with: endpoint) }) {
            throw setting.bad(
                "\(endpoint) is taken by \(other.key)", remedy: "give each its own port")
        }
        taken.append((endpoint, key))
        return endpoint
    }
}
