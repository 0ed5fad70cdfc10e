import Core
import Gossip
import Replication
import Ring
import Storage
import Wire

// Taking a whole copy (docs/decisions/0021-whole-copy.md): this replica recovers, and what it lacks
// is no longer in anybody's log. It sets aside what it has, takes cells, outcomes and the list of
// younger batches from one voter per partition, and counts all of it from one manifest edit on.
// Then it recovers like any other.

extension NodeMachine {
    private static let probeFor: Duration = .milliseconds(600)
    private static let draftsMax = 16 << 10

    /// Records that this node needs are forgotten by `peer`, or by one that spoke before.
    mutating func beginProbing(_ now: Now, into effects: inout [Effect]) {
        guard case .none = copying.phase, isRecovering else { return }
        copying.phase = .probing(since: now.monotonic, newTag())
        copying.marks = [:]
        copying.repeatAt = now.monotonic
        failSyncs(now, into: &effects)
    }

    private mutating func failSyncs(_ now: Now, into effects: inout [Effect]) {
        for tag in syncs.keys.sorted() {
            var steps: [SyncSession.Effect] = []
            syncs[tag]?.fail(into: &steps)
            carry(steps, of: tag, now, into: &effects)
        }
    }

    mutating func receive(_ marks: HistoryMarks, _ isSource: Bool, _ tag: Tag, from peer: NodeID) {
        guard case .probing(_, tag) = copying.phase else { return }
        copying.marks[peer] = isSource ? marks : nil
    }

    mutating func advanceCopying(_ now: Now, into effects: inout [Effect]) {
        advanceCopySource(now)
        let isTime = now.monotonic >= copying.repeatAt
        if isTime { copying.repeatAt = now.monotonic + Self.repeatAfter }
        switch copying.phase {
        case .none:
            break
        case .probing(let since, let tag):
            if isTime {
                for peer in closing.shared.keys.sorted() where isReachable(peer) {
                    send(.copy(.probe(tag)), to: peer, into: &effects)
                }
            }
            if now.monotonic >= since + Self.probeFor { chooseSources(now, into: &effects) }
        case .clearing:
            setAside(now, into: &effects)
        case .copying(let target):
            guard isTime else { return }
            advance(target, now, into: &effects)
        }
    }

    // MARK: - Beginning

    private mutating func chooseSources(_ now: Now, into effects: inout [Effect]) {
        // A flush, a compaction or a checkpoint that is under way ends first.
        guard hasDiskRoom, flush.frozen == nil, compaction.isIdle, case .idle = forgetting.phase,
            retention.isIdle, sweeping.yields, yieldRelease()
        else { return }
        guard isEmpty else {
            // A mark behind that LSN would speak of a record that goes with what lies before it,
            // and a record that is fetched would be in the log alone.
            applies = [:]
            applyQueue = []
            fetches = [:]
            copying.phase = .clearing(through: log.last, isCommitting: false)
            effects.append(.sync)
            setAside(now, into: &effects)
            return
        }
        var shares: [NodeID: PartitionSet] = [:]
        for partition in mine {
            let voters = ring.replicas(of: partition).filter { $0 != configuration.node }
            guard !voters.isEmpty else { continue }
            var best: (node: NodeID, mark: Segment)?
            for voter in voters.sorted() {
                guard let marks = copying.marks[voter], isReachable(voter) else { continue }
                let mark = max(marks.sealed, marks.floor(of: partition))
                if best.map({ mark > $0.mark }) ?? true { best = (node: voter, mark: mark) }
            }
            guard let best else { return }
            shares[best.node, default: PartitionSet()].insert(partition)
        }
        var works: [CopyWork] = []
        for (peer, partitions) in shares.sorted(by: { $0.key < $1.key }) {
            works.append(
                CopyWork(peer: peer, tag: newTag(), partitions: partitions, fetch: newTag()))
        }
        effects.append(.report(.copying(from: works.map(\.peer))))
        copying.phase = .copying(CopyTarget(works: works, now: now.monotonic))
        continueCopy(now, into: &effects)
    }

