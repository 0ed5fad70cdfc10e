import Core
import Ring
import Testing

@Suite struct PartitioningTests {
    @Test("each arc holds exactly the tokens after its start up to its end")
    func boundaries() throws {
        for bits in 0...12 {
            let partitioning = try Partitioning(partitions: 1 << bits)
            for partition in partitioning.all {
                let end = partitioning.end(of: partition)
                #expect(partitioning.partition(of: end) == partition)
                let next = PartitionID((Int(partition.index) + 1) % partitioning.count)
                #expect(partitioning.partition(of: Token(end.value &+ 1)) == next)
                #expect(partitioning.start(of: next) == end)
            }
        }
    }

    @Test("the ring ends at the greatest token, and one arc is the whole ring")
    func ends() throws {
        let ring = Partitioning.default
        #expect(ring.count == 256)
        #expect(ring.end(of: PartitionID(255)).value == .max)
        #expect(ring.end(of: PartitionID(0)).value == .min + (1 << 56) - 1)
        #expect(ring.partition(of: Token(.min)) == PartitionID(0))
        #expect(ring.partition(of: Token(0)) == PartitionID(128))
        let whole = try Partitioning(partitions: 1)
        for value in [Int64.min, -1, 0, 1, .max] {
            #expect(whole.partition(of: Token(value)) == PartitionID(0))
        }
        #expect(whole.end(of: PartitionID(0)).value == .max)
    }

    @Test("keys spread evenly over the arcs")
    func spread() {
        var counts = [Int](repeating: 0, count: 256)
        for number in 0..<51_200 {
            let token = Murmur3.token(of: "key-\(number)")
            counts[Int(Partitioning.default.partition(of: token).index)] += 1
        }
        #expect(counts.allSatisfy { (130...280).contains($0) })
    }

    @Test("a count that is no power of two within the limit is refused")
    func refused() throws {
        for count in [-4, -1, 0, 3, 255, Limits.partitionsMax + 1, Limits.partitionsMax * 2, .min] {
            #expect(throws: RingError.partitionsNotPowerOfTwo(count)) {
                try Partitioning(partitions: count)
            }
        }
        #expect(try Partitioning(partitions: Limits.partitionsMax).count == Limits.partitionsMax)
    }
}
