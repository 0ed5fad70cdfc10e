import Core
import Gossip
import Replication
import Ring
import Storage
import Wire

// Records from a peer's log, and for one.

extension NodeMachine {
    mutating func beginFetch(
        _ needs: [SyncNeed], from peer: NodeID, for tag: Tag, until awaited: Instant? = nil,
        _ now: Now, into effects: inout [Effect]
    ) {
        let state = FetchState(
            peer: peer, awaited: awaited,
            deadline: now.monotonic + ReplicationLimits.fetchTimeMax)
        fetches[tag, default: state].queue.append(contentsOf: needs)
        if fetches[tag]?.asked.isEmpty == true, fetches[tag]?.resumeAt == nil {
            askNext(tag, into: &effects)
        }
    }

    private mutating func askNext(_ tag: Tag, into effects: inout [Effect]) {
        guard var state = fetches[tag] else { return }
        guard !state.queue.isEmpty else {
            fetches[tag] = nil
            return
        }
        state.asked = Array(state.queue.prefix(ReplicationLimits.fetchMax))
        state.queue.removeFirst(state.asked.count)
        fetches[tag] = state
        let items = state.asked.map { need in
            FetchItem(
                id: need.header.id, contentHash: need.header.contentHash,
                wantsRecord: need.wantsRecord, partitions: need.partitions)
        }
        send(.fetch(tag, items), to: state.peer, until: state.awaited, into: &effects)
    }

    mutating func receive(
        _ records: [BatchRecord], _ isLast: Bool, _ tag: Tag, from peer: NodeID, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard var state = fetches[tag], state.peer == peer else { return }
        state.deadline = now.monotonic + ReplicationLimits.fetchTimeMax
        syncs[tag]?.progressed(at: now.monotonic)
        var missing = state.asked
        for record in records {
            guard let need = state.asked.first(where: { $0.header.id == record.header.id }),
                need.header.contentHash == record.header.contentHash
            else { continue }
            missing.removeAll { $0.header.id == record.header.id }
            absorb(record, need, isUrgent: state.awaited != nil, now, into: &effects)
        }
        state.asked = []
        guard missing.isEmpty || (!isLast && !records.isEmpty) else {
            // The peer no longer has what it listed: the session ends, a later round asks again.
            fetches[tag] = nil
            var steps: [SyncSession.Effect] = []
            syncs[tag]?.fail(into: &steps)
            carry(steps, of: tag, now, into: &effects)
            uniteFetchFailed(tag, into: &effects)
            return
        }
        state.queue = missing + state.queue
        let bytes = records.reduce(0) { $0 + $1.bytes.count }
        if let purpose = syncs[tag]?.purpose { state.resumeAt = pacing(purpose, bytes, now) }
        // Without room for more the session waits for some, at most until its deadline.
        if state.resumeAt == nil, !hasRoom(for: tag) {
            state.resumeAt = now.monotonic + ReplicationLimits.roomRetryAfter
        }
        fetches[tag] = state
        if state.resumeAt == nil { askNext(tag, into: &effects) }
    }

    /// When the next records of a catch-up may be asked for: those of clients come first.
    private func pacing(
        _ purpose: SyncSession.Purpose, _ bytes: Int, _ now: Now
    ) -> Instant? {
        guard purpose == .catchUp, !writes.isEmpty || !reads.isEmpty else { return nil }
        let rest = Duration.milliseconds(
            Int64(bytes) * 1000 / Int64(configuration.catchUpBytesPerSecond))
        return now.monotonic + min(rest, ReplicationLimits.catchUpRestMax)
    }

    private func hasRoom(for tag: Tag) -> Bool {
        syncs[tag].map { mayPull(for: $0.purpose) } ?? true
    }

    mutating func advanceFetches(_ now: Now, into effects: inout [Effect]) {
        for tag in fetches.keys.sorted() {
            guard let state = fetches[tag] else { continue }
            if state.deadline <= now.monotonic {
                fetches[tag] = nil
            } else if let resumeAt = state.resumeAt, resumeAt <= now.monotonic {
                guard hasRoom(for: tag) else {
                    fetches[tag]?.resumeAt = now.monotonic + ReplicationLimits.roomRetryAfter
                    continue
                }
                fetches[tag]?.resumeAt = nil
                askNext(tag, into: &effects)
            }
        }
    }

