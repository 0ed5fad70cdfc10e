import Core

extension CellStore {
    /// The rows of one key, sorted by (type, window).
    func rows(_ query: SeriesQuery) -> [SeriesRow] {
        guard let key = find(query.partition, key: query.key) else { return [] }
        let windows = query.windows
        var rows: [SeriesRow] = []
        forEachSeries(of: key) { current in
            let type = typeBytes(series[current].type)
            if let wanted = query.type, wanted != type { return }
            forEachCell(of: current) { cell in
                guard windows.contains(cell.window) else { return }
                rows.append(SeriesRow(type: type, window: cell.window, measure: measure(cell)))
            }
        }
        return SeriesRow.merge(rows)
    }

    /// Adds what the aggregate's spec selects.
    func scan(into aggregate: inout ScanAggregate) {
        let windows = aggregate.spec.windows
        let wantedTypes = types.map { name in
            withBytes(name.offset, name.length) { aggregate.wants(type: $0) }
        }
        arena.withUnsafeBytes { arena in
            for current in series.indices {
                guard wantedTypes[Int(series[current].type)] else { continue }
                let key = keys[Int(series[current].key)]
                let partition = PartitionID(Int(key.partition))
                guard aggregate.wants(partition) else { continue }
                var part = SeriesPart()
                forEachCell(of: current) { cell in
                    if windows.contains(cell.window) {
                        part.add(window: cell.window, measure(cell))
                    }
                }
                let type = types[Int(series[current].type)]
                _ = aggregate.add(
                    partition,
                    key: UnsafeRawBufferPointer(
                        rebasing: arena[key.offset..<key.offset + Int(key.length)]),
                    type: UnsafeRawBufferPointer(
                        rebasing: arena[type.offset..<type.offset + type.length]),
                    &part)
            }
        }
    }

    func forEachSeries(of key: Int, _ body: (Int) -> Void) {
        var current = keys[key].firstSeries
        while current != Self.none {
            body(Int(current))
            current = series[Int(current)].nextOfKey
        }
    }

    @inline(__always)
    func forEachCell(of current: Int, _ body: (Cell) -> Void) {
        var next = series[current].lastMade
        while next != Self.none {
            let cell = cells[Int(next)]
            body(cell)
            next = cell.next
        }
    }
}

// MARK: - Sorting for a flush

extension CellStore {
    /// The cells of one series in one bucket: a range of `SortedCells.order`.
    struct Run: Sendable {
        var bucket: Int64
        var series: Int
        var cells: Range<Int>
    }

    struct SortedCells: Sendable {
        /// Indexes of cells, those of one run ascending by window.
        var order: [UInt32] = []
        /// Ascending by bucket, and within it by (partition, key, type).
        var runs: [Run] = []
    }

    /// Series are sorted, not cells: each key once within its partition, then its types, then the
    /// cells of one series, which mostly come in order already.
    func sorted() -> SortedCells {
        var result = SortedCells()
        result.order.reserveCapacity(cells.count)
        let typeRanks = rankedTypes()
        // By itself, since a closure over the store would copy all of it.
        let series = series
        var scratch: [(window: Int64, cell: UInt32)] = []
        var ofKey: [Int] = []
        for key in sortedKeys() {
            ofKey.removeAll(keepingCapacity: true)
            forEachSeries(of: key) { ofKey.append($0) }
            if ofKey.count > 1 {
                ofKey.sort { typeRanks[Int(series[$0].type)] < typeRanks[Int(series[$1].type)] }
            }
            for current in ofKey {
                collect(current, &scratch)
                append(scratch, of: current, to: &result)
            }
        }
        result.runs = Self.stablySortedByBucket(result.runs)
        return result
    }

    private func collect(_ current: Int, _ scratch: inout [(window: Int64, cell: UInt32)]) {
        scratch.removeAll(keepingCapacity: true)
        var next = series[current].lastMade
        var isDescending = true
        while next != Self.none {
            let cell = cells[Int(next)]
            if let last = scratch.last, last.window < cell.window { isDescending = false }
            scratch.append((cell.window, next))
            next = cell.next
        }
        if isDescending { scratch.reverse() } else { scratch.sort { $0.window < $1.window } }
    }

    private func append(
        _ sorted: [(window: Int64, cell: UInt32)], of current: Int, to result: inout SortedCells
    ) {
        var start = result.order.count
        var bucket: Int64?
        var windows: ClosedRange<Int64> = 0...0
        for (window, cell) in sorted {
            if bucket == nil || !windows.contains(window) {
                if let bucket {
                    result.runs.append(
                        Run(bucket: bucket, series: current, cells: start..<result.order.count))
                    start = result.order.count
                }
                let here = buckets.bucket(of: window)
                windows = buckets.windows(ofBucket: here)
                bucket = here
            }
            result.order.append(cell)
        }
        if let bucket {
            result.runs.append(
                Run(bucket: bucket, series: current, cells: start..<result.order.count))
        }
    }

    private static func stablySortedByBucket(_ runs: [Run]) -> [Run] {
        guard runs.contains(where: { $0.bucket != runs[0].bucket }) else { return runs }
        // The position breaks ties, since the library's sort does not promise stability.
        return runs.enumerated().sorted { left, right in
            (left.element.bucket, left.offset) < (right.element.bucket, right.offset)
        }.map(\.element)
    }

    private func rankedTypes() -> [Int] {
        var ranks = Array(repeating: 0, count: types.count)
        let sorted = types.indices.sorted {
            ByteOrder.compare(typeBytes(UInt32($0)), typeBytes(UInt32($1))) < 0
        }
        for (rank, type) in sorted.enumerated() { ranks[type] = rank }
        return ranks
    }

    /// Keys by (partition, bytes). Most keys of a load share their beginning, so that the first
    /// bytes say little: the eight bytes behind what all keys of a partition share decide nearly
    /// always.
    private func sortedKeys() -> [Int] {
        var byPartition: [[Int]] = Array(repeating: [], count: sums.count)
        for key in keys.indices { byPartition[Int(keys[key].partition)].append(key) }
        var result: [Int] = []
        result.reserveCapacity(keys.count)
        arena.withUnsafeBytes { arena in
            func bytes(_ key: Int) -> UnsafeRawBufferPointer {
                let offset = keys[key].offset
                return UnsafeRawBufferPointer(
                    rebasing: arena[offset..<offset + Int(keys[key].length)])
            }
            for members in byPartition {
                guard let first = members.first else { continue }
                var shared = bytes(first).count
                for key in members {
                    shared = Self.commonPrefix(bytes(first), bytes(key), atMost: shared)
                }
                var entries = members.map {
                    (lead: Self.lead(bytes($0), skipping: shared), key: $0)
                }
                entries.sort { left, right in
                    left.lead != right.lead
                        ? left.lead < right.lead
                        : ByteOrder.compare(bytes(left.key), bytes(right.key)) < 0
                }
                for entry in entries { result.append(entry.key) }
            }
        }
        return result
    }

    private static func commonPrefix(
        _ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer, atMost limit: Int
    ) -> Int {
        let limit = min(limit, right.count)
        var length = 0
        while length < limit, left[length] == right[length] { length += 1 }
        return length
    }

    /// Eight bytes from `offset` on as a big-endian number, zeroes behind the end.
    private static func lead(_ key: UnsafeRawBufferPointer, skipping offset: Int) -> UInt64 {
        var lead: UInt64 = 0
        for position in offset..<offset + 8 {
            lead = lead << 8 | (position < key.count ? UInt64(key[position]) : 0)
        }
        return lead
    }
}
