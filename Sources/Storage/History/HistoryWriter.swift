package import Core
import Wire

/// A batch on its way into a history file.
package struct HistoryDraft: Hashable, Sendable {
    package enum Letters: Hashable, Sendable {
        /// In the home record at this place of the log.
        case inLog(LogPosition)
        /// As another replica gave them.
        case given([DeadLetter])
        /// In another file: only the outcome is written.
        case elsewhere
    }

    package var header: BatchHeader
    package var home: PartitionID
    package var totals: BatchTotals
    package var letters: Letters

    package init(
        header: BatchHeader, home: PartitionID, totals: BatchTotals, letters: Letters
    ) {
        self.header = header
        self.home = home
        self.totals = totals
        self.letters = letters
    }
}

/// What one history file is to hold: new entries, those of other files, or both.
package struct HistoryPlan: Hashable, Sendable {
    package var id: UInt64
    package var level: UInt8
    package var segmentLength: Duration
    package var drafts: [HistoryDraft]
    package var merged: [HistoryHandle]
    /// Outcomes of the segments below are left out; dead letters stay.
    package var outcomesFrom: Segment
    /// Batches whose payload is let go of; what their outcomes are `drafts` say.
    package var husks: [HuskDraft] = []
    /// Husks of the segments below are left out: their batches are forgotten.
    package var husksFrom = Segment.first
    /// Which letters of merged files lose their bytes; nil: none.
    package var sweep: LetterSweep?

    package init(
        id: UInt64, level: UInt8, segmentLength: Duration, drafts: [HistoryDraft],
        merged: [HistoryHandle] = [], outcomesFrom: Segment = .first
    ) {
        self.id = id
        self.level = level
        self.segmentLength = segmentLength
        self.drafts = drafts
        self.merged = merged
        self.outcomesFrom = outcomesFrom
    }
}

/// Writes a history file, and believes it only after reading it back.
struct HistoryWriter {
    let fileSystem: any FileSystem
    private let plan: HistoryPlan
    private var footer: HistoryFooter
    private var index = HistoryIndex()
    private var hashes: [UInt64] = []
    private var block = ByteWriter()
    private var blockStart: (segment: Segment, id: BatchID)?
    private var offset: UInt64 = 0

    init(fileSystem: any FileSystem, plan: HistoryPlan) {
        self.fileSystem = fileSystem
        self.plan = plan
        footer = HistoryFooter(
            id: plan.id, level: plan.level, segmentLength: plan.segmentLength)
    }

    /// The file under its final name, durable; nil where nothing would be in it. It does not count
    /// before the manifest lists it.
    mutating func write() throws(StorageError) -> HistoryHandle? {
        let draft = FileNames.history(plan.id) + FileNames.draftSuffix
        let file = try fileSystem.open(draft, .replace)
        // The next attempt writes another file, and one that cannot be merged is tried again and
        // again: their drafts would add up.
        let isEmpty = try fileSystem.drafting(draft) { () throws(StorageError) in
            try fill(file)
            guard footer.outcomes > 0 || footer.letters > 0 || footer.husks > 0 else {
                try fileSystem.remove(draft)
                return true
            }
            try HistoryHandle.open(file, id: plan.id, as: draft).verify()
            return false
        }
        if isEmpty { return nil }
        let path = FileNames.history(plan.id)
        try fileSystem.rename(draft, to: path)
        file.endWriting()
        try fileSystem.syncDirectory(FileNames.historyDirectory)
        return try HistoryHandle.open(file, id: plan.id, as: path)
    }

    private mutating func fill(_ file: any StoredFile) throws(StorageError) {
        try copy(.outcomes, to: file)
        try copy(.letters, to: file)
        try copyHusks(to: file)
        footer.indexOffset = offset
        let indexChecksum = try append(.historyIndex, index.bytes, to: file)
        footer.filterOffset = offset
        let filterChecksum = try append(
            .historyFilter, KeyFilter(hashes: hashes).bytes, to: file)
        footer.checksums = SectionChecksums(index: indexChecksum, filter: filterChecksum)
        let footerOffset = offset
        try append(.historyFooter, footer.bytes, to: file)
        let tail = FramedFile.tail(
            of: HistoryFooter.kind, footerOffset: footerOffset, length: offset - footerOffset)
        try file.write([tail], at: offset)
        try file.sync()
    }

    /// The frame's checksum.
    @discardableResult
    private mutating func append(
        _ kind: SectionFrame.Kind, _ raw: [UInt8], to file: any StoredFile
    ) throws(StorageError) -> UInt32 {
        let frame = SectionFrame.encode(kind, raw, table: plan.id, at: offset)
        try file.write([frame], at: offset)
        offset += UInt64(frame.count)
        return SectionFrame.checksum(frame)
    }

    // MARK: - Regions

