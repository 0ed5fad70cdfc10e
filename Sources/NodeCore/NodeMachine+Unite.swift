import Core
import Gossip
import Replication
import Ring
import Storage
import Wire

/// A second round of a read at one of its voters, or a first one that makes it needless.
struct UniteState {
    var peer: NodeID
    var tag: Tag
    var query: SeriesQuery
    /// Batches that are not applied here yet.
    var open: Set<BatchID> = []
    /// What the batches that others lack add.
    var rows: [SeriesRow] = []
    var isLoading = false
    /// What is told of the first round where this is a part of it: the set that this voter held,
    /// and what the coordinator lacks of it.
    var meeting: (state: ReadState, lacked: [BatchHeader])?
    /// Records of `open` that come from other voters.
    var fetches: [Tag] = []
    var deadline: Instant
}

// Closing the difference of a quorum read's voters, in its first round or a second one
// (docs/decisions/0013-union-reads.md). What is asked for here was applied elsewhere: it is bound.

extension NodeMachine {
    mutating func unite(
        _ ask: ReadAsk, _ union: ReadUnite, from peer: NodeID, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard case .series(let query) = ask.query, union.start == lifeNonce else {
            answer(
                ask.tag, .notVoting("it began anew since the read did"), to: peer, into: &effects)
            return
        }
        guard unites.count < ReplicationLimits.unitesMax else {
            answer(ask.tag, .failed("too many reads unite here"), to: peer, into: &effects)
            return
        }
        begin(
            union,
            UniteState(
                peer: peer, tag: ask.tag, query: query,
                deadline: now.monotonic + configuration.requestTimeout), now, into: &effects)
    }

    /// The first round at the partner of a coordinator that votes. Where the newest batches do not
    /// explain how the two sets differ, or there is no room, this is a digest like any other.
    mutating func meet(
        _ ask: ReadAsk, _ base: ReadState, from peer: NodeID, _ now: Now,
        into effects: inout [Effect]
    ) {
        let own = state(ask, now)
        guard case .series(let query) = ask.query, own.digest != base.digest,
            unites.count < ReplicationLimits.meetingsMax,
            let union = ReadUnion(
                base: ReadUnion.Voter(node: peer, state: base),
                partners: [ReadUnion.Voter(node: configuration.node, state: own)]),
            var unite = union.shares.first(where: { $0.node == configuration.node })?.unite
        else {
            answer(ask.tag, .read(nil, own), to: peer, into: &effects)
            return
        }
        if has(.unionWithoutWriteBack) { unite.lacks = [] }
        var state = UniteState(
            peer: peer, tag: ask.tag, query: query,
            deadline: now.monotonic + configuration.requestTimeout)
        state.meeting = (state: own, lacked: unite.gives)
        begin(unite, state, now, into: &effects)
    }

    private mutating func begin(
        _ union: ReadUnite, _ state: UniteState, _ now: Now, into effects: inout [Effect]
    ) {
        let tag = newTag()
        unites[tag] = state
        give(union.gives, tag, into: &effects)
        ensure(union.lacks, tag, now, into: &effects)
        endUniteIfDone(tag, into: &effects)
    }

    // MARK: - Giving

    /// The rows of batches that the base lacked: from memory where they still are, else from the
    /// log.
    private mutating func give(
        _ headers: [BatchHeader], _ tag: Tag, into effects: inout [Effect]
    ) {
        guard var state = unites[tag] else { return }
        var positions: [LogPosition] = []
        for header in headers {
            guard let entry = index[header.id], entry.header == header,
                entry.applied.contains(state.query.partition)
            else {
                failUnite(tag, "it does not hold \(header.id), which it named", into: &effects)
                return
            }
            if let record = pending[header.id], record.header == header {
                guard let rows = rows(of: record, state.query, into: &effects) else { return }
                state.rows.append(contentsOf: rows)
            } else if let position = entry.source(of: state.query.partition, onDisk: false) {
                positions.append(position)
            } else {
                failUnite(tag, "its log does not hold \(header.id)", into: &effects)
                return
            }
        }
        counters.batchesContributed += UInt64(headers.count)
        state.isLoading = !positions.isEmpty
        unites[tag] = state
        if !positions.isEmpty { run(.readLog(positions), .unite(tag), into: &effects) }
    }

    private mutating func rows(
        of record: BatchRecord, _ query: SeriesQuery, into effects: inout [Effect]
    ) -> [SeriesRow]? {
        do throws(DecodeError) {
            return try record.rows(query)
        } catch {
            effects.append(.halt("a counted batch cannot be read: \(error)"))
            return nil
        }
    }

    mutating func uniteLoaded(
        _ tag: Tag, _ payloads: [[UInt8]], into effects: inout [Effect]
    ) {
        guard let query = unites[tag]?.query else { return }
        for payload in payloads {
            do throws(DecodeError) {
                let rows = try BatchRecord(decoding: payload).rows(query)
                unites[tag]?.rows.append(contentsOf: rows)
            } catch {
                effects.append(.halt("the log gave a damaged record: \(error)"))
                return
            }
        }
        unites[tag]?.isLoading = false
        endUniteIfDone(tag, into: &effects)
    }

    // MARK: - Ensuring

