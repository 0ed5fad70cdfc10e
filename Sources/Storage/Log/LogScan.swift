import Core

/// Reads the whole log at a start, in the order of its files; of files that tables cover the
/// indexes, where there are any.
struct LogScan {
    /// What a start knows of the log.
    struct Outcome {
        /// Where it goes on.
        var cursor: LogCursor
        var damage: [Damage]
        /// The files that were read by their indexes, ascending.
        var indexed: [UInt32]
        /// Indexes that could not be used, and why.
        var remarks: [String]
    }

    let fileSystem: any FileSystem
    let options: StorageOptions
    /// The first file that must be there, and what the tables cover.
    let start: UInt32
    let covered: LSN
    /// The log was let go of up to here at most.
    let forgotten: LSN

    /// Nothing is cut or removed.
    private var isReadOnly = false
    private var damage: [Damage] = []
    private var indexed: [UInt32] = []
    private var remarks: [String] = []
    /// Log files that have an index.
    private var indexes: Set<UInt32> = []
    private var chain: RecordScan.Chain?
    private var lastLSN = LSN.zero
    /// The last file as it is to be: what could be read of it, without a torn tail.
    private var last: (number: UInt32, bytes: [UInt8])?

    init(
        fileSystem: any FileSystem, options: StorageOptions, start: UInt32, covered: LSN,
        forgotten: LSN = .zero
    ) {
        self.forgotten = forgotten
        self.fileSystem = fileSystem
        self.options = options
        self.start = start
        self.covered = covered
    }

    /// Visits every valid record, cuts a torn tail and removes files before `start`.
    mutating func run(visit: (LogRecord) -> Void) throws(StorageError) -> Outcome {
        let numbers = try usableFiles()
        let end = try walk(numbers, visit: visit)
        return Outcome(
            cursor: try finish(numbers, end: end), damage: options.cutsDamage ? [] : damage,
            indexed: indexed, remarks: remarks)
    }

    /// What a start would find damaged, and the files it would read.
    mutating func check() throws(StorageError) -> (files: [UInt32], damage: [Damage]) {
        isReadOnly = true
        let numbers = try usableFiles()
        _ = try walk(numbers) { _ in }
        return (numbers, damage)
    }

    /// Where the last file can go on; nil where nothing may be appended to it.
    private mutating func walk(
        _ numbers: [UInt32], visit: (LogRecord) -> Void
    ) throws(StorageError) -> UInt64? {
        var end: UInt64?
        for (index, number) in numbers.enumerated() {
            let expected = index == 0 ? start : numbers[index - 1] + 1
            if number != expected {
                damage.append(
                    .log(
                        path: FileNames.log(expected), offset: 0,
                        what: "log files \(expected) to \(number - 1) are missing",
                        missing: chain?.next))
                chain = nil
            }
            let isLast = index == numbers.count - 1
            // The last one is written anew, and goes on.
            if !isLast, try scanIndex(of: number, visit: visit) { continue }
            end = try scan(number, isLast: isLast, visit: visit)
        }
        // Both were durable in the log before the manifest said so.
        if lastLSN < max(covered, forgotten) {
            let held =
                covered >= forgotten
                ? "the tables cover \(covered)" : "batches are forgotten through \(forgotten)"
            damage.append(
                .log(
                    path: FileNames.log(numbers.last ?? start), offset: end ?? 0,
                    what: "the log ends at LSN \(lastLSN), \(held)", missing: lastLSN.next))
            end = nil
        }
        return end
    }

    private mutating func usableFiles() throws(StorageError) -> [UInt32] {
        var numbers: [UInt32] = []
        for name in try fileSystem.list(FileNames.logDirectory) {
            if let number = FileNames.logIndexNumber(name) { indexes.insert(number) }
            guard let number = FileNames.logNumber(name) else {
                // The draft of a start that was cut short.
                if name.hasSuffix(FileNames.draftSuffix), !isReadOnly {
                    try fileSystem.remove("\(FileNames.logDirectory)/\(name)")
                }
                continue
            }
            if number < start {
                // The manifest had let go of it before a crash kept it from being removed.
                if !isReadOnly { try fileSystem.remove(FileNames.log(number)) }
            } else {
                numbers.append(number)
            }
        }
        try removeIndexes(without: Set(numbers))
        return numbers
    }

