import Core
import Replication
import Testing

@Suite("Union of the sets of voters")
struct ReadUnionTests {
    static let key = SipKey(low: 1, high: 2)
    static let nodes = ["n1", "n2", "n3", "n4", "n5"].map { NodeID($0) }

    static func batch(_ number: Int) -> RecentBatch {
        let id = BatchID(producer: 9, sequence: UInt64(number))
        let hash = Hash128(UInt128(number))
        return RecentBatch(
            header: BatchHeader(
                id: id, createdAt: WallTime(milliseconds: 0), contentHash: hash, rule: .first),
            term: SetDigest.term(id, hash, key: key))
    }

    /// A voter that applied these in this order and names the last ones.
    static func voter(
        _ place: Int, _ applied: [Int], names: Int = ReplicationLimits.recentMax
    ) -> ReadUnion.Voter {
        var state = ReadState(
            digest: .empty, start: UInt64(place + 100),
            recent: applied.suffix(names).map { batch($0) })
        for number in applied { state.digest.insert(batch(number).term) }
        return ReadUnion.Voter(node: nodes[place], state: state)
    }

    private func numbers(_ headers: [BatchHeader]) -> Set<Int> {
        Set(headers.map { Int($0.id.sequence) })
    }

    private func lacks(_ union: ReadUnion, _ place: Int) -> Set<Int> {
        numbers(
            union.shares.first { $0.node == Self.nodes[place] }?.unite.lacks.map(\.header) ?? [])
    }

    private func gives(_ union: ReadUnion, _ place: Int) -> Set<Int> {
        numbers(union.shares.first { $0.node == Self.nodes[place] }?.unite.gives ?? [])
    }

    @Test("equal sets need nothing, in whatever order they were applied")
    func equal() throws {
        let union = try #require(
            ReadUnion(base: Self.voter(0, [1, 2, 3]), partners: [Self.voter(1, [3, 1, 2])]))
        #expect(union.shares.isEmpty)
    }

    @Test("each voter is told what it lacks, who has it, and which start is meant")
    func both() throws {
        let union = try #require(
            ReadUnion(
                base: Self.voter(0, [1, 2, 3, 5]), partners: [Self.voter(1, [2, 1, 4, 3, 6])]))
        #expect(union.shares.map(\.node) == [Self.nodes[0], Self.nodes[1]])
        #expect(lacks(union, 0) == [4, 6])
        #expect(lacks(union, 1) == [5])
        #expect(gives(union, 0).isEmpty)
        #expect(gives(union, 1) == [4, 6])
        #expect(union.shares[0].unite.start == 100)
        #expect(union.shares[1].unite.start == 101)
        #expect(union.shares[0].unite.lacks.allSatisfy { $0.source == Self.nodes[1] })
        #expect(union.shares[1].unite.lacks.allSatisfy { $0.source == Self.nodes[0] })
    }

    @Test("of three voters, what only the third has is given once and reaches both others")
    func three() throws {
        let union = try #require(
            ReadUnion(
                base: Self.voter(0, [1, 2]),
                partners: [Self.voter(1, [1, 2, 7]), Self.voter(2, [1, 8, 2, 7])]))
        #expect(lacks(union, 0) == [7, 8])
        #expect(lacks(union, 1) == [8])
        #expect(lacks(union, 2).isEmpty)
        #expect(gives(union, 1) == [7])
        #expect(gives(union, 2) == [8])
    }

    @Test("what one applied longer ago than its list reaches is not taken for missing")
    func ends() throws {
        // Both hold 1...300, and the partner applied 1 so long ago that it does not name it.
        let late = ReadUnion(
            base: Self.voter(0, Array(2...300) + [1]),
            partners: [Self.voter(1, Array(1...300) + [301])])
        #expect(late == nil, "1 is not missing, and the lists cannot tell")
        let union = try #require(
            ReadUnion(
                base: Self.voter(0, Array(2...250) + [1] + Array(251...300)),
                partners: [Self.voter(1, Array(1...300) + [301])]))
        #expect(lacks(union, 0) == [301])
        #expect(lacks(union, 1).isEmpty)
    }

    @Test("a difference that the lists do not name is not explained")
    func unexplained() {
        #expect(
            ReadUnion(
                base: Self.voter(0, [1, 2, 3]), partners: [Self.voter(1, [2, 3])]) != nil)
        #expect(
            ReadUnion(
                base: Self.voter(0, [1, 2, 3], names: 2), partners: [Self.voter(1, [2, 3])]) == nil)
        #expect(
            ReadUnion(base: Self.voter(0, [1], names: 0), partners: [Self.voter(1, [])]) == nil)
    }

    @Test("at random: a union is exactly the union, and most differences are explained")
    func property() {
        var random = RandomSource(seed: 11)
        var explained = 0
        let runs = 400
        for _ in 0..<runs {
            let size = 20 + random.below(400)
            let spread = 1 + random.below(40)
            let applied = (0..<3).map { _ in
                // Everyone applies in nearly the same order, and is not done yet.
                let order = (0..<size).map { (at: $0 + random.below(spread), number: $0) }
                    .sorted { ($0.at, $0.number) < ($1.at, $1.number) }.map(\.number)
                return Array(order.prefix(size - random.below(min(spread, size))))
            }
            let voters = applied.indices.map { Self.voter($0, applied[$0]) }
            let count = 1 + random.below(2)
            guard
                let union = ReadUnion(base: voters[0], partners: Array(voters[1...count]))
            else { continue }
            explained += 1
            let sets = applied.prefix(count + 1).map { Set($0) }
            let whole = sets.reduce(into: Set<Int>()) { $0.formUnion($1) }
            var given: [Int] = []
            for place in 0...count {
                #expect(lacks(union, place) == whole.subtracting(sets[place]))
                #expect(gives(union, place).isSubset(of: sets[place]))
                given += gives(union, place)
            }
            #expect(given.sorted() == whole.subtracting(sets[0]).sorted())
        }
        #expect(explained > runs * 9 / 10, "only \(explained) of \(runs)")
    }

    @Test("a voter keeps and names the batches that it applied last, in their order")
    func ring() {
        var recent = RecentBatches(partitions: 2)
        let partition = PartitionID(1)
        for number in 0..<300 {
            recent.insert(
                Self.batch(number).header.id, term: UInt128(number), partition,
                at: Instant(nanoseconds: Int64(number)))
        }
        let named = recent.newest(partition, since: Instant(nanoseconds: -1)).map(\.term)
        #expect(named == (300 - ReplicationLimits.recentMax..<300).map { UInt128($0) })
        #expect(
            recent.newest(partition, since: Instant(nanoseconds: 297)).map(\.term) == [298, 299])
        #expect(recent.newest(PartitionID(0), since: Instant(nanoseconds: -1)).isEmpty)
    }
}
