import Core
import Storage

/// A file that is read step by step.
struct FileReading {
    let verification: FileVerification
    /// A step is under way, asked for at `steppedAt`; the next is not before `nextAt`.
    var isRunning = false
    var steppedAt: Instant
    var nextAt: Instant
    /// As its last step said.
    var progress: FileVerification.Progress

    init(_ file: DataFile, at now: Instant) {
        verification = FileVerification(file)
        steppedAt = now
        nextAt = now
        progress = FileVerification.Progress(size: file.size)
    }

    var file: DataFile { verification.file }

    /// Of the file, in bytes: what is read a second time is done once.
    var doneBytes: UInt64 { min(progress.read, progress.size) }

    /// Takes what a step says, and returns how many bytes it read.
    mutating func take(_ progress: FileVerification.Progress) -> UInt64 {
        isRunning = false
        let read = progress.read - self.progress.read
        self.progress = progress
        return read
    }
}

/// Which file the scrubber reads next. Every other one is a table; the others share what is left.
/// Each kind has turns of its own: files that come of one must not keep one of another from being
/// read.
struct ScrubTurns {
    private var isOfTable = false
    private var table = 0
    private var other = 0
    private var history = 0
    private var log: UInt32 = 0

    /// - Parameter logs: files of the log that are closed.
    mutating func next(
        tables: [TableHandle], history files: [HistoryHandle], logs: Range<UInt32>,
        logFileMax: UInt64
    ) -> DataFile {
        isOfTable.toggle()
        if isOfTable, !tables.isEmpty {
            table += 1
            return .table(tables[table % tables.count])
        }
        other += 1
        switch other % 3 {
        case 1 where !files.isEmpty:
            history += 1
            return .history(files[history % files.count])
        case 1...2 where !logs.isEmpty:
            // Files come at one end and go at the other.
            log = logs.contains(log + 1) ? log + 1 : logs.lowerBound
            return .log(log, sizeMax: logFileMax)
        default:
            return .manifest
        }
    }
}
