package import Core

/// The name of a value that a node tells of itself. Sent: do not change the numbers. Keys of later
/// releases are kept and passed on unread, hence not an enum.
package struct GossipKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let number: UInt8

    package init(number: UInt8) {
        self.number = number
    }

    package static let status = GossipKey(number: 1)
    package static let http = GossipKey(number: 2)
    package static let peer = GossipKey(number: 3)
    package static let datacenter = GossipKey(number: 4)
    package static let rack = GossipKey(number: 5)
    package static let hostID = GossipKey(number: 6)
    package static let incarnation = GossipKey(number: 7)
    package static let release = GossipKey(number: 8)
    /// The ring epoch that the node knows as decided.
    package static let epoch = GossipKey(number: 9)
    /// The oldest segment that is not closed at the homes the node knows of.
    package static let frontier = GossipKey(number: 10)
    /// Bytes on disk; told at most once a minute, since gossip is no metrics system.
    package static let load = GossipKey(number: 11)
    /// `full` while the node has no room for dead letters, else `open` or nothing.
    package static let deadLetters = GossipKey(number: 12)

    package static func < (left: GossipKey, right: GossipKey) -> Bool {
        left.number < right.number
    }

    /// The name that `gossipinfo` shows.
    package var description: String {
        switch self {
        case .status: "STATUS"
        case .http: "HTTP_ADDRESS"
        case .peer: "PEER_ADDRESS"
        case .datacenter: "DC"
        case .rack: "RACK"
        case .hostID: "HOST_ID"
        case .incarnation: "INCARNATION"
        case .release: "RELEASE_VERSION"
        case .epoch: "EPOCH"
        case .frontier: "FRONTIER"
        case .load: "LOAD"
        case .deadLetters: "DEAD_LETTERS"
        default: "X_\(number)"
        }
    }
}

/// What a node says of its part in the cluster, under `GossipKey.status`.
package enum NodeStatus: String, Sendable, CaseIterable {
    /// Serves, and votes for its partitions.
    case normal = "NORMAL"
    /// Serves writes; does not vote until it has proved what it holds.
    case recovering = "RECOVERING"
    case joining = "JOINING"
    case leaving = "LEAVING"
    case left = "LEFT"
    /// Stopped on purpose. Not UP, whatever heartbeats of it are still on the way.
    case shutdown = "SHUTDOWN"
}

package struct GossipValue: Hashable, Sendable {
    package let key: GossipKey
    package let version: UInt64
    package let text: String

    package init(key: GossipKey, version: UInt64, text: String) {
        self.key = key
        self.version = version
        self.text = text
    }
}

/// All that is known of one life of a node.
package struct EndpointState: Hashable, Sendable {
    package let generation: Int64
    package private(set) var heartbeat: UInt64
    /// In ascending order of keys, each at most once.
    package private(set) var values: [GossipValue]

    package init(generation: Int64) {
        self.generation = generation
        heartbeat = 0
        values = []
    }

    /// The state that a delta describes, where it describes it whole; nil where it has a hole.
    package init?(whole delta: EndpointDelta) {
        guard delta.after == 0, delta.generation > 0 else { return nil }
        self.init(generation: delta.generation)
        guard merge(delta) != .ignored else { return nil }
    }

    /// The greatest version in it: sums up all that is held.
    package var version: UInt64 {
        values.reduce(heartbeat) { max($0, $1.version) }
    }

    package func text(_ key: GossipKey) -> String? {
        values.first { $0.key == key }?.text
    }

    package var status: NodeStatus? {
        text(.status).flatMap(NodeStatus.init(rawValue:))
    }

    package mutating func beat() {
        heartbeat = version + 1
    }

    /// A node's own change. The same text again is no news and takes no version.
    package mutating func set(_ key: GossipKey, _ text: String) {
        precondition(text.utf8.count <= GossipLimits.valueMax, "a gossip value is too long: \(key)")
        guard self.text(key) != text else { return }
        replace(GossipValue(key: key, version: version + 1, text: text))
        precondition(values.count <= GossipLimits.valuesMax, "too many gossip values")
    }

    package enum Merge: Equatable, Sendable {
        /// Old, of another life, or with a hole before it: nothing was changed.
        case ignored
        /// Only the heartbeat is newer.
        case beat
        /// Values are newer.
        case changed
    }

    /// Applies all of a delta or nothing. Neither the whole nor one value ever goes back.
    package mutating func merge(_ delta: EndpointDelta) -> Merge {
        let held = version
        guard delta.generation == generation, delta.after <= held, delta.version > held else {
            return .ignored
        }
        var merged = self
        for value in delta.values {
            let old = values.first { $0.key == value.key }
            if value.version > old?.version ?? 0 { merged.replace(value) }
        }
        guard merged.values.count <= GossipLimits.valuesMax else { return .ignored }
        merged.heartbeat = max(heartbeat, delta.heartbeat)
        let changed = merged.values != values
        self = merged
        return changed ? .changed : .beat
    }

    /// What lies above `after`.
    package func delta(of node: NodeID, after: UInt64) -> EndpointDelta {
        EndpointDelta(
            node: node, generation: generation, heartbeat: heartbeat, after: after,
            values: values.filter { $0.version > after })
    }

    private mutating func replace(_ value: GossipValue) {
        let place = values.firstIndex { $0.key >= value.key } ?? values.endIndex
        if place < values.endIndex, values[place].key == value.key {
            values[place] = value
        } else {
            values.insert(value, at: place)
        }
    }
}

/// How much is held of an endpoint, or, as a request, above what more is wanted. Generation 0 says
/// that nothing is held.
package struct EndpointDigest: Hashable, Sendable {
    package let node: NodeID
    package let generation: Int64
    package let version: UInt64

    package init(node: NodeID, generation: Int64, version: UInt64) {
        self.node = node
        self.generation = generation
        self.version = version
    }
}

/// The heartbeat and the values above version `after` of one life of a node.
package struct EndpointDelta: Hashable, Sendable {
    package let node: NodeID
    package let generation: Int64
    package let heartbeat: UInt64
    package let after: UInt64
    package let values: [GossipValue]

    package init(
        node: NodeID, generation: Int64, heartbeat: UInt64, after: UInt64, values: [GossipValue]
    ) {
        self.node = node
        self.generation = generation
        self.heartbeat = heartbeat
        self.after = after
        self.values = values
    }

    package var version: UInt64 {
        values.reduce(heartbeat) { max($0, $1.version) }
    }
}