    private var isEmpty: Bool {
        index.count == 0 && tables.isEmpty && memtable.isEmpty && forgetting.files.isEmpty
            && index.base.partitions.isEmpty
    }

    /// What is here goes in one edit: an old part of the history cannot be joined with a copy.
    private mutating func setAside(_ now: Now, into effects: inout [Effect]) {
        guard case .clearing(let through, isCommitting: false) = copying.phase, through <= synced
        else { return }
        copying.phase = .clearing(through: through, isCommitting: true)
        var edit = ManifestEdit(
            removeTables: tables.map(\.meta.id), coveredThrough: max(coveredThrough, through))
        edit.removeHistory = forgetting.files.map(\.meta.id)
        edit.base = HistoryBase.none
        edit.voidThrough = through
        edit.retention = Retention(floor: retention.durable.floor)
        run(.commit(edit), .clearing, into: &effects)
    }

    mutating func wasSetAside(_ now: Now, into effects: inout [Effect]) {
        guard case .clearing(let through, _) = copying.phase else {
            preconditionFailure("nothing was to be set aside")
        }
        let removed = (tables: tables.map(\.meta.path), history: forgetting.files.map(\.meta.id))
        // Others may hold them as well; if not, they do not count.
        keepAside(doubt.sorted().filter { index[$0]?.isBound == false }, into: &effects)
        index = BatchIndex(
            partitions: configuration.partitions, mine: mine, key: configuration.digestKey,
            segmentLength: configuration.segmentLength, combinesByXor: has(.xorDigest))
        index.release(before: logStart, through: .zero)
        memtable = configuration.emptyMemtable
        memtableSince = nil
        settling = SettleState()
        if !flushRequests.isEmpty { wantFlush() }
        copyTable = configuration.emptyMemtable
        retention.durable.dropped = [:]
        tables = []
        forgetting.files = []
        coveredThrough = max(coveredThrough, through)
        lastMark = coveredThrough
        pending = PendingRecords()
        waiters.removeAll { $0.isOfBatch }
        awaited = [:]
        for tag in unites.keys.sorted() { failUnite(tag, "it begins anew", into: &effects) }
        doubt = []
        drives = DriveQueue()
        audit.setAside()
        restartRecovery()
        effects.append(.report(.setAside(through: through)))
        if !removed.tables.isEmpty {
            removeTables(removed.tables, into: &effects)
        }
        if !removed.history.isEmpty {
            run(.removeHistory(removed.history), .removal, into: &effects)
        }
        copying.phase = .probing(since: now.monotonic, newTag())
        copying.marks = [:]
    }

    // MARK: - Pulling

    mutating func receive(
        _ offer: CopyOffer, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        guard var target = copying.target, case .pulling = target.stage,
            target.current < target.works.count
        else { return }
        let work = target.works[target.current]
        guard work.peer == peer, work.tag == offer.tag, work.offer == nil,
            PartitionSet(offer.lines.map(\.partition)) == work.partitions,
            offer.retained.isPlausible(buckets)
        else { return }
        target.works[target.current].offer = offer
        target.idleSince = now.monotonic
        copying.phase = .copying(target)
        continueCopy(now, into: &effects)
    }