    /// A peer's record becomes this node's: of a bound batch, or of one that is unknown here.
    private mutating func absorb(
        _ record: BatchRecord, _ need: SyncNeed, isUrgent: Bool, _ now: Now,
        into effects: inout [Effect]
    ) {
        let id = record.header.id
        noteCopied(record)
        guard
            !isForgotten(
                record.header, in: record.partitions.intersection(mine),
                asHome: record.kind == .home)
        else { return }
        switch record.kind {
        case .home:
            guard mine.contains(record.home), isOfThisRing(record) else { return }
            if let entry = index[id] {
                let isSame = entry.header.contentHash == record.header.contentHash
                guard isSame || need.isBound else {
                    // It was asked for when nothing was held here: what was promised since stands.
                    checkSettled(id, now, into: &effects)
                    return
                }
                if !isSame, entry.isBound || !entry.applied.isEmpty {
                    effects.append(.halt("two contents of batch \(id) are bound"))
                    return
                }
                if !isSame || entry.record == nil {
                    waiters.append(.held(hold(record, now, into: &effects), id))
                }
            } else {
                waiters.append(.held(hold(record, now, into: &effects), id))
            }
            if !need.isBound { inheritDoubt(id, now, into: &effects) }
            guard need.isBound || index[id]?.isBound == true else { return }
            decideBound(id, now, into: &effects)
            if need.isFinished { finish(id, record.header.contentHash, now, into: &effects) }
        case .slices:
            guard record.partitions.isSubset(of: mine), isOfThisRing(record),
                holdSlices(record, now, into: &effects)
            else { return }
        }
        counters.recordsFetched += 1
        if has(.catchUpDropsSlice), let dropped = need.partitions.first(where: { _ in true }),
            let slice = record.slice(of: dropped), index[id]?.applied.contains(dropped) == false
        {
            index.markApplied(id, [(partition: dropped, hash: slice.hash)], at: now.monotonic)
        }
        want(id, need.partitions, reply: nil, isUrgent: isUrgent, now, into: &effects)
    }

    // MARK: - Serving

    mutating func serveFetch(
        _ tag: Tag, _ items: [FetchItem], to peer: NodeID, until awaited: Instant?,
        into effects: inout [Effect]
    ) {
        if awaited != nil, let records = recordsInMemory(items) {
            send(.fetched(tag, records, isLast: true), to: peer, until: awaited, into: &effects)
            return
        }
        var plan: [ServedFetch.Part] = []
        var positions: [LogPosition] = []
        var byteCount = 0
        var isLast = true
        for item in items {
            // What a node without a vote holds undecided may never count.
            guard let entry = index[item.id], entry.isBound || item.wantsRecord && isVoting,
                entry.header.contentHash == item.contentHash
            else { continue }
            let found = places(of: item, entry)
            let size = found.reduce(0) { $0 + Int($1.length) }
            if !plan.isEmpty, byteCount + size > ReplicationLimits.fetchBytesMax {
                isLast = false
                break
            }
            byteCount += size
            for position in found {
                positions.append(position)
                plan.append(
                    ServedFetch.Part(
                        partitions: item.wantsRecord ? nil : item.partitions))
            }
        }
        guard !plan.isEmpty, jobs.count < ReplicationLimits.jobsMax else {
            send(.fetched(tag, [], isLast: true), to: peer, into: &effects)
            return
        }
        run(
            .readLog(positions),
            .fetch(
                ServedFetch(
                    tag: tag, peer: peer, parts: plan, isLast: isLast, awaited: awaited)),
            into: &effects)
    }

    /// What is asked for by a read was counted lately: most of it is still in memory.
    private func recordsInMemory(_ items: [FetchItem]) -> [BatchRecord]? {
        var records: [BatchRecord] = []
        var bytes = 0
        for item in items {
            guard let entry = index[item.id], entry.isBound, entry.record?.isDurable == true,
                let record = pending[item.id], record.header == entry.header,
                record.header.contentHash == item.contentHash
            else { return nil }
            do throws(DecodeError) {
                let wanted = item.partitions.intersection(record.partitions)
                records.append(item.wantsRecord ? record : try record.subset(wanted))
            } catch {
                // Its log is read then, and what is wrong with it is said there.
                return nil
            }
            bytes += records.last?.bytes.count ?? 0
            guard bytes <= ReplicationLimits.fetchBytesMax else { return nil }
        }
        return records
    }

    private func places(of item: FetchItem, _ entry: BatchEntry) -> [LogPosition] {
        if let record = entry.record, record.isDurable, let position = record.position {
            return [position]
        }
        guard !item.wantsRecord else { return [] }
        return entry.slices.filter {
            $0.isDurable && !$0.partitions.intersection(item.partitions).isEmpty
        }.compactMap(\.position)
    }

    mutating func fetchLoaded(
        _ fetch: ServedFetch, _ payloads: [[UInt8]], into effects: inout [Effect]
    ) {
        var records: [BatchRecord] = []
        for (part, payload) in zip(fetch.parts, payloads) {
            do throws(DecodeError) {
                let record = try BatchRecord(decoding: payload)
                if let partitions = part.partitions {
                    records.append(try record.subset(partitions.intersection(record.partitions)))
                } else {
                    records.append(record)
                }
            } catch {
                effects.append(.halt("the log gave a damaged record: \(error)"))
                return
            }
        }
        send(
            .fetched(fetch.tag, records, isLast: fetch.isLast), to: fetch.peer,
            until: fetch.awaited, into: &effects)
    }
}

/// An answer to a fetch while its records are read.
struct ServedFetch {
    struct Part {
        /// nil: the whole record.
        var partitions: PartitionSet?
    }

    var tag: Tag
    var peer: NodeID
    var parts: [Part]
    var isLast: Bool
    /// A read waits for it until then.
    var awaited: Instant?
}
