import Core
import Gossip
import Replication
import Ring
import Storage
import Wire

/// Who waits for a batch to be counted here, and where.
struct ApplyWork {
    var partitions = PartitionSet()
    /// Those that a read waits for: counted at once, without a turn.
    var urgent = PartitionSet()
    var replies: [(node: NodeID, tag: Tag, partitions: PartitionSet)] = []
    var isLoading = false
    /// The next portion is counted when its turn comes.
    var isQueued = false
}

// Counting a bound batch.

extension NodeMachine {
    mutating func receive(
        _ apply: Apply, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        let id = apply.header.id
        if index[id] == nil,
            isForgotten(apply.header, in: apply.partitions.intersection(mine), asHome: true)
        {
            let reply = ApplyReply(
                tag: apply.tag, applied: apply.partitions.intersection(mine), isMissing: false,
                vote: vote)
            send(.applyReply(reply), to: peer, into: &effects)
            return
        }
        guard let entry = index[id], entry.header.contentHash == apply.header.contentHash,
            entry.record != nil, entry.canGive(apply.partitions.intersection(mine))
        else {
            let reply = ApplyReply(
                tag: apply.tag, applied: PartitionSet(), isMissing: true, vote: vote)
            send(.applyReply(reply), to: peer, into: &effects)
            return
        }
        decideBound(id, now, into: &effects)
        want(
            id, apply.partitions, reply: (node: peer, tag: apply.tag, partitions: apply.partitions),
            now, into: &effects)
    }

    /// A majority holds it: remembered lazily, since it can be asked again.
    mutating func decideBound(_ id: BatchID, _ now: Now, into effects: inout [Effect]) {
        guard let entry = index[id], !entry.isBound else { return }
        index.markBound(id)
        // A mark of its application says it as well; this is for homes that apply nothing.
        if entry.touched.intersection(mine).isEmpty {
            let mark = ProgressMark(
                id: id, contentHash: entry.header.contentHash, isFinished: false)
            effects.append(
                .append(log.append(kind: LogKind.progress.rawValue, payload: mark.encoded)))
        }
        settleDoubt(id, into: &effects)
        checkSettled(id, now, into: &effects)
    }

    mutating func receiveSlices(
        _ record: BatchRecord, _ tag: Tag, from peer: NodeID, _ now: Now,
        into effects: inout [Effect]
    ) {
        let partitions = record.partitions
        guard partitions.isSubset(of: mine), record.kind == .slices, isOfThisRing(record)
        else { return }
        if index[record.header.id] == nil,
            isForgotten(record.header, in: partitions, asHome: false)
        {
            // Slices come of bound batches only, and those of forgotten segments are all applied.
            let reply = ApplyReply(tag: tag, applied: partitions, isMissing: false, vote: vote)
            send(.applyReply(reply), to: peer, into: &effects)
            return
        }
        if let why = lacksRoom, !holdsSlices(record) {
            noteHeldBack(why)
            // The batch is bound, and its coordinator repeats itself as long as its client waits;
            // but it begins nothing more that would need this node.
            answerBind(tag, .unable(why), to: peer, into: &effects)
            return
        }
        // The disk does not keep up: silence, and the coordinator repeats itself.
        guard unsynced.byteCount < ReplicationLimits.unsyncedBytesMax else { return }
        guard holdSlices(record, now, into: &effects) else { return }
        want(
            record.header.id, partitions, reply: (node: peer, tag: tag, partitions: partitions),
            now, into: &effects)
    }