    /// They go with their files.
    private mutating func removeIndexes(without files: Set<UInt32>) throws(StorageError) {
        let left = indexes.subtracting(files)
        indexes.subtract(left)
        guard !isReadOnly else { return }
        for number in left.sorted() { try fileSystem.remove(FileNames.logIndex(number)) }
    }

    /// Whether a file's index was read in its place.
    private mutating func scanIndex(
        of number: UInt32, visit: (LogRecord) -> Void
    ) throws(StorageError) -> Bool {
        guard options.readsLogIndexes, !isReadOnly, indexes.contains(number) else { return false }
        let footer: LogIndexFooter
        let records: [LogRecord]
        do throws(StorageError) {
            let index = try LogIndex.open(number, in: fileSystem)
            footer = index.footer
            // Of what no table covers the cells are needed, and every byte is looked at.
            guard footer.last <= covered else { return false }
            if let misfit = try index.misfit(in: fileSystem) {
                remark(number, misfit)
                return false
            }
            records = try index.records()
        } catch {
            switch error {
            case .damaged, .notFound, .newerFormat, .failed:
                // What keeps the log file itself from being read is told by who reads that.
                remark(number, error.description)
                return false
            case .diskFull, .syncFailed, .writerDead, .locked, .digestMismatch,
                .coldTierMissing, .scanTooLarge:
                throw error
            }
        }
        follow(footer.header, in: FileNames.log(number))
        for record in records { take(record, visit) }
        chain = RecordScan.Chain(next: footer.last.next, previousChecksum: footer.checksum)
        indexed.append(number)
        return true
    }

    private mutating func remark(_ number: UInt32, _ why: String) {
        remarks.append(
            "\(FileNames.logIndex(number)) is of no use (\(why)); the log file itself was read")
    }

    /// A file begins with this header: whether it goes on where the one before ended.
    private mutating func follow(_ header: LogFileHeader, in path: String) {
        let given = RecordScan.Chain(header)
        if let chain, chain != given {
            damage.append(
                .log(
                    path: path, offset: 0,
                    what: "the file begins with LSN \(header.first), not \(chain.next)",
                    missing: chain.next))
        } else if chain == nil, header.file == start,
            header.first > max(covered, forgotten).next
        {
            damage.append(
                .log(
                    path: path, offset: 0,
                    what:
                        "the log begins with LSN \(header.first), the tables end at \(covered)",
                    missing: covered.next))
        }
        chain = given
    }

    private mutating func take(_ record: LogRecord, _ visit: (LogRecord) -> Void) {
        // Where another file stands in a file's place, its records may come a second time.
        if record.lsn > lastLSN, damage.isEmpty || !options.cutsDamage { visit(record) }
        lastLSN = max(lastLSN, record.lsn)
    }

    /// The offset at which the file can go on; nil where nothing may be appended to it.
    private mutating func scan(
        _ number: UInt32, isLast: Bool, visit: (LogRecord) -> Void
    ) throws(StorageError) -> UInt64? {
        let path = FileNames.log(number)
        guard let bytes = try content(of: path) else { return nil }
        var first = LogFileHeader.size
        switch LogFileHeader.read(bytes, file: number) {
        case .newer(let version):
            throw .newerFormat(path: path, version: version, known: LogFileHeader.version)
        case .header(let header):
            follow(header, in: path)
        case .invalid:
            // The walk finds no record at byte 0 and judges by what follows.
            first = 0
        }
        let from = chain ?? RecordScan.Chain(next: LSN(1), previousChecksum: 0)
        // After damage nothing is cut, and what is appended comes to stand behind it: a tail that
        // is let pass as torn now would be damage at the next start, with whole records in it.
        let isSealed = !isLast || !isWhole
        var walk = RecordScan(bytes, from: first, chain: from, isSealed: isSealed)
        var end: UInt64? = 0
        var kept = bytes.count
        if first == 0, !isLast, bytes.isEmpty {
            damage.append(
                .log(path: path, offset: 0, what: "the file is empty", missing: from.next))
        }
        while let event = walk.next() {
            switch event {
            case .record(let header, let offset):
                take(record(header, offset, number, bytes), visit)
            case .damage(let offset, let what, let missing):
                damage.append(
                    .log(path: path, offset: UInt64(offset), what: what, missing: missing))
                end = nil
            case .tornTail(let offset):
                kept = offset
                end = UInt64(offset)
            case .end(let offset):
                end = end == nil ? nil : UInt64(offset)
            }
        }
        chain = walk.chain
        guard try isRead(path, bytes, isWritten: isLast || kept < bytes.count) else { return nil }
        if kept < bytes.count, options.trustsPageCache || !isLast, mayWrite {
            try cut(path, at: UInt64(kept))
        }
        if isLast { last = (number: number, bytes: Array(bytes.prefix(kept))) }
        return end
    }

