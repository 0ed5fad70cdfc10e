internal import Core
internal import Storage
internal import Wire

/// A small file of a node's directory that is read and written whole: a magic of 8 bytes, the
/// format's version (2, little-endian), a body, and the CRC-32C of all before it (4).
struct CheckedFile {
    let name: String
    let magic: String
    let version: UInt16
    /// What is lost when it cannot be read, and what to do.
    let remedy: String

    private var draft: String { name + ".new" }

    /// Reads all of the body; nil where there is no file.
    func load<Value>(
        from files: any FileSystem,
        _ body: (inout ByteReader) throws(DecodeError) -> Value
    ) throws(StorageError) -> Value? {
        guard try files.list(".").contains(name) else { return nil }
        let bytes = try files.readAll(name)
        guard bytes.count > magic.utf8.count + Self.checksumBytes, bytes.starts(with: magic.utf8),
            Array(bytes.suffix(Self.checksumBytes))
                == Self.checksum(of: bytes.dropLast(Self.checksumBytes))
        else { throw .damaged(path: name, offset: 0, what: remedy) }
        var reader = ByteReader(
            bytes, from: magic.utf8.count, to: bytes.count - Self.checksumBytes)
        let found: UInt16
        do throws(DecodeError) {
            found = try reader.fixed()
            if found == version {
                let value = try body(&reader)
                try reader.finish()
                return value
            }
        } catch {
            throw .damaged(path: name, offset: 0, what: "\(error)")
        }
        throw .newerFormat(path: name, version: found, known: version)
    }

    /// Returns when it is durable.
    func store(
        in files: any FileSystem, _ body: (inout ByteWriter) -> Void
    ) throws(StorageError) {
        var writer = ByteWriter(capacity: 64)
        writer.write(raw: Array(magic.utf8))
        writer.write(fixed: version)
        body(&writer)
        try files.rewrite(
            name, as: draft, in: ".", writer.bytes + Self.checksum(of: writer.bytes[...]))
    }

    private static let checksumBytes = 4

    private static func checksum(of bytes: ArraySlice<UInt8>) -> [UInt8] {
        var writer = ByteWriter(capacity: checksumBytes)
        writer.write(fixed: Checksum.crc32c(Array(bytes)))
        return writer.bytes
    }
}
