import Core
import Wire

extension TableHandle {
    /// Appends the rows of one key, in order.
    package func series(
        _ query: SeriesQuery, into rows: inout [SeriesRow]
    ) throws(StorageError) {
        guard mayHold(query) else { return }
        var start = TablePoint.start(of: query.key, in: query.partition)
        if let type = query.type {
            start.type = type
            start.window = query.from ?? .min
        }
        var number = index.block(of: start)
        while number < index.entries.count, !isBeyond(query, index.entries[number].first) {
            var block = try block(number)
            let offset = index.entries[number].offset
            try source.decoded(at: offset) { () throws(DecodeError) in
                try Self.collect(query, from: &block, into: &rows)
            }
            number += 1
        }
    }

    /// Adds what the aggregate's spec selects.
    package func scan(into aggregate: inout ScanAggregate) throws(StorageError) {
        guard aggregate.spec.windows.overlaps(meta.firstWindow, meta.lastWindow) else { return }
        let isOfMarks = aggregate.spec.type == RetirementMark.type
        if !isOfMarks { aggregate.reserve(keys: keys(of: aggregate.spec.partitions)) }
        for number in isOfMarks ? blocksOfMarks(aggregate.spec.partitions) : blocks(aggregate.spec)
        {
            var block = try block(number)
            try source.decoded(at: index.entries[number].offset) { () throws(DecodeError) in
                try Self.collect(from: &block, into: &aggregate)
            }
            guard aggregate.isWithinLimit else {
                throw .scanTooLarge(bytes: aggregate.byteCount)
            }
        }
    }

    private func blocks(_ spec: ScanSpec) -> [Int] {
        index.entries.indices.filter { isWanted($0, spec) }
    }

    /// The keys of marks are the last ones of their partition: of a table of millions of keys a few
    /// blocks hold them all.
    private func blocksOfMarks(_ partitions: PartitionSet) -> [Int] {
        var numbers: Set<Int> = []
        for held in footer.partitions where partitions.contains(held.partition) {
            var number = index.block(
                of: .start(of: [RetirementMark.lead], in: held.partition))
            while number < index.entries.count,
                index.entries[number].first.partition <= held.partition
            {
                numbers.insert(number)
                number += 1
            }
        }
        return numbers.sorted()
    }

    /// Reads every cell and holds what they add up to against the footer: what the scrubber does,
    /// and what a flush does before it believes its own file.
    package func verify() throws(StorageError) {
        try check(try recount())
    }

    /// Throws where cells that were read are not those of the footer.
    func check(_ found: TableStatistics) throws(StorageError) {
        guard found.partitions == footer.partitions, found.checksum == footer.checksum,
            found.series == footer.series, found.keys == footer.keys, hasRange(found),
            index.bounds == nil || found.foundBounds == index.bounds
        else {
            throw .damaged(
                path: path, offset: footer.indexOffset,
                what: "its cells do not add up to its footer or the bounds of its index")
        }
    }

    /// Whether the footer's windows and keys are those of the cells. Queries pass over a table by
    /// them: one that lay outside would be missing from every answer, and from no sum.
    private func hasRange(_ found: TableStatistics) -> Bool {
        guard footer.cells > 0 else { return true }
        return found.firstWindow == footer.firstWindow && found.lastWindow == footer.lastWindow
            && found.firstKey == footer.firstKey && found.lastKey == footer.lastKey
    }

    /// What the cells in the file add up to.
    func recount() throws(StorageError) -> TableStatistics {
        var cursor = try TableCursor(self)
        while try !cursor.run(.max / 2) {}
        return cursor.statistics
    }

    /// False where it certainly has no cell of a key.
    ///
    /// - Parameter hash: of partition and key, as `KeyFilter` has it.
    func mayHold(_ hash: UInt64, in partition: PartitionID) -> Bool {
        meta.partitions.contains(partition) && filter.mayHold(hash)
    }

