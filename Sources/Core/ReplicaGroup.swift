/// Partitions that have the same replicas. A cluster of few nodes has few of them, however many
/// partitions it has, so that what is asked of all partitions of a batch is asked once a group.
package struct ReplicaGroup: Hashable, Sendable {
    /// Ascending.
    package var nodes: [NodeID]
    package var partitions: PartitionSet

    package init(nodes: [NodeID], partitions: PartitionSet) {
        self.nodes = nodes
        self.partitions = partitions
    }

    /// The groups of all partitions, in the order of their first ones.
    package static func groups(
        of partitions: some Sequence<PartitionID>, _ replicas: (PartitionID) -> [NodeID]
    ) -> [ReplicaGroup] {
        var places: [[NodeID]: Int] = [:]
        var groups: [ReplicaGroup] = []
        for partition in partitions {
            let nodes = replicas(partition).sorted()
            if let place = places[nodes] {
                groups[place].partitions.insert(partition)
            } else {
                places[nodes] = groups.count
                groups.append(ReplicaGroup(nodes: nodes, partitions: PartitionSet([partition])))
            }
        }
        return groups
    }
}

extension [ReplicaGroup] {
    /// Those that have any of these partitions, with no others.
    package func intersection(_ partitions: PartitionSet) -> [ReplicaGroup] {
        compactMap { group in
            let shared = group.partitions.intersection(partitions)
            return shared.isEmpty ? nil : ReplicaGroup(nodes: group.nodes, partitions: shared)
        }
    }
}
