package import Core

/// The cut of the ring into P equal arcs, P a power of two.
///
/// Arc p holds the tokens in `(start, end]` with `end = Int64.min + (p + 1) · 2^64 / P - 1`, as a
/// ring walk wants it: a token belongs to the first end at or after it. The last arc ends at
/// `Int64.max`, where the first one starts. The partition of a token is therefore its upper bits
/// with the sign flipped.
package struct Partitioning: Hashable, Sendable {
    package static let `default` = Partitioning(bits: 8)

    /// P = 2^bits.
    private let bits: UInt64

    private init(bits: UInt64) {
        self.bits = bits
    }

    package init(partitions: Int) throws(RingError) {
        guard partitions >= 1, partitions <= Limits.partitionsMax, partitions.nonzeroBitCount == 1
        else { throw .partitionsNotPowerOfTwo(partitions) }
        bits = UInt64(partitions.trailingZeroBitCount)
    }

    package var count: Int { 1 << Int(bits) }

    /// All partitions, clockwise.
    package var all: some Sequence<PartitionID> {
        (0..<count).lazy.map { PartitionID($0) }
    }

    package func partition(of token: Token) -> PartitionID {
        // A smart shift by 64 gives 0, which is the only partition there is when P = 1.
        let offset = UInt64(bitPattern: token.value) ^ 1 << 63
        return PartitionID(Int(truncatingIfNeeded: offset >> (64 - bits)))
    }

    /// The last token of the arc: the token of its owner.
    package func end(of partition: PartitionID) -> Token {
        precondition(Int(partition.index) < count, "\(partition) is not one of \(count) partitions")
        let next = (UInt64(partition.index) + 1) << (64 - bits)
        return Token(Int64(bitPattern: (next &- 1) ^ 1 << 63))
    }

    /// The token before the arc's first one.
    package func start(of partition: PartitionID) -> Token {
        let previous = (Int(partition.index) + count - 1) % count
        return end(of: PartitionID(previous))
    }

    /// The home of a batch: the partition whose voters keep its home record.
    package func home(of id: BatchID) -> PartitionID {
        partition(of: Murmur3.token(of: id))
    }
}
