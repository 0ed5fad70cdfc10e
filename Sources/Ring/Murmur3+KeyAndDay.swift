internal import Core

extension Murmur3 {
    /// The token of a compound partition key of a text and a `date` as Cassandra serialises both:
    /// each with its length before it (2 bytes, big-endian) and a zero byte behind it; a date as
    /// days since 1970-01-01 plus 2^31 (4 bytes, big-endian).
    static func token(of key: UnsafeRawBufferPointer, onDay day: Int64) -> Token {
        withUnsafeTemporaryAllocation(byteCount: key.count + 10, alignment: 8) { bytes in
            bytes.storeBytes(of: UInt16(key.count).bigEndian, as: UInt16.self)
            UnsafeMutableRawBufferPointer(rebasing: bytes[2...]).copyMemory(from: key)
            let end = 2 + key.count
            bytes[end] = 0
            bytes.storeBytes(of: UInt16(4).bigEndian, toByteOffset: end + 1, as: UInt16.self)
            let date = UInt32(truncatingIfNeeded: day &+ 1 << 31)
            bytes.storeBytes(of: date.bigEndian, toByteOffset: end + 3, as: UInt32.self)
            bytes[end + 7] = 0
            return token(of: UnsafeRawBufferPointer(bytes))
        }
    }
}
