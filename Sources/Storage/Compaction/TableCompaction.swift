import Synchronization

/// Merges tables into one, of their granularity or a coarser one, step by step, so that each step
/// is a short job: merge, sync, read back and recount, rename, sync the directory. The result does
/// not count before a manifest edit lists it and lets its inputs go. After an error, or when it is
/// given up, nothing is left of it. A move to the cold disk is no more than a compaction whose
/// table is written there.
package final class TableCompaction: Sendable {
    package let inputs: [TableHandle]
    /// Of the table that will be.
    package let id: UInt64
    package let granularity: Granularity
    package let destination: TableDestination
    private let fault: CompactionFault?
    private let work = Mutex(Work())

    /// What has been read of the inputs and written to the output.
    package struct Progress: Hashable, Sendable {
        package var read: UInt64 = 0
        package var written: UInt64 = 0

        package init() {}
    }

    /// First the merge, then the cursor that reads its table back. Changed in place, so that both
    /// have one owner.
    private struct Work: Sendable {
        var merge: TableMerge?
        var output: (any StoredFile)?
        var cursor: TableCursor?
        var progress = Progress()
        /// The output has its own name.
        var isNamed = false
        /// Done, failed or given up.
        var isOver = false
    }

    package init(
        _ inputs: [TableHandle], id: UInt64, as granularity: Granularity = .base,
        to destination: TableDestination = .hot, fault: CompactionFault? = nil
    ) {
        self.inputs = inputs
        self.id = id
        self.granularity = granularity
        self.destination = destination
        self.fault = fault
    }

    private var path: String { FileNames.table(id, destination.location) }
    private var draft: String { path + FileNames.draftSuffix }

    /// Reads about so many bytes; with the table when it is whole.
    func step(
        _ bytes: Int, in fileSystem: any FileSystem, options: StorageOptions
    ) throws(StorageError) -> (progress: Progress, table: TableHandle?) {
        try work.withLock { work throws(StorageError) in
            precondition(!work.isOver, "a compaction goes on after its end")
            do throws(StorageError) {
                let table = try advance(&work, bytes, fileSystem, options)
                if table != nil { work = Work(progress: work.progress, isOver: true) }
                return (work.progress, table)
            } catch {
                // The room that the draft takes is what others wait for. Whether it can be removed
                // or not, the first error is the one to tell.
                let first = error
                let left = work.isNamed ? path : draft
                work = Work(isOver: true)
                // The process ends; a cold disk ends no process.
                if case .syncFailed = first, destination == .hot { throw first }
                do throws(StorageError) { try fileSystem.remove(left) } catch { throw first }
                throw first
            }
        }
    }

    private func advance(
        _ work: inout Work, _ bytes: Int, _ fileSystem: any FileSystem, _ options: StorageOptions
    ) throws(StorageError) -> TableHandle? {
        guard work.cursor == nil else { return try check(&work, bytes, fileSystem, options) }
        if work.merge == nil {
            if case .cold(let claim) = destination { try ColdTier.claim(claim, in: fileSystem) }
            let file = try fileSystem.open(draft, .replace)
            work.output = file
            work.merge = try TableMerge(
                inputs, into: file, id: id, as: granularity, fault: fault)
        }
        guard try work.merge?.run(bytes) == true, let file = work.output else {
            work.progress.read = work.merge?.bytesRead ?? 0
            work.progress.written = work.merge?.bytesWritten ?? 0
            return nil
        }
        let statistics = try work.merge?.finish(draft)
        work.progress.read = work.merge?.bytesRead ?? 0
        work.progress.written = work.merge?.bytesWritten ?? 0
        work.merge = nil
        let handle = try TableHandle.open(
            file, id: id, as: draft, at: destination.location, options: options)
        guard handle.footer.partitions == statistics?.partitions,
            handle.footer.checksum == statistics?.checksum
        else { throw .digestMismatch(path: draft, what: "its footer differs") }
        work.cursor = try TableCursor(handle)
        return nil
    }

    /// Reads the table back; under its own name, durable, when all of it was read.
    private func check(
        _ work: inout Work, _ bytes: Int, _ fileSystem: any FileSystem, _ options: StorageOptions
    ) throws(StorageError) -> TableHandle? {
        guard try work.cursor?.run(bytes) == true else { return nil }
        guard let cursor = work.cursor, let file = work.output else { return nil }
        try cursor.table.check(cursor.statistics)
        try fileSystem.rename(draft, to: path)
        work.isNamed = true
        file.endWriting()
        if fault != .leavesUnsynced {
            try fileSystem.syncDirectory(destination.location.directory)
        }
        return try TableHandle.open(
            file, id: id, as: path, at: destination.location, options: options)
    }

    /// Removes what there is of the output.
    func abandon(in fileSystem: any FileSystem) throws(StorageError) {
        try work.withLock { work throws(StorageError) in
            work = Work(isOver: true)
            do throws(StorageError) {
                try fileSystem.remove(draft)
            } catch {
                guard case .notFound = error else { throw error }
            }
        }
    }
}

extension TableCompaction: Hashable {
    package static func == (left: TableCompaction, right: TableCompaction) -> Bool {
        left === right
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(ObjectIdentifier(self))
    }
}
