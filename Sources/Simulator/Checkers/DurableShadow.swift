package import Core
package import Replication
import Storage
import Wire

/// What the disk of one node certainly holds: read from its log's records as they are synced, so it
/// shares nothing with what the node believes. The ground of S1, S3, S5 and S10.
package struct DurableShadow {
    package struct Holding: Hashable, Sendable {
        package var hash: Hash128
        /// The home record, from which every slice can be applied.
        package var hasRecord = false
        /// Partitions whose slices came alone.
        package var slices = PartitionSet()
        /// The LSNs of these records.
        package var recordAt = LSN.zero
        package var slicesAt: [PartitionID: LSN] = [:]
        /// Partitions of which a mark says that they were applied.
        package var marked = PartitionSet()
        /// The LSNs of these marks.
        package var marks: [PartitionID: LSN] = [:]

        package init(hash: Hash128) {
            self.hash = hash
        }

        package func contains(_ partition: PartitionID) -> Bool {
            hasRecord || slices.contains(partition)
        }

        func holds(_ content: Content, _ partition: PartitionID) -> Bool {
            hash == content.hash && contains(partition)
        }

        func holdsRecord(_ content: Content) -> Bool {
            hash == content.hash && hasRecord
        }
    }

    /// A record as a recovery read it.
    package struct Record {
        var kind: UInt8
        var lsn: LSN
        var payload: [UInt8]
    }

    private(set) var holdings: [BatchID: Holding] = [:]
    /// What is held by history files and tables alone, forgotten or as a husk: its records may be
    /// gone from the log.
    private(set) var archive: [BatchID: Holding] = [:]
    /// As the manifest said last.
    private(set) var base = HistoryBase.none
    private(set) var voidThrough = LSN.zero
    private(set) var logStart: UInt32 = 1
    /// A checksum of each record that the node gave to its log thread, from LSN 1 on.
    private var appended: [UInt32] = []
    /// The log file of each.
    private var files: [UInt32] = []
    private var unsynced: [LogAppend] = []
    private(set) var synced = LSN.zero
    private(set) var frozen = Segment.first
    /// The last record that was given to the log thread.
    var last: LSN { LSN(UInt64(appended.count)) }
    /// What the log says of the disks of others, and of this node's own lives.
    private var standings: [NodeID: Standing] = [:]
    private var runs = RunHistory()
    /// Members that were once left out, as this disk knows.
    private var absences: Set<NodeID> = []

    init() {}

    /// Whether the disk holds this content so that it can be shown in the partition after any
    /// crash.
    package func holds(_ content: Content, _ partition: PartitionID) -> Bool {
        holdings[content.id]?.holds(content, partition) == true
            || archive[content.id]?.holds(content, partition) == true
    }

    package func holdsRecord(_ content: Content) -> Bool {
        holdings[content.id]?.holdsRecord(content) == true
            || archive[content.id]?.holdsRecord(content) == true
    }

    package func standing(of node: NodeID) -> Standing { standings[node] ?? .none }

    package func incarnation(of node: NodeID) -> Incarnation { standing(of: node).incarnation }

    /// Whether this disk, of a life of its node, has come as far as somebody remembers.
    func reaches(_ standing: Standing, in life: Incarnation) -> Bool {
        guard standing.incarnation == life else { return standing.incarnation < life }
        return runs.reaches(standing)
    }

    // MARK: - The log grows

    mutating func append(_ record: LogAppend) {
        precondition(
            record.lsn.number == UInt64(appended.count) + 1,
            "LSN \(record.lsn) follows \(appended.count)")
        appended.append(Self.checksum(record.kind, record.payload))
        files.append(record.position.file)
        unsynced.append(record)
    }

    mutating func sync(through lsn: LSN, _ ledger: Ledger) throws(Violation) {
        for record in unsynced where record.lsn <= lsn {
            try absorb(record.kind, record.lsn, record.payload, ledger)
        }
        unsynced.removeAll { $0.lsn <= lsn }
        synced = max(synced, lsn)
    }

    /// All that was appended.
    mutating func syncAll(_ ledger: Ledger) throws(Violation) {
        if let last = unsynced.last { try sync(through: last.lsn, ledger) }
    }

    // MARK: - The node starts again

    /// S10: synced ⊆ recovered ⊆ appended. What was recovered is what the disk holds from now on.
    /// `mayLack`: the disk has rotted, and the peers must tell what it lacks.
    mutating func restart(
        _ records: [Record], _ ledger: Ledger, mayLack: Bool
    ) throws(Violation) {
        // The log may begin anywhere: what is missing of its head must be needed no more.
        var last = records.first.map { LSN($0.lsn.number - 1) } ?? .zero
        let before = self
        holdings = [:]
        frozen = .first
        standings = [:]
        runs = RunHistory()
        unsynced = []
        for record in records {
            guard record.lsn == last.next else {
                throw Violation("S10", "recovered LSN \(record.lsn) behind \(last)")
            }
            last = record.lsn
            guard last.number <= UInt64(appended.count),
                appended[Int(last.number) - 1] == Self.checksum(record.kind, record.payload)
            else { throw Violation("S10", "recovered LSN \(last) is not what was appended") }
            try absorb(record.kind, record.lsn, record.payload, ledger)
        }
        if !mayLack { try checkNothingLost(before) }
        guard last >= synced || mayLack else {
            throw Violation("S10", "synced through \(synced), recovered through \(last)")
        }
        appended.removeLast(appended.count - Int(last.number))
        files.removeLast(files.count - appended.count)
        synced = last
    }

    /// Of what was on the disk nothing may be missing but what was forgotten.
    private func checkNothingLost(_ before: DurableShadow) throws(Violation) {
        for (id, holding) in before.holdings.sorted(by: { $0.key < $1.key }) {
            guard let now = holdings[id], now.hash == holding.hash,
                now.hasRecord || !holding.hasRecord, holding.slices.isSubset(of: now.slices),
                holding.marked.isSubset(of: now.marked)
            else {
                // A drop, or a content to which it gave way, may have come to the disk unsynced.
                if holding.marked.isEmpty, holdings[id]?.hash != holding.hash { continue }
                throw Violation("S10", "\(id) was on the disk, and is not recovered")
            }
        }
        for (node, standing) in before.standings.sorted(by: { $0.key < $1.key }) {
            let now = self.standing(of: node)
            let isSameRun = now.incarnation == standing.incarnation && now.run == standing.run
            guard now.incarnation < standing.incarnation || isSameRun && now.lsn < standing.lsn
            else { continue }
            throw Violation("S10", "the life of \(node) was remembered, and is not recovered")
        }
        guard frozen >= before.frozen else {
            throw Violation("S10", "frozen below \(before.frozen), recovered \(frozen)")
        }
    }

    /// The manifest lost what it said of forgotten batches; whatever it still says comes anew.
    mutating func remembersAgain() {
        archive = [:]
        base = .none
        voidThrough = .zero
        logStart = 1
    }

    mutating func wipe() {
        self = DurableShadow()
    }

    // MARK: - Records

    private mutating func absorb(
        _ kind: UInt8, _ lsn: LSN, _ payload: [UInt8], _ ledger: Ledger
    ) throws(Violation) {
        guard let kind = LogKind(rawValue: kind) else {
            throw Violation("S13", "a log record of unknown kind \(kind)")
        }
        if kind.isOfBatch, lsn <= voidThrough { return }
        do {
            switch kind {
            case .home, .slices: try hold(BatchRecord(decoding: payload), lsn, ledger)
            case .applied: try mark(AppliedMark(decoding: payload), lsn)
            case .state:
                let state = try LogState(decoding: payload)
                frozen = max(frozen, state.marks.frozen)
                for memory in state.peers {
                    _ = standings[memory.node, default: .none].raise(to: memory.standing)
                }
                note(state.register)
                runs = state.runs
            case .frozen: frozen = max(frozen, try SegmentMark(decoding: payload).below)
            case .dropped: try drop(ProgressMark(decoding: payload))
            case .peer:
                let memory = try PeerMemory(decoding: payload)
                _ = standings[memory.node, default: .none].raise(to: memory.standing)
            case .absence: note(try AbsenceRegister(decoding: payload))
            case .run:
                let mark = try RunMark(decoding: payload)
                runs.begin(mark.run, at: lsn, edits: mark.edits)
            case .progress, .closed, .sealed: break
            }
        } catch let violation as Violation {
            throw violation
        } catch {
            throw Violation("S13", "a log record cannot be decoded: \(error)")
        }
    }

    private mutating func note(_ register: AbsenceRegister) {
        absences.formUnion(register.decided.leftOut.map(\.node))
    }

    func hasLeftOut(_ node: NodeID) -> Bool { absences.contains(node) }

    private mutating func hold(_ record: BatchRecord, _ lsn: LSN, _ ledger: Ledger)
        throws(Violation)
    {
        let id = record.header.id
        let hash = record.header.contentHash
        guard let number = ledger.number(of: hash), let made = ledger.record(id, hash) else {
            throw Violation("S1", "a log holds \(id) with a content that nobody made")
        }
        guard ledger.submitted.contains(number) else {
            throw Violation("S1", "a log holds c\(number), which was never sent")
        }
        if let archived = archive[id] {
            let isArchived =
                record.kind == .home
                ? archived.hasRecord : record.partitions.isSubset(of: archived.slices)
            if isArchived, lsn <= base.through { return }
            guard record.kind != .home || !archived.hasRecord else {
                throw Violation("S7", "a log takes c\(number) again, which was forgotten")
            }
        }
        var holding = holdings[id] ?? Holding(hash: hash)
        if holding.hash != hash {
            guard holding.marked.isEmpty else {
                throw Violation("S6", "c\(number) replaces an applied content of \(id)")
            }
            holding = Holding(hash: hash)
        }
        switch record.kind {
        case .home:
            guard record.bytes == made.bytes else {
                throw Violation("S1", "the home record of c\(number) is not what was sent")
            }
            holding.hasRecord = true
            holding.recordAt = lsn
        case .slices:
            holding.slices.formUnion(record.partitions)
            for partition in record.partitions { holding.slicesAt[partition] = lsn }
        }
        holdings[id] = holding
    }

    private mutating func mark(_ mark: AppliedMark, _ lsn: LSN) throws(Violation) {
        if let archived = archive[mark.id] {
            let again = archived.slices.intersection(mark.partitions)
            if !again.isEmpty, lsn > base.through {
                throw Violation("S5", "\(mark.id), forgotten, is applied again in \(Array(again))")
            }
        }
        guard var holding = holdings[mark.id] else {
            if lsn <= base.through { return }
            throw Violation("S1", "\(mark.id) is marked as applied, but not held")
        }
        let twice = holding.marked.intersection(mark.partitions)
        guard twice.isEmpty else {
            throw Violation("S5", "\(mark.id) is applied twice in \(Array(twice))")
        }
        holding.marked.formUnion(mark.partitions)
        for partition in mark.partitions { holding.marks[partition] = lsn }
        holdings[mark.id] = holding
    }

    private mutating func drop(_ mark: ProgressMark) throws(Violation) {
        guard let holding = holdings[mark.id], holding.hash == mark.contentHash else { return }
        guard holding.marked.isEmpty else {
            throw Violation("S15", "\(mark.id) is dropped, but it was applied")
        }
        holdings[mark.id] = nil
    }

    private static func checksum(_ kind: UInt8, _ payload: [UInt8]) -> UInt32 {
        Checksum.crc32c(payload, extending: UInt32(kind))
    }
}

