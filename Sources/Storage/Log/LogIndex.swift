import Core
import Wire

/// What a start takes from one log file, without the cells and the letters of its batches: read in
/// the file's place where tables cover all of it (docs/formats/log-index.md).
///
/// It is never needed. Where it is missing, damaged, of another version or of another file, the
/// log file itself is read.
struct LogIndex: Sendable {
    let footer: LogIndexFooter
    private let source: FramedFile

    /// - Parameters:
    ///   - number: of the log file.
    ///   - path: its own name, which a draft does not have yet.
    init(_ file: any StoredFile, of number: UInt32, as path: String) throws(StorageError) {
        let source = FramedFile(file: file, path: path)
        let (offset, frame, _) = try source.footer(of: LogIndexFooter.kind)
        footer = try source.decoded(at: offset) { () throws(DecodeError) in
            try LogIndexFooter(
                decoding: SectionFrame.decode(
                    .logIndexFooter, frame, table: UInt64(number), at: offset,
                    rawMax: StorageLimits.sectionRawMax), end: offset)
        }
        guard footer.file == number else {
            throw .damaged(
                path: path, offset: offset, what: "it is the index of file \(footer.file)")
        }
        self.source = source
    }

    /// The index of a log file under its own name.
    static func open(
        _ number: UInt32, in fileSystem: any FileSystem
    ) throws(StorageError) -> LogIndex {
        let path = FileNames.logIndex(number)
        return try LogIndex(try fileSystem.open(path, .read), of: number, as: path)
    }

    /// Why it is not the index of the log file that is there; nil where it is. The chain of
    /// checksums makes the last record a witness of all before it.
    func misfit(in fileSystem: any FileSystem) throws(StorageError) -> String? {
        let log = try fileSystem.open(FileNames.log(footer.file), .read)
        let size = try log.size()
        guard size == footer.size else { return "it is of a file of \(footer.size) bytes" }
        let head = try log.read(at: 0, count: LogFileHeader.size)
        guard case .header(let header) = LogFileHeader.read(head, file: footer.file),
            header == footer.header
        else { return "it is of a file with another header" }
        let bytes = try log.read(at: footer.lastOffset, count: RecordFrame.size)
        guard RecordFrame.isNamed(bytes, lsn: footer.last, checksum: footer.checksum) else {
            return "it is of a file with another record \(footer.last)"
        }
        return nil
    }

    /// All records of the log file, in its order.
    func records() throws(StorageError) -> [LogRecord] {
        var records: [LogRecord] = []
        try walk { records.append($0) }
        return records
    }

    /// Reads all of it, a block at a time. What is said of the records adds up to what the footer
    /// says of the file, or it is an error.
    func walk(_ visit: (LogRecord) -> Void) throws(StorageError) {
        var last: UInt64?
        var place = Place(offset: UInt64(LogFileHeader.size), lsn: footer.first)
        var offset: UInt64 = 0
        for block in footer.blocks {
            let frame = try source.frame(offset, block.length, checksum: block.checksum)
            try source.decoded(at: offset) { () throws(DecodeError) in
                let raw = try SectionFrame.decode(
                    .logIndex, frame, table: UInt64(footer.file), at: offset,
                    rawMax: StorageLimits.logIndexBlockRawMax)
                var reader = ByteReader(raw)
                while !reader.isAtEnd {
                    let record = try record(&reader, &place)
                    last = record.position.offset
                    visit(record)
                }
            }
            offset += UInt64(block.length)
        }
        guard last == footer.lastOffset, place.lsn == footer.last.next,
            place.offset == footer.size
        else {
            throw .damaged(
                path: source.path, offset: offset,
                what: "its records end at LSN \(place.lsn), byte \(place.offset)")
        }
    }

    /// Where the next record of the log file stands.
    private struct Place {
        var offset: UInt64
        var lsn: LSN
    }