    private mutating func ensure(
        _ lacks: [ReadUnite.Lack], _ tag: Tag, _ now: Now, into effects: inout [Effect]
    ) {
        guard let partition = unites[tag]?.query.partition else { return }
        let wanted = PartitionSet([partition])
        var held: [BatchID] = []
        var missing: [NodeID: [SyncNeed]] = [:]
        for lack in lacks {
            let id = lack.header.id
            let entry = index[id].flatMap { $0.header == lack.header ? $0 : nil }
            if let entry, entry.applied.contains(partition) { continue }
            unites[tag]?.open.insert(id)
            unitesOfBatch[id, default: []].append(tag)
            if let entry, entry.source(of: partition, onDisk: false) != nil {
                held.append(id)
            } else {
                missing[lack.source, default: []].append(
                    SyncNeed(
                        header: lack.header, home: ring.home(of: id), wantsRecord: false,
                        partitions: wanted))
            }
        }
        counters.batchesEnsured += UInt64(held.count)
        for id in held {
            decideBound(id, now, into: &effects)
            want(id, wanted, reply: nil, isUrgent: true, now, into: &effects)
        }
        for (source, needs) in missing.sorted(by: { $0.key < $1.key }) {
            guard peers.contains(source) else {
                failUnite(tag, "\(source) is no peer of it", into: &effects)
                return
            }
            let fetch = newTag()
            unites[tag]?.fetches.append(fetch)
            uniteOfFetch[fetch] = tag
            let deadline = unites[tag]?.deadline
            beginFetch(needs, from: source, for: fetch, until: deadline, now, into: &effects)
        }
    }

    /// A batch may have become part of this node.
    mutating func settleUnites(_ id: BatchID, into effects: inout [Effect]) {
        guard let tags = unitesOfBatch[id], let entry = index[id] else { return }
        var waiting: [Tag] = []
        var settled: [Tag] = []
        for tag in tags {
            guard let state = unites[tag] else { continue }
            if entry.applied.contains(state.query.partition) {
                unites[tag]?.open.remove(id)
                settled.append(tag)
            } else {
                waiting.append(tag)
            }
        }
        unitesOfBatch[id] = waiting.isEmpty ? nil : waiting
        for tag in settled { endUniteIfDone(tag, into: &effects) }
    }

    // MARK: - Ending

    private mutating func endUniteIfDone(_ tag: Tag, into effects: inout [Effect]) {
        guard let state = unites[tag], state.open.isEmpty, !state.isLoading else { return }
        forgetUnite(tag)
        let rows = SeriesRow.merge(state.rows)
        let hasFetched = !state.fetches.isEmpty
        let told: ReadReply.Answer
        if let (first, lacked) = state.meeting {
            told = .met(
                first, ReadMeeting(lacked: lacked, rows: rows, hasFetched: hasFetched))
        } else {
            told = .united(rows, hasFetched: hasFetched)
        }
        answer(state.tag, told, to: state.peer, into: &effects)
    }

    /// - Parameter isDamage: it cannot read what it holds; others may.
    mutating func failUnite(
        _ tag: Tag, _ why: String, isDamage: Bool = false, into effects: inout [Effect]
    ) {
        guard let state = unites[tag] else { return }
        forgetUnite(tag)
        if let meeting = state.meeting, !isDamage {
            // A first round has its digest to tell, whatever became of the rest.
            answer(state.tag, .read(nil, meeting.state), to: state.peer, into: &effects)
        } else {
            answer(state.tag, .failed(why), to: state.peer, into: &effects)
        }
    }

    /// The peer no longer gives what it named.
    mutating func uniteFetchFailed(_ fetch: Tag, into effects: inout [Effect]) {
        guard let tag = uniteOfFetch[fetch] else { return }
        failUnite(tag, "another voter did not give what it holds", into: &effects)
    }

    mutating func forgetUnite(_ tag: Tag) {
        guard let state = unites.removeValue(forKey: tag) else { return }
        for id in state.open.sorted() {
            unitesOfBatch[id]?.removeAll { $0 == tag }
            if unitesOfBatch[id]?.isEmpty == true { unitesOfBatch[id] = nil }
        }
        for fetch in state.fetches { uniteOfFetch[fetch] = nil }
    }
}

extension BatchRecord {
    /// What this batch adds to the answer of a query.
    func rows(_ query: SeriesQuery) throws(DecodeError) -> [SeriesRow] {
        let cells = try cells(of: query.partition)
        let result = cells.withUnsafeBytes { buffer in
            Result { () throws(SliceError) in try Self.rows(buffer, query) }
        }
        switch result {
        case .success(let rows): return SeriesRow.merge(rows)
        case .failure(let error):
            throw DecodeError("slice \(query.partition) of \(header.id): \(error)", at: 0)
        }
    }

    private static func rows(
        _ cells: UnsafeRawBufferPointer, _ query: SeriesQuery
    ) throws(SliceError) -> [SeriesRow] {
        let windows = query.windows
        var reader = SliceReader(cells)
        var rows: [SeriesRow] = []
        while let cell = try reader.next() {
            guard cell.key.elementsEqual(query.key), windows.contains(cell.window) else { continue }
            if let type = query.type, !cell.type.elementsEqual(type) { continue }
            rows.append(
                SeriesRow(type: Array(cell.type), window: cell.window, measure: cell.measure))
        }
        return rows
    }
}
