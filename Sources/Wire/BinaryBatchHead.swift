/// The sixteen bytes before the body of a binary batch (docs/formats/binary-batch.md).
package struct BinaryBatchHead: Hashable, Sendable {
    package static let size = 16
    /// The first byte begins no UTF-8, so that no text is taken for a batch; the last is the
    /// format's version.
    package static let magic: [UInt8] = [0xf7, 0x51, 0x42, 0x01]

    package var events: UInt32
    /// Of the body, in bytes.
    package var length: UInt32
    /// CRC-32C of the two fields above, as they are written, and of the body.
    package var checksum: UInt32

    /// The head of this body.
    package init(events: UInt32, body: [UInt8]) {
        precondition(body.count <= UInt32.max, "a batch's length has 32 bits")
        self.events = events
        length = UInt32(body.count)
        checksum = 0
        checksum = body.withUnsafeBytes { sum(of: $0) }
    }

    /// Reads the head that `bytes` begin with.
    package init(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) {
        guard bytes.count >= BinaryBatchHead.size else {
            throw DecodeError("the head of a binary batch is cut off", at: bytes.count)
        }
        guard bytes.starts(with: BinaryBatchHead.magic.dropLast()) else {
            throw DecodeError("no binary batch begins", at: 0)
        }
        guard bytes[3] == BinaryBatchHead.magic[3] else {
            throw DecodeError("a binary batch of version \(bytes[3])", at: 3)
        }
        func number(at offset: Int) -> UInt32 {
            // All sixteen bytes are there.
            UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        events = number(at: 4)
        length = number(at: 8)
        checksum = number(at: 12)
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter(capacity: BinaryBatchHead.size)
        writer.write(raw: BinaryBatchHead.magic)
        writer.write(fixed: events)
        writer.write(fixed: length)
        writer.write(fixed: checksum)
        return writer.bytes
    }

    /// What `checksum` should be for this body.
    package func sum(of body: UnsafeRawBufferPointer) -> UInt32 {
        let fields = bytes[4..<12]
        return Checksum.crc32c(body, extending: Checksum.crc32c(Array(fields)))
    }
}
