import Core
import Wire

/// The frame around every block and section of a table (docs/formats/sstable.md):
///
///     offset  bytes
///          0      1  kind
///          1      1  codec: 0 stored, 1 LZ4
///          2      2  zero
///          4      4  raw length
///          8      4  stored length
///         12      4  checksum: CRC-32C of the file's id and this offset (8 bytes each), bytes
///                    0 ..< 12 and the stored bytes
///         16         stored bytes
///
/// The checksum binds the bytes to their place: a block of another file, or of another offset,
/// fails as surely as a changed one. It is checked before anything is decompressed. An older block
/// of the same file at the same place passes; so whoever says where a frame stands also says its
/// checksum: the manifest the footer's, the footer the index's, the index the blocks'.
enum SectionFrame {
    static let size = 16

    enum Kind: UInt8 {
        case block = 1
        case index = 2
        case filter = 3
        case footer = 4
        // Of history files.
        case outcomes = 5
        case letters = 6
        case historyIndex = 7
        case historyFilter = 8
        case historyFooter = 9
        case husks = 10
        // Of tables of attributes.
        case attributes = 11
        case attributeIndex = 12
        case attributeFooter = 13
        // Of indexes of log files.
        case logIndex = 14
        case logIndexFooter = 15
    }

    static func encode(_ kind: Kind, _ raw: [UInt8], table: UInt64, at offset: UInt64) -> [UInt8] {
        let compressed = raw.withUnsafeBytes { LZ4Block.compress($0) }
        let stored = compressed ?? raw
        var writer = ByteWriter(capacity: size + stored.count)
        writer.write(kind.rawValue)
        writer.write(UInt8(compressed == nil ? 0 : 1))
        writer.write(fixed: UInt16(0))
        writer.write(fixed: UInt32(raw.count))
        writer.write(fixed: UInt32(stored.count))
        let bound = Checksum.crc32c(writer.bytes, extending: place(table, offset))
        writer.write(fixed: Checksum.crc32c(stored, extending: bound))
        writer.write(raw: stored)
        return writer.bytes
    }

    /// The raw bytes of a frame that fills `bytes` exactly.
    static func decode(
        _ kind: Kind, _ bytes: [UInt8], table: UInt64, at offset: UInt64, rawMax: Int
    ) throws(DecodeError) -> [UInt8] {
        let (isCompressed, rawLength) = try check(kind, bytes, table, offset, rawMax)
        guard isCompressed else { return Array(bytes[size...]) }
        // A closure cannot carry a typed error through the library's rethrows.
        return try bytes.withUnsafeBytes { buffer in
            Result { () throws(DecodeError) in
                try LZ4Block.decompress(
                    UnsafeRawBufferPointer(rebasing: buffer[size...]), count: rawLength)
            }
        }.get()
    }

    /// The same for a block of a table, where it is walked at once.
    static func decodeBlock(
        _ bytes: [UInt8], table: UInt64, at offset: UInt64
    ) throws(DecodeError) -> BlockBytes {
        let (isCompressed, rawLength) = try check(
            .block, bytes, table, offset, StorageLimits.blockRawMax)
        return try bytes.withUnsafeBytes { buffer in
            Result { () throws(DecodeError) in
                let stored = UnsafeRawBufferPointer(rebasing: buffer[size...])
                return try BlockBytes(count: rawLength) { target throws(DecodeError) in
                    if isCompressed {
                        try LZ4Block.decompress(stored, into: target)
                    } else {
                        target.copyMemory(from: stored)
                    }
                }
            }
        }.get()
    }

    /// Whether the stored bytes are compressed, and how many raw ones they are.
    private static func check(
        _ kind: Kind, _ bytes: [UInt8], _ table: UInt64, _ offset: UInt64, _ rawMax: Int
    ) throws(DecodeError) -> (isCompressed: Bool, rawLength: Int) {
        var reader = ByteReader(bytes)
        let kindFound = try reader.byte()
        let codec = try reader.byte()
        let reserved: UInt16 = try reader.fixed()
        let rawLength: UInt32 = try reader.fixed()
        let storedLength: UInt32 = try reader.fixed()
        let checksum: UInt32 = try reader.fixed()
        guard Int(storedLength) == reader.remaining else {
            throw reader.fail("a block of \(storedLength) bytes in \(reader.remaining)")
        }
        let found = bytes.withUnsafeBytes { buffer in
            Checksum.crc32c(
                UnsafeRawBufferPointer(rebasing: buffer[size...]),
                extending: Checksum.crc32c(
                    UnsafeRawBufferPointer(rebasing: buffer[0..<12]),
                    extending: place(table, offset)))
        }
        guard found == checksum else { throw reader.fail("a block's checksum does not match") }
        guard kindFound == kind.rawValue, codec <= 1, reserved == 0, Int(rawLength) <= rawMax else {
            throw reader.fail("a block of kind \(kindFound) with \(rawLength) raw bytes")
        }
        guard codec == 1 || rawLength == storedLength else {
            throw reader.fail("a block's lengths differ")
        }
        return (codec == 1, Int(rawLength))
    }

    /// What a whole frame says that its checksum is.
    static func checksum(_ frame: [UInt8]) -> UInt32 {
        precondition(frame.count >= size, "a frame of \(frame.count) bytes")
        return (12..<16).reversed().reduce(0) { $0 << 8 | UInt32(frame[$1]) }
    }

    private static func place(_ table: UInt64, _ offset: UInt64) -> UInt32 {
        var writer = ByteWriter(capacity: 16)
        writer.write(fixed: table)
        writer.write(fixed: offset)
        return Checksum.crc32c(writer.bytes)
    }
}

/// The checksums in the frames of a file's index and filter, as its footer names them.
struct SectionChecksums: Hashable, Sendable {
    var index: UInt32
    var filter: UInt32
}

extension ByteWriter {
    mutating func write(_ checksums: SectionChecksums) {
        write(fixed: checksums.index)
        write(fixed: checksums.filter)
    }
}

extension ByteReader {
    mutating func sectionChecksums() throws(DecodeError) -> SectionChecksums {
        SectionChecksums(index: try fixed(), filter: try fixed())
    }
}
