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
        /// Partitions of which a mark says that they were applied.
        package var marked = PartitionSet()

        package init(hash: Hash128) {
            self.hash = hash
        }

        package func contains(_ partition: PartitionID) -> Bool {
            hasRecord || slices.contains(partition)
        }
    }

    /// A record as a recovery read it.
    package struct Record {
        var kind: UInt8
        var lsn: LSN
        var payload: [UInt8]
    }

    private(set) var holdings: [BatchID: Holding] = [:]
    /// A checksum of each record that the node gave to its log thread, from LSN 1 on.
    private var appended: [UInt32] = []
    private var unsynced: [LogAppend] = []
    private(set) var synced = LSN.zero
    private(set) var frozen = Segment.first
    /// The last record that was given to the log thread.
    var last: LSN { LSN(UInt64(appended.count)) }
    /// What the log says of the disks of others, and of this node's own lives.
    private var standings: [NodeID: Standing] = [:]
    private var runs = RunHistory()

    init() {}

    /// Whether the disk holds this content so that it can be shown in the partition after any
    /// crash.
    package func holds(_ content: Content, _ partition: PartitionID) -> Bool {
        guard let holding = holdings[content.id] else { return false }
        return holding.hash == content.hash && holding.contains(partition)
    }

    package func holdsRecord(_ content: Content) -> Bool {
        guard let holding = holdings[content.id] else { return false }
        return holding.hash == content.hash && holding.hasRecord
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
        unsynced.append(record)
    }

    mutating func sync(through lsn: LSN, _ ledger: Ledger) throws(Violation) {
        for record in unsynced where record.lsn <= lsn {
            try absorb(record.kind, record.lsn, record.payload, ledger)
        }
        unsynced.removeAll { $0.lsn <= lsn }
        synced = max(synced, lsn)
    }

    // MARK: - The node starts again

    /// S10: synced ⊆ recovered ⊆ appended. What was recovered is what the disk holds from now on.
    /// `mayLack`: the disk has rotted, and the peers must tell what it lacks.
    mutating func restart(
        _ records: [Record], _ ledger: Ledger, mayLack: Bool
    ) throws(Violation) {
        var last = LSN.zero
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
        guard last >= synced || mayLack else {
            throw Violation("S10", "synced through \(synced), recovered through \(last)")
        }
        appended.removeLast(appended.count - Int(last.number))
        synced = last
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
        do {
            switch kind {
            case .home, .slices: try hold(BatchRecord(decoding: payload), ledger)
            case .applied: try mark(AppliedMark(decoding: payload))
            case .frozen: frozen = max(frozen, try SegmentMark(decoding: payload).below)
            case .dropped: try drop(ProgressMark(decoding: payload))
            case .peer:
                let memory = try PeerMemory(decoding: payload)
                _ = standings[memory.node, default: .none].raise(to: memory.standing)
            case .run: runs.begin(try RunMark(decoding: payload).run, at: lsn)
            case .progress, .closed, .sealed: break
            }
        } catch let violation as Violation {
            throw violation
        } catch {
            throw Violation("S13", "a log record cannot be decoded: \(error)")
        }
    }

    private mutating func hold(_ record: BatchRecord, _ ledger: Ledger) throws(Violation) {
        let id = record.header.id
        let hash = record.header.contentHash
        guard let number = ledger.number(of: hash), let made = ledger.record(id, hash) else {
            throw Violation("S1", "a log holds \(id) with a content that nobody made")
        }
        guard ledger.submitted.contains(number) else {
            throw Violation("S1", "a log holds c\(number), which was never sent")
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
        case .slices:
            holding.slices.formUnion(record.partitions)
        }
        holdings[id] = holding
    }

    private mutating func mark(_ mark: AppliedMark) throws(Violation) {
        guard var holding = holdings[mark.id] else {
            throw Violation("S1", "\(mark.id) is marked as applied, but not held")
        }
        let twice = holding.marked.intersection(mark.partitions)
        guard twice.isEmpty else {
            throw Violation("S5", "\(mark.id) is applied twice in \(Array(twice))")
        }
        holding.marked.formUnion(mark.partitions)
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
