import Core
import Replication
import Ring
import Storage

// Giving a whole copy (docs/decisions/0021-whole-copy.md). The flush that begins with it empties
// the memtable in the very step in which sums and list are taken: what the tables hold when that
// flush is done is what these say.

extension NodeMachine {
    mutating func receive(
        _ message: CopyMessage, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        guard closing.shared[peer] != nil else { return }
        switch message {
        case .probe(let tag):
            let marks = HistoryMarks(
                sealed: closing.durable.sealed, index.base,
                of: ring.partitions(of: peer).intersection(mine))
            send(
                .copy(.marks(tag, marks, isSource: isCopySource)), to: peer, into: &effects)
        case .marks(let tag, let marks, let isSource):
            receive(marks, isSource, tag, from: peer)
        case .ask(let tag, let partitions):
            give(partitions, tag, to: peer, now, into: &effects)
        case .offer(let offer):
            receive(offer, from: peer, now, into: &effects)
        case .next(let tag, let cursor):
            give(cursor, tag, to: peer, now, into: &effects)
        case .part(let part):
            receive(part, from: peer, now, into: &effects)
        }
    }

    /// What it holds in doubt without knowing it as bound is no part of a copy: it comes with the
    /// recovery that follows, as a doubt. Two nodes would else wait for each other.
    private var isCopySource: Bool {
        guard isVoting else { return false }
        for id in doubt where index[id]?.isBound != false { return false }
        return true
    }

    private mutating func give(
        _ partitions: PartitionSet, _ tag: Tag, to peer: NodeID, _ now: Now,
        into effects: inout [Effect]
    ) {
        if let source = copying.source, source.peer == peer, source.tag == tag {
            offerCopy(into: &effects)
            return
        }
        // Silence: the other side repeats itself. A checkpoint would move what is given.
        guard partitions.isSubset(of: mine), isCopySource, flush.frozen == nil,
            copying.source.map({ $0.peer == peer }) ?? true, case .idle = forgetting.phase,
            retention.isIdle, sweeping.yields, yieldRelease()
        else { return }
        copying.source = snapshot(of: partitions, tag, for: peer, now)
        // In this step: what the tables hold is what the snapshot says.
        beginFlush(into: &effects)
        if flush.frozen == nil { copySourceFlushed(into: &effects) }
    }

    private func snapshot(
        of partitions: PartitionSet, _ tag: Tag, for peer: NodeID, _ now: Now
    ) -> CopySource {
        let base = index.base(
            of: partitions, below: closing.durable.sealed, through: .zero,
            outcomesFrom: index.base.outcomesFrom)
        var lines: [CopyOffer.Line] = []
        for partition in partitions {
            lines.append(
                CopyOffer.Line(
                    partition: partition, base: base[partition],
                    applied: index.digests.total(partition),
                    state: heldSum(of: partition).state,
                    dropped: retention.durable.dropped[partition] ?? .zero))
        }
        let bases = Dictionary(lines.map { ($0.partition, $0.base.floor) }) { first, _ in first }
        var sealed: [HistoryDraft] = []
        for id in index.ids(below: closing.durable.sealed) {
            guard let entry = index[id], let draft = entry.outcome, entry.isCounted,
                let floor = bases[entry.home], segment(of: entry.header) < floor,
                !index.isForgotten(segment(of: entry.header), entry.home)
            else { continue }
            sealed.append(draft)
        }
        let source = CopySource(
            peer: peer, tag: tag, partitions: partitions,
            offer: CopyOffer(
                tag: tag, frozen: closing.durable.frozen, outcomesFrom: base.outcomesFrom,
                retained: retention.durable.floor, lines: lines),
            tables: nil, files: forgetting.files, sealed: sealed,
            list: copyList(above: bases), reading: nil,
            deadline: now.monotonic + ReplicationLimits.copyIdleMax * 3)
        return source
    }

    /// What is applied beyond the bases.
    private func copyList(above bases: [PartitionID: Segment]) -> [SyncEntry] {
        var list: [SyncEntry] = []
        for segment in index.heldSegments {
            for id in index.ids(in: segment) {
                guard let entry = index[id] else { continue }
                let applied = entry.applied.filter { partition in
                    bases[partition].map { segment >= $0 } ?? false
                }
                let isHome = bases[entry.home].map { segment >= $0 } ?? false
                // Home records that touch nothing here as well: whoever the recovery asks for them
                // may have let go of them by then.
                guard !applied.isEmpty || isHome && entry.isCounted else { continue }
                list += listed(entry, PartitionSet(applied), isHome: isHome)
            }
        }
        return list
    }

