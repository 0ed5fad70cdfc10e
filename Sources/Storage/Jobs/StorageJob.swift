package import Core

/// What a question about the past reads beside the live memtable. A value: it stays as it was when
/// it was taken, whatever is flushed or removed meanwhile.
package struct TableSnapshot: Hashable, Sendable {
    package var frozen: [FrozenMemtable]
    package var tables: [TableHandle]

    package init(frozen: [FrozenMemtable] = [], tables: [TableHandle] = []) {
        self.frozen = frozen
        self.tables = tables
    }
}

/// Blocking work that the core asks for and the shell (or the simulator) runs with a
/// `StorageRunner`.
package enum StorageJob: Equatable, Sendable {
    /// Writes a flush's tables, from this id on, one per time bucket. They count after a `commit`.
    case writeTables(FrozenMemtable, firstID: UInt64)
    /// Makes one manifest edit durable. The next is asked for after this one's result.
    case commit(ManifestEdit)
    /// Adds what snapshots hold to rows of the live memtable.
    case series(SeriesQuery, TableSnapshot, base: [SeriesRow])
    /// Adds what snapshots hold to an aggregate of the live memtable, which carries its spec.
    case scan(TableSnapshot, base: ScanAggregate)
    case readLog([LogPosition])
    /// Copies records of the log to files of their own, for people to look at.
    case keepAside([LogPosition])
    /// Writes the index of a log file to which nobody writes any more.
    case indexLog(LogIndexPlan)
    /// Removes log files that `ManifestEdit.logStart` let go of before, and their indexes.
    case removeLogs(before: UInt32)
    /// One step of a compaction, over about so many bytes. Its table counts after a `commit`.
    case compact(TableCompaction, bytes: Int)
    /// Removes what a compaction has written so far.
    case abandonCompaction(TableCompaction)
    /// Removes the files of tables that an edit removed before, by their paths.
    case removeTables([String])
    /// One step of a verification, over about so many bytes: reads a file again and recomputes
    /// all digests.
    case verify(FileVerification, bytes: Int)
    /// Writes a history file; it counts after a `commit`.
    case writeHistory(HistoryPlan)
    /// Writes one history file anew without the bytes of letters that its plan's sweep names, where
    /// enough of it goes; it counts after a `commit`.
    case sweepHistory(HistoryPlan)
    /// What became of a batch that was forgotten.
    case lookUp(BatchID, [HistoryHandle])
    case letters(LetterQuery, [HistoryHandle])
    /// Reads a piece of a snapshot for another replica: the cells of partitions, or the entries of
    /// homes, or husks.
    case copyCells([TableHandle], PartitionSet, CopyCursor)
    case copyHistory([HistoryHandle], PartitionSet, CopyCursor)
    /// Entries of batches whose letters are still in the log.
    case copySealed([HistoryDraft])
    /// Removes history files that an edit removed before.
    case removeHistory([UInt64])
    /// Adds up what these batch records hold for one partition, by code that the memtable does not
    /// share: which of two replicas is wrong.
    case recount(PartitionID, [LogPosition])

    /// Somebody waits for what it reads: it must not stand behind the files that are written in
    /// the background, whose jobs take up to seconds.
    package var isAwaited: Bool {
        switch self {
        case .series, .scan, .readLog, .lookUp, .letters: true
        case .writeTables, .commit, .keepAside, .indexLog, .removeLogs, .compact,
            .abandonCompaction, .removeTables, .verify, .writeHistory, .sweepHistory, .copyCells,
            .copyHistory, .copySealed, .removeHistory, .recount:
            false
        }
    }
}

package enum StorageResult: Equatable, Sendable {
    /// Of `writeTables`; none for an empty memtable.
    case tables([TableHandle])
    case committed(ManifestState)
    /// Merged and sorted by (type, window).
    case rows([SeriesRow])
    case scanned(ScanAggregate)
    /// In the order that was asked for.
    case records([LogRecord])
    /// Of `indexLog`: false where tables do not cover all of the file yet.
    case indexed(Bool)
    case removed
    case kept
    /// How far a compaction is, and its table when that is whole.
    case compacting(TableCompaction.Progress, TableHandle?)
    /// How far a verification is, and what it found when it is done.
    case verifying(FileVerification.Progress)
    case recounted(PartitionSum)
    /// Of `writeHistory`; nil where nothing would be in it.
    case history(HistoryHandle?)
    case swept(HistorySweep)
    case outcome(HistoryEntry?)
    case letters([LetterItem], total: UInt64)
    case cells([[UInt8]], next: CopyCursor)
    /// Of `copyHistory` with where to go on, of `copySealed` without.
    case entries([HistoryEntry], next: CopyCursor?)
    /// Of `copyHistory` at the stage of husks.
    case husks([Husk], next: CopyCursor)
}

/// What a recovery found broken. The node does not vote for what it touches until the
/// other replicas have filled it again.
package enum Damage: Hashable, Sendable, CustomStringConvertible {
    /// Records from `missing` on, as far as that is known, are gone from the log.
    case log(path: String, offset: UInt64, what: String, missing: LSN?)
    /// A table that cannot be read: what it held for these partitions is not here.
    case table(meta: TableMeta, what: String)
    /// A history file that cannot be read: the outcomes in it are not known here.
    case history(path: String, what: String)

    package var what: String {
        switch self {
        case .log(_, _, let what, _), .table(_, let what), .history(_, let what): what
        }
    }

    package var description: String {
        switch self {
        case .log(let path, let offset, let what, let missing):
            "\(path), byte \(offset): \(what)" + (missing.map { "; missing from LSN \($0)" } ?? "")
        case .table(let meta, let what):
            "\(meta.path): \(what); it held \(meta.cells) cells "
                + "of \(meta.partitions.count) partitions"
        case .history(let path, let what):
            "\(path): \(what)"
        }
    }
}

extension TableHandle: Hashable {
    package static func == (left: TableHandle, right: TableHandle) -> Bool { left === right }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(ObjectIdentifier(self))
    }
}

extension FrozenMemtable: Hashable {
    package static func == (left: FrozenMemtable, right: FrozenMemtable) -> Bool { left === right }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(ObjectIdentifier(self))
    }
}
