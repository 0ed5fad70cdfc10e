/// A set of contents by number, as a bitmap; its members come in ascending order.
package struct ContentSet: Hashable, Sendable, CustomStringConvertible {
    private var words: [UInt64] = []

    package init() {}

    package init(_ members: some Sequence<Int>) {
        for member in members { insert(member) }
    }

    package mutating func insert(_ member: Int) {
        while words.count <= member >> 6 { words.append(0) }
        words[member >> 6] |= 1 << UInt64(member & 63)
    }

    package mutating func remove(_ member: Int) {
        guard member >> 6 < words.count else { return }
        words[member >> 6] &= ~(1 << UInt64(member & 63))
    }

    package func contains(_ member: Int) -> Bool {
        member >> 6 < words.count && words[member >> 6] & 1 << UInt64(member & 63) != 0
    }

    package mutating func formUnion(_ other: ContentSet) {
        while words.count < other.words.count { words.append(0) }
        for word in other.words.indices { words[word] |= other.words[word] }
    }

    package func subtracting(_ other: ContentSet) -> ContentSet {
        var result = self
        for word in result.words.indices where word < other.words.count {
            result.words[word] &= ~other.words[word]
        }
        return result
    }

    package func intersection(_ other: ContentSet) -> ContentSet {
        var result = self
        for word in result.words.indices {
            result.words[word] &= word < other.words.count ? other.words[word] : 0
        }
        return result
    }

    package var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    package var members: [Int] {
        var members: [Int] = []
        for (index, word) in words.enumerated() {
            var rest = word
            while rest != 0 {
                members.append(index << 6 + rest.trailingZeroBitCount)
                rest &= rest - 1
            }
        }
        return members
    }

    package var description: String {
        "{" + members.map { "c\($0)" }.joined(separator: " ") + "}"
    }
}
