import Core
import Wire

/// The frame around every record of the log and every edit of the manifest (docs/formats/log.md).
///
///     offset  bytes
///          0      2  magic 0x5147
///          2      1  format, 1
///          3      1  kind
///          4      4  length of the payload
///          8      8  LSN
///         16      8  the LSN through which the file was known to be synced when this was framed
///         24      4  checksum of the record before
///         28      4  checksum: CRC-32C of bytes 0 ..< 28 and the payload
enum RecordFrame {
    static let size = 32
    static let magic: UInt16 = 0x5147
    static let format: UInt8 = 1
    /// Beyond any log that can be written, and far enough from the end of the integers to count on.
    static let lsnMax = UInt64(1) << 62

    struct Header: Hashable, Sendable {
        var kind: UInt8
        var length: Int
        var lsn: LSN
        var synced: LSN
        var previousChecksum: UInt32
        var checksum: UInt32

        /// What is wrong with the record, where these are the checksum of what stands there.
        func flaw(checksum found: UInt32) -> Flaw? {
            guard found == checksum else { return Flaw("a record's checksum does not match") }
            guard lsn > .zero, lsn.number <= RecordFrame.lsnMax, synced < lsn else {
                return Flaw("a record has the impossible LSN \(lsn)")
            }
            return nil
        }
    }

    /// The framed bytes and their checksum, which the next record will name.
    static func header(
        kind: UInt8, lsn: LSN, synced: LSN, previousChecksum: UInt32, payload: [UInt8]
    ) -> (bytes: [UInt8], checksum: UInt32) {
        var writer = ByteWriter(capacity: size)
        writer.write(fixed: magic)
        writer.write(format)
        writer.write(kind)
        writer.write(fixed: UInt32(payload.count))
        writer.write(fixed: lsn.number)
        writer.write(fixed: synced.number)
        writer.write(fixed: previousChecksum)
        let checksum = Checksum.crc32c(payload, extending: Checksum.crc32c(writer.bytes))
        writer.write(fixed: checksum)
        return (writer.bytes, checksum)
    }

    /// The header at an offset when the whole record stands there unharmed, else what is wrong.
    static func parse(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Result<Header, Flaw> {
        head(bytes, at: offset).flatMap { header in
            let length = header.length
            guard length <= bytes.count - offset - size else {
                return .failure(Flaw("a record of \(length) bytes is cut off"))
            }
            let payload = UnsafeRawBufferPointer(
                rebasing: bytes[offset + size..<offset + size + length])
            let found = Checksum.crc32c(payload, extending: headChecksum(bytes, at: offset))
            return header.flaw(checksum: found).map { .failure($0) } ?? .success(header)
        }
    }

    /// What the header at an offset claims, before anything is known of the payload.
    static func head(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Result<Header, Flaw> {
        guard bytes.count - offset >= size else {
            return .failure(Flaw("a record's header is cut off"))
        }
        guard isPlausible(bytes, at: offset) else { return .failure(Flaw("no record begins here")) }
        // All loads lie inside the 32 bytes that were just found to be there.
        func load<Value: FixedWidthInteger>(_ position: Int, as type: Value.Type) -> Value {
            Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + position, as: type))
        }
        let length = Int(load(4, as: UInt32.self))
        guard length <= StorageLimits.logPayloadMax else {
            return .failure(Flaw("a record claims \(length) bytes"))
        }
        return .success(
            Header(
                kind: bytes[offset + 3], length: length, lsn: LSN(load(8, as: UInt64.self)),
                synced: LSN(load(16, as: UInt64.self)),
                previousChecksum: load(24, as: UInt32.self), checksum: load(28, as: UInt32.self)))
    }

    /// The checksum of a header, which its payload's extends; the caller knows that one fits.
    static func headChecksum(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> UInt32 {
        Checksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + size - 4]))
    }

    /// Whether the three constant bytes stand at `offset`; the caller knows that a header fits.
    static func isPlausible(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        bytes[offset] == UInt8(truncatingIfNeeded: magic)
            && bytes[offset + 1] == UInt8(truncatingIfNeeded: magic >> 8)
            && bytes[offset + 2] == format
    }

    /// Whether these bytes are the header of the record with this LSN and checksum. What stands
    /// behind it is not looked at.
    static func isNamed(_ bytes: [UInt8], lsn: LSN, checksum: UInt32) -> Bool {
        guard case .success(let header) = bytes.withUnsafeBytes({ head($0, at: 0) }) else {
            return false
        }
        return header.lsn == lsn && header.checksum == checksum
    }

    /// What is wrong with bytes that should be a record.
    struct Flaw: Error, Hashable, Sendable {
        let what: String

        init(_ what: String) {
            self.what = what
        }
    }
}
