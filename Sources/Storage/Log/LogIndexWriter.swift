package import Core
import Wire

/// Which log file is to get an index.
package struct LogIndexPlan: Hashable, Sendable {
    /// One to which nobody writes any more.
    package var file: UInt32
    /// Through which LSN tables cover the log.
    package var covered: LSN
    /// Kinds of records that are batch records: of those the heads are kept.
    package var batchKinds: [UInt8]

    package init(file: UInt32, covered: LSN, batchKinds: [UInt8]) {
        self.file = file
        self.covered = covered
        self.batchKinds = batchKinds
    }
}

/// Reads a log file once, a piece at a time, and writes its index: a draft, synced, read back, then
/// renamed and its directory synced.
struct LogIndexWriter {
    private let fileSystem: any FileSystem
    private let plan: LogIndexPlan
    private var block = ByteWriter()

    init(fileSystem: any FileSystem, plan: LogIndexPlan) {
        self.fileSystem = fileSystem
        self.plan = plan
    }

    /// False, and nothing is written, where tables do not cover all of the file yet.
    mutating func write() throws(StorageError) -> Bool {
        guard try isCovered() else { return false }
        let path = FileNames.logIndex(plan.file)
        let draft = path + FileNames.draftSuffix
        let file = try fileSystem.open(draft, .replace)
        try fileSystem.drafting(draft) { () throws(StorageError) in
            try fill(file)
            try LogIndex(file, of: plan.file, as: draft).walk { _ in }
        }
        try fileSystem.rename(draft, to: path)
        try fileSystem.syncDirectory(FileNames.logDirectory)
        return true
    }

    /// By the LSN with which the next file begins, where that is there.
    private func isCovered() throws(StorageError) -> Bool {
        guard let next = try LogFileHeader.written(plan.file + 1, in: fileSystem) else {
            return false
        }
        return next.first <= plan.covered.next
    }

    private mutating func fill(_ file: any StoredFile) throws(StorageError) {
        var log = try LogFileWalk(plan.file, in: fileSystem)
        var frames = FrameWriter(file, id: UInt64(plan.file))
        var footer = LogIndexFooter(log.header)
        footer.size = log.size
        while let record = try log.next() {
            try add(record)
            footer.last = record.lsn
            footer.lastOffset = record.position.offset
            if block.bytes.count >= StorageLimits.logIndexBlockTarget {
                try closeBlock(&footer, &frames)
            }
        }
        guard footer.last >= footer.first else {
            throw .damaged(
                path: FileNames.log(plan.file), offset: log.offset, what: "it has no record")
        }
        footer.checksum = log.chain.previousChecksum
        try closeBlock(&footer, &frames)
        try frames.finish(LogIndexFooter.kind, .logIndexFooter, footer.bytes)
    }

    private mutating func add(_ record: LogRecord) throws(StorageError) {
        var kept = record.payload[...]
        if plan.batchKinds.contains(record.kind) {
            do throws(DecodeError) {
                kept = try BatchRecord(decoding: record.payload).head
            } catch {
                throw .damaged(
                    path: FileNames.log(plan.file), offset: record.position.offset,
                    what: error.description)
            }
        }
        block.write(record.kind)
        block.write(count: record.payload.count)
        block.write(count: record.payload.count - kept.count)
        block.write(raw: Array(kept))
    }

    private mutating func closeBlock(
        _ footer: inout LogIndexFooter, _ frames: inout FrameWriter
    ) throws(StorageError) {
        guard !block.bytes.isEmpty else { return }
        let start = frames.offset
        let checksum = try frames.append(.logIndex, block.bytes)
        footer.blocks.append(
            LogIndexFooter.Block(length: Int(frames.offset - start), checksum: checksum))
        block = ByteWriter(capacity: StorageLimits.logIndexBlockTarget)
    }
}