// MARK: - What is forgotten

extension DurableShadow {
    func markedAt(_ record: BatchRecord, _ partition: PartitionID) -> LSN? {
        let id = record.header.id
        if archive[id]?.slices.contains(partition) == true { return .zero }
        return holdings[id]?.marks[partition]
    }

    func holdsHome(_ record: BatchRecord) -> Bool {
        let id = record.header.id
        return holdings[id]?.hasRecord == true || archive[id]?.hasRecord == true
    }

    func holdsSlice(_ record: BatchRecord, _ partition: PartitionID) -> Bool {
        let id = record.header.id
        return holdings[id]?.contains(partition) == true
            || archive[id]?.slices.contains(partition) == true
    }

    var archivedHomes: [BatchID] {
        archive.filter(\.value.hasRecord).keys.sorted()
    }

    func archivedHash(_ id: BatchID) -> Hash128? { archive[id]?.hash }

    /// Part of a batch is held by files and tables from now on.
    mutating func archive(_ record: BatchRecord, _ partitions: PartitionSet, home: Bool) {
        let id = record.header.id
        var holding = archive[id] ?? Holding(hash: record.header.contentHash)
        holding.hasRecord = holding.hasRecord || home
        holding.slices.formUnion(partitions)
        archive[id] = holding
    }

