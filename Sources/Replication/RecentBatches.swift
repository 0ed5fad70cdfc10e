package import Core

/// The batches that were applied last in each partition: what lets a reader name the difference
/// between the sets of two voters without a listing. A ring of `ReplicationLimits.recentMax` places
/// for each partition that was ever touched; the memory for it is taken as it fills.
package struct RecentBatches: Sendable {
    package struct Entry: Sendable {
        // In this order they take 48 bytes, in another 64.
        package var term: UInt128
        package var id: BatchID
        package var at: Instant
    }

    private struct Ring: Sendable {
        var entries: [Entry] = []
        /// The oldest, once the ring is full: the next to be overwritten.
        var oldest = 0
    }

    private var rings: [Ring]

    package init(partitions: Int) {
        rings = Array(repeating: Ring(), count: partitions)
    }

    package mutating func insert(
        _ id: BatchID, term: UInt128, _ partition: PartitionID, at now: Instant
    ) {
        let place = Int(partition.index)
        let entry = Entry(term: term, id: id, at: now)
        let count = rings[place].entries.count
        if count < ReplicationLimits.recentMax {
            if count == rings[place].entries.capacity {
                rings[place].entries.reserveCapacity(
                    min(ReplicationLimits.recentMax, max(4, count * 2)))
            }
            rings[place].entries.append(entry)
        } else {
            let oldest = rings[place].oldest
            rings[place].entries[oldest] = entry
            rings[place].oldest = (oldest + 1) % ReplicationLimits.recentMax
        }
    }

    /// Those that were applied after `since`, the last one last.
    package func newest(_ partition: PartitionID, since: Instant) -> [Entry] {
        let ring = rings[Int(partition.index)]
        let ordered = ring.entries[ring.oldest...] + ring.entries[..<ring.oldest]
        return ordered.filter { $0.at > since }
    }

    var byteCount: Int {
        rings.reduce(ArrayBytes.of(rings)) { $0 + ArrayBytes.of($1.entries) }
    }
}