    mutating func receive(
        _ part: CopyPart, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        guard let work = copying.target?.waitsForPart, work.peer == peer, work.tag == part.tag,
            work.cursor == part.cursor, case .copying(var target) = copying.phase
        else { return }
        // One owner while it grows.
        copying.phase = .none
        switch part.content {
        case .cells(let blocks):
            for block in blocks {
                do throws(DecodeError) {
                    try copyTable.add(block: block, of: work.partitions)
                } catch {
                    copying.phase = .copying(target)
                    abandonCopy("\(peer) gave cells that cannot be read: \(error)", now, &effects)
                    return
                }
            }
        case .history(let entries):
            for entry in entries where work.partitions.contains(entry.home) {
                target.drafts.append(entry.draft(part.cursor.stage))
            }
        case .list(let entries):
            for entry in entries { target.take(entry) }
        case .husks(let husks):
            // Forgotten ones stay in files until these are merged.
            let floor = work.offer?.floor ?? .first
            for husk in husks where segment(of: husk.header) >= floor {
                target.take(husk, of: work.partitions)
            }
        }
        target.works[target.current].cursor = part.next
        target.idleSince = now.monotonic
        copying.phase = .copying(target)
        continueCopy(now, into: &effects)
    }

    /// Writes what has gathered, asks for the next piece, or goes on to the records.
    private mutating func continueCopy(_ now: Now, into effects: inout [Effect]) {
        guard var target = copying.target, case .pulling = target.stage, !target.isWriting else {
            return
        }
        let isDone = target.current == target.works.count
        if isDone, !target.hasHusks, !target.chooseHusks() {
            abandonCopy("what is left of a batch did not come with it", now, &effects)
            return
        }
        let work = isDone ? nil : target.works[target.current]
        let isPastCells = work.map { $0.cursor.stage != .cells } ?? true
        if !copyTable.isEmpty,
            isPastCells || copyTable.bytes >= configuration.memtableBytesMax
        {
            target.isWriting = true
            copying.phase = .copying(target)
            run(
                .writeTables(copyTable.freeze(through: .zero), firstID: flush.nextTableID),
                .copyTables, into: &effects)
        } else if isDone && !target.huskDrafts.isEmpty
            || !target.drafts.isEmpty && (isDone || target.drafts.count >= Self.draftsMax)
        {
            var plan = HistoryPlan(
                id: forgetting.nextID, level: 0, segmentLength: configuration.segmentLength,
                drafts: target.drafts)
            plan.husks = target.huskDrafts
            forgetting.nextID += 1
            target.drafts = []
            target.huskDrafts = []
            target.isWriting = true
            copying.phase = .copying(target)
            run(.writeHistory(plan), .copyHistory, into: &effects)
        } else if let work {
            if work.cursor.stage == .end {
                target.current += 1
                copying.phase = .copying(target)
                continueCopy(now, into: &effects)
            } else {
                ask(work, into: &effects)
            }
        } else {
            beginFetching(target, now, into: &effects)
        }
    }

    private mutating func ask(_ work: CopyWork, into effects: inout [Effect]) {
        let message: CopyMessage =
            work.offer == nil ? .ask(work.tag, work.partitions) : .next(work.tag, work.cursor)
        send(.copy(message), to: work.peer, into: &effects)
    }

    mutating func copyTablesWritten(
        _ written: [TableHandle], _ now: Now, into effects: inout [Effect]
    ) {
        flush.nextTableID = max(flush.nextTableID, (written.map(\.meta.id).max() ?? 0) + 1)
        guard var target = copying.target else { return }
        target.tables.append(contentsOf: written)
        target.isWriting = false
        target.idleSince = now.monotonic
        copying.phase = .copying(target)
        continueCopy(now, into: &effects)
    }

    mutating func copyHistoryWritten(
        _ file: HistoryHandle?, _ now: Now, into effects: inout [Effect]
    ) {
        guard var target = copying.target else { return }
        if let file { target.files.append(file) }
        target.isWriting = false
        target.idleSince = now.monotonic
        copying.phase = .copying(target)
        continueCopy(now, into: &effects)
    }

    // MARK: - Ending

