import Core

extension Ownership {
    /// The ownership of `members` that follows `previous`, or the first one.
    ///
    /// A pure function: the same arguments, in any order of the members, give the same table on
    /// every node. The overview lists what holds of the result.
    package static func plan(
        _ partitioning: Partitioning, previous: Ownership?, members: [RingMember],
        replication: ReplicationFactor
    ) throws(RingError) -> Ownership {
        try check(partitioning, previous, members, replication)
        let ranked = rank(members)
        var draft = OwnershipDraft(
            members: ranked, span: replication.total,
            start: inherit(partitioning, previous, by: ranked))
        draft.sweep()
        var search = OwnershipSearch(draft)
        search.run()
        let sorted = ranked.indices.sorted { ranked[$0].node < ranked[$1].node }
        var position = [UInt16](repeating: 0, count: ranked.count)
        for (index, member) in sorted.enumerated() { position[member] = UInt16(index) }
        return Ownership(
            partitioning: partitioning, nodes: sorted.map { ranked[$0].node },
            positions: search.owners.map { position[$0] })
    }

    private static func check(
        _ partitioning: Partitioning, _ previous: Ownership?, _ members: [RingMember],
        _ replication: ReplicationFactor
    ) throws(RingError) {
        guard !members.isEmpty else { throw .noMembers }
        guard members.count <= Limits.nodesMax else { throw .tooManyMembers(members.count) }
        guard members.count <= partitioning.count else {
            throw .moreMembersThanPartitions(members: members.count, partitions: partitioning.count)
        }
        if let previous, previous.partitioning != partitioning {
            throw .partitionsChanged(from: previous.partitioning.count, to: partitioning.count)
        }
        var seen: Set<NodeID> = []
        for member in members where !seen.insert(member.node).inserted {
            throw .memberTwice(member.node)
        }
        try replication.check(members)
    }

    /// The members in the order in which ties fall: the first of each rack, then the second of
    /// each, so that a first ownership goes around the racks.
    private static func rank(_ members: [RingMember]) -> [RingMember] {
        let sorted = members.sorted { ($0.dc, $0.rack, $0.node) < ($1.dc, $1.rack, $1.node) }
        var ranked: [(place: Int, member: RingMember)] = []
        for member in sorted {
            let last = ranked.last
            let sameRack = last?.member.dc == member.dc && last?.member.rack == member.rack
            ranked.append((sameRack ? (last?.place ?? 0) + 1 : 0, member))
        }
        return ranked.enumerated().sorted { left, right in
            (left.element.place, left.offset) < (right.element.place, right.offset)
        }.map(\.element.member)
    }

    /// Who of the members had each arc, by rank, and who starts with it. The arcs of one who left
    /// are nobody's, unless a newcomer can step into its place: a replacement then disturbs nobody
    /// else.
    private static func inherit(
        _ partitioning: Partitioning, _ previous: Ownership?, by ranked: [RingMember]
    ) -> OwnershipDraft.Start {
        guard let previous else {
            return OwnershipDraft.Start(unowned: partitioning.count)
        }
        var rankOf: [NodeID: Int] = [:]
        for (rank, member) in ranked.enumerated() { rankOf[member.node] = rank }
        let stayed = previous.nodes.map { rankOf[$0] }
        var newcomers = ranked.indices.filter { !previous.nodes.contains(ranked[$0].node) }[...]
        let heirs = stayed.map { $0 ?? newcomers.popFirst() }
        return OwnershipDraft.Start(
            had: previous.positions.map { stayed[Int($0)] ?? OwnershipDraft.nobody },
            owners: previous.positions.map { heirs[Int($0)] ?? OwnershipDraft.nobody })
    }
}