    /// Keeps what is new of these slices of a bound batch. False where another content is bound
    /// here, which never happens while at most one is bound.
    mutating func holdSlices(
        _ record: BatchRecord, _ now: Now, into effects: inout [Effect]
    ) -> Bool {
        let id = record.header.id
        if let entry = index[id] {
            if entry.header.contentHash == record.header.contentHash {
                if holdsSlices(record) {
                    decideBound(id, now, into: &effects)
                    return true
                }
            } else if entry.isBound || !entry.applied.isEmpty {
                effects.append(.halt("two contents of batch \(id) are bound"))
                return false
            }
        }
        let append = appendSynced(.slices, record.bytes, into: &effects)
        index.holdSlices(record, lsn: append.lsn, at: append.position)
        unsynced.insert(append.lsn, record.bytes.count)
        waiters.append(.held(append.lsn, id))
        return true
    }

    /// Nothing of it would have to be written.
    private func holdsSlices(_ record: BatchRecord) -> Bool {
        guard let entry = index[record.header.id],
            entry.header.contentHash == record.header.contentHash
        else { return false }
        var held = entry.applied
        for slices in entry.slices { held.formUnion(slices.partitions) }
        return entry.record?.position != nil || record.partitions.isSubset(of: held)
    }

    // MARK: - Work

    /// Counts the batch in `partitions`, as soon as what it is counted from is durable; then
    /// answers.
    mutating func want(
        _ id: BatchID, _ partitions: PartitionSet,
        reply: (node: NodeID, tag: Tag, partitions: PartitionSet)?, isUrgent: Bool = false,
        _ now: Now, into effects: inout [Effect]
    ) {
        // While a copy is taken nothing is counted: it comes with the copy, or by the recovery.
        guard !copying.isReceiving else { return }
        applies[id, default: ApplyWork()].partitions.formUnion(partitions.intersection(mine))
        if isUrgent { applies[id]?.urgent.formUnion(partitions.intersection(mine)) }
        if let reply {
            // A coordinator repeats itself while it waits: one answer is enough.
            applies[id]?.replies.removeAll { $0.node == reply.node && $0.tag == reply.tag }
            applies[id]?.replies.append(reply)
        }
        continueApply(id, now, into: &effects)
    }

    /// `isTurn`: the batch waited for it. A small batch is counted at once.
    mutating func continueApply(
        _ id: BatchID, isTurn: Bool = false, _ now: Now, into effects: inout [Effect]
    ) {
        guard let work = applies[id], let entry = index[id], entry.isBound else { return }
        let touched = work.partitions.intersection(entry.touched)
        let need = has(.skipDedupe) ? touched : touched.subtracting(entry.applied)
        if need.isEmpty {
            finishApply(id, now, into: &effects)
            return
        }
        guard !work.isLoading else { return }
        // What a husk lacks comes as slices.
        if let record = entry.record, record.position != nil || pending[id] != nil {
            let isEarly = has(.applyBeforeBound) || has(.acknowledgeBeforeSync)
            guard record.isDurable || isEarly else { return }
            if let held = pending[id] {
                let urgent = need.intersection(work.urgent)
                if !urgent.isEmpty, urgent != need {
                    applies[id]?.urgent = PartitionSet()
                    count(held, urgent, now, into: &effects)
                    checkSettled(id, now, into: &effects)
                    continueApply(id, isTurn: isTurn, now, into: &effects)
                    return
                }
                let portion = portion(of: need, held)
                if portion == need || isTurn { count(held, portion, now, into: &effects) }
                if portion == need {
                    finishApply(id, now, into: &effects)
                } else {
                    queueApply(id)
                }
            } else if let position = record.position {
                applies[id]?.isLoading = true
                run(.readLog([position]), .apply(id), into: &effects)
            }
            return
        }
        let slices = entry.slices.filter {
            $0.position != nil && !$0.partitions.intersection(need).isEmpty
        }
        guard slices.allSatisfy(\.isDurable), !slices.isEmpty else { return }
        applies[id]?.isLoading = true
        run(.readLog(slices.compactMap(\.position)), .apply(id), into: &effects)
    }

