import Synchronization

/// Reads one file anew, from the disk, and holds it against its own sums: step by step, so that
/// each step is a short job and flushes and commits come between. A step reads so many bytes and
/// at most one piece more: a block, or what of a file is opened whole (index, filter and footer of
/// a table or history file; the manifest).
///
/// What lies in memory, in the process or in the system's cache of pages, says nothing about the
/// disk: each look opens the file again and asks that no page of it be kept from before. And what
/// is found must be found twice: a fault may lie on the way from the disk, and for what it says all
/// data here may be set aside.
package final class FileVerification: Sendable {
    package let file: DataFile
    private let work: Mutex<Work>

    package enum Outcome: Hashable, Sendable {
        /// It goes on with the next step.
        case reading
        case sound
        /// What is wrong, and where.
        case damaged(String)
    }

    package struct Progress: Hashable, Sendable {
        /// What all steps have read, in bytes: more than `size` where it was looked at twice.
        package var read: UInt64 = 0
        /// Of the file, in bytes; what was expected, before it is opened.
        package var size: UInt64
        package var outcome = Outcome.reading

        /// Before the first step, of a file of which so many bytes are expected.
        package init(size: UInt64) { self.size = size }
    }

    private struct Work: Sendable {
        var check: (any FileCheck)?
        /// What an earlier look has read.
        var readBefore: UInt64 = 0
        /// Something was found; the second look decides.
        var isSuspect = false
        var progress: Progress
        /// Nothing goes on after an end, or an error.
        var isOver = false
    }

    package init(_ file: DataFile) {
        self.file = file
        work = Mutex(Work(progress: Progress(size: file.size)))
    }

    /// Something was found once.
    package var isSuspect: Bool { work.withLock(\.isSuspect) }

    /// One step over about so many bytes. Throws where the system could not look: for want of a
    /// descriptor, of memory or of a right, which says nothing of the file; it may be looked at
    /// later, by another verification.
    func step(_ bytes: Int, by runner: StorageRunner) throws(StorageError) -> Progress {
        try work.withLock { work throws(StorageError) in
            precondition(!work.isOver, "a verification goes on after its end")
            do throws(StorageError) {
                if try advance(&work, bytes, runner) { work.progress.outcome = .sound }
            } catch {
                noteRead(&work)
                work.readBefore = work.progress.read
                work.check = nil
                guard let what = error.finding else {
                    work.isOver = true
                    throw error
                }
                if work.isSuspect { work.progress.outcome = .damaged(what) }
                work.isSuspect = true
            }
            noteRead(&work)
            work.isOver = work.progress.outcome != .reading
            if work.isOver { work.check = nil }
            return work.progress
        }
    }

    private func noteRead(_ work: inout Work) {
        guard let check = work.check else { return }
        work.progress.read = work.readBefore + check.bytesRead
        work.progress.size = check.size
    }

    private func advance(
        _ work: inout Work, _ bytes: Int, _ runner: StorageRunner
    ) throws(StorageError) -> Bool {
        var rest = bytes
        if work.check == nil {
            let check = try look(isSecond: work.isSuspect, runner)
            rest -= Int(clamping: check.bytesRead)
            work.check = check
            guard rest > 0 else { return false }
        }
        return try work.check?.run(rest) ?? false
    }

    private func look(
        isSecond: Bool, _ runner: StorageRunner
    ) throws(StorageError) -> any FileCheck {
        // A cold disk that is gone, or another's, says nothing of this node's tables; nor does one
        // that came back in between.
        if isSecond, file.isCold { try runner.requireColdDisk() }
        let fileSystem = runner.fileSystem
        fileSystem.dropCached(file.path)
        switch file {
        case .table(let table):
            return try TableCheck(table.meta, in: fileSystem, options: runner.options)
        case .history(let file):
            return HistoryCheck(try HistoryHandle.open(file.meta, in: fileSystem))
        case .log(let number, _):
            // What the next file says of this one is read as well.
            if isSecond { fileSystem.dropCached(FileNames.log(number + 1)) }
            return try LogFileCheck(number, in: fileSystem)
        case .manifest:
            return ManifestCheck(size: try runner.checkManifest())
        }
    }
}

extension FileVerification: Hashable {
    package static func == (left: FileVerification, right: FileVerification) -> Bool {
        left === right
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(ObjectIdentifier(self))
    }
}

extension StorageError {
    /// What is wrong with the file that was read; nil where it could not be looked at.
    fileprivate var finding: String? {
        switch self {
        case .damaged, .notFound, .newerFormat, .digestMismatch: description
        case .failed, .diskFull, .syncFailed, .writerDead, .locked, .coldTierMissing,
            .scanTooLarge:
            nil
        }
    }
}
