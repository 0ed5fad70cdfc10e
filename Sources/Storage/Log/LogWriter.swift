import Core

/// Writes framed records and makes them durable. Used by one thread; its owner calls `append` with
/// all records that wait and then `sync` once for the whole group.
///
/// A file is created only after the one before it was synced, so that a recovery may take an
/// invalid record below a later file for damage.
package struct LogWriter {
    private let fileSystem: any FileSystem
    private var file: (any StoredFile)?
    private var number: UInt32
    private var end: UInt64
    /// The last record written, so that a group may be given again after `diskFull`.
    private var written = LSN.zero
    private var isDirty = false
    /// The name of the open file is not durable yet.
    private var isNewName = false
    private var isDead = false
    private let fileMax: UInt64
    /// Of the open file: through which byte there is room for certain, or was asked for.
    private var reserved: UInt64 = 0
    /// A planted bug: a sync that failed is tried again, and believed.
    private let retriesSync: Bool

    /// A writer that goes on where `cursor` stands.
    package init(fileSystem: any FileSystem, cursor: LogCursor, retriesSync: Bool = false) {
        self.fileSystem = fileSystem
        self.retriesSync = retriesSync
        number = cursor.file
        end = cursor.offset
        fileMax = cursor.fileMax
    }

    /// Writes the records, one write for those of one file. Nothing is durable before `sync`.
    ///
    /// After `diskFull` the same records may be given again; after any other error the writer is
    /// dead.
    package mutating func append(_ records: [LogAppend]) throws(StorageError) {
        guard !isDead else { throw .writerDead(path: FileNames.log(number)) }
        var rest = records.drop { $0.lsn <= written }
        while let first = rest.first {
            let run = rest.prefix { $0.position.file == first.position.file }
            do throws(StorageError) {
                try write(run, startingAt: first)
            } catch {
                if case .diskFull = error { throw error }
                isDead = true
                throw error
            }
            rest = rest.dropFirst(run.count)
        }
    }

    /// Makes durable what was appended. After a failure every later call throws.
    package mutating func sync() throws(StorageError) {
        guard !isDead else { throw .writerDead(path: FileNames.log(number)) }
        do throws(StorageError) {
            try syncFile()
        } catch {
            if retriesSync { return try syncFile() }
            isDead = true
            throw error
        }
    }

    private mutating func write(
        _ run: ArraySlice<LogAppend>, startingAt first: LogAppend
    ) throws(StorageError) {
        let start =
            first.position.offset
            - UInt64(first.startsFile ? LogFileHeader.size : 0)
        let file = try open(first, at: start)
        var pieces: [[UInt8]] = []
        pieces.reserveCapacity(run.count * 2)
        var end = start
        for record in run {
            pieces.append(record.header)
            if !record.payload.isEmpty { pieces.append(record.payload) }
            end += UInt64(record.header.count + record.payload.count)
        }
        isDirty = true
        reserve(through: end, in: file)
        try file.write(pieces, at: start)
        self.end = end
        written = run.last?.lsn ?? written
    }

    /// In large pieces, so that a file lies together however many groups it is written in, and
    /// room for the next groups is there before the disk is full.
    private mutating func reserve(through end: UInt64, in file: any StoredFile) {
        guard end > reserved else { return }
        let step = StorageLimits.logReserveStep
        reserved = max(end, min(fileMax, (end / step + 1) * step))
        file.reserve(through: reserved)
    }

    private mutating func open(
        _ first: LogAppend, at start: UInt64
    ) throws(StorageError) -> any StoredFile {
        if first.startsFile, first.position.file != number || file == nil {
            precondition(
                first.position.file >= number, "the log went back to file \(first.position.file)")
            try syncFile()
            file?.releaseReserve()
            file = nil
            reserved = 0
            number = first.position.file
            end = 0
            isNewName = true
        }
        precondition(
            first.position.file == number && start == end,
            "a record for byte \(start) of log file \(first.position.file) came at byte \(end)")
        if let file { return file }
        let opened = try fileSystem.open(FileNames.log(number), .write)
        file = opened
        return opened
    }

    /// Both the bytes and the name: a file without its predecessor would look like damage.
    private mutating func syncFile() throws(StorageError) {
        if isDirty, let file {
            try file.sync()
            isDirty = false
        }
        if isNewName, file != nil {
            try fileSystem.syncDirectory(FileNames.logDirectory)
            isNewName = false
        }
    }
}
