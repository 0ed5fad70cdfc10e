import Wire

/// A file of frames that ends in a tail, as tables and history files do:
///
///     offset of the footer's frame (8) · its length (4) · version (2) · zero (2) · magic (8)
struct FramedFile: Sendable {
    /// What tells one kind of file from another.
    struct Kind: Sendable {
        /// "A table", in an error's words.
        var name: String
        var magic: [UInt8]
        /// Ascending; what is written has the last. No two differ in a single bit: the tail has no
        /// checksum, and a number that one flipped bit makes of a known one is damage.
        var versions: [UInt16]

        var version: UInt16 { versions[versions.count - 1] }
    }

    static let tailSize = 24

    let file: any StoredFile
    /// Its own name, which a draft does not have yet.
    let path: String

    func range(_ offset: UInt64, _ count: Int) throws(StorageError) -> [UInt8] {
        let bytes = try named { () throws(StorageError) in try file.read(at: offset, count: count) }
        guard bytes.count == count else {
            throw .damaged(path: path, offset: offset, what: "the file ends early")
        }
        return bytes
    }

    /// A sector that cannot be read is told by the file's own name: one that this process wrote is
    /// known to the system by its draft's.
    private func named<Value>(
        _ body: () throws(StorageError) -> Value
    ) throws(StorageError) -> Value {
        do throws(StorageError) {
            return try body()
        } catch {
            guard case .damaged(_, let offset, let what) = error else { throw error }
            throw .damaged(path: path, offset: offset, what: what)
        }
    }

    /// A frame whose checksum is known beforehand, except in files of older versions.
    func frame(
        _ offset: UInt64, _ count: Int, checksum: UInt32?
    ) throws(StorageError) -> [UInt8] {
        let frame = try range(offset, count)
        guard let checksum else { return frame }
        guard count >= SectionFrame.size, SectionFrame.checksum(frame) == checksum else {
            throw .damaged(path: path, offset: offset, what: "another block stands here")
        }
        return frame
    }

    /// The footer's frame, not yet checked, and the size of the file.
    func footer(
        of kind: Kind
    ) throws(StorageError) -> (offset: UInt64, frame: [UInt8], size: UInt64) {
        let size = try named { () throws(StorageError) in try file.size() }
        let tailSize = UInt64(Self.tailSize)
        guard size >= tailSize else {
            throw .damaged(path: path, offset: 0, what: "\(kind.name) of \(size) bytes")
        }
        let tail = try range(size - tailSize, Self.tailSize)
        guard Array(tail.suffix(8)) == kind.magic else {
            throw .damaged(
                path: path, offset: size - 8, what: "it does not end as \(kind.name) does")
        }
        let (offset, length, version, reserved) = try decoded(at: size - tailSize) {
            () throws(DecodeError) in
            var reader = ByteReader(tail)
            return (
                try reader.fixed(UInt64.self), try reader.fixed(UInt32.self),
                try reader.fixed(UInt16.self), try reader.fixed(UInt16.self)
            )
        }
        let isKnown = kind.versions.contains(version)
        let isFlipped = kind.versions.contains { ($0 ^ version).nonzeroBitCount == 1 }
        guard version <= kind.version || isFlipped else {
            throw .newerFormat(path: path, version: version, known: kind.version)
        }
        guard isKnown, reserved == 0, offset <= size - tailSize,
            UInt64(length) == size - tailSize - offset
        else {
            throw .damaged(path: path, offset: size - tailSize, what: "the footer is not there")
        }
        return (offset, try range(offset, Int(length)), size)
    }

    /// The format's version, of a file whose footer was found.
    func version(ofSize size: UInt64) throws(StorageError) -> UInt16 {
        let offset = size - UInt64(Self.tailSize) + 12
        let bytes = try range(offset, 2)
        return try decoded(at: offset) { () throws(DecodeError) in
            var reader = ByteReader(bytes)
            return try reader.fixed(UInt16.self)
        }
    }

    static func tail(
        of kind: Kind, footerOffset: UInt64, length: UInt64
    ) -> [UInt8] {
        var writer = ByteWriter(capacity: tailSize)
        writer.write(fixed: footerOffset)
        writer.write(fixed: UInt32(length))
        writer.write(fixed: kind.version)
        writer.write(fixed: UInt16(0))
        writer.write(raw: kind.magic)
        return writer.bytes
    }

    func decoded<Value>(
        at offset: UInt64, _ body: () throws(DecodeError) -> Value
    ) throws(StorageError) -> Value {
        do {
            return try body()
        } catch {
            throw .damaged(path: path, offset: offset, what: error.description)
        }
    }
}
