package import Wire

/// How a record lies in its segment: a header of 32 bytes, then its body.
///
/// ```
/// 0  magic      u32  "QSPL"
/// 4  checksum   u32  CRC-32C of the segment's number and of all bytes of the record from 8 on
/// 8  length     u32  of the body
/// 12 kind       u8, then three zero bytes
/// 16 offset     u64  where the record lies in its segment
/// 24 synced     u64  bytes of the segment that were durable when the record was written
/// ```
///
/// The checksum binds a record to its place, so that no old bytes pass for new ones. `synced` tells
/// the end that a crash leaves from damage: a record that cannot be read while a later one vouches
/// that it was durable was not torn, it was changed.
package struct SpoolFrame: Hashable, Sendable {
    package static let headerBytes = 32
    private static let magic: UInt32 = 0x4c50_5351

    package let kind: UInt8
    package let body: Range<Int>
    package let synced: Int

    package var end: Int { body.upperBound }

    package static func encode(
        _ record: SpoolRecord, segment: UInt64, offset: Int, synced: Int,
        into writer: inout ByteWriter
    ) {
        let start = writer.bytes.count
        writer.write(fixed: magic)
        writer.write(fixed: UInt32(0))
        writer.write(fixed: UInt32(0))
        writer.write(record.kind)
        for _ in 0..<3 { writer.write(UInt8(0)) }
        writer.write(fixed: UInt64(offset))
        writer.write(fixed: UInt64(synced))
        record.encode(into: &writer)
        let length = UInt32(writer.bytes.count - start - headerBytes)
        put(length, into: &writer.bytes, at: start + 8)
        let checksum = checksum(writer.bytes, start..<writer.bytes.count, segment: segment)
        put(checksum, into: &writer.bytes, at: start + 4)
    }

    /// The record at `offset` of bytes that begin at `base` in their segment; nil where none lies
    /// there whole.
    package init?(in bytes: [UInt8], at offset: Int, base: Int = 0, segment: UInt64) {
        guard offset >= 0, bytes.count - offset >= SpoolFrame.headerBytes else { return nil }
        var reader = ByteReader(bytes, from: offset, to: offset + SpoolFrame.headerBytes)
        do {
            let magic: UInt32 = try reader.fixed()
            let checksum: UInt32 = try reader.fixed()
            let length: UInt32 = try reader.fixed()
            let kind = try reader.byte()
            try reader.skip(3)
            let place: UInt64 = try reader.fixed()
            let synced: UInt64 = try reader.fixed()
            let start = offset + SpoolFrame.headerBytes
            guard magic == SpoolFrame.magic, place == UInt64(base + offset), synced <= place,
                length <= SpoolLimits.recordMax, Int(length) <= bytes.count - start
            else { return nil }
            self.kind = kind
            self.synced = Int(synced)
            body = start..<(start + Int(length))
            guard checksum == SpoolFrame.checksum(bytes, offset..<body.upperBound, segment: segment)
            else { return nil }
        } catch {
            // A header has its length, which was checked above.
            return nil
        }
    }

    package func record(in bytes: [UInt8]) throws(DecodeError) -> SpoolRecord {
        var reader = ByteReader(bytes, from: body.lowerBound, to: body.upperBound)
        return try SpoolRecord(kind: kind, from: &reader)
    }

    /// The first whole record after `offset` that vouches for bytes beyond it.
    package static func voucher(
        for offset: Int, in bytes: [UInt8], segment: UInt64
    ) -> SpoolFrame? {
        let mark = withUnsafeBytes(of: magic.littleEndian) { Array($0) }
        var place = offset + 1
        while place + headerBytes <= bytes.count {
            if bytes[place] == mark[0], bytes[place..<(place + 4)].elementsEqual(mark),
                let frame = SpoolFrame(in: bytes, at: place, segment: segment),
                frame.synced > offset
            {
                return frame
            }
            place += 1
        }
        return nil
    }

    private static func put(_ value: UInt32, into bytes: inout [UInt8], at offset: Int) {
        for place in 0..<4 {
            bytes[offset + place] = UInt8(truncatingIfNeeded: value >> (8 * place))
        }
    }

    private static func checksum(_ bytes: [UInt8], _ range: Range<Int>, segment: UInt64) -> UInt32 {
        let seed = withUnsafeBytes(of: segment.littleEndian) { Checksum.crc32c($0) }
        return bytes.withUnsafeBytes {
            let covered = UnsafeRawBufferPointer(
                rebasing: $0[(range.lowerBound + 8)..<range.upperBound])
            return Checksum.crc32c(covered, extending: seed)
        }
    }
}
