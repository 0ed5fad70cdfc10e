/// SipHash-2-4 with 128 bits of output, the keyed hash under all digests.
///
/// Source: Aumasson and Bernstein, *SipHash: a fast short-input PRF* (2012), and its reference
/// implementation's 128-bit variant. The test holds the published vectors.
package struct SipKey: Hashable, Sendable {
    package let low: UInt64
    package let high: UInt64

    package init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }
}

package enum SipHash {
    package static func hash(_ bytes: UnsafeRawBufferPointer, key: SipKey) -> UInt128 {
        var state = State(key: key)
        let length = bytes.count
        let whole = length & ~7
        var offset = 0
        while offset < whole {
            state.absorb(
                UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            offset += 8
        }
        var last = UInt64(truncatingIfNeeded: length) << 56
        var shift: UInt64 = 0
        while offset < length {
            last |= UInt64(bytes[offset]) << shift
            shift += 8
            offset += 1
        }
        state.absorb(last)
        return state.finish()
    }

    package static func hash(_ bytes: [UInt8], key: SipKey) -> UInt128 {
        bytes.withUnsafeBytes { hash($0, key: key) }
    }

    /// The hash of `words` as little-endian bytes, without a detour over memory.
    package static func hash(
        words first: UInt64, _ second: UInt64, _ third: UInt64, _ fourth: UInt64, _ fifth: UInt64,
        key: SipKey
    ) -> UInt128 {
        var state = State(key: key)
        state.absorb(first)
        state.absorb(second)
        state.absorb(third)
        state.absorb(fourth)
        state.absorb(fifth)
        state.absorb(40 << 56)
        return state.finish()
    }

    private struct State {
        var v0: UInt64
        var v1: UInt64
        var v2: UInt64
        var v3: UInt64

        init(key: SipKey) {
            v0 = key.low ^ 0x736f_6d65_7073_6575
            v1 = key.high ^ 0x646f_7261_6e64_6f6d ^ 0xee
            v2 = key.low ^ 0x6c79_6765_6e65_7261
            v3 = key.high ^ 0x7465_6462_7974_6573
        }

        @inline(__always)
        mutating func round() {
            v0 &+= v1
            v1 = v1 << 13 | v1 >> 51
            v1 ^= v0
            v0 = v0 << 32 | v0 >> 32
            v2 &+= v3
            v3 = v3 << 16 | v3 >> 48
            v3 ^= v2
            v0 &+= v3
            v3 = v3 << 21 | v3 >> 43
            v3 ^= v0
            v2 &+= v1
            v1 = v1 << 17 | v1 >> 47
            v1 ^= v2
            v2 = v2 << 32 | v2 >> 32
        }

        @inline(__always)
        mutating func absorb(_ word: UInt64) {
            v3 ^= word
            round()
            round()
            v0 ^= word
        }

        mutating func finish() -> UInt128 {
            v2 ^= 0xee
            for _ in 0..<4 { round() }
            let low = v0 ^ v1 ^ v2 ^ v3
            v1 ^= 0xdd
            for _ in 0..<4 { round() }
            let high = v0 ^ v1 ^ v2 ^ v3
            return UInt128(high) << 64 | UInt128(low)
        }
    }
}
