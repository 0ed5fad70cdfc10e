package import Core
package import Storage
package import Wire

/// The simulator's own account: every content that was made, what was sent, what was answered.
package final class Ledger {
    package struct Share: Sendable {
        package var content: Int
        package var measure: Measure
    }

    package private(set) var contents: [Content] = []
    private var numbers: [Hash128: Int] = [:]
    private var ids: [BatchID: [Int]] = [:]
    private var shares: [CellName: [Share]] = [:]
    /// The same by hour and by day.
    private var coarseShares: [Granularity: [CellName: [Share]]] = [:]
    var retiring: [LetterID: [Int]] = [:]
    /// Contents with a cell of the key.
    private var byKey: [[UInt8]: ContentSet] = [:]
    private var partitions: [[UInt8]: PartitionSet] = [:]

    /// Sent at least once, by an attempt that may have left something behind.
    package private(set) var submitted = ContentSet()
    /// Answered as counted, by the level that was asked; a level includes the higher ones.
    private var acknowledged: [ContentSet] = Array(repeating: ContentSet(), count: 4)
    /// Counted at QUORUM or ALL, in the order of the answers.
    package private(set) var answered: [Int] = []
    /// Answered as a conflict: finally not counted.
    package private(set) var refused = ContentSet()
    /// A status said that they are counted.
    package private(set) var confirmed = ContentSet()
    /// Attempts that may have left something behind, by content.
    private var attempts: [Int: Int] = [:]
    /// Answered as parked, by content: the nodes that said so and have not lost their disk since.
    package private(set) var parked: [Int: Set<Int>] = [:]
    /// What contents were sealed anew as, by hash.
    private var renewals: [Hash128: BatchRecord] = [:]
    /// The ids of their first renewals.
    private var identities: [Int: BatchID] = [:]
    /// Contents that were sealed anew: under their own id they never count.
    package private(set) var renewed = ContentSet()
    /// Contents whose events their producer put into another one, in both directions.
    private var successors: [Int: Int] = [:]
    private var predecessors: [Int: Int] = [:]

    let buckets: TimeBuckets

    package init(window: WindowLength = .minute) {
        buckets = TimeBuckets(window: window)
    }

    package func add(_ content: Content) {
        precondition(content.number == contents.count, "contents are numbered in order")
        contents.append(content)
        numbers[content.hash] = content.number
        ids[content.id, default: []].append(content.number)
        if let letter = content.retires { retiring[letter, default: []].append(content.number) }
        for cell in content.cells {
            let share = Share(content: content.number, measure: cell.measure)
            shares[cell.name, default: []].append(share)
            for granularity in [Granularity.hour, .day] {
                let name = shown(cell.name, granularity)
                coarseShares[granularity, default: [:]][name, default: []].append(share)
            }
            byKey[cell.name.key, default: ContentSet()].insert(content.number)
            partitions[cell.name.key, default: PartitionSet()].insert(cell.partition)
        }
    }

    package func number(of hash: Hash128) -> Int? { numbers[hash] }

    /// The record that was made under this id with this content; nil where nobody made it.
    package func record(_ id: BatchID, _ hash: Hash128) -> BatchRecord? {
        guard let number = numbers[hash] else { return nil }
        let record = renewals[hash] ?? contents[number].record
        return record.header.id == id ? record : nil
    }

    /// When the content was sealed under this id.
    package func createdAt(_ number: Int, as id: BatchID) -> WallTime {
        let original = contents[number].record.header
        let renewal = renewals.values.first {
            $0.header.id == id && numbers[$0.header.contentHash] == number
        }
        return (original.id == id ? original : renewal?.header ?? original).createdAt
    }

    /// Every content in the form in which it may count.
    package var forms: [(number: Int, record: BatchRecord)] {
        contents.filter { !renewed.contains($0.number) }.map { content in
            (number: content.number, record: content.record)
        }
            + renewals.values.sorted { $0.header.id < $1.header.id }.compactMap { record in
                numbers[record.header.contentHash].map { (number: $0, record: record) }
            }
    }

    package func rivals(of id: BatchID) -> [Int] { ids[id] ?? [] }

    package func contents(touching key: [UInt8]) -> ContentSet { byKey[key] ?? ContentSet() }

    /// Where cells of the key lie.
    func partitions(touching key: [UInt8]) -> PartitionSet { partitions[key] ?? PartitionSet() }

    package func shares(of name: CellName, by granularity: Granularity = .base) -> [Share] {
        (granularity == .base ? shares[name] : coarseShares[granularity]?[name]) ?? []
    }

    private func shown(_ name: CellName, _ granularity: Granularity) -> CellName {
        CellName(
            key: name.key, type: name.type, window: buckets.start(of: name.window, granularity))
    }

    /// The cell as which a query shows it; nil where it has expired.
    package func shown(_ name: CellName, by floor: RetentionFloor) -> CellName? {
        name.window < floor.expired ? nil : shown(name, floor.granularity(of: name.window))
    }

    /// All keys that events have, ascending.
    package var keys: [[UInt8]] {
        byKey.keys.filter { $0.first != RetirementMark.lead }
            .sorted { $0.lexicographicallyPrecedes($1) }
    }

    package func acknowledged(at level: Consistency) -> ContentSet {
        acknowledged[Int(level.rawValue)]
    }

    // MARK: - What happens

    package func submit(_ number: Int) {
        attempts[number, default: 0] += 1
        submitted.insert(number)
    }

    /// An attempt ended before it sent anything: where all did, nobody may hold the content.
    package func withdraw(_ number: Int) {
        let left = attempts[number, default: 1] - 1
        attempts[number] = left
        if left == 0 { submitted.remove(number) }
    }

    package func acknowledge(_ number: Int, at level: Consistency) {
        for lower in [Consistency.one, .quorum, .all] where lower.rawValue <= level.rawValue {
            acknowledged[Int(lower.rawValue)].insert(number)
        }
        if level != .one { answered.append(number) }
    }

    package func park(_ number: Int, node: Int) {
        parked[number, default: []].insert(node)
    }

    /// The disk of a node is lost, with all that was parked there.
    package func loseParked(on node: Int) {
        for number in parked.keys.sorted() {
            parked[number]?.remove(node)
            if parked[number]?.isEmpty == true { parked[number] = nil }
        }
    }

    /// The same events under another id: they count as the content that they are.
    package func renew(_ number: Int, as record: BatchRecord) {
        numbers[record.header.contentHash] = number
        renewals[record.header.contentHash] = record
        renewed.insert(number)
        if identities[number] == nil { identities[number] = record.header.id }
        let id = record.header.id
        if ids[id]?.contains(number) != true { ids[id, default: []].append(number) }
    }

    /// The id under which a content counts: of what was sealed anew not its first one, which
    /// another content may still take.
    package func identity(of number: Int) -> BatchID {
        identities[number] ?? contents[number].id
    }

    /// What was sealed anew counts all the same: the conflict was about its first id.
    package func refuse(_ number: Int) {
        if !renewed.contains(number) { refused.insert(number) }
    }

    package func confirm(_ number: Int) { confirmed.insert(number) }

    /// The producer seals the events of one content anew, as another.
    package func sealAnew(_ number: Int, as other: Int) {
        successors[number] = other
        predecessors[other] = number
    }

    /// The content with the same events: at most one of the two may ever count.
    package func twin(of number: Int) -> Int? { successors[number] ?? predecessors[number] }

    /// The first content of a set whose events are in it under two ids.
    package func countedTwice(in set: ContentSet) -> Int? {
        set.members.first { number in successors[number].map(set.contains) ?? false }
    }

    // MARK: - Recounting

    /// The fold of a set of contents over one key in one partition, sorted by (type, window).
    package func rows(of query: SeriesQuery, in set: ContentSet) -> [SeriesRow] {
        var cells: [CellName: Measure] = [:]
        for number in contents(touching: query.key).intersection(set).members {
            for cell in contents[number].cells
            where cell.name.key == query.key && cell.partition == query.partition {
                cells[cell.name, default: .zero].add(cell.measure)
            }
        }
        return cells.sorted { $0.key < $1.key }.map { name, measure in
            SeriesRow(type: name.type, window: name.window, measure: measure)
        }
    }

    /// The contents that rows of one key spell. A violation where they spell no set of contents,
    /// each with all its cells that the query selects.
    package func decode(
        _ rows: [SeriesRow], _ query: SeriesQuery, by floor: RetentionFloor = .none
    ) throws(Violation) -> ContentSet {
        var seen: [Int: Int] = [:]
        for row in rows {
            let name = CellName(key: query.key, type: row.type, window: row.window)
            let granularity = floor.granularity(of: row.window)
            for content in try decode(row.measure, name, by: granularity) {
                seen[content, default: 0] += 1
            }
        }
        for (number, count) in seen.sorted(by: { $0.key < $1.key }) {
            let expected = contents[number].cells.count { query.selects($0, by: floor, self) }
            guard count == expected else {
                throw Violation(
                    "S4", "an answer has \(count) of the \(expected) cells of c\(number): \(query)")
            }
        }
        return ContentSet(seen.keys)
    }

    /// The contents that one cell spells, ascending.
    package func decode(
        _ measure: Measure, _ name: CellName, by granularity: Granularity = .base
    ) throws(Violation) -> [Int] {
        var fold = Measure.zero
        var found: [Int] = []
        for share in shares(of: name, by: granularity)
        where measure.count & share.measure.count != 0 {
            found.append(share.content)
            fold.add(share.measure)
        }
        guard fold == measure else {
            throw Violation(
                "S2",
                "cell \(name) is \(measure), which no set of contents adds up to (nearest: "
                    + "\(ContentSet(found)) = \(fold))")
        }
        return found
    }
}

extension ScanSpec {
    /// Whether its window is in the range, as it is shown.
    func selects(_ cell: ContentCell, by floor: RetentionFloor, _ ledger: Ledger) -> Bool {
        ledger.shown(cell.name, by: floor).map { windows.contains($0.window) } ?? false
    }
}

extension SeriesQuery {
    /// As it is shown.
    func selects(_ cell: ContentCell, by floor: RetentionFloor, _ ledger: Ledger) -> Bool {
        cell.partition == partition
            && ledger.shown(cell.name, by: floor).map { selects($0) } ?? false
    }

    private func selects(_ name: CellName) -> Bool {
        key == name.key && (type.map { $0 == name.type } ?? true)
            && (from.map { $0 <= name.window } ?? true) && (to.map { name.window < $0 } ?? true)
    }
}
