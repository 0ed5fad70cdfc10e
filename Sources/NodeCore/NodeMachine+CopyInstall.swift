import Core
import Replication
import Ring
import Storage
import Wire

// The end of a whole copy: the records of what is younger than its base, their marks, and the edit
// with which all of it counts.

extension NodeMachine {
    mutating func beginFetching(
        _ pulled: CopyTarget, _ now: Now, into effects: inout [Effect]
    ) {
        var target = pulled
        let sums = TableSums(
            target.tables, dropped: target.retention(after: retention.durable).dropped,
            partitions: configuration.partitions)
        for offer in target.works.compactMap(\.offer) {
            for line in offer.lines where sums[line.partition].state != line.state {
                abandonCopy(
                    "the cells of \(line.partition) are not what they were copied from", now,
                    &effects)
                return
            }
        }
        target.stage = .fetching
        target.open = target.list.keys.sorted()
        target.idleSince = now.monotonic
        copying.phase = .copying(target)
        continueFetching(now, into: &effects)
    }

    /// Asks for what is missing; goes on when nothing is.
    mutating func continueFetching(_ now: Now, into effects: inout [Effect]) {
        guard var target = copying.target, case .fetching = target.stage else { return }
        var open: [BatchID] = []
        for id in target.open {
            if let listed = target.list[id], !isCopied(listed) { open.append(id) }
        }
        if open.count < target.open.count { target.idleSince = now.monotonic }
        target.open = open
        copying.phase = .copying(target)
        guard !target.open.isEmpty else {
            mark(target, now, into: &effects)
            return
        }
        let base = target.base(partitions: configuration.partitions, through: .zero)
        for (number, work) in target.works.enumerated() where fetches[work.fetch] == nil {
            var needs: [SyncNeed] = []
            for id in target.open {
                guard let listed = target.list[id] else { continue }
                for giver in listed.givers where giver.work == number && !giver.entry.isHusk {
                    needs.append(need(giver.entry, base))
                }
            }
            guard !needs.isEmpty else { continue }
            beginFetch(needs, from: work.peer, for: work.fetch, now, into: &effects)
        }
    }

    private func need(_ entry: SyncEntry, _ base: HistoryBase) -> SyncNeed {
        let isHome =
            entry.hasRecord && mine.contains(entry.home)
            && segment(of: entry.header) >= base[entry.home].floor
        return SyncNeed(
            header: entry.header, home: entry.home, wantsRecord: isHome,
            partitions: entry.applied, isFinished: entry.isFinished)
    }

    /// The log holds, durably, what a listed batch was counted from.
    private func isCopied(_ listed: CopyTarget.Listed) -> Bool {
        guard listed.applied.allSatisfy({ listed.hashes[$0] != nil }) else { return false }
        let logged = listed.logged
        if logged.isEmpty, !listed.givers.contains(where: { !$0.entry.isHusk }) { return true }
        guard let entry = index[listed.header.id], entry.header == listed.header else {
            return false
        }
        if let record = entry.record { return record.isDurable }
        var held = PartitionSet()
        for slices in entry.slices where slices.isDurable { held.formUnion(slices.partitions) }
        return logged.isSubset(of: held)
    }

    /// The records of a copy name the slices that its list says are applied.
    mutating func noteCopied(_ record: BatchRecord) {
        guard case .copying(var target) = copying.phase,
            var listed = target.list[record.header.id], listed.header == record.header
        else { return }
        copying.phase = .none
        for slice in record.slices where listed.applied.contains(slice.partition) {
            listed.hashes[slice.partition] = slice.hash
        }
        target.list[record.header.id] = listed
        copying.phase = .copying(target)
    }

    // MARK: - Marks

    private mutating func mark(
        _ fetched: CopyTarget, _ now: Now, into effects: inout [Effect]
    ) {
        var target = fetched
        if let wrong = firstMismatch(target) {
            abandonCopy("the batches of \(wrong) are not those that were listed", now, &effects)
            return
        }
        for id in target.list.keys.sorted() {
            guard let logged = target.list[id]?.logged, !logged.isEmpty else { continue }
            let append = log.append(
                kind: LogKind.applied.rawValue,
                payload: AppliedMark(id: id, partitions: logged).encoded)
            effects.append(.append(append))
        }
        target.stage = .marking(through: log.last)
        copying.phase = .copying(target)
        effects.append(.sync)
        commitCopy(into: &effects)
    }

    /// Base and list together must be the set of which the giver told the sum.
    private func firstMismatch(_ target: CopyTarget) -> PartitionID? {
        var sums: [PartitionID: SetDigest] = [:]
        for (id, listed) in target.list {
            for (partition, hash) in listed.hashes where listed.applied.contains(partition) {
                sums[partition, default: .empty].insert(
                    SetDigest.term(id, hash, key: configuration.digestKey))
            }
        }
        for line in target.works.compactMap(\.offer).flatMap(\.lines) {
            var sum = line.base.applied
            sum.merge(sums[line.partition] ?? .empty)
            let isBlind = has(.xorDigest) || has(.copyListsLater)
            if sum != line.applied, !isBlind { return line.partition }
        }
        return nil
    }

    mutating func commitCopy(into effects: inout [Effect]) {
        guard var target = copying.target, case .marking(let through) = target.stage,
            through <= synced
        else { return }
        let base = target.base(partitions: configuration.partitions, through: through)
        var edit = ManifestEdit(addTables: target.tables.map(\.meta), coveredThrough: through)
        edit.addHistory = target.files.map(\.meta)
        edit.base = base
        edit.retention = target.retention(after: retention.durable)
        target.stage = .committing(base, through: through)
        copying.phase = .copying(target)
        run(.commit(edit), .copyCommit, into: &effects)
    }

    mutating func copyCommitted(_ now: Now, into effects: inout [Effect]) {
        guard let target = copying.target, case .committing(let base, let through) = target.stage
        else { preconditionFailure("a copy was committed that nobody began") }
        index.install(base)
        for id in target.list.keys.sorted() {
            guard let listed = target.list[id] else { continue }
            if let husk = target.husks[id] { index.hold(husk, at: now.monotonic) }
            index.markBound(id)
            let held = index[id]?.applied ?? PartitionSet()
            let hashes = listed.logged.subtracting(held).compactMap { partition in
                listed.hashes[partition].map { (partition: partition, hash: $0) }
            }
            index.markApplied(id, hashes, at: now.monotonic)
        }
        retention.durable = target.retention(after: retention.durable)
        tables.append(contentsOf: target.tables)
        forgetting.files.append(contentsOf: target.files)
        sweeping.isDue = true
        coveredThrough = max(coveredThrough, through)
        lastMark = through
        copying.phase = .none
        copying.marks = [:]
        counters.copies += 1
        for offer in target.works.compactMap(\.offer) {
            raiseFreeze(to: offer.frozen, now, into: &effects)
        }
        effects.append(
            .report(.copied(from: target.works.map(\.peer), batches: target.list.count)))
    }
}
