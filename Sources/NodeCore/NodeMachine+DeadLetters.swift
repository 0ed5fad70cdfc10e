import Core
import Gossip
import Replication
import Ring
import Storage
import Wire

/// A listing of dead letters while the home records that hold them are read, some at a time.
struct DeadLetterScan {
    var read: ServedRead
    var query: DeadLetterQuery
    var partitions: PartitionSet
    /// The first job that may read for it: files that it needs are not removed before it ends.
    var began: UInt64
    /// The query's, without letters of batches that have expired: the marks of those that were
    /// retired expire as well, and would not hide them any more.
    var filter: LetterFilter
    /// Home records with letters that it may select, and history files, as of the step of its
    /// digest: they may be forgotten meanwhile, and others come.
    var candidates: [Candidate] = []
    var files: [HistoryHandle] = []
    /// Letters of all batches, retired ones as well.
    var all: UInt64 = 0
    /// What is left out; known once the first job is done.
    var retired = RetiredLetters()
    /// The home records that are still to be read, in the order of all.
    var rest: ArraySlice<Candidate> = []
    /// Letters of batches that were forgotten before it began.
    var older: LetterList
    /// Letters of the home records that were read.
    var list: LetterList
    /// Letters that match, whether listed or not.
    var total: UInt64 = 0

    init(
        _ read: ServedRead, _ query: DeadLetterQuery, _ partitions: PartitionSet,
        filter: LetterFilter, began: UInt64
    ) {
        self.read = read
        self.query = query
        self.partitions = partitions
        self.filter = filter
        self.began = began
        older = LetterList(limit: query.limit)
        list = LetterList(limit: query.limit)
    }

    struct Candidate {
        var segment: Segment
        var id: BatchID
        var dead: Int
        var position: LogPosition
    }

    /// Only the records tell how many letters match; without a filter the totals do.
    var isFiltered: Bool { filter != .all }

    var readsAll: Bool { isFiltered && query.wantsTotal }

    /// No further record can change what is listed or counted.
    var isFilled: Bool { !readsAll && list.isFull }

    /// A page is full, or is filled by the history with letters before all that are in the log.
    var isDone: Bool {
        guard let next = rest.first, !isFilled else { return true }
        guard !readsAll else { return false }
        guard older.isFull, let last = older.items.last?.place else { return false }
        return (last.segment, last.id) < (next.segment, next.id)
    }
}

extension NodeMachine {
    /// Home records read in one job: so many, or of so many bytes, one at least. They are decoded
    /// on the machine's own thread.
    private static let recordsPerJob = 64
    private static let recordBytesPerJob = 4 << 20

    /// Marks and letters are of one step, that of the digest: with another step's, equal digests
    /// would not mean equal lists.
    mutating func beginDeadLetters(
        _ read: ServedRead, _ query: DeadLetterQuery, _ partitions: PartitionSet,
        into effects: inout [Effect]
    ) {
        var filter = query.filter
        if let edge = letterEdge(read.floor) { filter.from = max(filter.from ?? edge, edge) }
        var scan = DeadLetterScan(read, query, partitions, filter: filter, began: nextJob)
        let (marks, snapshot) = retirementMarks(of: partitions)
        let isKnown = snapshot.frozen.isEmpty && snapshot.tables.isEmpty
        scan.candidates = candidates(scan, marks: isKnown ? marks.count : nil)
        scan.files = forgetting.files.filter { $0.meta.letters > 0 }
        scan.all = index.letters(of: partitions)
        if isKnown {
            listLetters(scan, marks, into: &effects)
        } else {
            run(.scan(snapshot, base: marks), .deadLetters(scan), into: &effects)
        }
    }

    /// The marks of letters that are gone: those in memory, and what holds the rest.
    func retirementMarks(
        of partitions: PartitionSet
    ) -> (inMemory: ScanAggregate, TableSnapshot) {
        var marks = ScanAggregate(
            ScanSpec(
                partitions: partitions, type: RetirementMark.type, output: .totalsByKey))
        memtable.scan(into: &marks)
        return (
            marks,
            TableSnapshot(
                frozen: flush.frozen.map { [$0] } ?? [],
                // Keys of marks are the last ones of any table.
                tables: tables.filter { $0.meta.lastKey.first == RetirementMark.lead })
        )
    }

    /// Letters of batches that were created before have expired; nil: none has.
    func letterEdge(_ floor: RetentionFloor) -> WallTime? {
        floor.expired > .min ? configuration.window.start(of: floor.expired) : nil
    }

