package import Core

/// Who owns which arc: the result of `plan`, and what an epoch decides.
package struct Ownership: Hashable, Sendable {
    package let partitioning: Partitioning
    /// All owners, in ascending order.
    package let nodes: [NodeID]
    /// Per arc, clockwise, a position in `nodes`.
    let positions: [UInt16]

    /// An ownership as it is stored and sent: the owners' names by arc.
    package init(owners: [NodeID]) throws(RingError) {
        let partitioning = try Partitioning(partitions: owners.count)
        let nodes = Set(owners).sorted()
        var position: [NodeID: UInt16] = [:]
        for (index, node) in nodes.enumerated() { position[node] = UInt16(index) }
        self.init(
            partitioning: partitioning, nodes: nodes, positions: owners.map { position[$0] ?? 0 })
    }

    init(partitioning: Partitioning, nodes: [NodeID], positions: [UInt16]) {
        precondition(positions.count == partitioning.count, "each arc has exactly one owner")
        self.partitioning = partitioning
        self.nodes = nodes
        self.positions = positions
    }

    package func owner(of partition: PartitionID) -> NodeID {
        nodes[Int(positions[Int(partition.index)])]
    }

    /// Owners by arc, clockwise.
    package var owners: [NodeID] {
        positions.map { nodes[Int($0)] }
    }

    package func partitions(ownedBy node: NodeID) -> PartitionSet {
        PartitionSet(
            positions.indices.lazy.filter { nodes[Int(positions[$0])] == node }.map(
                PartitionID.init))
    }

    /// The arcs whose owner differs: what a change of the ring moves.
    package func moved(from previous: Ownership) -> PartitionSet {
        precondition(partitioning == previous.partitioning, "both cut the ring alike")
        return PartitionSet(
            partitioning.all.lazy.filter { owner(of: $0) != previous.owner(of: $0) })
    }

    /// The fewest arcs that any balanced ownership of `members` must move away from `previous`: all
    /// that stays is, per node, at most its new share of what it had. The larger shares go to those
    /// that have most.
    package static func fewestMoves(from previous: Ownership, members: [RingMember]) -> Int {
        let arcs = previous.partitioning.count
        guard !members.isEmpty else { return arcs }
        var had: [NodeID: Int] = [:]
        for position in previous.positions { had[previous.nodes[Int(position)], default: 0] += 1 }
        let share = arcs / members.count
        let larger = arcs % members.count
        let counts = members.map { had[$0.node] ?? 0 }.sorted(by: >)
        let kept = counts.enumerated().reduce(0) { kept, next in
            kept + min(next.element, next.offset < larger ? share + 1 : share)
        }
        return arcs - kept
    }

    /// What a change may move beyond the fewest: 5 % of the arcs.
    package static func movesAllowance(partitions: Int) -> Int {
        partitions / 20
    }
}
