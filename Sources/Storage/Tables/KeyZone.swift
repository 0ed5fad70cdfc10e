import Core

/// Where a key begins in the order of tables.
struct KeyEdge: Hashable, Sendable, Comparable {
    var partition: PartitionID
    var key: [UInt8]

    init(_ point: TablePoint) {
        self.init(point.partition, point.key)
    }

    init(_ partition: PartitionID, _ key: [UInt8]) {
        self.partition = partition
        self.key = key
    }

    /// Whether a key comes before this one.
    func isBehind(_ partition: PartitionID, _ key: UnsafeRawBufferPointer) -> Bool {
        guard partition.index == self.partition.index else {
            return partition.index < self.partition.index
        }
        return self.key.withUnsafeBytes { ByteOrder.compare(key, $0) < 0 }
    }

    static func < (left: KeyEdge, right: KeyEdge) -> Bool {
        left.partition != right.partition
            ? left.partition < right.partition : ByteOrder.compare(left.key, right.key) < 0
    }
}

/// The keys from one up to another, nil where nothing bounds them.
struct KeyZone: Hashable, Sendable {
    static let all = KeyZone(from: nil, to: nil)

    var from: KeyEdge?
    var to: KeyEdge?
}

extension TableIndex {
    /// The blocks in which keys of a zone may lie.
    func blocks(of zone: KeyZone) -> Range<Int> {
        let end = zone.to.map { firstBlock(from: $0) } ?? entries.count
        guard let from = zone.from else { return 0..<end }
        var first = firstBlock(from: from)
        let begins =
            first < entries.count && KeyEdge(entries[first].first) == from
            && !(bounds?.goesOn(first) ?? true)
        // Else the block before it may end with keys of the zone.
        if !begins { first = max(0, first - 1) }
        return first..<max(first, end)
    }

    /// The first block whose first key does not come before `edge`.
    private func firstBlock(from edge: KeyEdge) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            let first = entries[middle].first
            let isBefore =
                first.partition != edge.partition
                ? first.partition < edge.partition : ByteOrder.compare(first.key, edge.key) < 0
            if isBefore { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
