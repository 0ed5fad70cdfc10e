/// A set of partitions as a bitmap, in ascending order.
package struct PartitionSet: Hashable, Sendable {
    private var words: [UInt64]

    package init() {
        words = []
    }

    package init(_ partitions: some Sequence<PartitionID>) {
        words = []
        for partition in partitions { insert(partition) }
    }

    /// The bitmap as it is stored and sent; trailing zero words are left out.
    package init(bitmap: [UInt64]) {
        words = bitmap
        trim()
    }

    package var bitmap: [UInt64] { words }

    package var isEmpty: Bool { words.isEmpty }

    package var count: Int {
        words.reduce(0) { $0 + $1.nonzeroBitCount }
    }

    package func contains(_ partition: PartitionID) -> Bool {
        let word = Int(partition.index >> 6)
        return word < words.count && words[word] & bit(partition) != 0
    }

    package mutating func insert(_ partition: PartitionID) {
        let word = Int(partition.index >> 6)
        while words.count <= word { words.append(0) }
        words[word] |= bit(partition)
    }

    package mutating func remove(_ partition: PartitionID) {
        let word = Int(partition.index >> 6)
        guard word < words.count else { return }
        words[word] &= ~bit(partition)
        trim()
    }

    package mutating func formUnion(_ other: PartitionSet) {
        while words.count < other.words.count { words.append(0) }
        for word in other.words.indices { words[word] |= other.words[word] }
    }

    package func union(_ other: PartitionSet) -> PartitionSet {
        var result = self
        result.formUnion(other)
        return result
    }

    package func intersection(_ other: PartitionSet) -> PartitionSet {
        var result = PartitionSet()
        result.words = zip(words, other.words).map { $0 & $1 }
        result.trim()
        return result
    }

    package func subtracting(_ other: PartitionSet) -> PartitionSet {
        var result = self
        for word in words.indices where word < other.words.count {
            result.words[word] &= ~other.words[word]
        }
        result.trim()
        return result
    }

    package func isSubset(of other: PartitionSet) -> Bool {
        subtracting(other).isEmpty
    }

    /// In how many of the sets that partition lies which lies in the fewest.
    package func leastCount(among sets: [PartitionSet]) -> Int {
        let whole = sets.count { $0.isSuperset(of: self, within: self) }
        // Mostly a replica has applied all of its part of a batch, or has not answered.
        if whole == sets.count { return whole }
        var least = sets.count
        for partition in self { least = Swift.min(least, sets.count { $0.contains(partition) }) }
        return least
    }

    /// Holds all that `other` has of `limits`.
    package func isSuperset(of other: PartitionSet, within limits: PartitionSet) -> Bool {
        for word in 0..<Swift.min(other.words.count, limits.words.count) {
            let held = word < words.count ? words[word] : 0
            if other.words[word] & limits.words[word] & ~held != 0 { return false }
        }
        return true
    }

    private func bit(_ partition: PartitionID) -> UInt64 {
        1 << UInt64(partition.index & 63)
    }

    private mutating func trim() {
        while words.last == 0 { words.removeLast() }
    }
}

extension PartitionSet: Sequence {
    package struct Iterator: IteratorProtocol {
        fileprivate var words: [UInt64]
        fileprivate var word = 0

        package mutating func next() -> PartitionID? {
            while word < words.count {
                if words[word] != 0 {
                    let bit = words[word].trailingZeroBitCount
                    words[word] &= words[word] - 1
                    return PartitionID(word * 64 + bit)
                }
                word += 1
            }
            return nil
        }
    }

    package func makeIterator() -> Iterator {
        Iterator(words: words)
    }
}
