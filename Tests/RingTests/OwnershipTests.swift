import Core
import Ring
import Testing

@Suite struct OwnershipTests {
    @Test("a first ownership is balanced and keeps owners apart, for 1 to 200 nodes")
    func first() throws {
        let sizes = Array(1...12) + [31, 32, 33, 85, 86, 127, 128, 129, 199, 200]
        for partitions in [8, 32, 256] {
            let partitioning = try Partitioning(partitions: partitions)
            for count in sizes where count <= partitions {
                for factor in [1, 2, 3, 5] {
                    let members = Rings.members(count)
                    let ring = try Ownership.plan(
                        partitioning, previous: nil, members: members,
                        replication: .everywhere(factor))
                    #expect(Rings.isBalanced(ring, members))
                    guard Rings.canSpread(partitions: partitions, members: count, span: factor)
                    else { continue }
                    #expect(Rings.conflicts(ring, span: factor) == 0, "\(partitions) \(count)")
                }
            }
        }
    }

    @Test("the largest ring is balanced and spread")
    func largest() throws {
        let partitioning = try Partitioning(partitions: Limits.partitionsMax)
        for count in [3, 200, Limits.nodesMax] {
            let members = Rings.members(count)
            let ring = try Ownership.plan(
                partitioning, previous: nil, members: members, replication: .everywhere(3))
            #expect(Rings.isBalanced(ring, members))
            #expect(count == 3 || Rings.conflicts(ring, span: 3) == 0)
        }
    }

    @Test("racks are kept apart from the start where there are more of them than replicas")
    func racks() throws {
        for (count, racks) in [(8, 4), (12, 4), (10, 5), (12, 6), (28, 7)] {
            let members = Rings.members(count, racks: racks)
            let ring = try Ownership.plan(
                .default, previous: nil, members: members, replication: .everywhere(3))
            let rack = Dictionary(uniqueKeysWithValues: members.map { ($0.node, $0.rack) })
            let conflicts = Rings.conflicts(ring, span: 3) { rack[$0] ?? "" }
            #expect(conflicts <= 2, "\(count) nodes in \(racks) racks: \(conflicts)")
            #expect(Rings.conflicts(ring, span: 3) == 0)
        }
    }

    @Test("a rack that is far too large costs neither balance nor the distance of nodes")
    func unevenRacks() throws {
        for count in [5, 9, 14, 40] {
            let members = (0..<count).map {
                RingMember(node: NodeID("n\($0)"), dc: "dc1", rack: $0 < 2 ? "r\($0)" : "large")
            }
            let ring = try Ownership.plan(
                .default, previous: nil, members: members, replication: .everywhere(3))
            #expect(Rings.isBalanced(ring, members))
            #expect(Rings.conflicts(ring, span: 3) == 0)
        }
    }

    @Test("members in any order give the same ownership, and no change moves nothing")
    func pure() throws {
        var random = RandomSource(seed: 7)
        for count in [1, 3, 5, 12, 60] {
            let members = Rings.members(count, racks: 3)
            let ring = try Ownership.plan(
                .default, previous: nil, members: members, replication: .everywhere(3))
            var shuffled = members
            random.shuffle(&shuffled)
            let again = try Ownership.plan(
                .default, previous: nil, members: shuffled, replication: .everywhere(3))
            #expect(again == ring)
            if count == 3 || count == 60 { continue }
            let next = try Ownership.plan(
                .default, previous: ring, members: members, replication: .everywhere(1))
            #expect(next == ring)
        }
    }

    @Test("a ring as large as its replication factor is plain laps")
    func laps() throws {
        let ring = try Ownership.plan(
            Partitioning(partitions: 8), previous: nil, members: Rings.members(4),
            replication: .everywhere(3))
        #expect(ring.owners.map(\.name) == ["n0", "n1", "n2", "n3", "n0", "n1", "n2", "n3"])
    }

