package import Core

/// A member of the ring and where it stands.
package struct RingMember: Hashable, Sendable {
    package let node: NodeID
    package let dc: String
    package let rack: String

    package init(node: NodeID, dc: String, rack: String) {
        self.node = node
        self.dc = dc
        self.rack = rack
    }
}

/// How many replicas a partition has.
package enum ReplicationFactor: Hashable, Sendable, CustomStringConvertible {
    /// So many in the whole cluster, wherever they are.
    case everywhere(Int)
    /// So many in each data centre that is named.
    case perDataCentre([String: Int])

    /// Replicas of one partition in the whole cluster, when there are enough nodes.
    package var total: Int {
        switch self {
        case .everywhere(let factor): factor
        case .perDataCentre(let factors): factors.values.reduce(0, +)
        }
    }

    /// As in the configuration, the names sorted: equal rules read alike.
    package var description: String {
        switch self {
        case .everywhere(let factor): "\(factor)"
        case .perDataCentre(let factors):
            "{"
                + factors.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
                .joined(separator: ", ") + "}"
        }
    }

    /// Refuses factors that no ring can have and members that would own arcs but hold nothing.
    package func check(_ members: [RingMember]) throws(RingError) {
        switch self {
        case .everywhere(let factor):
            guard Self.allowed.contains(factor) else { throw .badReplicationFactor(description) }
        case .perDataCentre(let factors):
            guard !factors.isEmpty, factors.values.allSatisfy(Self.allowed.contains) else {
                throw .badReplicationFactor(description)
            }
            for member in members where factors[member.dc] == nil {
                throw .dataCentreWithoutFactor(member.node, member.dc)
            }
        }
    }

    /// The largest factor: more copies than this only slow a quorum down.
    package static let factorMax = 16

    private static let allowed = 1...factorMax
}

/// Why there is no such ring.
package enum RingError: Error, Hashable, Sendable, CustomStringConvertible {
    case partitionsNotPowerOfTwo(Int)
    case noMembers
    case tooManyMembers(Int)
    case moreMembersThanPartitions(members: Int, partitions: Int)
    case memberTwice(NodeID)
    case ownerNotMember(NodeID, PartitionID)
    case badReplicationFactor(String)
    case dataCentreWithoutFactor(NodeID, String)
    case partitionsChanged(from: Int, to: Int)

    package var description: String {
        switch self {
        case .partitionsNotPowerOfTwo(let count):
            "partitions: \(count) is not a power of two from 1 to \(Limits.partitionsMax)"
        case .noMembers:
            "a ring needs at least one member"
        case .tooManyMembers(let count):
            "\(count) members are more than the \(Limits.nodesMax) that a cluster may have"
        case .moreMembersThanPartitions(let members, let partitions):
            "\(members) members cannot share \(partitions) partitions: remove members, or found "
                + "the cluster with more partitions"
        case .memberTwice(let node):
            "member \(node) is listed twice: names are unique in a cluster"
        case .ownerNotMember(let node, let partition):
            "\(partition) belongs to \(node), which is not a member of this ring"
        case .badReplicationFactor(let text):
            "replication_factor: \(text) is not a number from 1 to \(ReplicationFactor.factorMax), "
                + "or such a number per data centre"
        case .dataCentreWithoutFactor(let node, let dc):
            "\(node) is in data centre \(dc), for which replication_factor names no number"
        case .partitionsChanged(let from, let to):
            "the ring has \(from) partitions and cannot get \(to): the number is fixed for the "
                + "cluster's life"
        }
    }
}
