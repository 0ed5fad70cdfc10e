import Core

/// The keys from one up to another, nil where nothing bounds them; both are starts of keys.
struct KeyZone: Sendable {
    static let all = KeyZone(from: nil, to: nil)

    var from: TablePoint?
    var to: TablePoint?
}

extension TablePoint {
    /// Before all cells of a key.
    static func start(of key: [UInt8], in partition: PartitionID) -> TablePoint {
        TablePoint(partition: partition, key: key, type: [], window: .min)
    }

    var startOfKey: TablePoint { .start(of: key, in: partition) }

    /// Of a start: whether a key comes before this one.
    func isBehind(_ partition: PartitionID, _ key: UnsafeRawBufferPointer) -> Bool {
        guard partition.index == self.partition.index else {
            return partition.index < self.partition.index
        }
        return self.key.withUnsafeBytes { ByteOrder.compare(key, $0) < 0 }
    }
}

extension TableIndex {
    /// The blocks in which keys of a zone may lie.
    func blocks(of zone: KeyZone) -> Range<Int> {
        let end = zone.to.map { start in entries.partitionPoint { $0.first < start } }
        guard let from = zone.from else { return 0..<(end ?? entries.count) }
        let first = firstBlock(ofZoneFrom: from, entries.partitionPoint { $0.first < from })
        return first..<(end ?? entries.count)
    }

    /// - Parameter number: the first block that does not begin before the zone.
    func firstBlock(ofZoneFrom from: TablePoint, _ number: Int) -> Int {
        let isAtStart =
            number < entries.count && entries[number].first.partition == from.partition
            && entries[number].first.key == from.key
        if isAtStart, let bounds, !bounds.continuesKey(number) { return number }
        // The block before it may end with keys of the zone.
        return max(0, number - 1)
    }
}