    /// What is damaged stays as it is: whoever looks at it again must find it so, or find that a
    /// fault lay on the way from the disk.
    private var mayWrite: Bool { !isReadOnly && isWhole }

    private var isWhole: Bool { damage.isEmpty || options.cutsDamage }

    /// Whether a file reads the same once more. What was misread must not be written over what is
    /// on the disk: a record that is bent on its way here, and the last, looks like a torn tail.
    private mutating func isRead(
        _ path: String, _ bytes: [UInt8], isWritten: Bool
    ) throws(StorageError) -> Bool {
        guard isWritten, mayWrite else { return true }
        fileSystem.dropCached(path)
        guard let again = try content(of: path) else { return false }
        guard again != bytes else { return true }
        damage.append(
            .log(path: path, offset: 0, what: "it reads differently twice", missing: chain?.next))
        return false
    }

    /// All bytes of a file; nil, and damage, where the disk cannot read some of them. No tail is
    /// torn there: nobody knows what stood in it.
    private mutating func content(of path: String) throws(StorageError) -> [UInt8]? {
        do throws(StorageError) {
            return try fileSystem.readAll(path)
        } catch {
            guard case .damaged(_, let offset, let what) = error else { throw error }
            damage.append(.log(path: path, offset: offset, what: what, missing: chain?.next))
            chain = nil
            return nil
        }
    }

    private func record(
        _ header: RecordFrame.Header, _ offset: Int, _ number: UInt32, _ bytes: [UInt8]
    ) -> LogRecord {
        let payload = offset + RecordFrame.size
        return LogRecord(
            kind: header.kind, lsn: header.lsn,
            position: LogPosition(
                file: number, offset: UInt64(offset),
                length: UInt32(RecordFrame.size + header.length)),
            payload: Array(bytes[payload..<payload + header.length]))
    }

    private func cut(_ path: String, at offset: UInt64) throws(StorageError) {
        let file = try fileSystem.open(path, .write)
        try file.truncate(to: offset)
        try file.sync()
    }

    /// What was read must be durable before anyone hears of it: a process that was killed leaves
    /// bytes that are only in the page cache, and one whose fsync failed leaves bytes that would
    /// never get any further. Only the last file can hold such: before it was made, the one before
    /// was synced.
    private func finish(_ numbers: [UInt32], end: UInt64?) throws(StorageError) -> LogCursor {
        if let last, mayWrite {
            let path = FileNames.log(last.number)
            if options.trustsPageCache {
                try fileSystem.open(path, .write).sync()
            } else {
                try fileSystem.rewrite(
                    path, as: path + FileNames.draftSuffix, in: FileNames.logDirectory, last.bytes)
            }
        }
        try fileSystem.syncDirectory(FileNames.logDirectory)
        // No number is given twice: a record in the place of a lost one would hide the loss.
        let last = max(lastLSN, covered, forgotten)
        let checksum = chain?.previousChecksum ?? 0
        guard let number = numbers.last else {
            return LogCursor(
                next: last.next, file: start, offset: 0, previousChecksum: checksum, synced: last,
                fileMax: options.logFileMax)
        }
        // A file that begins after records that are lost, and has none itself, expects a later one
        // than comes next: what was appended to it would be taken for a torn tail at the next
        // start. Where even the header is gone, a new one says what comes.
        let isExpected = end == 0 || chain?.next == last.next
        let offset = isExpected ? end : nil
        return LogCursor(
            next: last.next, file: offset == nil ? number + 1 : number, offset: offset ?? 0,
            previousChecksum: checksum, synced: last, fileMax: options.logFileMax)
    }
}
