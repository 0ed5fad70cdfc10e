internal import CLZ4

/// LZ4's block format through liblz4: no header, so both lengths are stored beside it.
package enum LZ4Block {
    /// The most that `count` bytes can compress to, and so the most that a hostile length may
    /// claim.
    package static func bound(_ count: Int) -> Int {
        count + count / 255 + 16
    }

    /// Compressed bytes, or nil where compression would not save at least one byte in sixteen.
    package static func compress(_ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        guard bytes.count >= 64, bytes.count <= Int32.max / 2 else { return nil }
        let capacity = bytes.count - bytes.count / 16
        var size: Int32 = 0
        let compressed = [UInt8](unsafeUninitializedCapacity: capacity) { target, count in
            size = target.withMemoryRebound(to: CChar.self) { target in
                LZ4_compress_default(
                    bytes.baseAddress?.assumingMemoryBound(to: CChar.self), target.baseAddress,
                    Int32(bytes.count), Int32(capacity))
            }
            count = Int(max(0, size))
        }
        return size > 0 ? compressed : nil
    }

    /// Exactly `count` bytes, or an error: the caller has bounded `count` before.
    package static func decompress(
        _ bytes: UnsafeRawBufferPointer, count: Int
    ) throws(DecodeError) -> [UInt8] {
        // LZ4 never expands more than 255-fold: a larger claim is refused before it is allocated.
        guard count >= 0, count <= Int32.max / 2, bytes.count <= Int32.max / 2,
            count / 255 <= bytes.count
        else { throw DecodeError("an LZ4 block of \(bytes.count) bytes claims \(count)", at: 0) }
        var size: Int32 = -1
        let result = [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
            size = decompress(bytes, UnsafeMutableRawBufferPointer(target))
            initialized = Int(max(0, size))
        }
        guard Int(size) == count else { throw DecodeError("a damaged LZ4 block", at: 0) }
        return result
    }

    /// Fills memory that the caller has, exactly, or it is an error.
    package static func decompress(
        _ bytes: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) throws(DecodeError) {
        guard target.count <= Int32.max / 2, bytes.count <= Int32.max / 2,
            Int(decompress(bytes, target)) == target.count
        else { throw DecodeError("a damaged LZ4 block", at: 0) }
    }

    private static func decompress(
        _ bytes: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer
    ) -> Int32 {
        LZ4_decompress_safe(
            bytes.baseAddress?.assumingMemoryBound(to: CChar.self),
            target.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(bytes.count),
            Int32(target.count))
    }
}