    @Test("a replacement takes over exactly the arcs of the one that left")
    func replacement() throws {
        for count in [2, 5, 8, 21] {
            let members = Rings.members(count)
            let before = try Ownership.plan(
                .default, previous: nil, members: members, replication: .everywhere(3))
            let changed = Array(members.dropLast()) + [Rings.member(500)]
            let after = try Ownership.plan(
                .default, previous: before, members: changed, replication: .everywhere(3))
            #expect(Rings.isBalanced(after, changed))
            let moved = after.moved(from: before).count
            let fewest = Ownership.fewestMoves(from: before, members: changed)
            #expect(moved <= fewest + Ownership.movesAllowance(partitions: 256))
            if count >= 8 {
                let left = before.partitions(ownedBy: members[count - 1].node)
                #expect(after.partitions(ownedBy: NodeID("n500")) == left)
            }
        }
    }

    @Test("owners by name make the same ownership again")
    func stored() throws {
        let ring = try Ownership.plan(
            .default, previous: nil, members: Rings.members(12), replication: .everywhere(3))
        #expect(try Ownership(owners: ring.owners) == ring)
        #expect(throws: RingError.partitionsNotPowerOfTwo(3)) {
            try Ownership(owners: Array(ring.owners.prefix(3)))
        }
        #expect(throws: RingError.partitionsNotPowerOfTwo(0)) { try Ownership(owners: []) }
    }

    @Test("the fewest moves are counted by hand")
    func fewestMoves() throws {
        let owners = "aaaabbbb".map { NodeID(String($0)) }
        let ring = try Ownership(owners: owners)
        func member(_ name: String) -> RingMember {
            RingMember(node: NodeID(name), dc: "", rack: "")
        }
        #expect(Ownership.fewestMoves(from: ring, members: [member("a"), member("b")]) == 0)
        #expect(Ownership.fewestMoves(from: ring, members: ["a", "b", "c"].map(member)) == 2)
        #expect(Ownership.fewestMoves(from: ring, members: [member("a")]) == 4)
        #expect(Ownership.fewestMoves(from: ring, members: [member("c")]) == 8)
    }

    @Test("what cannot be a ring is refused with its reason")
    func refused() throws {
        func plan(
            _ members: [RingMember], _ replication: ReplicationFactor = .everywhere(3),
            previous: Ownership? = nil, partitions: Int = 8
        ) throws {
            _ = try Ownership.plan(
                Partitioning(partitions: partitions), previous: previous, members: members,
                replication: replication)
        }
        #expect(throws: RingError.noMembers) { try plan([]) }
        #expect(throws: RingError.moreMembersThanPartitions(members: 9, partitions: 8)) {
            try plan(Rings.members(9))
        }
        let tooMany = Limits.nodesMax + 1
        #expect(throws: RingError.tooManyMembers(tooMany)) {
            try plan(Rings.members(tooMany), partitions: Limits.partitionsMax)
        }
        #expect(throws: RingError.memberTwice(NodeID("n1"))) {
            try plan(Rings.members(3) + [Rings.member(1)])
        }
        let beyond = ReplicationFactor.factorMax + 1
        for bad in [.everywhere(0), .everywhere(beyond), .perDataCentre([:])] as [ReplicationFactor]
        {
            #expect(throws: RingError.badReplicationFactor(bad.description)) {
                try plan(Rings.members(3), bad)
            }
        }
        try plan(Rings.members(3), .everywhere(ReplicationFactor.factorMax))
        #expect(throws: RingError.dataCentreWithoutFactor(NodeID("n0"), "dc1")) {
            try plan(Rings.members(3), .perDataCentre(["dc2": 3]))
        }
        let other = try Ownership(owners: [NodeID("n0"), NodeID("n1")])
        #expect(throws: RingError.partitionsChanged(from: 2, to: 8)) {
            try plan(Rings.members(2), previous: other)
        }
        #expect("\(RingError.noMembers)" == "a ring needs at least one member")
    }
}
