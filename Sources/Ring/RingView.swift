package import Core

/// The ring of one epoch: owners, members and the replication rule, with every answer precomputed.
package struct RingView: Hashable, Sendable {
    package let epoch: UInt64
    package let ownership: Ownership
    /// In ascending order of their names.
    package let members: [RingMember]
    package let replication: ReplicationFactor
    /// By partition, clockwise from its owner.
    private let replicaTable: [[NodeID]]
    private let held: [NodeID: PartitionSet]
    /// All partitions by their replicas.
    package let groups: [ReplicaGroup]

    package init(
        epoch: UInt64, ownership: Ownership, members: [RingMember], replication: ReplicationFactor
    ) throws(RingError) {
        try replication.check(members)
        var known: [NodeID: RingMember] = [:]
        for member in members {
            guard known.updateValue(member, forKey: member.node) == nil else {
                throw .memberTwice(member.node)
            }
        }
        for partition in ownership.partitioning.all
        where known[ownership.owner(of: partition)] == nil {
            throw .ownerNotMember(ownership.owner(of: partition), partition)
        }
        self.epoch = epoch
        self.ownership = ownership
        self.members = members.sorted { $0.node < $1.node }
        self.replication = replication
        let walk = ReplicaWalk(ownership, known, replication)
        let table = ownership.partitioning.all.map { walk.replicas(of: $0) }
        var held: [NodeID: PartitionSet] = [:]
        for (partition, replicas) in zip(ownership.partitioning.all, table) {
            for node in replicas { held[node, default: PartitionSet()].insert(partition) }
        }
        replicaTable = table
        self.held = held
        groups = ReplicaGroup.groups(of: ownership.partitioning.all) { table[Int($0.index)] }
    }

    package var partitioning: Partitioning { ownership.partitioning }

    package func contains(_ node: NodeID) -> Bool {
        member(node) != nil
    }

    package func member(_ node: NodeID) -> RingMember? {
        members.first { $0.node == node }
    }

    package func home(of id: BatchID) -> PartitionID {
        partitioning.home(of: id)
    }

    /// The nodes that hold a partition, clockwise: its owner first, where the owner's data centre
    /// has replicas left.
    package func replicas(of partition: PartitionID) -> [NodeID] {
        replicaTable[Int(partition.index)]
    }

    /// The partitions that a node replicates.
    package func partitions(of node: NodeID) -> PartitionSet {
        held[node] ?? PartitionSet()
    }

    package func owner(of partition: PartitionID) -> NodeID {
        ownership.owner(of: partition)
    }

    /// Owners by arc, clockwise.
    package var owners: [NodeID] { ownership.owners }

    /// The ends of the arcs that a node owns, ascending: its tokens in Cassandra's sense.
    package func tokens(ownedBy node: NodeID) -> [Token] {
        ownership.partitions(ownedBy: node).map { partitioning.end(of: $0) }
    }

    /// The share of the data that a node holds, with its replicas: 1 when it holds everything.
    package func effectiveShare(of node: NodeID) -> Double {
        Double(partitions(of: node).count) / Double(partitioning.count)
    }

    /// The partitions whose replicas differ in the other ring, in whatever order they stand.
    package func partitionsMoved(from other: RingView) -> PartitionSet {
        precondition(partitioning == other.partitioning, "both cut the ring alike")
        return PartitionSet(
            partitioning.all.lazy.filter {
                Set(replicas(of: $0)) != Set(other.replicas(of: $0))
            })
    }
}