    /// The log is no longer asked for what the history holds whole.
    mutating func forget(
        _ base: HistoryBase, _ mine: PartitionSet, _ ledger: Ledger,
        _ segment: (BatchHeader) -> Segment
    ) throws(Violation) {
        self.base = base
        for (id, holding) in holdings.sorted(by: { $0.key < $1.key }) {
            guard let record = ledger.record(id, holding.hash) else { continue }
            let time = segment(record.header)
            let touched = record.partitions.intersection(mine)
            guard touched.allSatisfy({ time < base[$0].floor }) else { continue }
            guard !mine.contains(record.home) || time < base[record.home].floor else { continue }
            guard archive[id]?.hash == holding.hash else {
                guard holding.marked.isEmpty else {
                    throw Violation("S7", "\(id) is forgotten, and was never decided")
                }
                holdings[id] = nil
                continue
            }
            holdings[id] = nil
        }
    }

    // MARK: - What is let go of

    /// What the archive holds of a batch, nothing of which may be expected of the log any more.
    func archived(_ id: BatchID) -> Holding? { archive[id] }

    /// The log begins with file `start` now. What lay before is in the archive, or it was lost.
    mutating func release(before start: UInt32) throws(Violation) {
        logStart = max(logStart, start)
        let first = LSN(UInt64(files.firstIndex { $0 >= logStart } ?? files.count) + 1)
        for (id, holding) in holdings.sorted(by: { $0.key < $1.key }) {
            let kept = archive[id].flatMap { $0.hash == holding.hash ? $0 : nil }
            var rest = holding
            if kept?.hasRecord == true { rest.hasRecord = false }
            let parts = kept?.slices ?? PartitionSet()
            rest.slices = rest.slices.subtracting(parts)
            rest.marked = rest.marked.subtracting(parts)
            for partition in parts {
                rest.marks[partition] = nil
                rest.slicesAt[partition] = nil
            }
            guard !rest.hasRecord || rest.recordAt >= first else {
                throw Violation("S7", "the home record of \(id) went with its log")
            }
            guard rest.marks.values.allSatisfy({ $0 >= first }) else {
                throw Violation("S7", "marks of \(id) went with their log")
            }
            guard rest.hasRecord || rest.slicesAt.values.allSatisfy({ $0 >= first }) else {
                throw Violation("S7", "slices of \(id) went with their log")
            }
            let isLeft = rest.hasRecord || !rest.slices.isEmpty || !rest.marked.isEmpty
            holdings[id] = isLeft ? rest : nil
        }
    }

    /// What the disk held is void: it begins anew.
    mutating func setAside(through lsn: LSN) {
        voidThrough = lsn
        holdings = [:]
        archive = [:]
        base = .none
    }
}
