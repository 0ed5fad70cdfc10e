/// Writes the frames of one file, one behind the other, gathered into large writes.
struct FrameWriter {
    let id: UInt64
    private let file: any StoredFile
    private var pending: [[UInt8]] = []
    private var pendingBytes = 0
    private(set) var written: UInt64 = 0

    /// Bytes that are gathered for one write.
    private static let writeSize = 1 << 20

    init(_ file: any StoredFile, id: UInt64) {
        self.file = file
        self.id = id
    }

    /// Where the next frame begins.
    var offset: UInt64 { written + UInt64(pendingBytes) }

    /// The frame's checksum.
    @discardableResult
    mutating func append(
        _ kind: SectionFrame.Kind, _ raw: [UInt8]
    ) throws(StorageError) -> UInt32 {
        let frame = SectionFrame.encode(kind, raw, table: id, at: offset)
        pending.append(frame)
        pendingBytes += frame.count
        if pendingBytes >= Self.writeSize { try flush() }
        return SectionFrame.checksum(frame)
    }

    /// Writes the footer, what is found from the file's end, and all that waits; then syncs.
    mutating func finish(
        _ kind: FramedFile.Kind, _ footer: SectionFrame.Kind, _ raw: [UInt8]
    ) throws(StorageError) {
        let footerOffset = offset
        try append(footer, raw)
        let tail = FramedFile.tail(
            of: kind, footerOffset: footerOffset, length: offset - footerOffset)
        pending.append(tail)
        pendingBytes += tail.count
        try flush()
        try file.sync()
    }

    private mutating func flush() throws(StorageError) {
        try file.write(pending, at: written)
        written += UInt64(pendingBytes)
        pending = []
        pendingBytes = 0
    }
}
