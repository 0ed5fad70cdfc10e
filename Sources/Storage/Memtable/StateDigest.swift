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
        counts &+= Self.product(term, measure.count)
        if let values = measure.values {
            sums &+= term &* UInt128(truncatingIfNeeded: values.sum)
        }
    }

    /// The library's multiplication of 128 bits is a call; half of it is enough here.
    @inline(__always)
    private static func product(_ term: UInt128, _ count: UInt64) -> UInt128 {
        let low = UInt64(truncatingIfNeeded: term).multipliedFullWidth(by: count)
        let high = UInt64(truncatingIfNeeded: term >> 64) &* count &+ low.high
        return UInt128(high) << 64 | UInt128(low.low)
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
        self.init(type: type, ofKey: Self.ofKey(key, digestKey: digestKey))
    }

    /// Of another type of the same key: half of the work.
    package init(type: UnsafeRawBufferPointer, ofKey inner: SipKey) {
        secret = Self.fold(SipHash.hash(type, key: inner))
    }

    package static func ofKey(_ key: UnsafeRawBufferPointer, digestKey: SipKey) -> SipKey {
        fold(SipHash.hash(key, key: digestKey))
    }

    package func term(day: Int64) -> UInt128 {
        SipHash.hash(words: UInt64(bitPattern: day), 0, 0, 0, 0, key: secret)
    }

    /// Names the series in `CellChecksum` and `WindowDigest`.
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
        var mixed = Self.term(terms, window)
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

    /// Of one series and window.
    @inline(__always)
    static func term(_ terms: SeriesTerms, _ window: Int64) -> UInt64 {
        mix(terms.low ^ UInt64(bitPattern: window) &* 0x9e37_79b9_7f4a_7c15)
    }

    @inline(__always)
    private static func mix(_ word: UInt64) -> UInt64 {
        var mixed = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }
}

/// As `StateDigest`, by window instead of day and without a key of its own: additive, so that what
/// comes out of a merge is the sum of what went in. It sees a count that lands in another window of
/// its day, which a state digest does not.
package struct WindowDigest: Hashable, Sendable {
    private var counts: UInt64 = 0
    private var values: UInt64 = 0
    private var sums: UInt64 = 0

    package init() {}

    package mutating func add(_ terms: SeriesTerms, window: Int64, _ measure: Measure) {
        let term = CellChecksum.term(terms, window)
        counts &+= term &* measure.count
        if let held = measure.values {
            values &+= term &* held.count
            sums &+= term &* UInt64(truncatingIfNeeded: held.sum)
        }
    }

    package mutating func merge(_ other: WindowDigest) {
        counts &+= other.counts
        values &+= other.values
        sums &+= other.sums
    }
}
