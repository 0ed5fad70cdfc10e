package import Core

/// What a partition holds, in two sums mod 2^128 over its cells: `Σ PRF(key, type, day) · count`
/// and `Σ PRF(key, type, day) · sum of values`.
///
/// It is additive: the digest of a state is the sum of the digests of the slices applied, of its
/// memtables and of its tables. Rolling minutes up to hours or days does not change it, since a
/// term depends on the day alone.
package struct StateDigest: Hashable, Sendable {
    package var counts: UInt128
    package var sums: UInt128

    package init(counts: UInt128 = 0, sums: UInt128 = 0) {
        self.counts = counts
        self.sums = sums
    }

    package static let zero = StateDigest()

    package mutating func add(_ measure: Measure, term: UInt128) {
        counts &+= term &* UInt128(measure.count)
        if let values = measure.values {
            sums &+= term &* UInt128(truncatingIfNeeded: values.sum)
        }
    }

    package mutating func merge(_ other: StateDigest) {
        counts &+= other.counts
        sums &+= other.sums
    }
}

/// The terms of one series: a cascade of SipHash, so that the costly part is done once a series and
/// the rest once a day: `k1 = H(k, key)`, `k2 = H(k1, type)`, `term = H(k2, day)`.
package struct SeriesTerms: Hashable, Sendable {
    private let secret: SipKey

    package init(key: UnsafeRawBufferPointer, type: UnsafeRawBufferPointer, digestKey: SipKey) {
        let inner = Self.fold(SipHash.hash(key, key: digestKey))
        secret = Self.fold(SipHash.hash(type, key: inner))
    }

    package func term(day: Int64) -> UInt128 {
        SipHash.hash(words: UInt64(bitPattern: day), 0, 0, 0, 0, key: secret)
    }

    /// Names the series in `CellChecksum`.
    package var low: UInt64 { secret.low }

    private static func fold(_ hash: UInt128) -> SipKey {
        SipKey(
            low: UInt64(truncatingIfNeeded: hash), high: UInt64(truncatingIfNeeded: hash >> 64))
    }
}

/// A sum over whole cells, with window, minimum and maximum, which the state digest cannot see. It
/// holds one file against the memtable it was written from; cells that are merged have another.
package struct CellChecksum: Hashable, Sendable {
    package var value: UInt64

    package init(_ value: UInt64 = 0) {
        self.value = value
    }

    package mutating func add(_ terms: SeriesTerms, window: Int64, _ measure: Measure) {
        var mixed = Self.mix(terms.low ^ UInt64(bitPattern: window) &* 0x9e37_79b9_7f4a_7c15)
        mixed = Self.mix(mixed ^ measure.count)
        if let values = measure.values {
            mixed = Self.mix(mixed ^ values.count &+ 1)
            mixed = Self.mix(mixed ^ UInt64(truncatingIfNeeded: values.sum))
            mixed = Self.mix(mixed ^ UInt64(truncatingIfNeeded: values.sum >> 64))
            mixed = Self.mix(mixed ^ UInt64(bitPattern: values.min))
            mixed = Self.mix(mixed ^ UInt64(bitPattern: values.max))
        }
        value &+= mixed
    }

    @inline(__always)
    private static func mix(_ word: UInt64) -> UInt64 {
        var mixed = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }
}
