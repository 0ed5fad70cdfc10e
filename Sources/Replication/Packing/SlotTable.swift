package import Core

/// Where the row of an id lies: an open-addressing hash table of places, five bytes each. The keys
/// are in the rows; a byte of the hash beside each place spares nearly all looks at rows of others.
///
/// Linear probing (Knuth, *The Art of Computer Programming*, 6.4, algorithm L), in 64 shards of any
/// size, so that one that grows takes a millisecond and leaves little unused. The hash is the
/// standard library's, SipHash under a key that each process draws for itself: nobody can choose
/// ids that collide. Its order is seen nowhere.
package struct SlotTable: Sendable {
    fileprivate struct Shard: Sendable {
        /// One byte of the hash; `empty` and `erased` are none.
        var tags: [UInt8] = []
        var places: [UInt32] = []
        var live = 0
        /// Live and erased ones.
        var used = 0
    }

    fileprivate static let empty: UInt8 = 0
    fileprivate static let erased: UInt8 = 1
    private static let shardBits: UInt64 = 6

    package init() {}

    private var shards = Array(repeating: Shard(), count: 1 << Int(shardBits))

    package static func hash(_ id: BatchID) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(id)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    fileprivate static func tag(_ hash: UInt64) -> UInt8 {
        max(erased + 1, UInt8(truncatingIfNeeded: hash))
    }

    private static func shard(_ hash: UInt64) -> Int { Int(hash >> (64 - shardBits)) }

    /// Where the search begins: 32 bits of the hash, scaled to the size.
    fileprivate static func start(_ hash: UInt64, _ size: Int) -> Int {
        Int(((hash >> 8 & 0xffff_ffff) * UInt64(size)) >> 32)
    }

    package func find(_ hash: UInt64, where isIt: (UInt32) -> Bool) -> UInt32? {
        let shard = Self.shard(hash)
        return position(hash, shard, where: isIt).map { shards[shard].places[$0] }
    }

    private func position(
        _ hash: UInt64, _ shard: Int, where isIt: (UInt32) -> Bool
    ) -> Int? {
        let size = shards[shard].tags.count
        guard size > 0 else { return nil }
        let tag = Self.tag(hash)
        return shards[shard].tags.withUnsafeBufferPointer { tags in
            // Below `size` all the way; and some slot is always empty, so that the search ends.
            var position = Self.start(hash, size)
            while tags[position] != Self.empty {
                if tags[position] == tag, isIt(shards[shard].places[position]) { return position }
                position += 1
                if position == size { position = 0 }
            }
            return nil
        }
    }

    /// The id is not in it yet.
    ///
    /// - Parameter hashOf: of the id whose row lies at a place, for when the table grows.
    package mutating func insert(_ hash: UInt64, _ place: UInt32, hashOf: (UInt32) -> UInt64) {
        let shard = Self.shard(hash)
        if shards[shard].used + 1 > shards[shard].tags.count / 8 * 7 {
            rebuild(shard, hashOf)
        }
        shards[shard].add(hash, place)
    }

    package mutating func remove(_ hash: UInt64, _ place: UInt32) {
        let shard = Self.shard(hash)
        guard let position = position(hash, shard, where: { $0 == place }) else {
            preconditionFailure("a row lies where the table does not find it")
        }
        shards[shard].tags[position] = Self.erased
        shards[shard].live -= 1
        if shards[shard].live == 0 { shards[shard] = Shard() }
    }

    /// Drops what was erased; seven of ten slots are taken then, and seven of eight at most.
    private mutating func rebuild(_ shard: Int, _ hashOf: (UInt32) -> UInt64) {
        let before = shards[shard]
        shards[shard] = Shard(size: (before.live * 10 / 7 / 8 + 1) * 8)
        for (position, tag) in before.tags.enumerated() where tag > Self.erased {
            let place = before.places[position]
            shards[shard].add(hashOf(place), place)
        }
    }

    package var byteCount: Int {
        shards.reduce(ArrayBytes.of(shards)) {
            $0 + ArrayBytes.of($1.tags) + ArrayBytes.of($1.places)
        }
    }
}

extension SlotTable.Shard {
    fileprivate init(size: Int) {
        tags = Array(repeating: SlotTable.empty, count: size)
        places = Array(repeating: 0, count: size)
    }

    fileprivate mutating func add(_ hash: UInt64, _ place: UInt32) {
        var position = SlotTable.start(hash, tags.count)
        while tags[position] > SlotTable.erased {
            position += 1
            if position == tags.count { position = 0 }
        }
        // It is nowhere in the table: an erased slot on its way will do.
        if tags[position] == SlotTable.empty { used += 1 }
        tags[position] = SlotTable.tag(hash)
        places[position] = place
        live += 1
    }
}
