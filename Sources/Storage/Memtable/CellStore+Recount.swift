import Core

// Memory against itself: what the cells add up to, and the door through which tests make it lie.

extension CellStore {
    /// Partitions whose cells do not add up to `sums`, ascending.
    func recount() -> [PartitionID] {
        var found = Array(repeating: PartitionSum.zero, count: sums.count)
        for cell in cells {
            let key = keys[Int(series[Int(cell.series)].key)]
            found[Int(key.partition)].add(measure(cell), term: cell.term)
        }
        return found.indices.filter { found[$0] != sums[$0] }.map { PartitionID($0) }
    }

    mutating func corruptCell(of partition: PartitionID) -> Bool {
        let place = cells.indices.first { place in
            keys[Int(series[Int(cells[place].series)].key)].partition == partition.index
        }
        guard let place else { return false }
        cells[place].count += 1
        return true
    }
}
