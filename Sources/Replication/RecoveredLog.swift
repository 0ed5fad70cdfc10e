package import Core
package import Storage
package import Wire

/// What a log says after a restart: built record by record while storage recovers, then the
/// memtable is filled with what no file covers.
package struct RecoveredLog: ~Copyable {
    package private(set) var index: BatchIndex
    package private(set) var peers: [NodeID: Standing] = [:]
    package private(set) var runs = RunHistory()
    package private(set) var register = AbsenceRegister()
    package private(set) var marks = Watermarks()
    private let memtableBytesMax: Int
    private(set) var memtable: Memtable
    /// The last mark of the log, whether its cells are in a file or in the memtable.
    package private(set) var lastMark = LSN.zero
    /// Bytes of dead letters in it, whether their batches are known by it or by history.
    package private(set) var letters = LogLetters()
    /// Records whose contents could not be understood although their checksums hold.
    package private(set) var malformed: [String] = []
    /// Of a record that this build does not know.
    package private(set) var unknownKind: UInt8?

    private let partitions: Int
    private let digestKey: SipKey
    private let window: WindowLength
    private let mine: PartitionSet
    /// The marks that no file covers.
    private var applications: [Mark] = []
    private typealias SliceHash = (partition: PartitionID, hash: Hash128)
    /// Hashes of slices, ascending, of batches that are not yet applied wherever this node applies
    /// them, for the digests of later marks. The others have no marks to come, and nearly all are
    /// others.
    private var directories: [BatchID: [SliceHash]] = [:]
    private let replaysCovered: Bool
    private let forgetsCovered: Bool
    /// From the manifest, before the first record.
    private var voidThrough = LSN.zero
    private var covered = LSN.zero
    private let segmentLength: Duration
    private let combinesByXor: Bool

    private struct Mark {
        var lsn: LSN
        var id: BatchID
        var partitions: PartitionSet
    }

    /// - Parameters:
    ///   - mine: the partitions that this node replicates.
    ///   - replaysCovered: the mutant that applies again what a file covers.
    ///   - forgetsCovered: the mutant that forgets what was applied, where a file covers it.
    ///   - combinesByXor: the mutant whose set digests cannot see what comes twice.
    package init(
        partitions: Int, mine: PartitionSet, digestKey: SipKey, window: WindowLength,
        segmentLength: Duration, memtableBytesMax: Int, replaysCovered: Bool = false,
        forgetsCovered: Bool = false,
        combinesByXor: Bool = false
    ) {
        self.segmentLength = segmentLength
        self.combinesByXor = combinesByXor
        self.partitions = partitions
        self.digestKey = digestKey
        self.window = window
        self.memtableBytesMax = memtableBytesMax
        index = BatchIndex(
            partitions: partitions, mine: mine, key: digestKey, segmentLength: segmentLength,
            combinesByXor: combinesByXor)
        self.mine = mine
        memtable = Memtable(
            partitions: partitions, digestKey: digestKey, window: window,
            bytesMax: memtableBytesMax)
        self.replaysCovered = replaysCovered
        self.forgetsCovered = forgetsCovered
    }

    /// What the manifest says of forgotten batches: before the first record.
    package mutating func begin(_ manifest: ManifestState) {
        voidThrough = manifest.voidThrough
        covered = manifest.coveredThrough
        index = BatchIndex(
            partitions: partitions, mine: mine, key: digestKey, segmentLength: segmentLength,
            base: manifest.base, combinesByXor: combinesByXor)
        index.release(before: manifest.logStart, through: manifest.base.through)
    }

    /// A batch whose payload is no longer in the log: before the first record.
    package mutating func take(_ husk: Husk) {
        let segment = husk.segment(segmentLength)
        let applied = husk.partitions.intersection(mine)
        let isForgotten =
            index.forgotten(segment, of: applied) == applied
            && (!husk.hasRecord || !mine.contains(husk.home)
                || index.isForgotten(segment, husk.home))
        if !isForgotten { index.hold(husk, at: .zero) }
    }

    /// One valid record, in the order of the log.
    ///
    /// - Parameter isHead: its payload is the head of a batch record, which is all that is taken.
    package mutating func visit(
        kind: UInt8, lsn: LSN, position: LogPosition, payload: [UInt8], isHead: Bool = false
    ) {
        do throws(DecodeError) {
            guard let kind = LogKind(rawValue: kind) else {
                // Its checksum holds: a newer build wrote it, and it is no damage.
                unknownKind = kind
                return
            }
            if kind == .applied, forgetsCovered, lsn <= covered {
                lastMark = lsn
                return
            }
            try read(kind, lsn, position, payload, isHead)
        } catch {
            malformed.append("log file \(position.file) at \(position.offset): \(error)")
        }
    }

    private mutating func read(
        _ kind: LogKind, _ lsn: LSN, _ position: LogPosition, _ payload: [UInt8], _ isHead: Bool
    ) throws(DecodeError) {
        if kind.isOfBatch, lsn <= voidThrough { return }
        switch kind {
        case .home:
            let record = try batch(payload, isHead)
            letters.add(record, in: position.file)
            guard try isKept(record) else { return }
            index.hold(record, lsn: lsn, at: position)
            index.markDurable(record.header.id, through: lsn)
            learn(record)
        case .slices:
            let record = try batch(payload, isHead)
            guard try isKept(record) else { return }
            index.holdSlices(record, lsn: lsn, at: position)
            index.markDurable(record.header.id, through: lsn)
            learn(record)
        case .applied:
            let mark = try AppliedMark(decoding: payload)
            guard index[mark.id] != nil, let directory = directories[mark.id] else {
                // What is applied in a husk may still have its marks in the log.
                let isKnown = index[mark.id].map { entry in
                    entry.isHusk && mark.partitions.isSubset(of: entry.applied)
                }
                if isKnown ?? true, lsn <= index.base.through { return }
                throw DecodeError("a mark of \(mark.id), which the log does not hold", at: 0)
            }
            index.markBound(mark.id)
            let hashes = directory.filter { mark.partitions.contains($0.partition) }
            index.markApplied(mark.id, hashes, at: .zero)
            if lsn > covered || replaysCovered {
                applications.append(Mark(lsn: lsn, id: mark.id, partitions: mark.partitions))
            }
            lastMark = lsn
            if let entry = index[mark.id], entry.applied.isSuperset(of: entry.touched, within: mine)
            {
                directories[mark.id] = nil
            }
        case .absence:
            register = try AbsenceRegister(decoding: payload)
        case .progress:
            let mark = try ProgressMark(decoding: payload)
            guard index[mark.id]?.header.contentHash == mark.contentHash else { return }
            index.markBound(mark.id)
            if mark.isFinished { index.markFinished(mark.id) }
        case .peer:
            let memory = try PeerMemory(decoding: payload)
            _ = peers[memory.node, default: .none].raise(to: memory.standing)
        case .run:
            let mark = try RunMark(decoding: payload)
            runs.begin(mark.run, at: lsn, edits: mark.edits)
        case .state:
            take(try LogState(decoding: payload))
        case .frozen:
            marks.frozen = max(marks.frozen, try SegmentMark(decoding: payload).below)
        case .closed:
            marks.closed = max(marks.closed, try SegmentMark(decoding: payload).below)
        case .sealed:
            marks.sealed = max(marks.sealed, try SegmentMark(decoding: payload).below)
        case .dropped:
            let mark = try ProgressMark(decoding: payload)
            guard let entry = index[mark.id], entry.header.contentHash == mark.contentHash,
                !entry.isBound, entry.applied.isEmpty
            else { return }
            index.drop(mark.id)
            directories[mark.id] = nil
        }
    }

    /// A batch of partitions that this cluster has. No other is written here, so its place in the
    /// index is not looked for.
    private func batch(_ payload: [UInt8], _ isHead: Bool) throws(DecodeError) -> BatchRecord {
        let record =
            isHead
            ? try BatchRecord(decodingHead: payload) : try BatchRecord(decoding: payload)
        let last = max(record.home, record.slices.last?.partition ?? record.home)
        guard last.index < partitions else {
            throw DecodeError("batch \(record.header.id) is of \(last) of \(partitions)", at: 0)
        }
        return record
    }

    /// Whether it is known one by one. What is bound or counted gives way to no other content; no
    /// node writes a log where it does.
    private mutating func isKept(_ record: BatchRecord) throws(DecodeError) -> Bool {
        guard !isForgotten(record) else {
            yield(to: record.header)
            return false
        }
        if let entry = index[record.header.id],
            entry.header.contentHash != record.header.contentHash,
            entry.isBound || !entry.applied.isEmpty
        {
            throw DecodeError("another content of \(record.header.id) is bound before it", at: 0)
        }
        return true
    }

    private mutating func take(_ state: LogState) {
        marks.raise(to: state.marks)
        for memory in state.peers {
            _ = peers[memory.node, default: .none].raise(to: memory.standing)
        }
        // It knows those that this log still shows, and earlier ones.
        runs = state.runs
        register = state.register
    }

    /// Another content of its id, which was held before and gave way, is nothing any more: marks of
    /// what is forgotten are not its own.
    private mutating func yield(to header: BatchHeader) {
        guard let entry = index[header.id], entry.header.contentHash != header.contentHash,
            !entry.isBound, entry.applied.isEmpty
        else { return }
        index.drop(header.id)
        directories[header.id] = nil
    }

    /// Nothing of it is kept one by one any more: it lies in a file that is not let go of yet.
    private func isForgotten(_ record: BatchRecord) -> Bool {
        guard !index.base.partitions.isEmpty else { return false }
        let segment = index.segment(of: record.header)
        let touched = record.partitions.intersection(mine)
        guard index.forgotten(segment, of: touched) == touched else { return false }
        return record.kind == .slices || !mine.contains(record.home)
            || index.isForgotten(segment, record.home)
    }

    private mutating func learn(_ record: BatchRecord) {
        let id = record.header.id
        guard let entry = index[id] else { return }
        let awaited = entry.touched.intersection(mine).subtracting(entry.applied)
        guard !awaited.isEmpty else {
            directories[id] = nil
            return
        }
        var hashes: [SliceHash] = []
        hashes.reserveCapacity(record.slices.count)
        for slice in record.slices where awaited.contains(slice.partition) {
            hashes.append((partition: slice.partition, hash: slice.hash))
        }
        if let earlier = directories[id] {
            // It came in pieces: what the later one says counts.
            hashes += earlier.filter { record.slice(of: $0.partition) == nil }
            hashes.sort { $0.partition < $1.partition }
        }
        directories[id] = hashes
    }

    /// Applies the marks that no file covers to the memtable. `read` gives a record's payload.
    package mutating func replay(
        after covered: LSN, read: (LogPosition, LSN) throws(StorageError) -> [UInt8]
    ) throws(StorageError) {
        for mark in applications where mark.lsn > covered || replaysCovered {
            guard let entry = index[mark.id] else { continue }
            var rest = mark.partitions
            if let record = entry.record, let position = record.position {
                try apply(read(position, record.lsn), rest)
                continue
            }
            for held in entry.slices where !held.partitions.intersection(rest).isEmpty {
                guard let position = held.position else { continue }
                try apply(read(position, held.lsn), rest.intersection(held.partitions))
                rest = rest.subtracting(held.partitions)
            }
        }
        applications = []
        directories = [:]
        index.raiseFloors(marks)
    }

    /// Moves the index out, so that it has one owner; an empty one stays.
    package mutating func takeIndex() -> BatchIndex {
        var taken = BatchIndex(
            partitions: partitions, mine: mine, key: digestKey, segmentLength: segmentLength)
        swap(&taken, &index)
        return taken
    }

    /// Moves the memtable out; an empty one stays.
    package mutating func takeMemtable() -> Memtable {
        var taken = Memtable(
            partitions: partitions, digestKey: digestKey, window: window,
            bytesMax: memtableBytesMax)
        swap(&taken, &memtable)
        return taken
    }

    private mutating func apply(
        _ payload: [UInt8], _ partitions: PartitionSet
    ) throws(StorageError) {
        do throws(DecodeError) {
            let record = try BatchRecord(decoding: payload)
            try memtable.apply(record, partitions)
        } catch {
            malformed.append("\(error)")
        }
    }
}

extension Memtable {
    /// Adds the slices of `partitions`; the record's hashes are checked before anything is added.
    package mutating func apply(
        _ record: BatchRecord, _ partitions: PartitionSet
    ) throws(DecodeError) {
        let body = try record.body(of: partitions)
        for slice in record.slices where partitions.contains(slice.partition) {
            let result = body.withUnsafeBytes { buffer in
                Result { () throws(SliceError) in
                    let range = slice.offset..<slice.offset + slice.length
                    try apply(
                        slice: UnsafeRawBufferPointer(rebasing: buffer[range]),
                        partition: slice.partition)
                }
            }
            if case .failure(let error) = result {
                throw DecodeError(
                    "slice \(slice.partition) of \(record.header.id): \(error)", at: 0)
            }
        }
    }
}
