package import Core

/// Where a record lies: its header's offset, and its length with the header.
package struct LogPosition: Hashable, Sendable, Comparable {
    package var file: UInt32
    package var offset: UInt64
    package var length: UInt32

    package init(file: UInt32, offset: UInt64, length: UInt32) {
        self.file = file
        self.offset = offset
        self.length = length
    }

    package static func < (left: LogPosition, right: LogPosition) -> Bool {
        (left.file, left.offset) < (right.file, right.offset)
    }
}

/// One framed record, ready to be written where it says.
package struct LogAppend: Hashable, Sendable {
    package let kind: UInt8
    package let lsn: LSN
    package let position: LogPosition
    /// The frame; in the first record of a file, the file's header before it.
    package let header: [UInt8]
    package let payload: [UInt8]

    package var startsFile: Bool { header.count > RecordFrame.size }
}

/// The end of the log as a value: it gives each record its LSN, its place and its frame, and
/// touches no file. The core owns it; the bytes go to a `LogWriter`.
package struct LogCursor: Hashable, Sendable {
    /// The LSN that the next record gets.
    package private(set) var next: LSN
    /// The file that the next record goes to, unless it would grow too long.
    package private(set) var file: UInt32
    /// Where the next record begins; 0 where the file has not even a header yet.
    package private(set) var offset: UInt64
    package private(set) var previousChecksum: UInt32
    /// Known to be on the disk. Each frame carries it, so that a recovery can tell a torn tail from
    /// a damaged log.
    package private(set) var synced: LSN
    /// Files before this one take no more records, and all of theirs are on the disk.
    package private(set) var closedBefore: UInt32
    /// The first record of `file`, until it is on the disk: no file is begun before the one before
    /// it was synced.
    private var opening: LSN?
    /// A file is closed before it would be longer; one record may be.
    package let fileMax: UInt64

    /// The cursor of an empty log.
    package init(options: StorageOptions) {
        self.init(
            next: LSN(1), file: 1, offset: 0, previousChecksum: 0, synced: .zero,
            fileMax: options.logFileMax)
    }

    init(
        next: LSN, file: UInt32, offset: UInt64, previousChecksum: UInt32, synced: LSN,
        fileMax: UInt64
    ) {
        self.next = next
        self.file = file
        self.offset = offset
        self.previousChecksum = previousChecksum
        self.synced = synced
        closedBefore = file
        self.fileMax = fileMax
    }

    /// The LSN of the last record; zero where there is none.
    package var last: LSN { LSN(next.number - 1) }

    package mutating func append(kind: UInt8, payload: [UInt8]) -> LogAppend {
        precondition(
            payload.count <= StorageLimits.logPayloadMax,
            "a log record of \(payload.count) bytes: the caller bounds it")
        let length = RecordFrame.size + payload.count
        if offset > UInt64(LogFileHeader.size), offset + UInt64(length) > fileMax {
            file += 1
            offset = 0
            opening = next
        }
        var header: [UInt8] = []
        if offset == 0 {
            header =
                LogFileHeader(file: file, first: next, previousChecksum: previousChecksum).bytes
            offset = UInt64(header.count)
        }
        let frame = RecordFrame.header(
            kind: kind, lsn: next, synced: synced, previousChecksum: previousChecksum,
            payload: payload)
        header.append(contentsOf: frame.bytes)
        let append = LogAppend(
            kind: kind, lsn: next,
            position: LogPosition(file: file, offset: offset, length: UInt32(length)),
            header: header, payload: payload)
        next = next.next
        offset += UInt64(length)
        previousChecksum = frame.checksum
        return append
    }

    /// The shell reports that everything through `lsn` is durable.
    package mutating func markSynced(_ lsn: LSN) {
        precondition(lsn <= last, "LSN \(lsn) was never appended")
        synced = max(synced, lsn)
        if let opening, opening <= synced {
            closedBefore = file
            self.opening = nil
        }
    }
}
