import Core
import Ring
import Testing

@Suite struct OwnershipChangeTests {
    /// Plans the next ownership and checks every demand on it.
    private static func step(
        _ previous: Ownership, _ members: [RingMember], factor: Int, limitsMoves: Bool = true
    ) throws -> Ownership {
        let partitions = previous.partitioning.count
        let next = try Ownership.plan(
            previous.partitioning, previous: previous, members: members,
            replication: .everywhere(factor))
        let about = "\(partitions) arcs, \(members.count) members, factor \(factor)"
        #expect(Rings.isBalanced(next, members), "\(about)")
        if Rings.canSpread(partitions: partitions, members: members.count, span: factor) {
            #expect(Rings.conflicts(next, span: factor) == 0, "\(about)")
        }
        guard limitsMoves else { return next }
        let moved = next.moved(from: previous).count
        let fewest = Ownership.fewestMoves(from: previous, members: members)
        let allowed = Rings.movesAllowance(
            partitions: partitions, members: members.count, span: factor)
        #expect(moved <= fewest + allowed, "\(about): \(moved) moved, \(fewest) were enough")
        return next
    }

    private static func chain(
        partitions: Int, factor: Int, racks: Int, sizes: some Sequence<Int>
    ) throws {
        var ring: Ownership?
        for size in sizes {
            let members = Rings.members(size, racks: racks)
            if let previous = ring {
                ring = try step(previous, members, factor: factor)
            } else {
                ring = try Ownership.plan(
                    Partitioning(partitions: partitions), previous: nil, members: members,
                    replication: .everywhere(factor))
            }
        }
    }

    @Test(
        "a cluster grows from 1 node to 16 and shrinks back, meeting every demand",
        arguments: [1, 3])
    func growsAndShrinks(racks: Int) throws {
        let sizes = Array(1...16) + (1...15).reversed()
        try Self.chain(partitions: 256, factor: 3, racks: racks, sizes: sizes)
    }

    @Test("a cluster grows by one from any size up to 200", arguments: [40, 75, 127, 128, 199])
    func growsLarge(size: Int) throws {
        try Self.chain(
            partitions: 256, factor: 3, racks: 5, sizes: [size, size + 1, size, size - 1, size])
        try Self.chain(partitions: 512, factor: 3, racks: 1, sizes: [size, size + 1, size])
    }

    @Test("whichever node leaves, the demands hold", arguments: [4, 5, 6, 9])
    func anyLeaves(size: Int) throws {
        let members = Rings.members(size)
        let ring = try Ownership.plan(
            .default, previous: nil, members: members, replication: .everywhere(3))
        for leaver in members {
            _ = try Self.step(ring, members.filter { $0 != leaver }, factor: 3)
        }
    }

    @Test("20 random changes in a row meet every demand", arguments: 1...8)
    func chains(seed: Int) throws {
        var random = RandomSource(seed: UInt64(seed))
        let partitions = random.pick([64, 128, 256, 256])
        let factor = random.pick([1, 2, 3, 3, 3])
        let racks = random.pick([1, 2, 3, 4, 9])
        var numbers = Array(0..<(1 + random.below(12)))
        var next = numbers.count
        var ring = try Ownership.plan(
            Partitioning(partitions: partitions), previous: nil,
            members: numbers.map { Rings.member($0, racks: racks) },
            replication: .everywhere(factor))
        for _ in 0..<20 {
            switch random.below(5) {
            case 0 where numbers.count > 1, 1 where numbers.count > 1:
                numbers.remove(at: random.below(numbers.count))
            case 2: numbers[random.below(numbers.count)] = next
            default: numbers.append(next)
            }
            next += 1
            // On small rings 5 % is less than what two neighbours' exchange moves.
            ring = try Self.step(
                ring, numbers.map { Rings.member($0, racks: racks) }, factor: factor,
                limitsMoves: partitions >= 256)
        }
    }

    @Test("many changes at once, and an ownership from elsewhere, still become a sound ring")
    func upheaval() throws {
        let one = try Ownership(owners: [NodeID](repeating: NodeID("n3"), count: 256))
        _ = try Self.step(one, Rings.members(9), factor: 3, limitsMoves: false)
        let halves = (0..<256).map { NodeID($0 < 128 ? "n1" : "n2") }
        _ = try Self.step(
            Ownership(owners: halves), Rings.members(5), factor: 3, limitsMoves: false)
        let nine = try Ownership.plan(
            .default, previous: nil, members: Rings.members(9), replication: .everywhere(3))
        let others = (20..<27).map { Rings.member($0) }
        _ = try Self.step(nine, others, factor: 3, limitsMoves: false)
    }
}