    private func record(
        _ reader: inout ByteReader, _ place: inout Place
    ) throws(DecodeError) -> LogRecord {
        guard place.lsn <= footer.last else { throw reader.fail("more records than the file has") }
        let kind = try reader.byte()
        let length = try reader.varint()
        let dropped = try reader.varint()
        guard length <= UInt64(StorageLimits.logPayloadMax), dropped <= length else {
            throw reader.fail("a record of \(length) bytes without \(dropped)")
        }
        let payload = try reader.raw(Int(length - dropped))
        let whole = UInt32(RecordFrame.size) + UInt32(length)
        let record = LogRecord(
            kind: kind, lsn: place.lsn,
            position: LogPosition(file: footer.file, offset: place.offset, length: whole),
            payload: payload, isHead: dropped > 0)
        place.offset += UInt64(whole)
        place.lsn = place.lsn.next
        return record
    }
}

extension LogIndex {
    /// What it says otherwise than its log file, which fits; nil where they say the same. For a
    /// start that believed it, that would be another state.
    func falsehood(in fileSystem: any FileSystem) throws(StorageError) -> String? {
        var log = try LogFileWalk(footer.file, in: fileSystem)
        for record in try records() {
            guard let whole = try log.next(), whole.lsn == record.lsn, whole.kind == record.kind,
                whole.position == record.position,
                record.payload == (record.isHead ? Self.head(of: whole) : whole.payload)
            else { return "it says otherwise of LSN \(record.lsn) than the log" }
        }
        return try log.next().map { "it does not know LSN \($0.lsn) of the log" }
    }

    /// Empty where it is no batch record.
    private static func head(of record: LogRecord) -> [UInt8] {
        do throws(DecodeError) {
            return Array(try BatchRecord(decoding: record.payload).head)
        } catch {
            return []
        }
    }
}

/// The end of an index: which log file it is of, and where its blocks lie.
struct LogIndexFooter: Hashable, Sendable {
    static let kind = FramedFile.Kind(
        name: "an index of a log file", magic: Array("QUIPUIDX".utf8), versions: [1])

    struct Block: Hashable, Sendable {
        /// Of the whole frame.
        var length: Int
        /// Of the frame.
        var checksum: UInt32
    }

    /// The log file's own header.
    var header: LogFileHeader
    /// Of the log file, in bytes.
    var size: UInt64 = 0
    /// The last record: its LSN, its place, and the checksum that the next file names.
    var last = LSN.zero
    var lastOffset: UInt64 = 0
    var checksum: UInt32 = 0
    var blocks: [Block] = []

    init(_ header: LogFileHeader) {
        self.header = header
    }

    var file: UInt32 { header.file }
    var first: LSN { header.first }

    var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.write(fixed: header.file)
        writer.write(fixed: header.first.number)
        writer.write(fixed: header.previousChecksum)
        writer.write(fixed: size)
        writer.write(fixed: last.number)
        writer.write(fixed: lastOffset)
        writer.write(fixed: checksum)
        writer.write(count: blocks.count)
        for block in blocks {
            writer.write(count: block.length)
            writer.write(fixed: block.checksum)
        }
        return writer.bytes
    }

    /// - Parameter end: where the blocks must end, since the footer lies behind the last of them.
    init(decoding bytes: [UInt8], end: UInt64) throws(DecodeError) {
        var reader = ByteReader(bytes)
        let file: UInt32 = try reader.fixed()
        let first: UInt64 = try reader.fixed()
        let previous: UInt32 = try reader.fixed()
        size = try reader.fixed()
        let last: UInt64 = try reader.fixed()
        lastOffset = try reader.fixed()
        checksum = try reader.fixed()
        // Each record takes a frame at least, so that the count is bounded by the file's size.
        guard first > 0, first <= last, last <= RecordFrame.lsnMax, lastOffset < size,
            last - first < size / UInt64(RecordFrame.size)
        else { throw reader.fail("records \(first) to \(last) in \(size) bytes") }
        header = LogFileHeader(file: file, first: LSN(first), previousChecksum: previous)
        self.last = LSN(last)
        var offset: UInt64 = 0
        for _ in 0..<(try reader.count(ofSize: 5)) {
            let length = try reader.varint()
            guard length >= UInt64(SectionFrame.size), length <= end - offset else {
                throw reader.fail("a block of \(length) bytes")
            }
            blocks.append(Block(length: Int(length), checksum: try reader.fixed()))
            offset += length
        }
        guard offset == end else { throw reader.fail("the blocks end at \(offset), not at \(end)") }
        try reader.finish()
    }
}
