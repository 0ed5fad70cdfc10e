import Core
import Ring
import Testing

@Suite struct RingViewTests {
    private static func view(
        _ members: [RingMember], _ replication: ReplicationFactor, partitions: Int = 64
    ) throws -> RingView {
        let ownership = try Ownership.plan(
            Partitioning(partitions: partitions), previous: nil, members: members,
            replication: replication)
        return try RingView(
            epoch: 4, ownership: ownership, members: members, replication: replication)
    }

    private static func places(_ text: String) -> [RingMember] {
        text.split(separator: " ").map { word in
            let parts = word.split(separator: "/").map(String.init)
            return RingMember(node: NodeID(parts[0]), dc: parts[1], rack: parts[2])
        }
    }

    private static func replicas(
        _ owners: String, _ members: String, _ replication: ReplicationFactor
    ) throws -> String {
        let ownership = try Ownership(owners: owners.map { NodeID(String($0)) })
        let view = try RingView(
            epoch: 1, ownership: ownership, members: places(members), replication: replication)
        return view.partitioning.all.map { partition in
            view.replicas(of: partition).map(\.name).joined()
        }.joined(separator: " ")
    }

    @Test("the walk goes clockwise, across the end, and skips repeats")
    func walk() throws {
        #expect(
            try Self.replicas("abacbbca", "a/d/1 b/d/2 c/d/3", .everywhere(2))
                == "ab ba ac cb bc bc ca ab")
        #expect(try Self.replicas("abab", "a/d/1 b/d/2", .everywhere(3)) == "ab ba ab ba")
        #expect(try Self.replicas("aaaa", "a/d/1", .everywhere(1)) == "a a a a")
    }

    @Test("a second node of one rack is taken only when there are fewer racks than replicas")
    func rackWalk() throws {
        #expect(
            try Self.replicas("abcd", "a/d/1 b/d/1 c/d/2 d/d/2", .everywhere(2))
                == "ac bc ca da")
        #expect(
            try Self.replicas("abcd", "a/d/1 b/d/1 c/d/1 d/d/2", .everywhere(3))
                == "abd bcd cda dab")
        #expect(
            try Self.replicas("abcd", "a/d/1 b/d/1 c/d/2 d/d/3", .everywhere(3))
                == "acd bcd cda dac")
    }

    @Test("each data centre gets its own number of replicas, and racks count within it")
    func dataCentres() throws {
        let members = "a/e/1 b/e/2 c/w/1 d/w/2"
        #expect(
            try Self.replicas("abcd", members, .perDataCentre(["e": 1, "w": 1]))
                == "ac bc ca da")
        #expect(
            try Self.replicas("acbd", members, .perDataCentre(["e": 2, "w": 1]))
                == "acb cba bda dab")
        #expect(
            try Self.replicas("acbd", members, .perDataCentre(["e": 5, "w": 1, "x": 3]))
                == "acb cba bda dab")
    }

    @Test("replicas are distinct nodes in as many racks as there are, owner first")
    func distinct() throws {
        for (count, racks) in [(1, 1), (2, 2), (3, 3), (3, 1), (7, 2), (8, 3), (9, 4), (30, 7)] {
            for factor in [1, 2, 3, 5] {
                let members = Rings.members(count, racks: racks)
                let view = try Self.view(members, .everywhere(factor))
                for partition in view.partitioning.all {
                    let replicas = view.replicas(of: partition)
                    #expect(replicas.first == view.owner(of: partition))
                    #expect(Set(replicas).count == min(factor, count))
                    #expect(replicas.count == min(factor, count))
                    let racksHit = Set(replicas.map { view.member($0)?.rack })
                    #expect(racksHit.count == min(factor, min(racks, count)))
                }
            }
        }
    }

    @Test("what a node holds is the inverse of who holds a partition")
    func inverse() throws {
        let view = try Self.view(Rings.members(9, racks: 3), .everywhere(3))
        for member in view.members {
            let held = PartitionSet(
                view.partitioning.all.filter { view.replicas(of: $0).contains(member.node) })
            #expect(view.partitions(of: member.node) == held)
        }
        let shares = view.members.map { view.effectiveShare(of: $0.node) }.reduce(0, +)
        #expect(abs(shares - 3) < 1e-9)
        #expect(view.partitions(of: NodeID("stranger")).isEmpty)
        #expect(view.epoch == 4 && !view.contains(NodeID("stranger")))
    }

    @Test("three nodes with three replicas hold everything, and larger rings share evenly")
    func load() throws {
        let small = try Self.view(Rings.members(3, racks: 3), .everywhere(3))
        #expect(small.members.allSatisfy { small.effectiveShare(of: $0.node) == 1 })
        for count in [4, 5, 8, 12, 30] {
            let view = try Self.view(Rings.members(count), .everywhere(3), partitions: 1024)
            let held = view.members.map { view.partitions(of: $0.node).count }
            // Distinct owners in any three arcs: each arc of a node gives it three partitions.
            let share = 1024 / count
            #expect(held.allSatisfy { (3 * share...3 * share + 3).contains($0) }, "\(held)")
        }
    }

    @Test("a walk over all nodes' tokens, the ends of their arcs, finds the same owner")
    func tokens() throws {
        let view = try Self.view(Rings.members(5), .everywhere(3))
        var ring: [(token: Token, node: NodeID)] = []
        for member in view.members {
            ring += view.tokens(ownedBy: member.node).map { ($0, member.node) }
        }
        ring.sort { $0.token < $1.token }
        #expect(ring.count == view.partitioning.count)
        var random = RandomSource(seed: 3)
        for _ in 0..<2000 {
            let token = Token(Int64(bitPattern: random.next()))
            let found = ring.first { $0.token >= token } ?? ring[0]
            #expect(view.owner(of: view.partitioning.partition(of: token)) == found.node)
        }
    }

    @Test("two epochs tell which partitions change hands")
    func movedPartitions() throws {
        let four = try Self.view(Rings.members(4), .everywhere(3))
        let members = Rings.members(5)
        let five = try RingView(
            epoch: 5,
            ownership: .plan(
                four.partitioning, previous: four.ownership, members: members,
                replication: .everywhere(3)),
            members: members, replication: .everywhere(3))
        let moved = five.partitionsMoved(from: four)
        for partition in five.partitioning.all {
            let changed = Set(five.replicas(of: partition)) != Set(four.replicas(of: partition))
            #expect(moved.contains(partition) == changed)
        }
        #expect(five.partitions(of: NodeID("n4")).isSubset(of: moved))
        #expect(four.partitionsMoved(from: four).isEmpty)
    }

    @Test("owners that are no members, and members twice, are refused")
    func refused() throws {
        let ownership = try Ownership(owners: [NodeID("n0"), NodeID("n9")])
        #expect(throws: RingError.ownerNotMember(NodeID("n9"), PartitionID(1))) {
            try RingView(
                epoch: 1, ownership: ownership, members: Rings.members(3),
                replication: .everywhere(3))
        }
        #expect(throws: RingError.memberTwice(NodeID("n2"))) {
            try RingView(
                epoch: 1, ownership: ownership, members: Rings.members(3) + [Rings.member(2)],
                replication: .everywhere(3))
        }
    }

    @Test("equal replication rules read alike")
    func replicationText() {
        #expect(ReplicationFactor.everywhere(3).description == "3")
        let rule = ReplicationFactor.perDataCentre(["b": 2, "a": 3])
        #expect(rule.description == "{a: 3, b: 2}")
        #expect(rule.total == 5)
    }
}
