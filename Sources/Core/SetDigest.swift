/// A sum over a set, mod 2^128, with the number of its members.
///
/// Addition and not XOR: XOR cannot see a double application. Equal sets have equal digests;
/// unequal sets collide with probability about 2^-128, since the terms are keyed.
package struct SetDigest: Hashable, Sendable {
    package var sum: UInt128
    package var count: UInt64

    package init(sum: UInt128 = 0, count: UInt64 = 0) {
        self.sum = sum
        self.count = count
    }

    package static let empty = SetDigest()

    package mutating func insert(_ term: UInt128) {
        sum &+= term
        count += 1
    }

    package mutating func remove(_ term: UInt128) {
        sum &-= term
        count -= 1
    }

    package mutating func merge(_ other: SetDigest) {
        sum &+= other.sum
        count += other.count
    }

    package mutating func subtract(_ other: SetDigest) {
        sum &-= other.sum
        count &-= other.count
    }

    /// The term of one batch in a set: a keyed hash over its id and the hash of what is held of it.
    package static func term(_ id: BatchID, _ hash: Hash128, key: SipKey) -> UInt128 {
        SipHash.hash(
            words: UInt64(truncatingIfNeeded: id.producer),
            UInt64(truncatingIfNeeded: id.producer >> 64), id.sequence,
            UInt64(truncatingIfNeeded: hash.value), UInt64(truncatingIfNeeded: hash.value >> 64),
            key: key)
    }
}