    /// False where it certainly has no row of a query.
    func mayHold(_ query: SeriesQuery) -> Bool {
        query.windows.overlaps(meta.firstWindow, meta.lastWindow)
            && ByteOrder.compare(query.key, meta.firstKey) >= 0
            && ByteOrder.compare(query.key, meta.lastKey) <= 0
            && mayHold(
                query.key.withUnsafeBytes { KeyFilter.hash(query.partition, $0) },
                in: query.partition)
    }

    /// Whether nothing from `point` on can answer the query.
    private func isBeyond(_ query: SeriesQuery, _ point: TablePoint) -> Bool {
        if point.partition != query.partition { return point.partition > query.partition }
        let keys = ByteOrder.compare(point.key, query.key)
        guard keys == 0, let type = query.type else { return keys > 0 }
        let types = ByteOrder.compare(point.type, type)
        guard types == 0, let to = query.to else { return types > 0 }
        return point.window >= to
    }

    /// Whether a block may have cells that a scan selects.
    func isWanted(_ number: Int, _ spec: ScanSpec) -> Bool {
        if let bounds = index.bounds {
            guard let slot = bounds.slot(of: spec.type), bounds[number, slot] != nil else {
                return false
            }
        }
        return isWanted(number, spec.partitions)
    }

    /// Blocks are sorted by partition first: a block spans those from its first cell's to the next
    /// block's first cell's.
    func isWanted(_ number: Int, _ partitions: PartitionSet) -> Bool {
        let first = index.entries[number].first.partition
        let last =
            number + 1 < index.entries.count
            ? index.entries[number + 1].first.partition
            : footer.partitions.last?.partition ?? first
        guard first < last else { return partitions.contains(first) }
        return footer.partitions.contains {
            $0.partition >= first && $0.partition <= last && partitions.contains($0.partition)
        }
    }

    /// About so many keys are held of these partitions.
    private func keys(of partitions: PartitionSet) -> Int {
        var cells = 0.0
        for held in footer.partitions where partitions.contains(held.partition) {
            cells += Double(held.cells)
        }
        let share = cells / Double(max(1, footer.cells))
        return Int(Double(min(footer.keys, footer.cells)) * share)
    }

    private static func collect(
        _ query: SeriesQuery, from block: inout BlockWalk, into rows: inout [SeriesRow]
    ) throws(DecodeError) {
        let windows = query.windows
        while try block.next() {
            guard block.partition == query.partition else {
                if block.partition > query.partition { return }
                continue
            }
            let key = block.key
            let order = query.key.withUnsafeBytes { ByteOrder.compare(key, $0) }
            if order > 0 { return }
            guard order == 0, block.isOf(query.type) else { continue }
            let type = Array(block.type)
            while let cell = try block.nextCell() {
                guard windows.contains(cell.window) else { continue }
                rows.append(SeriesRow(type: type, window: cell.window, measure: cell.measure))
            }
        }
    }

    private static func collect(
        from block: inout BlockWalk, into aggregate: inout ScanAggregate
    ) throws(DecodeError) {
        let windows = aggregate.spec.windows
        let type = aggregate.spec.type
        var part = SeriesPart()
        var partition: UInt16?
        var isWanted = false
        // Where the key is held, while its parts follow one another.
        var place: ScanAggregate.Place?
        while try block.next() {
            if !block.isSameKey { place = nil }
            if block.partition.index != partition {
                partition = block.partition.index
                isWanted = aggregate.wants(block.partition)
            }
            guard isWanted, block.isOf(type) else { continue }
            try block.sum(in: windows, into: &part)
            guard part.cells > 0 else { continue }
            place = aggregate.add(
                block.partition, key: block.key, type: block.type, &part, at: place)
        }
    }
}

extension BlockWalk {
    /// Whether the part is of a type; nil is any that events have.
    @inline(__always)
    func isOf(_ wanted: [UInt8]?) -> Bool {
        let mine = type
        guard let wanted else { return !RetirementMark.isHidden(type: mine) }
        return wanted.withUnsafeBytes { ByteOrder.areEqual(mine, $0) }
    }
}
