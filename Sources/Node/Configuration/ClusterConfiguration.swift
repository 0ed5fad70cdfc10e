package import Core
package import Ring
internal import Storage

/// The cluster's configuration: one file, the same on every node.
///
/// `cluster.conf` is YAML with the names of cassandra.yaml where the meaning is the same. Reading
/// it is strict: an unknown key, a value of the wrong kind, a key that stands twice or a mixture
/// that no cluster could run with stops the start with one line that says where, what and how to
/// mend it. A typing error that is ignored is a default that nobody asked for.
///
/// Any scalar can be overridden by `QUIPU_<NAME>`: the key's path in capitals, joined by `_`
/// (`QUIPU_GOSSIP_INTERVAL`, `QUIPU_NODES_N1_HTTP`).
///
/// What follows from the file and must be alike on all nodes is summed up in `fingerprint`, which
/// peers compare before they say anything else.
package struct ClusterConfiguration: Hashable, Sendable {
    /// Tells clusters apart. No default.
    package var clusterName: String
    /// The number of arcs of the ring; fixed for the cluster's life. Default 256. Too few: work is
    /// spread unevenly. Too many: more digests to compare.
    package var partitions: Int
    /// Copies of each partition. Default: 3, or the number of nodes where there are fewer.
    package var replicationFactor: ReplicationFactor
    /// The base length of a window. Default 1m. Divides an hour.
    package var window: WindowLength
    /// What decides in which partition a window lies; fixed for the cluster's life. Default key.
    /// `key+day` spreads a key with very many windows: questions over several days cost more.
    package var placement = KeyPlacement.Rule.key
    /// Between two rounds of gossip. Default 1s. Shorter: failures show sooner, at a cost.
    package var gossipInterval: Duration
    /// How long a client's request may take. Default 5s; then the answer is 504.
    package var requestTimeout: Duration
    /// How old a batch may be when it is admitted. Default 1h. Longer keeps more ids in memory.
    package var horizon: Duration
    /// How far after its batch an event may lie. Default 1d; beyond it is a dead letter.
    package var futureLimit: Duration
    /// How far before its batch an event may lie; nil (the default) is any distance.
    package var lateness: Duration?
    /// Later versions of these two, ascending by the time from which they hold. Default none.
    package var rules: [RuleEntry] = []
    /// A memtable of this size is flushed. Default 64MiB. Larger: fewer files, a longer restart.
    package var memtableSize: Int
    /// The share of one processor, in percent, that compactions may have while nobody waits for
    /// them. Default 25. Less: more files for longer, slower reads.
    package var compactionShare = 25
    /// A memtable of this age is flushed, whatever its size. Default 10m.
    package var memtableFlushAge: Duration
    /// With less than this free on its disk a node takes no new batches. Default 256MiB.
    package var diskReserve: Int
    /// Bytes of dead letters beyond which a node takes no batch that has any; nil: no bound.
    /// Default 10GiB. Less: less of the disk for what nobody could count, and refusals sooner.
    package var deadLettersSizeMax: Int? = ConfigurationLimits.deadLettersSizeDefault
    /// How long a batch's outcome is told after its home forgot it. Default 7d. Longer: larger
    /// history files.
    package var batchStatusRetention: Duration
    /// Segments close without a member that is away for longer; nil waits for ever. Default 24h.
    package var absenceLimit: Duration?
    /// Bytes of batches that each node may park for level ANY; 0 (the default): ANY is off.
    package var parkedSizeMax: Int
    /// The key of all digests. By default derived from the cluster's name, which tells honest
    /// clusters apart and keeps nobody out.
    package var digestKey: SipKey
    /// The folder of all nodes' own folders, made absolute against the file's place.
    package var dataDirectory: String
    /// How long each granularity is kept; nil is for ever.
    package var retention: [RetentionRule]
    /// So long after a bucket of 32 days has ended its tables move to `coldDirectory`. Default
    /// never. Sooner: less on the first disk, and slower answers about the past.
    package var coldAfter: Duration?
    /// The folder of all nodes' cold folders, on another disk; made absolute like
    /// `dataDirectory`. It must exist.
    package var coldDirectory: String?
    /// Whom a node asks first. Default: all nodes.
    package var seeds: [NodeID]
    package var logLevel: LogLevel
    /// Ascending by name: the order in the file means nothing.
    package var nodes: [NodeEntry]
    /// What is allowed and deserves a line at the start.
    package var warnings: [String]

    package struct NodeEntry: Hashable, Sendable {
        package var node: NodeID
        package var http: Endpoint
        package var peer: Endpoint
        package var dc: String
        package var rack: String

        package var member: RingMember { RingMember(node: node, dc: dc, rack: rack) }
    }

    package struct RetentionRule: Hashable, Sendable {
        package var window: WindowLength
        package var keep: Duration?
    }

    package enum LogLevel: String, Hashable, Sendable, CaseIterable {
        case trace, debug, info, notice, warning, error, critical
    }

    /// The entry of `--name`.
    package func entry(
        named name: String, file: String
    ) throws(ConfigurationError) -> NodeEntry {
        if let entry = nodes.first(where: { $0.node.name == name }) { return entry }
        let known = nodes.map(\.node.name)
        throw .unknownNode(
            name, file: file, known: known, nearest: NameDistance.nearest(to: name, among: known))
    }

    /// A node's own folder, unless `--data` names another.
    package func dataDirectory(of node: NodeID) -> String {
        dataDirectory.hasSuffix("/") ? dataDirectory + node.name : dataDirectory + "/" + node.name
    }

    /// A node's own folder on the cold disk; nil where there is none.
    package func coldDirectory(of node: NodeID) -> String? {
        coldDirectory.map { $0.hasSuffix("/") ? $0 + node.name : $0 + "/" + node.name }
    }

    package var members: [RingMember] { nodes.map(\.member) }

    /// How long windows are kept. Where the base is an hour, both are of the same length.
    var retentionPolicy: RetentionPolicy {
        let keep = { (length: Int64) -> Duration?? in
            retention.first { $0.window.milliseconds == length }.map(\.keep)
        }
        let base = keep(window.milliseconds) ?? nil
        return RetentionPolicy(
            base: base, hours: keep(3_600_000) ?? base, days: keep(86_400_000) ?? nil)
    }

    /// How far before its batch's creation an event may lie: what would be gone at once is a dead
    /// letter.
    package var latenessInForce: Duration? { inForce(lateness) }

    /// The same for the lateness of another version of the rules.
    func inForce(_ lateness: Duration?) -> Duration? {
        guard let total = retentionPolicy.total else { return lateness }
        return min(total, lateness ?? total)
    }

    /// The peer addresses of all nodes but one.
    package func peers(of node: NodeID) -> [NodeID: Endpoint] {
        var peers: [NodeID: Endpoint] = [:]
        for entry in nodes where entry.node != node { peers[entry.node] = entry.peer }
        return peers
    }
}
