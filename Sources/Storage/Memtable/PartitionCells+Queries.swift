import Core
import Wire

// Questions see what waits in `pending` beside the cells, as two parts of one sum.

extension PartitionCells {
    /// The rows of one key, sorted by (type, window).
    func rows(_ query: SeriesQuery) -> [SeriesRow] {
        let windows = query.windows
        var rows: [SeriesRow] = []
        if let key = find(key: query.key) {
            forEachSeries(of: key) { current in
                let type = typeBytes(series[current].type)
                if let wanted = query.type, wanted != type { return }
                forEachCell(of: current) { cell in
                    guard windows.contains(cell.window) else { return }
                    rows.append(SeriesRow(type: type, window: cell.window, measure: measure(cell)))
                }
            }
        }
        query.key.withUnsafeBytes { key in
            forEachPending { cell in
                guard windows.contains(cell.window), ByteOrder.areEqual(cell.key, key) else {
                    return
                }
                let type = Array(cell.type)
                if let wanted = query.type, wanted != type { return }
                rows.append(SeriesRow(type: type, window: cell.window, measure: cell.measure))
            }
        }
        return SeriesRow.merge(rows)
    }

    /// Adds what the aggregate's spec selects; the caller has seen that it wants this partition.
    func scan(_ partition: PartitionID, into aggregate: inout ScanAggregate) {
        let windows = aggregate.spec.windows
        let wantedTypes = types.map { name in
            withBytes(name.offset, name.length) { aggregate.wants(type: $0) }
        }
        arena.withUnsafeBytes { arena in
            for current in series.indices {
                guard wantedTypes[Int(series[current].type)] else { continue }
                let key = keys[Int(series[current].key)]
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
        forEachPending { cell in
            guard windows.contains(cell.window), aggregate.wants(type: cell.type) else { return }
            var part = SeriesPart()
            part.add(window: cell.window, cell.measure)
            _ = aggregate.add(partition, key: cell.key, type: cell.type, &part)
        }
    }

    /// The sum of all cells and of what waits. The terms of what waits cost two hashes a series:
    /// whoever asks for many partitions settles them first.
    var wholeSum: PartitionSum {
        var whole = sum
        var terms: SeriesTerms?
        forEachPending { cell in
            if cell.startsSeries || terms == nil {
                terms = SeriesTerms(key: cell.key, type: cell.type, digestKey: rules.digestKey)
            }
            guard let terms else { return }
            whole.add(cell.measure, term: terms.term(day: rules.buckets.day(of: cell.window)))
        }
        return whole
    }

    private func forEachPending(_ body: (SliceCell) -> Void) {
        pending.withUnsafeBytes { bytes in
            var reader = SliceReader(bytes, windows: rules.windows)
            while let cell = Self.next(&reader) { body(cell) }
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

// MARK: - Memory against itself

extension PartitionCells {
    /// Whether the cells add up to `sum`.
    var isConsistent: Bool {
        var found = PartitionSum.zero
        for current in series.indices {
            var day = series[current].day
            forEachCell(of: current) { cell in
                if !day.windows.contains(cell.window) {
                    day = dayTerm(of: cell.window, series[current].terms)
                }
                found.add(measure(cell), term: day.term)
            }
        }
        return found == sum
    }

    /// The door through which tests make it lie. False where there is no cell.
    mutating func corruptCell() -> Bool {
        guard !cells.isEmpty else { return false }
        cells[0].count += 1
        return true
    }
}
