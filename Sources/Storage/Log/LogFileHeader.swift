import Core
import Wire

/// The first bytes of a log file: they bind it to its number and to the records before it.
///
///     offset  bytes
///          0      8  "QUIPULOG"
///          8      2  format version, 1
///         10      2  zero
///         12      4  the file's number
///         16      8  the LSN of its first record
///         24      4  checksum of the last record of the file before
///         28      4  checksum: CRC-32C of bytes 0 ..< 28
struct LogFileHeader: Hashable, Sendable {
    static let size = 32
    static let magic = Array("QUIPULOG".utf8)
    static let version: UInt16 = 1

    var file: UInt32
    var first: LSN
    var previousChecksum: UInt32

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: Self.size)
        writer.write(raw: Self.magic)
        writer.write(fixed: Self.version)
        writer.write(fixed: UInt16(0))
        writer.write(fixed: file)
        writer.write(fixed: first.number)
        writer.write(fixed: previousChecksum)
        writer.write(fixed: Checksum.crc32c(writer.bytes))
        return writer.bytes
    }

    enum Reading {
        case header(LogFileHeader)
        /// Not what a header is: cut off, overwritten, of another file.
        case invalid
        case newer(version: UInt16)
    }

    static func read(_ bytes: [UInt8], file: UInt32) -> Reading {
        guard bytes.count >= size, Array(bytes[0..<8]) == magic else { return .invalid }
        let head = Array(bytes[0..<size - 4])
        var reader = ByteReader(bytes, from: 8, to: size)
        do throws(DecodeError) {
            let version: UInt16 = try reader.fixed()
            let reserved: UInt16 = try reader.fixed()
            let number: UInt32 = try reader.fixed()
            let first: UInt64 = try reader.fixed()
            let previous: UInt32 = try reader.fixed()
            let checksum: UInt32 = try reader.fixed()
            guard checksum == Checksum.crc32c(head) else { return .invalid }
            guard version <= Self.version else { return .newer(version: version) }
            guard reserved == 0, number == file, version > 0, first > 0, first <= RecordFrame.lsnMax
            else { return .invalid }
            return .header(
                LogFileHeader(file: number, first: LSN(first), previousChecksum: previous))
        } catch {
            return .invalid
        }
    }
}

extension LogFileHeader {
    /// Of a file that takes no more records, and so has one.
    static func whole(
        _ file: any StoredFile, _ number: UInt32, size: UInt64
    ) throws(StorageError) -> LogFileHeader {
        let path = FileNames.log(number)
        switch read(try file.read(at: 0, count: Self.size), file: number) {
        case .header(let header):
            return header
        case .newer(let version):
            throw .newerFormat(path: path, version: version, known: Self.version)
        case .invalid:
            let what = size == 0 ? "the file is empty" : "no header of a log file stands here"
            throw .damaged(path: path, offset: 0, what: what)
        }
    }

    /// nil where the file is not there, or has no header that can be read: one that is being made
    /// may not have it yet.
    static func written(
        _ number: UInt32, in fileSystem: any FileSystem
    ) throws(StorageError) -> LogFileHeader? {
        let bytes: [UInt8]
        do throws(StorageError) {
            bytes = try fileSystem.open(FileNames.log(number), .read).read(at: 0, count: size)
        } catch {
            guard case .notFound = error else { throw error }
            return nil
        }
        guard case .header(let header) = read(bytes, file: number) else { return nil }
        return header
    }
}
