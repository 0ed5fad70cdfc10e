import Core

/// Reads a log file to which nobody writes any more, record by record and a piece of it at a time.
/// Each record must follow the one before it: whatever else stands there is damage.
struct LogFileWalk {
    let header: LogFileHeader
    /// Of the file, in bytes.
    let size: UInt64
    /// Where the next record begins.
    private(set) var offset = UInt64(LogFileHeader.size)
    /// What must come next.
    private(set) var chain: RecordScan.Chain
    private let file: any StoredFile
    private let path: String
    private var piece: [UInt8] = []
    private var pieceStart: UInt64 = 0

    init(_ number: UInt32, in fileSystem: any FileSystem) throws(StorageError) {
        path = FileNames.log(number)
        file = try fileSystem.open(path, .read)
        size = try file.size()
        header = try LogFileHeader.whole(file, number, size: size)
        chain = RecordScan.Chain(header)
    }

    /// The next record; nil at the end of the file.
    mutating func next() throws(StorageError) -> LogRecord? {
        guard offset < size else { return nil }
        var flaw = ""
        // A read that fails its checksum is tried once more: the fault may lie on the way.
        for _ in 0..<2 {
            switch try parse() {
            case .success(let frame): return take(frame)
            case .failure(let found): flaw = found.what
            }
            piece = []
        }
        throw .damaged(path: path, offset: offset, what: flaw)
    }

    private mutating func parse() throws(StorageError) -> Result<
        RecordFrame.Header, RecordFrame.Flaw
    > {
        try load(RecordFrame.size)
        let place = Int(offset - pieceStart)
        let length: Int
        switch piece.withUnsafeBytes({ RecordFrame.head($0, at: place) }) {
        case .failure(let flaw): return .failure(flaw)
        case .success(let head): length = head.length
        }
        try load(RecordFrame.size + length)
        let found = Int(offset - pieceStart)
        let chain = chain
        return piece.withUnsafeBytes { RecordFrame.parse($0, at: found) }.flatMap { header in
            chain.flaw(in: header).map { .failure($0) } ?? .success(header)
        }
    }

    private mutating func take(_ frame: RecordFrame.Header) -> LogRecord {
        let start = Int(offset - pieceStart) + RecordFrame.size
        let length = RecordFrame.size + frame.length
        let record = LogRecord(
            kind: frame.kind, lsn: frame.lsn,
            position: LogPosition(
                file: header.file, offset: offset, length: UInt32(length)),
            payload: Array(piece[start..<start + frame.length]))
        chain = RecordScan.Chain(after: frame)
        offset += UInt64(length)
        return record
    }

    /// So many bytes from `offset` on are in memory, or all that there are.
    private mutating func load(_ count: Int) throws(StorageError) {
        let left = Int(clamping: size - offset)
        let wanted = min(count, left)
        guard offset < pieceStart || pieceStart + UInt64(piece.count) < offset + UInt64(wanted)
        else { return }
        piece = try file.read(
            at: offset, count: min(left, max(wanted, StorageLimits.logPieceBytes)))
        pieceStart = offset
    }
}
