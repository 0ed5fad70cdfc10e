import Core

/// Walks the records of one file and judges what stands behind the last good one.
///
/// The walk knows which record must come next: its LSN and the checksum that it names. Where
/// another stands, or none, everything behind is searched for a valid record that vouches for the
/// missing one, that is, one framed when the missing one was known to be synced. Found: damage. Not
/// found: a torn tail, since a record that nobody knew to be synced was never acknowledged.
/// Behind damage there is no torn tail: what vouches for the damage may stand there, and cut, it
/// would be damage no more at the next start.
struct RecordScan {
    /// What must come next.
    struct Chain: Hashable, Sendable {
        var next: LSN
        var previousChecksum: UInt32

        init(next: LSN, previousChecksum: UInt32) {
            self.next = next
            self.previousChecksum = previousChecksum
        }

        /// With the first record of a file.
        init(_ header: LogFileHeader) {
            self.init(next: header.first, previousChecksum: header.previousChecksum)
        }

        /// Behind a record.
        init(after header: RecordFrame.Header) {
            self.init(next: header.lsn.next, previousChecksum: header.checksum)
        }

        /// Why a whole record is not the one that must come next; nil where it is.
        func flaw(in header: RecordFrame.Header) -> RecordFrame.Flaw? {
            if header.lsn != next {
                return RecordFrame.Flaw("record \(header.lsn) stands where \(next) belongs")
            }
            if header.previousChecksum != previousChecksum {
                return RecordFrame.Flaw(
                    "record \(header.lsn) does not follow the one before it")
            }
            return nil
        }
    }

    enum Event {
        case record(RecordFrame.Header, offset: Int)
        /// The records from `missing` on are gone or changed; the walk goes on at `resumesAt`.
        case damage(offset: Int, what: String, missing: LSN)
        /// Nothing from here on was ever acknowledged.
        case tornTail(offset: Int)
        case end(offset: Int)
    }

    private let bytes: [UInt8]
    private var offset: Int
    private(set) var chain: Chain
    /// A later file exists: then everything here had been synced. Or damage was found.
    private var isSealed: Bool
    private var probeBudget: Int
    private var resumesAt: Int?
    private var isFinished = false

    init(_ bytes: [UInt8], from offset: Int, chain: Chain, isSealed: Bool) {
        self.bytes = bytes
        self.offset = offset
        self.chain = chain
        self.isSealed = isSealed
        probeBudget = max(1 << 20, bytes.count * StorageLimits.tailProbeFactor)
    }

    /// The next thing that stands in the file; nil after the end or a torn tail.
    mutating func next() -> Event? {
        guard !isFinished else { return nil }
        let header: RecordFrame.Header
        if let resumed = resumesAt {
            resumesAt = nil
            offset = resumed
            guard offset < bytes.count else {
                isFinished = true
                return .end(offset: offset)
            }
            guard case .success(let found) = parse(at: offset) else {
                preconditionFailure("a record that was just found valid is not")
            }
            header = found
        } else if offset >= bytes.count {
            isFinished = true
            return .end(offset: offset)
        } else {
            switch expected(at: offset) {
            case .success(let found): header = found
            case .failure(let flaw): return judge(flaw.what)
            }
        }
        let start = offset
        chain = Chain(after: header)
        offset += RecordFrame.size + header.length
        return .record(header, offset: start)
    }

    private func parse(at offset: Int) -> Result<RecordFrame.Header, RecordFrame.Flaw> {
        bytes.withUnsafeBytes { RecordFrame.parse($0, at: offset) }
    }

    /// The record that must come next; or what is wrong with the one at `offset`.
    private func expected(at offset: Int) -> Result<RecordFrame.Header, RecordFrame.Flaw> {
        parse(at: offset).flatMap { header in
            chain.flaw(in: header).map { .failure($0) } ?? .success(header)
        }
    }

    private mutating func judge(_ what: String) -> Event {
        let start = offset
        let missing = chain.next
        var firstValid: Int?
        var vouched = isSealed
        var position = start
        while let found = nextValid(from: position) {
            if found.header.lsn >= missing, firstValid == nil { firstValid = found.offset }
            if found.header.synced >= missing { vouched = true }
            if vouched, firstValid != nil { break }
            position = found.offset + RecordFrame.size + found.header.length
        }
        if probeBudget < 0 { vouched = true }
        guard vouched else {
            isFinished = true
            return .tornTail(offset: start)
        }
        isSealed = true
        resumesAt = firstValid ?? bytes.count
        return .damage(offset: start, what: what, missing: missing)
    }

    /// The next place where a whole record stands, from `position` on.
    private mutating func nextValid(
        from position: Int
    ) -> (offset: Int, header: RecordFrame.Header)? {
        var position = position
        while position + RecordFrame.size <= bytes.count, probeBudget >= 0 {
            let start = position
            let plausible = bytes.withUnsafeBytes { buffer -> Int? in
                var candidate = start
                while candidate + RecordFrame.size <= buffer.count {
                    if RecordFrame.isPlausible(buffer, at: candidate) { return candidate }
                    candidate += 1
                }
                return nil
            }
            guard let plausible else { return nil }
            if case .success(let header) = parse(at: plausible) { return (plausible, header) }
            probeBudget -= claimedLength(at: plausible)
            position = plausible + 1
        }
        return nil
    }

    /// How many bytes the check of a candidate had to read.
    private func claimedLength(at offset: Int) -> Int {
        let length = (0..<4).reduce(0) { $0 | Int(bytes[offset + 4 + $1]) << ($1 * 8) }
        return length <= bytes.count - offset ? length : 0
    }
}
