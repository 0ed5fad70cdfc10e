package import Core

/// MurmurHash3 x64 128 with seed 0, of which the first 64 bits are the token, exactly as Cassandra
/// computes it (`MurmurHash.hash3_x64_128`, `Murmur3Partitioner.getToken`).
///
/// Cassandra's port differs from Appleby's original: the bytes of the tail are **sign-extended**
/// before they are shifted in, so bytes from 0x80 on give other hashes. `Int64.min` becomes
/// `Int64.max`, since the minimum is no key's token. The empty string, which is no key here, hashes
/// to 0.
package enum Murmur3 {
    package static func token(of bytes: UnsafeRawBufferPointer) -> Token {
        var first: UInt64 = 0
        var second: UInt64 = 0
        let whole = bytes.count & ~15
        var offset = 0
        while offset < whole {
            // In bounds: offset + 16 <= whole <= count.
            let low = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            let high = bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)
            absorb(UInt64(littleEndian: low), UInt64(littleEndian: high), &first, &second)
            offset += 16
        }
        let rest = bytes.count - whole
        if rest > 8 { second ^= scrambleHigh(tail(bytes, from: whole + 8, to: bytes.count)) }
        if rest > 0 { first ^= scrambleLow(tail(bytes, from: whole, to: whole + min(rest, 8))) }
        return finish(first, second, length: bytes.count)
    }

    package static func token(of bytes: [UInt8]) -> Token {
        bytes.withUnsafeBytes { token(of: $0) }
    }

    package static func token(of text: String) -> Token {
        var text = text
        return text.withUTF8 { token(of: UnsafeRawBufferPointer($0)) }
    }

    /// The token of a batch id: of its 24 bytes, the producer's 16 and the sequence's 8,
    /// big-endian.
    package static func token(of id: BatchID) -> Token {
        let words = (
            UInt64(truncatingIfNeeded: id.producer >> 64).bigEndian,
            UInt64(truncatingIfNeeded: id.producer).bigEndian,
            id.sequence.bigEndian
        )
        return withUnsafeBytes(of: words) { token(of: $0) }
    }

    @inline(__always)
    private static func absorb(
        _ low: UInt64, _ high: UInt64, _ first: inout UInt64, _ second: inout UInt64
    ) {
        first ^= scrambleLow(low)
        first = (rotate(first, 27) &+ second) &* 5 &+ 0x52dc_e729
        second ^= scrambleHigh(high)
        second = (rotate(second, 31) &+ first) &* 5 &+ 0x3849_5ab5
    }

    /// At most eight bytes, each sign-extended, which lets a high byte flip all bits above it.
    @inline(__always)
    private static func tail(_ bytes: UnsafeRawBufferPointer, from: Int, to: Int) -> UInt64 {
        var word: UInt64 = 0
        for position in from..<to {
            let byte = Int64(Int8(bitPattern: bytes[position]))
            word ^= UInt64(bitPattern: byte) << UInt64((position - from) * 8)
        }
        return word
    }

    private static func finish(_ first: UInt64, _ second: UInt64, length: Int) -> Token {
        var first = first ^ UInt64(length)
        var second = second ^ UInt64(length)
        first &+= second
        second &+= first
        first = avalanche(first)
        second = avalanche(second)
        let hash = Int64(bitPattern: first &+ second)
        return Token(hash == .min ? .max : hash)
    }

    @inline(__always)
    private static func scrambleLow(_ word: UInt64) -> UInt64 {
        rotate(word &* 0x87c3_7b91_1142_53d5, 31) &* 0x4cf5_ad43_2745_937f
    }

    @inline(__always)
    private static func scrambleHigh(_ word: UInt64) -> UInt64 {
        rotate(word &* 0x4cf5_ad43_2745_937f, 33) &* 0x87c3_7b91_1142_53d5
    }

    @inline(__always)
    private static func rotate(_ word: UInt64, _ count: UInt64) -> UInt64 {
        word << count | word >> (64 - count)
    }

    private static func avalanche(_ word: UInt64) -> UInt64 {
        var word = word
        word = (word ^ word >> 33) &* 0xff51_afd7_ed55_8ccd
        word = (word ^ word >> 33) &* 0xc4ce_b9fe_1a85_ec53
        return word ^ word >> 33
    }
}