    /// All sources of a region, merged in its order. An id that several of them know is the same
    /// batch: it is written once.
    private mutating func copy(
        _ region: HistoryRegion, to file: any StoredFile
    ) throws(StorageError) {
        let length = plan.segmentLength
        var cursors = plan.merged.map { HistoryCursor($0, region) }
        let drafts = plan.drafts.filter { region == .outcomes || $0.hasLetters }
            .map { draft in (draft: draft, entry: draft.outcome) }
            .sorted { region.isBefore($0.entry, $1.entry, length) }
        var nextDraft = 0
        var last: BatchID?
        while true {
            var best = nextDraft < drafts.count ? drafts[nextDraft].entry : nil
            var source: Int?
            for place in cursors.indices {
                guard let entry = try cursors[place].peek() else { continue }
                guard let least = best else {
                    best = entry
                    source = place
                    continue
                }
                if region.isBefore(entry, least, length) {
                    best = entry
                    source = place
                }
            }
            guard var entry = best else { break }
            if let source {
                cursors[source].skip()
            } else {
                if region == .letters {
                    entry.letters = try drafts[nextDraft].draft.readLetters(from: fileSystem)
                }
                nextDraft += 1
            }
            if entry.header.id != last { try add(entry, region, to: file) }
            last = entry.header.id
        }
        try closeBlock(region.kind, to: file)
    }

    private mutating func add(
        _ entry: HistoryEntry, _ region: HistoryRegion, to file: any StoredFile
    ) throws(StorageError) {
        let segment = entry.segment(plan.segmentLength)
        if region == .outcomes {
            guard segment >= plan.outcomesFrom else { return }
            block.write(outcome: entry)
            hashes.append(HistoryHandle.hash(entry.header.id))
            footer.outcomes += 1
        } else {
            guard let kept = plan.sweep.map({ $0.kept(of: entry) }) ?? entry else { return }
            block.write(kept)
            footer.letters += 1
        }
        if blockStart == nil {
            blockStart = (region == .outcomes ? .first : segment, entry.header.id)
        }
        note(segment)
        if block.bytes.count >= StorageLimits.blockTarget { try closeBlock(region.kind, to: file) }
    }

    private mutating func note(_ segment: Segment) {
        footer.firstSegment = min(footer.firstSegment, segment)
        footer.lastSegment = max(footer.lastSegment, segment)
    }

    private mutating func closeBlock(
        _ kind: SectionFrame.Kind, to file: any StoredFile
    ) throws(StorageError) {
        guard let start = blockStart else { return }
        let begin = offset
        let checksum = try append(kind, block.bytes, to: file)
        block = ByteWriter()
        blockStart = nil
        let entry = HistoryBlock(
            offset: begin, length: Int(offset - begin), segment: start.segment, id: start.id,
            checksum: checksum)
        switch kind {
        case .outcomes: index.outcomes.append(entry)
        case .letters: index.letters.append(entry)
        case .husks: index.husks.append(entry)
        default: preconditionFailure("a history file has no blocks of \(kind)")
        }
    }

    // MARK: - Husks

    /// New husks and those of merged files. Two of one batch, each with a part of it, become one.
    private mutating func copyHusks(to file: any StoredFile) throws(StorageError) {
        let new = try HuskDraft.fill(plan.husks, from: fileSystem)
        var cursors = plan.merged.map { HistoryCursor(husksOf: $0) }
        var next = 0
        while true {
            var least = next < new.count ? new[next].header.id : nil
            for place in cursors.indices {
                guard let id = try cursors[place].peek()?.header.id else { continue }
                least = least.map { min($0, id) } ?? id
            }
            guard let id = least else { break }
            var whole: Husk?
            while next < new.count, new[next].header.id == id {
                whole = Self.union(whole, new[next])
                next += 1
            }
            for place in cursors.indices {
                guard let husk = try cursors[place].peek(), husk.header.id == id else { continue }
                whole = Self.union(whole, husk)
                cursors[place].skip()
            }
            if let whole { try add(whole, to: file) }
        }
        try closeBlock(.husks, to: file)
    }

    private static func union(_ one: Husk?, _ other: Husk) -> Husk {
        guard var one else { return other }
        one.merge(other)
        return one
    }

    private mutating func add(_ husk: Husk, to file: any StoredFile) throws(StorageError) {
        let segment = husk.segment(plan.segmentLength)
        guard segment >= plan.husksFrom else { return }
        if blockStart == nil { blockStart = (.first, husk.header.id) }
        block.write(husk)
        footer.husks += 1
        footer.lastHuskSegment = max(footer.lastHuskSegment, segment)
        note(segment)
        if block.bytes.count >= StorageLimits.blockTarget { try closeBlock(.husks, to: file) }
    }
}

extension HistoryDraft {
    fileprivate var outcome: HistoryEntry {
        HistoryEntry(header: header, home: home, totals: totals)
    }

    fileprivate var hasLetters: Bool { totals.dead > 0 && letters != .elsewhere }

    /// With its letters, wherever they are.
    func entry(from fileSystem: any FileSystem) throws(StorageError) -> HistoryEntry {
        var entry = outcome
        if totals.dead > 0 { entry.letters = try readLetters(from: fileSystem) }
        return entry
    }

    fileprivate func readLetters(
        from fileSystem: any FileSystem
    ) throws(StorageError) -> [DeadLetter] {
        switch letters {
        case .given(let letters):
            return letters
        case .elsewhere:
            return []
        case .inLog(let position):
            return try LogReader.read([position], from: fileSystem)[0]
                .batch(header) { batch throws(DecodeError) in try batch.deadLetters() }
        }
    }
}