    /// What can be fetched of a batch, and what comes as a husk.
    private func listed(
        _ entry: BatchEntry, _ applied: PartitionSet, isHome: Bool
    ) -> [SyncEntry] {
        let hasRecord = isHome && entry.record?.isDurable == true
        let isKept = entry.record?.position != nil
        let husks = entry.husks(of: applied)
        var list: [SyncEntry] = []
        for isHusk in [false, true] {
            let part = isHusk ? husks : applied.subtracting(husks)
            let isRecordHere = hasRecord && isKept != isHusk
            guard !part.isEmpty || isRecordHere else { continue }
            list.append(
                SyncEntry(
                    header: entry.header, home: entry.home, hasRecord: isRecordHere,
                    applied: part, isFinished: entry.isFinished, isBound: true, isHusk: isHusk))
        }
        return list
    }

    /// The flush is done, or there was nothing to flush: the tables are those of the snapshot.
    mutating func copySourceFlushed(into effects: inout [Effect]) {
        guard copying.source != nil, copying.source?.tables == nil else { return }
        copying.source?.tables = tables
        offerCopy(into: &effects)
    }

    private func isReady(_ source: CopySource) -> Bool { source.tables != nil }

    private mutating func offerCopy(into effects: inout [Effect]) {
        guard let source = copying.source, isReady(source) else { return }
        send(.copy(.offer(source.offer)), to: source.peer, into: &effects)
    }

    private mutating func give(
        _ cursor: CopyCursor, _ tag: Tag, to peer: NodeID, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard let source = copying.source, source.peer == peer, source.tag == tag,
            let tables = source.tables
        else { return }
        copying.source?.deadline = now.monotonic + ReplicationLimits.copyIdleMax * 3
        guard source.reading == nil, jobs.count < ReplicationLimits.jobsMax else { return }
        let place = Int(cursor.place)
        switch cursor.stage {
        case .cells:
            copying.source?.reading = cursor
            run(.copyCells(tables, source.partitions, cursor), .copyPart(tag), into: &effects)
        case .outcomes, .letters, .husks:
            copying.source?.reading = cursor
            var files = source.files
            if cursor.stage == .husks {
                files.removeAll { $0.lastHuskSegment < source.offer.floor }
            }
            run(.copyHistory(files, source.partitions, cursor), .copyPart(tag), into: &effects)
        case .sealed:
            let rest = source.sealed.dropFirst(place)
            copying.source?.reading = cursor
            run(
                .copySealed(Array(rest.prefix(ReplicationLimits.copySealedMax))), .copyPart(tag),
                into: &effects)
        case .list:
            if has(.copyListsLater), place == 0 {
                let bases = Dictionary(
                    source.offer.lines.map { ($0.partition, $0.base.floor) }
                ) { first, _ in first }
                let later = copyList(above: bases)
                copying.source?.list = later
                return give(CopyCursor(.list), later, tag, to: peer, into: &effects)
            }
            give(cursor, source.list, tag, to: peer, into: &effects)
        case .end:
            break
        }
    }

    private mutating func give(
        _ cursor: CopyCursor, _ list: [SyncEntry], _ tag: Tag, to peer: NodeID,
        into effects: inout [Effect]
    ) {
        let place = Int(cursor.place)
        let entries = Array(list.dropFirst(place).prefix(ReplicationLimits.copyListMax))
        let done = place + entries.count
        let next =
            done >= list.count ? cursor.nextStage : CopyCursor(.list, place: UInt32(done))
        send(
            .copy(
                .part(CopyPart(tag: tag, cursor: cursor, content: .list(entries), next: next))),
            to: peer, into: &effects)
    }

    mutating func copyPartRead(
        _ tag: Tag, _ result: StorageResult, into effects: inout [Effect]
    ) {
        guard let source = copying.source, source.tag == tag, let cursor = source.reading else {
            return
        }
        copying.source?.reading = nil
        let content: CopyPart.Content
        let next: CopyCursor
        switch result {
        case .cells(let blocks, let following):
            content = .cells(blocks)
            next = following
        case .entries(let entries, let following):
            content = .history(entries)
            let done = Int(cursor.place) + entries.count
            next =
                following
                ?? (done < source.sealed.count
                    ? CopyCursor(.sealed, place: UInt32(done)) : cursor.nextStage)
        case .husks(let husks, let following):
            content = .husks(husks)
            next = following
        default:
            preconditionFailure("a job of a copy gave what it was not asked for")
        }
        send(
            .copy(.part(CopyPart(tag: tag, cursor: cursor, content: content, next: next))),
            to: source.peer, into: &effects)
    }

    mutating func copyPartFailed(_ tag: Tag, _ error: StorageError) {
        // The other side hears nothing more and begins anew, from another voter if it can.
        if copying.source?.tag == tag { copying.source = nil }
    }

    mutating func advanceCopySource(_ now: Now) {
        guard let source = copying.source else { return }
        if source.deadline <= now.monotonic || !isVoting { copying.source = nil }
    }
}
