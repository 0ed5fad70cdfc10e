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
    /// Home records still to be read: where they lie, since their batches may be forgotten
    /// meanwhile.
    var rest: [LogPosition]
    /// The first job that may read for it: files that it needs are not removed before it ends.
    var began: UInt64
    /// Letters of batches that were forgotten before it began.
    var older: [DeadLetterItem] = []
    var items: [DeadLetterItem] = []
    /// Letters that match, whether listed or not.
    var total: UInt64 = 0
}

extension NodeMachine {
    /// Home records read in one job.
    private static let recordsPerJob = 64

    mutating func beginDeadLetters(
        _ read: ServedRead, _ query: DeadLetterQuery, _ partitions: PartitionSet,
        into effects: inout [Effect]
    ) {
        // Without a filter the totals say how many there are; with one the letters do.
        let scan = DeadLetterScan(
            read: read, query: query, rest: places(query, partitions), began: nextJob,
            total: query.isFiltered ? 0 : index.letters(of: partitions))
        let files = forgetting.files.filter { $0.meta.letters > 0 }
        guard !files.isEmpty else {
            continueDeadLetters(scan, into: &effects)
            return
        }
        let after = query.after.map {
            LetterPlace(segment: $0.segment, id: $0.id, line: $0.line)
        }
        run(
            .letters(
                LetterQuery(
                    homes: partitions, reason: query.reason, type: query.type, after: after,
                    limit: query.limit), files), .deadLetters(scan), into: &effects)
    }

    /// The home records that a page is made of; with a filter all, since it needs their number.
    private func places(
        _ query: DeadLetterQuery, _ partitions: PartitionSet
    ) -> [LogPosition] {
        var places: [LogPosition] = []
        var letters = 0
        for segment in index.heldSegments {
            let after = query.isFiltered ? nil : query.after
            if let after, segment < after.segment { continue }
            for id in index.idsWithLetters(in: segment, homes: partitions) {
                // Where its payload was let go of, history files have them.
                guard let entry = index[id], let position = entry.record?.position else { continue }
                if let after, (segment, id) < (after.segment, after.id) { continue }
                places.append(position)
                // That in which the page before ended may have none left.
                if let after, (segment, id) == (after.segment, after.id) { continue }
                letters += Int(entry.totals.dead)
                if !query.isFiltered, letters >= query.limit { return places }
            }
        }
        return places
    }

    mutating func olderLettersLoaded(
        _ scan: DeadLetterScan, _ items: [LetterItem], _ total: UInt64,
        into effects: inout [Effect]
    ) {
        var scan = scan
        if scan.query.isFiltered { scan.total += total }
        scan.older = items.map { item in
            DeadLetterItem(
                place: DeadLetterQuery.Place(
                    segment: item.place.segment, id: item.place.id, line: item.place.line),
                letter: item.letter)
        }
        continueDeadLetters(scan, into: &effects)
    }

    private mutating func continueDeadLetters(
        _ scan: DeadLetterScan, into effects: inout [Effect]
    ) {
        var scan = scan
        let isFull = scan.items.count >= scan.query.limit && !scan.query.isFiltered
        guard !scan.rest.isEmpty, !isFull else {
            var items = scan.older + scan.items
            items.sort { $0.place < $1.place }
            items = Array(items.prefix(scan.query.limit))
            finish(
                scan.read, .read(.deadLetters(items, total: scan.total), scan.read.state),
                into: &effects)
            return
        }
        let positions = Array(scan.rest.prefix(Self.recordsPerJob))
        scan.rest.removeFirst(positions.count)
        run(.readLog(positions), .deadLetters(scan), into: &effects)
    }

    mutating func deadLettersLoaded(
        _ scan: DeadLetterScan, _ payloads: [[UInt8]], into effects: inout [Effect]
    ) {
        var scan = scan
        for payload in payloads {
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
        if let reason = query.reason, letter.reason != reason { return }
        if let type = query.type, letter.type != type { return }
        if query.isFiltered { total += 1 }
        let place = DeadLetterQuery.Place(
            segment: segment, id: header.id, line: letter.line)
        if let after = query.after, place <= after { return }
        guard items.count < query.limit else { return }
        items.append(DeadLetterItem(place: place, letter: letter))
    }
}
