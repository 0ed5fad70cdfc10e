import Core
import Wire

/// The cells of a memtable, live or frozen, one store for each partition of the cluster.
struct CellStore: Sendable {
    private let rules: CellRules
    private(set) var partitions: [PartitionCells]
    private(set) var size = CellsSize()

    init(partitions: Int, digestKey: SipKey, buckets: TimeBuckets, pendingMax: Int) {
        precondition(
            partitions > 0 && partitions <= Limits.partitionsMax, "\(partitions) partitions")
        self.init(
            CellRules(digestKey: digestKey, buckets: buckets, pendingMax: pendingMax),
            Array(repeating: PartitionCells.Counts(), count: partitions))
    }

    private init(_ rules: CellRules, _ expected: [PartitionCells.Counts]) {
        self.rules = rules
        // Batches bring about as much to each partition: they begin out of step, so that not all
        // of them are full at once.
        partitions = expected.enumerated().map { place, expected in
            PartitionCells(
                rules, firstAt: rules.pendingMax * (place % 64 + 1) / 64, expected: expected)
        }
    }

    /// Without any cell, and with room for as many once the first come.
    var emptyCopy: CellStore { CellStore(rules, partitions.map(\.counts)) }

    var buckets: TimeBuckets { rules.buckets }

    // MARK: Adding

    /// Adds all cells of a slice or, if it is malformed, none.
    mutating func add(
        _ bytes: UnsafeRawBufferPointer, partition: PartitionID
    ) throws(SliceError) {
        let place = Int(partition.index)
        size.merge(try partitions[place].add(bytes))
    }

    mutating func insert(
        _ partition: PartitionID, key: [UInt8], type: [UInt8], window: Int64, _ measure: Measure
    ) {
        change(Int(partition.index)) {
            $0.insert(key: key, type: type, window: window, measure)
        }
    }

    mutating func settle(_ partition: PartitionID) {
        change(Int(partition.index)) { $0.settle() }
    }

    mutating func settle() {
        for place in partitions.indices { change(place) { $0.settle() } }
    }

    var pendingBytes: Int { partitions.reduce(0) { $0 + $1.pending.count } }

    mutating func settle(from place: inout Int, bytesMax: Int) -> Bool {
        var bytes = 0
        while place < partitions.count, bytes < bytesMax {
            bytes += partitions[place].pending.count
            change(place) { $0.settle() }
            place += 1
        }
        return place >= partitions.count
    }

    /// Keeps the size, which is asked for at every step, as the sum of all.
    private mutating func change(_ place: Int, _ body: (inout PartitionCells) -> Void) {
        let before = partitions[place].size
        body(&partitions[place])
        size.replace(before, by: partitions[place].size)
    }

    // MARK: Questions

    func rows(_ query: SeriesQuery) -> [SeriesRow] {
        partitions[Int(query.partition.index)].rows(query)
    }

    func scan(into aggregate: inout ScanAggregate) {
        for (place, cells) in partitions.enumerated() {
            let partition = PartitionID(place)
            if aggregate.wants(partition) { cells.scan(partition, into: &aggregate) }
        }
    }

    func sum(of partition: PartitionID) -> PartitionSum {
        partitions[Int(partition.index)].wholeSum
    }

    /// Partitions whose cells do not add up to their sums, ascending.
    func recount() -> [PartitionID] {
        partitions.indices.filter { !partitions[$0].isConsistent }.map { PartitionID($0) }
    }

    mutating func corruptCell(of partition: PartitionID) -> Bool {
        settle(partition)
        return partitions[Int(partition.index)].corruptCell()
    }

    // MARK: Sorting for a flush

    /// All cells that have settled.
    func sorted() -> SortedCells {
        var result = SortedCells()
        result.order.reserveCapacity(size.cells)
        for place in partitions.indices { partitions[place].sort(place, into: &result) }
        // The position breaks ties, since the library's sort does not promise stability.
        if result.runs.contains(where: { $0.bucket != result.runs[0].bucket }) {
            result.runs = result.runs.enumerated().sorted { left, right in
                (left.element.bucket, left.offset) < (right.element.bucket, right.offset)
            }.map(\.element)
        }
        return result
    }
}