    mutating func listLetters(
        _ scan: DeadLetterScan, _ marks: ScanAggregate, into effects: inout [Effect]
    ) {
        var scan = scan
        scan.retired = RetiredLetters(marks)
        scan.rest = Self.places(scan)[...]
        scan.candidates = []
        if !scan.isFiltered { scan.total = scan.all - min(scan.all, scan.retired.count) }
        guard !scan.files.isEmpty else {
            continueDeadLetters(scan, into: &effects)
            return
        }
        run(
            .letters(
                LetterQuery(
                    homes: scan.partitions, filter: scan.filter, retired: scan.retired,
                    after: scan.query.after, limit: scan.query.limit,
                    countsAll: scan.readsAll), scan.files),
            .deadLetters(scan),
            into: &effects)
    }

    /// The home records with letters behind the page before. Where the number of marks is known, no
    /// more than a page needs.
    private func candidates(_ scan: DeadLetterScan, marks: Int?) -> [DeadLetterScan.Candidate] {
        var found: [DeadLetterScan.Candidate] = []
        var letters = 0
        let enough = scan.isFiltered ? nil : marks.map { scan.query.limit + $0 }
        for segment in index.heldSegments {
            let after = scan.readsAll ? nil : scan.query.after
            if let after, segment < after.segment { continue }
            for id in index.idsWithLetters(in: segment, homes: scan.partitions) {
                // Where its payload was let go of, history files have them.
                guard let entry = index[id], let position = entry.record?.position,
                    scan.filter.selects(entry.header)
                else { continue }
                if let after, (segment, id) < (after.segment, after.id) { continue }
                let dead = Int(entry.totals.dead)
                found.append(
                    .init(segment: segment, id: id, dead: dead, position: position))
                // That in which the page before ended may have none left.
                if let after, (segment, id) == (after.segment, after.id) { continue }
                letters += dead
                if let enough, letters >= enough { return found }
            }
        }
        return found
    }

    /// Those that a page is made of; with a filter all, since it needs the number of letters.
    private static func places(_ scan: DeadLetterScan) -> [DeadLetterScan.Candidate] {
        var places: [DeadLetterScan.Candidate] = []
        var letters = 0
        for candidate in scan.candidates {
            let left = candidate.dead - scan.retired.count(of: candidate.id)
            guard left > 0 else { continue }
            places.append(candidate)
            if let after = scan.query.after,
                (candidate.segment, candidate.id) == (after.segment, after.id)
            {
                continue
            }
            letters += left
            if !scan.isFiltered, letters >= scan.query.limit { break }
        }
        return places
    }

    mutating func olderLettersLoaded(
        _ scan: DeadLetterScan, _ items: [LetterItem], _ total: UInt64,
        into effects: inout [Effect]
    ) {
        var scan = scan
        if scan.isFiltered { scan.total += total }
        scan.older = LetterList(limit: scan.query.limit, of: items)
        continueDeadLetters(scan, into: &effects)
    }

    private mutating func continueDeadLetters(
        _ scan: DeadLetterScan, into effects: inout [Effect]
    ) {
        var scan = scan
        guard !scan.isDone else {
            let list = LetterList(
                limit: scan.query.limit, of: scan.older.items + scan.list.items)
            let result = ReadResult.deadLetters(
                list.items, total: scan.total, retired: scan.retired.count)
            finish(scan.read, .read(result, scan.read.state), into: &effects)
            return
        }
        var positions: [LogPosition] = []
        var bytes = 0
        while positions.count < Self.recordsPerJob, bytes < Self.recordBytesPerJob,
            let next = scan.rest.popFirst()
        {
            positions.append(next.position)
            bytes += Int(next.position.length)
        }
        run(.readLog(positions), .deadLetters(scan), into: &effects)
    }

    mutating func deadLettersLoaded(
        _ scan: DeadLetterScan, _ payloads: [[UInt8]], into effects: inout [Effect]
    ) {
        var scan = scan
        for payload in payloads where !scan.isFilled {
            do throws(DecodeError) {
                let record = try BatchRecord(decoding: payload)
                let segment = segment(of: record.header)
                for letter in try record.deadLetters() {
                    scan.take(letter, of: record.header, segment)
                }
            } catch {
                finish(scan.read, .failed("a home record is damaged: \(error)"), into: &effects)
                return
            }
        }
        continueDeadLetters(scan, into: &effects)
    }
}

extension DeadLetterScan {
    fileprivate mutating func take(
        _ letter: DeadLetter, of header: BatchHeader, _ segment: Segment
    ) {
        guard filter.selects(letter),
            !retired.contains(LetterID(batch: header.id, line: letter.line))
        else { return }
        if isFiltered { total += 1 }
        let place = DeadLetterQuery.Place(
            segment: segment, id: header.id, line: letter.line)
        if let after = query.after, place <= after { return }
        list.add(DeadLetterItem(place: place, createdAt: header.createdAt, letter: letter))
    }
}

extension RetiredLetters {
    /// Those whose marks were found.
    init(_ marks: ScanAggregate) {
        self.init()
        for row in marks.rows {
            guard let letter = RetirementMark.letter(ofKey: row.key) else { continue }
            insert(letter)
        }
    }
}
