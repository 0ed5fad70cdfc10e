package import Core

/// Whom a batch concerns: the voters of its home, who decide it, and those of the partitions that
/// it touches, who count it.
package struct BatchPlacement: Hashable, Sendable {
    package let home: PartitionID
    package let homeVoters: [NodeID]
    /// The touched partitions, by their replicas.
    package let groups: [ReplicaGroup]

    package init(home: PartitionID, homeVoters: [NodeID], groups: [ReplicaGroup]) {
        self.home = home
        self.homeVoters = homeVoters
        self.groups = groups
    }
}

extension RingView {
    package func placement(home: PartitionID, touched: PartitionSet) -> BatchPlacement {
        BatchPlacement(
            home: home, homeVoters: replicas(of: home), groups: groups.intersection(touched))
    }
}
