import Core

/// One run of `SortedCells.order`: the cells of one series in one bucket.
struct CellRun: Sendable {
    var bucket: Int64
    var partition: Int
    /// Of the partition's store, as are the cells.
    var series: Int
    var cells: Range<Int>
}

struct SortedCells: Sendable {
    /// Indexes of cells, those of one run ascending by window.
    var order: [UInt32] = []
    /// Ascending by bucket, and within it by (partition, key, type).
    var runs: [CellRun] = []
}

extension PartitionCells {
    /// Appends all cells, by (key, type, window). Series are sorted, not cells: each key once, then
    /// its types, then the cells of one series, which mostly come in order already.
    func sort(_ partition: Int, into result: inout SortedCells) {
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
                append(
                    scratch,
                    CellRun(bucket: 0, partition: partition, series: current, cells: 0..<0),
                    to: &result)
            }
        }
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

    /// As runs like `model`, one for each bucket.
    private func append(
        _ sorted: [(window: Int64, cell: UInt32)], _ model: CellRun, to result: inout SortedCells
    ) {
        var run = model
        var start = result.order.count
        var windows: ClosedRange<Int64>?
        for (window, cell) in sorted {
            if windows.map({ !$0.contains(window) }) ?? true {
                if windows != nil {
                    run.cells = start..<result.order.count
                    result.runs.append(run)
                    start = result.order.count
                }
                run.bucket = rules.buckets.bucket(of: window)
                windows = rules.buckets.windows(ofBucket: run.bucket)
            }
            result.order.append(cell)
        }
        guard windows != nil else { return }
        run.cells = start..<result.order.count
        result.runs.append(run)
    }

    private func rankedTypes() -> [Int] {
        var ranks = Array(repeating: 0, count: types.count)
        let sorted = types.indices.sorted {
            ByteOrder.compare(typeBytes(UInt32($0)), typeBytes(UInt32($1))) < 0
        }
        for (rank, type) in sorted.enumerated() { ranks[type] = rank }
        return ranks
    }

    /// Keys by their bytes. Most keys of a load share their beginning, so that the first bytes say
    /// little: the eight bytes behind what all of them share decide nearly always.
    private func sortedKeys() -> [Int] {
        guard !keys.isEmpty else { return [] }
        return arena.withUnsafeBytes { arena in
            func bytes(_ key: Int) -> UnsafeRawBufferPointer {
                let offset = keys[key].offset
                return UnsafeRawBufferPointer(
                    rebasing: arena[offset..<offset + Int(keys[key].length)])
            }
            var shared = bytes(0).count
            for key in keys.indices {
                shared = min(shared, ByteOrder.commonPrefix(bytes(0), bytes(key)))
            }
            var entries = keys.indices.map {
                (lead: Self.lead(bytes($0), skipping: shared), key: $0)
            }
            entries.sort { left, right in
                left.lead != right.lead
                    ? left.lead < right.lead
                    : ByteOrder.compare(bytes(left.key), bytes(right.key)) < 0
            }
            return entries.map(\.key)
        }
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
