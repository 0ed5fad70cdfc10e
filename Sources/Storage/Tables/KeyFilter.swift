package import Core
import Wire

/// Says of most keys that a table does not hold that it does not: a split-block Bloom filter
/// (Putze, Sanders and Singler 2007; the layout of Apache Parquet). One cache line a question,
/// eight bits a key, at most one false positive in a hundred at 12 bits a key.
package struct KeyFilter: Hashable, Sendable {
    static let bitsPerKey = 12
    private static let wordsPerBlock = 8
    private static let salts: [UInt32] = [
        0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d,
        0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31,
    ]

    private var words: [UInt32]

    var memoryBytes: Int { words.capacity * 4 }

    /// A filter that holds these hashes and, by chance, a few others.
    package init(hashes: [UInt64]) {
        self.init(blocks: Self.blocks(toHold: hashes.count))
        for hash in hashes { insert(hash) }
    }

    /// An empty filter for at most so many keys.
    package init(keysMax: Int) {
        let blocks = Self.blocks(toHold: keysMax)
        // So that it can be folded.
        let unit = blocks < Self.foldsFrom ? 1 : Self.foldUnit
        self.init(blocks: (blocks + unit - 1) / unit * unit)
    }

    private init(blocks: Int) {
        words = Array(repeating: 0, count: blocks * Self.wordsPerBlock)
    }

    private static let foldsFrom = 64
    private static let foldUnit = 16

    private static func blocks(toHold keys: Int) -> Int {
        let most = StorageLimits.sectionRawMax / (wordsPerBlock * 4)
        return min(max(1, (keys * bitsPerKey + 255) / 256), most)
    }

    package mutating func insert(_ hash: UInt64) {
        let block = self.block(of: hash)
        for (position, salt) in Self.salts.enumerated() {
            words[block + position] |= Self.bit(hash, salt)
        }
    }

    /// Halves the filter as long as it keeps its bits for so many keys. A block's number is the
    /// hash's share of all blocks, so that of two neighbours one is made by uniting them.
    package mutating func fold(toHold keys: Int) {
        let needed = Self.blocks(toHold: keys)
        var blocks = words.count / Self.wordsPerBlock
        while blocks.isMultiple(of: 2), blocks / 2 >= needed {
            blocks /= 2
            var half = [UInt32](repeating: 0, count: blocks * Self.wordsPerBlock)
            for place in words.indices {
                let block = place / Self.wordsPerBlock / 2
                half[block * Self.wordsPerBlock + place % Self.wordsPerBlock] |= words[place]
            }
            words = half
        }
    }

    package func mayHold(_ hash: UInt64) -> Bool {
        let block = self.block(of: hash)
        for (position, salt) in Self.salts.enumerated()
        where words[block + position] & Self.bit(hash, salt) == 0 {
            return false
        }
        return true
    }

    /// What is stored of a key: SipHash under a key that every build shares.
    package static func hash(_ partition: PartitionID, _ key: UnsafeRawBufferPointer) -> UInt64 {
        UInt64(
            truncatingIfNeeded: SipHash.hash(
                key, key: SipKey(low: UInt64(partition.index), high: 0)))
    }

    private func block(of hash: UInt64) -> Int {
        let blocks = UInt64(words.count / Self.wordsPerBlock)
        return Int(((hash >> 32) &* blocks) >> 32) * Self.wordsPerBlock
    }

    private static func bit(_ hash: UInt64, _ salt: UInt32) -> UInt32 {
        1 << ((UInt32(truncatingIfNeeded: hash) &* salt) >> 27)
    }

    package var byteCount: Int { words.count * 4 }

    // MARK: Stored form

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: words.count * 4)
        for word in words { writer.write(fixed: word) }
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        guard !bytes.isEmpty, bytes.count % (Self.wordsPerBlock * 4) == 0 else {
            throw reader.fail("a filter of \(bytes.count) bytes")
        }
        words = []
        words.reserveCapacity(bytes.count / 4)
        while !reader.isAtEnd { words.append(try reader.fixed()) }
    }
}