    /// As many of these partitions as can be counted in one step: reads do not wait for a large
    /// batch as a whole.
    private func portion(of need: PartitionSet, _ record: BatchRecord) -> PartitionSet {
        if has(.skipDedupe) { return need }
        var portion = PartitionSet()
        var cells = 0
        for slice in record.slices where need.contains(slice.partition) {
            if !portion.isEmpty, cells + slice.cells > configuration.applyCellsMax { break }
            portion.insert(slice.partition)
            cells += slice.cells
        }
        return portion
    }

    private mutating func queueApply(_ id: BatchID) {
        guard applies[id]?.isQueued == false else { return }
        applies[id]?.isQueued = true
        applyQueue.append(id)
    }

    /// Each tick lets one queued batch go on by a portion, and the machine asks for the next at
    /// once. No other input does: what came meanwhile is answered before the next portion.
    mutating func advanceApplies(_ now: Now, into effects: inout [Effect]) {
        guard !applyQueue.isEmpty else { return }
        let id = applyQueue.removeFirst()
        guard applies[id] != nil else { return }
        applies[id]?.isQueued = false
        continueApply(id, isTurn: true, now, into: &effects)
    }

    /// The log gave what `continueApply` asked for.
    mutating func applyLoaded(
        _ id: BatchID, _ payloads: [[UInt8]], _ now: Now, into effects: inout [Effect]
    ) {
        applies[id]?.isLoading = false
        guard let work = applies[id] else { return }
        for payload in payloads {
            guard let entry = index[id] else { continue }
            do throws(DecodeError) {
                let record = try BatchRecord(decoding: payload)
                guard record.header.contentHash == entry.header.contentHash else { continue }
                let touched = work.partitions.intersection(record.partitions)
                let need = has(.skipDedupe) ? touched : touched.subtracting(entry.applied)
                if !need.isEmpty { count(record, need, now, into: &effects) }
            } catch {
                effects.append(.halt("the log gave a damaged record of batch \(id): \(error)"))
                return
            }
        }
        if has(.skipDedupe) {
            finishApply(id, now, into: &effects)
            return
        }
        continueApply(id, now, into: &effects)
    }

    /// The one place where anything is counted: cells into the memtable and the mark into the log,
    /// in one step.
    private mutating func count(
        _ record: BatchRecord, _ need: PartitionSet, _ now: Now, into effects: inout [Effect]
    ) {
        let id = record.header.id
        do throws(DecodeError) {
            let isLate =
                has(.rulesByLocalClock)
                && record.header.createdAt < now.wall - configuration.horizon
            if !isLate { try memtable.apply(record, need) }
        } catch {
            effects.append(.halt("a bound batch cannot be counted: \(error)"))
            return
        }
        let append = log.append(
            kind: LogKind.applied.rawValue,
            payload: AppliedMark(id: id, partitions: need).encoded)
        lastMark = append.lsn
        effects.append(.append(append))
        if record.header.rule == .retirement { sweeping.isDue = true }
        if memtableSince == nil { memtableSince = now.monotonic }
        let hashes = record.slices.filter { need.contains($0.partition) }.map {
            (partition: $0.partition, hash: $0.hash)
        }
        index.markApplied(id, hashes, at: now.monotonic)
        counters.slicesApplied += UInt64(hashes.count)
    }

    private mutating func finishApply(_ id: BatchID, _ now: Now, into effects: inout [Effect]) {
        guard let work = applies.removeValue(forKey: id), let entry = index[id] else { return }
        if entry.applied.isSuperset(of: entry.touched.intersection(mine)) {
            pending.retire(id, limit: ReplicationLimits.retiredBytesMax)
            settleDoubt(id, into: &effects)
        }
        for reply in work.replies {
            let applied = entry.applied.intersection(reply.partitions)
            send(
                .applyReply(
                    ApplyReply(tag: reply.tag, applied: applied, isMissing: false, vote: vote)),
                to: reply.node, into: &effects)
        }
        checkSettled(id, now, into: &effects)
    }
}