    /// Time passes: repeats itself, or gives up.
    private mutating func advance(
        _ target: CopyTarget, _ now: Now, into effects: inout [Effect]
    ) {
        if target.isWriting { return }
        switch target.stage {
        case .marking, .committing:
            return
        case .pulling, .fetching:
            break
        }
        guard now.monotonic < target.idleSince + ReplicationLimits.copyIdleMax else {
            abandonCopy("its source fell silent", now, &effects)
            return
        }
        // Those that gave their part already must not forget what they listed.
        for work in target.works where work.cursor.stage == .end {
            send(.copy(.next(work.tag, work.cursor)), to: work.peer, into: &effects)
        }
        if case .fetching = target.stage {
            continueFetching(now, into: &effects)
        } else if target.current < target.works.count {
            ask(target.works[target.current], into: &effects)
        }
    }

    /// The copy is given up, and with it what came: another one begins.
    mutating func abandonCopy(_ why: String, _ now: Now, _ effects: inout [Effect]) {
        guard let target = copying.target else { return }
        copyTable = configuration.emptyMemtable
        for work in target.works { fetches[work.fetch] = nil }
        if !target.tables.isEmpty {
            removeTables(target.tables.map(\.meta.path), into: &effects)
        }
        if !target.files.isEmpty {
            run(.removeHistory(target.files.map(\.meta.id)), .removal, into: &effects)
        }
        effects.append(.report(.copyInterrupted(why)))
        copying.phase = .probing(since: now.monotonic, newTag())
        copying.marks = [:]
    }
}

extension CopyTarget {
    /// The giver whose next piece is wanted now.
    fileprivate var waitsForPart: CopyWork? {
        guard case .pulling = stage, !isWriting, current < works.count,
            works[current].offer != nil
        else { return nil }
        return works[current]
    }

    mutating func take(_ entry: SyncEntry) {
        let id = entry.header.id
        var listed = list[id] ?? Listed(header: entry.header, home: entry.home)
        listed.applied.formUnion(entry.applied)
        listed.givers.append((work: current, entry: entry))
        list[id] = listed
    }

    mutating func take(_ husk: Husk, of partitions: PartitionSet) {
        guard let part = husk.part(of: partitions) else { return }
        let id = husk.header.id
        if husks[id]?.header == husk.header {
            husks[id]?.merge(part)
        } else {
            husks[id] = part
        }
    }

    /// All givers have given: of the husks, those count that were listed as such. False where one
    /// is missing.
    mutating func chooseHusks() -> Bool {
        hasHusks = true
        var chosen: [BatchID: Husk] = [:]
        for id in list.keys.sorted() {
            guard var listed = list[id] else { continue }
            let givers = listed.givers.filter { $0.entry.isHusk }
            guard !givers.isEmpty else { continue }
            guard var husk = husks[id], husk.header == listed.header else { return false }
            var wanted = PartitionSet()
            for giver in givers { wanted.formUnion(giver.entry.applied) }
            let isHome = givers.contains { $0.entry.hasRecord }
            guard wanted.isSubset(of: husk.partitions), husk.hasRecord || !isHome else {
                return false
            }
            husk.hasRecord = isHome
            husk.applied = husk.applied.filter { wanted.contains($0.partition) }
            if !isHome { husk.touched = wanted }
            for slice in husk.applied { listed.hashes[slice.partition] = slice.hash }
            list[id] = listed
            chosen[id] = husk
        }
        husks = chosen
        huskDrafts = chosen.keys.sorted().compactMap { chosen[$0].map { HuskDraft($0) } }
        return true
    }
}

extension HistoryEntry {
    /// An outcome without its letters gets them from a piece of its own.
    fileprivate func draft(_ stage: CopyCursor.Stage) -> HistoryDraft {
        HistoryDraft(
            header: header, home: home, totals: totals,
            letters: stage == .outcomes ? .elsewhere : .given(letters))
    }
}

extension SyncWaiter {
    /// It is about a record of a batch, and not about this node's memory or its segments.
    var isOfBatch: Bool {
        switch self {
        case .bind, .held: true
        case .remembered, .absence, .marked: false
        }
    }
}
