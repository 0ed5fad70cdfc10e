package import Core

/// The answer to a `ScanSpec` while it is gathered. Aggregates of disjoint cells merge; the order
/// in which cells and aggregates come never matters.
package struct ScanAggregate: Sendable {
    package let spec: ScanSpec
    let seed: UInt64
    private let bytesMax: Int
    var table: MeasureTable
    private var statistics: [PartitionID: PartitionStatistics] = [:]
    /// True when keys were left out of a `keys` listing because it was full.
    package private(set) var hasMore = false
    /// Where no others will be asked for. Tables are then merged key by key, and what does not rank
    /// is not kept: a scan of them ends the gathering.
    let keeping: Top?
    /// Of the keys of `table`, in its order, where only the greatest are kept and until they are.
    var partitions: [PartitionID] = []

    /// The `count` greatest totals.
    package struct Top: Hashable, Sendable {
        package var count: Int
        package var order: Order

        package init(_ count: Int, by order: Order) {
            self.count = count
            self.order = order
        }
    }

    /// - Parameters:
    ///   - keeping: of totals by key, that only these matter. Of anything else, and of more than
    ///     `StorageLimits.topKeptMax`, all are gathered.
    ///   - seed: of the hash table; draw it, so that nobody can choose colliding keys.
    ///   - bytesMax: the memory after which the answer is an error.
    package init(
        _ spec: ScanSpec, keeping: Top? = nil, seed: UInt64 = 0x51f1_5e11_d0c5_a4e3,
        bytesMax: Int = StorageLimits.scanBytesMax
    ) {
        self.spec = spec
        let isRanked =
            spec.output == .totalsByKey
            && keeping.map { $0.count <= StorageLimits.topKeptMax } ?? false
        self.keeping = isRanked ? keeping : nil
        self.bytesMax = bytesMax
        table = MeasureTable(seed: seed)
        self.seed = seed
    }

    init(
        _ spec: ScanSpec, seed: UInt64, table: MeasureTable,
        statistics: [PartitionID: PartitionStatistics], hasMore: Bool
    ) {
        self.spec = spec
        keeping = nil
        bytesMax = StorageLimits.scanBytesMax
        self.seed = seed
        self.table = table
        self.statistics = statistics
        self.hasMore = hasMore
    }

    package enum Order: UInt8, Sendable {
        case count = 1
        case sum = 2

        /// By what it ranks; nil where it does not.
        @inline(__always)
        func weight(_ measure: Measure) -> Int128? {
            switch self {
            case .count: Int128(measure.count)
            case .sum: measure.values?.sum
            }
        }
    }

    package struct Row: Hashable, Sendable {
        package let key: [UInt8]
        package let measure: Measure

        package init(key: [UInt8], measure: Measure) {
            self.key = key
            self.measure = measure
        }
    }

    /// Keys or types held so far.
    package var count: Int { table.count }

    package var byteCount: Int { table.byteCount }

    /// False once it holds more than `StorageLimits.scanBytesMax`: the answer must then be an
    /// error.
    package var isWithinLimit: Bool { byteCount <= bytesMax }

    // MARK: Gathering

    package func wants(_ partition: PartitionID) -> Bool {
        spec.partitions.contains(partition)
    }

    @inline(__always)
    func wants(type: UnsafeRawBufferPointer) -> Bool {
        guard let wanted = spec.type else { return !RetirementMark.isHidden(type: type) }
        return wanted.withUnsafeBytes { ByteOrder.areEqual($0, type) }
    }

    /// Adds one cell, if the spec selects it: how a coordinator adds what a missing slice
    /// contributes.
    package mutating func add(
        _ partition: PartitionID, key: UnsafeRawBufferPointer, type: UnsafeRawBufferPointer,
        window: Int64, _ measure: Measure
    ) {
        guard wants(partition), wants(type: type), spec.windows.contains(window) else { return }
        var part = SeriesPart()
        part.add(window: window, measure)
        _ = add(partition, key: key, type: type, &part)
    }

    /// Where a key was added; it holds as long as nothing is added but parts of that key.
    struct Place {
        fileprivate var entry: Int
    }

    /// Adds selected cells of one series. The caller has asked `wants` and looked at the windows.
    ///
    /// - Parameters:
    ///   - part: stays as it is; a reference spares a copy.
    ///   - place: what the part before returned if it was of the same key; so parts that come
    ///     sorted are looked up once a key.
    mutating func add(
        _ partition: PartitionID, key: UnsafeRawBufferPointer, type: UnsafeRawBufferPointer,
        _ part: inout SeriesPart, at place: Place? = nil
    ) -> Place? {
        guard part.cells > 0 else { return place }
        switch spec.output {
        case .totalsByKey:
            let place = place ?? Place(entry: table.slot(of: key))
            table.add(part.total, to: place.entry)
            if keeping != nil, partitions.count < table.count { partitions.append(partition) }
            return place
        case .types:
            table.add(type, part.total)
        case .keys(let prefix, let after, let limit):
            guard place == nil else { return place }
            if key.starts(with: prefix), isBeyond(after, key) {
                table.add(key, .zero)
                prune(to: bounded(limit), slack: bounded(limit) + 1024)
            }
            return Place(entry: 0)
        case .statistics:
            statistics[partition, default: PartitionStatistics()].add(part)
        }
        return nil
    }

    /// Room for the keys of a source, about so many of them.
    mutating func reserve(keys: Int) {
        let room = min(keys, bytesMax / MemoryLayout<MeasureTable.Entry>.stride)
        if case .totalsByKey = spec.output { table.reserve(max(0, room - table.count)) }
    }

    package mutating func merge(_ other: ScanAggregate) {
        precondition(spec.output == other.spec.output, "aggregates of two questions do not merge")
        precondition(
            keeping == nil && other.keeping == nil, "a key's place is known by all its cells")
        for entry in 0..<other.table.count {
            other.table.key(entry).withUnsafeBytes { table.add($0, other.table.measure(entry)) }
        }
        for (partition, theirs) in other.statistics.sorted(by: { $0.key < $1.key }) {
            statistics[partition, default: PartitionStatistics()].merge(theirs)
        }
        hasMore = hasMore || other.hasMore
        if case .keys(_, _, let limit) = spec.output { prune(to: bounded(limit), slack: 0) }
    }

    private func bounded(_ limit: Int) -> Int {
        min(max(0, limit), StorageLimits.keysPageMax)
    }

    private func isBeyond(_ after: [UInt8]?, _ key: UnsafeRawBufferPointer) -> Bool {
        guard let after else { return true }
        return after.withUnsafeBytes { ByteOrder.compare(key, $0) > 0 }
    }

    /// Keeps the first `limit` keys once there are `slack` more than that.
    private mutating func prune(to limit: Int, slack: Int) {
        guard table.count > limit + slack else { return }
        var kept = MeasureTable(seed: seed)
        for entry in table.sorted().prefix(limit) {
            table.key(entry).withUnsafeBytes { kept.add($0, .zero) }
        }
        table = kept
        hasMore = true
    }

    /// Adds what all tables of a snapshot hold.
    mutating func add(_ tables: [TableHandle]) throws(StorageError) {
        guard keeping == nil else { return try rank(tables) }
        for table in tables { try table.scan(into: &self) }
    }

    // MARK: Answers

    /// All rows by ascending key (or type).
    package var rows: [Row] {
        table.sorted().map { Row(key: table.key($0), measure: table.measure($0)) }
    }

    package func measure(of key: [UInt8]) -> Measure? {
        table.measure(of: key)
    }

    /// The `count` greatest, ties by ascending key. By sum: only keys whose events carry values.
    package func top(_ count: Int, by order: Order) -> [Row] {
        guard count > 0 else { return [] }
        // A heap of the best so far, the worst of them on top, over (weight, entry).
        var heap = BoundedHeap<(weight: Int128, entry: Int)>(capacity: count) { left, right in
            left.weight != right.weight
                ? left.weight < right.weight : table.compare(left.entry, right.entry) > 0
        }
        for entry in 0..<table.count {
            if let weight = order.weight(table.measure(entry)) { heap.offer((weight, entry)) }
        }
        return heap.descending().map {
            Row(key: table.key($0.entry), measure: table.measure($0.entry))
        }
    }

    /// The first keys of a `keys` listing and whether more follow.
    package func keys() -> (keys: [[UInt8]], hasMore: Bool) {
        guard case .keys(_, _, let limit) = spec.output else { return ([], false) }
        let sorted = table.sorted()
        let page = sorted.prefix(bounded(limit))
        return (page.map { table.key($0) }, hasMore || sorted.count > page.count)
    }

    /// By ascending partition.
    package var partitionStatistics: [(partition: PartitionID, statistics: PartitionStatistics)] {
        statistics.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
}

extension ScanAggregate: Equatable {
    /// Equal answers, in whatever order they were gathered.
    package static func == (left: ScanAggregate, right: ScanAggregate) -> Bool {
        left.spec == right.spec && left.statistics == right.statistics
            && left.hasMore == right.hasMore && left.rows == right.rows
    }
}
