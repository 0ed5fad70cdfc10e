import Wire

/// Walks a log file that takes no more records, stretch by stretch, with the chain that runs
/// through them. Unlike a start's `RecordScan` it searches nothing behind a flaw: all that is here
/// was synced, so there is no torn tail to tell from damage, and one flaw is enough. The payload of
/// a record passes through its checksum in pieces: no stretch is longer than it was asked for, but
/// for the header of a record.
struct LogFileCheck: FileCheck {
    private let number: UInt32
    private let fileSystem: any FileSystem
    private let file: any StoredFile
    private let path: String
    let size: UInt64
    /// The next byte, and where the record that it belongs to begins.
    private(set) var bytesRead: UInt64
    private var start: UInt64
    private var chain: RecordScan.Chain
    private var record: Record?

    /// A record of whose payload a part has passed.
    private struct Record {
        let header: RecordFrame.Header
        var rest: Int
        var checksum: UInt32
    }

    init(_ number: UInt32, in fileSystem: any FileSystem) throws(StorageError) {
        self.number = number
        self.fileSystem = fileSystem
        path = FileNames.log(number)
        file = try fileSystem.open(path, .read)
        size = try file.size()
        chain = RecordScan.Chain(try LogFileHeader.whole(file, number, size: size))
        bytesRead = UInt64(LogFileHeader.size)
        start = bytesRead
    }

    mutating func run(_ bytes: Int) throws(StorageError) -> Bool {
        let count = min(UInt64(max(bytes, RecordFrame.size)), size - min(bytesRead, size))
        let stretch = try file.read(at: bytesRead, count: Int(count))
        guard stretch.count == Int(count) else { throw flawed("the file ends early") }
        let walked = stretch.withUnsafeBytes { buffer in
            Result { () throws(StorageError) in try walk(buffer) }
        }
        bytesRead += UInt64(try walked.get())
        guard bytesRead == size, record == nil else { return false }
        try checkNext()
        return true
    }

    /// How many bytes were used: all, but for a header that is cut off by the stretch's end.
    private mutating func walk(_ stretch: UnsafeRawBufferPointer) throws(StorageError) -> Int {
        var place = 0
        while place < stretch.count {
            let left = size - bytesRead - UInt64(place)
            if record == nil {
                let isCut = stretch.count - place < RecordFrame.size
                if isCut, left > UInt64(stretch.count - place) { return place }
                start = bytesRead + UInt64(place)
                try begin(stretch, at: place, left: left)
                place += RecordFrame.size
            }
            guard var open = record else { continue }
            let end = place + min(open.rest, stretch.count - place)
            let piece = UnsafeRawBufferPointer(rebasing: stretch[place..<end])
            open.checksum = Checksum.crc32c(piece, extending: open.checksum)
            open.rest -= end - place
            place = end
            record = open
            if open.rest == 0 { try close(open) }
        }
        return place
    }

    private mutating func begin(
        _ stretch: UnsafeRawBufferPointer, at place: Int, left: UInt64
    ) throws(StorageError) {
        switch RecordFrame.head(stretch, at: place) {
        case .failure(let flaw):
            throw flawed(flaw.what)
        case .success(let header):
            guard UInt64(RecordFrame.size + header.length) <= left else {
                throw flawed("a record of \(header.length) bytes is cut off")
            }
            record = Record(
                header: header, rest: header.length,
                checksum: RecordFrame.headChecksum(stretch, at: place))
        }
    }

    private mutating func close(_ open: Record) throws(StorageError) {
        if let flaw = open.header.flaw(checksum: open.checksum) ?? chain.flaw(in: open.header) {
            throw flawed(flaw.what)
        }
        chain = RecordScan.Chain(after: open.header)
        record = nil
    }

    /// The next file says what this one ends with: a file may have lost whole records at its end.
    private func checkNext() throws(StorageError) {
        // A node that goes on in a new file after its start makes it with the first record; and
        // what is wrong with the next file itself is found where that one is read.
        guard let header = try LogFileHeader.written(number + 1, in: fileSystem),
            chain != RecordScan.Chain(header)
        else { return }
        throw .damaged(
            path: path, offset: size,
            what: "the next file begins with LSN \(header.first), not \(chain.next)")
    }

    private func flawed(_ what: String) -> StorageError {
        .damaged(path: path, offset: start, what: what)
    }
}
