internal import CRC32C

/// CRC-32C over bytes: detects damage, says nothing about identity.
package enum Checksum {
    package static func crc32c(_ bytes: UnsafeRawBufferPointer, extending seed: UInt32 = 0)
        -> UInt32
    {
        quipu_crc32c(seed, bytes.baseAddress, bytes.count)
    }

    package static func crc32c(_ bytes: [UInt8], extending seed: UInt32 = 0) -> UInt32 {
        bytes.withUnsafeBytes { crc32c($0, extending: seed) }
    }

    /// The same without the processor's instruction, to compare both.
    package static func portableCRC32C(_ bytes: [UInt8], extending seed: UInt32 = 0) -> UInt32 {
        bytes.withUnsafeBytes { quipu_crc32c_portable(seed, $0.baseAddress, $0.count) }
    }
}
