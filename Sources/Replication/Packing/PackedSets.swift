package import Core
package import Wire

// Sets of partitions in as few bytes as is simple: the members, what is missing, or a bitmap. The
// first number says which in its two lowest bits and how many in the others. One byte says all, or
// none; of 256 partitions no set takes more than 33.

extension ByteWriter {
    private static let members: UInt64 = 0
    private static let missing: UInt64 = 1
    private static let bitmap: UInt64 = 2

    /// - Parameter universe: how many partitions there are.
    package mutating func write(packed set: PartitionSet, of universe: Int) {
        let words = set.bitmap
        let bytes = words.last.map { words.count * 8 - $0.leadingZeroBitCount / 8 } ?? 0
        let count = set.count
        let isWithin = bytes * 8 <= universe || set.isSubset(of: .all(universe))
        if isWithin, count == 0 || count < bytes && count <= universe - count {
            write(gaps: set, count, Self.members)
        } else if isWithin, universe - count < bytes {
            write(gaps: PartitionSet.all(universe).subtracting(set), universe - count, Self.missing)
        } else {
            write(varint: UInt64(bytes - 1) << 2 | Self.bitmap)
            for place in 0..<bytes {
                write(UInt8(truncatingIfNeeded: words[place / 8] >> UInt64(place % 8 * 8)))
            }
        }
    }

    private mutating func write(gaps set: PartitionSet, _ count: Int, _ kind: UInt64) {
        write(varint: UInt64(count) << 2 | kind)
        var next = 0
        for partition in set {
            write(count: Int(partition.index) - next)
            next = Int(partition.index) + 1
        }
    }
}

extension ByteReader {
    package mutating func packedSet(of universe: Int) throws(DecodeError) -> PartitionSet {
        let first = try varint()
        let count = Int(first >> 2)
        switch first & 3 {
        case 0:
            return PartitionSet(bitmap: try gaps(count, universe))
        case 1:
            let missing = PartitionSet(bitmap: try gaps(count, universe))
            let all = PartitionSet.all(universe)
            return count == 0 ? all : all.subtracting(missing)
        default:
            var words = Array(repeating: UInt64(0), count: count / 8 + 1)
            for place in 0...count {
                words[place / 8] |= UInt64(try byte()) << UInt64(place % 8 * 8)
            }
            return PartitionSet(bitmap: words)
        }
    }

    private mutating func gaps(_ count: Int, _ universe: Int) throws(DecodeError) -> [UInt64] {
        guard count > 0 else { return [] }
        var words = Array(repeating: UInt64(0), count: (universe + 63) / 64)
        var next = 0
        for _ in 0..<count {
            let place = next + Int(try varint())
            guard place < universe else { throw fail("partition \(place)") }
            words[place / 64] |= 1 << UInt64(place % 64)
            next = place + 1
        }
        return words
    }
}

extension PartitionSet {
    fileprivate static func all(_ universe: Int) -> PartitionSet {
        var words = Array(repeating: UInt64.max, count: universe / 64)
        if universe % 64 > 0 { words.append(1 << UInt64(universe % 64) - 1) }
        return PartitionSet(bitmap: words)
    }
}
