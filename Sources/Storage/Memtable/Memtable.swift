package import Core
package import Wire

/// The sum of all slices that were applied since the last flush. It is moved, never copied: a flush
/// takes it out whole, and a fresh one takes its place. (`~Copyable` would say so to the compiler,
/// which then takes minutes to check a node's machine.)
package struct Memtable {
    private var store: CellStore

    /// - Parameters:
    ///   - partitions: how many the cluster has.
    ///   - digestKey: the cluster's.
    ///   - bytesMax: about what it holds when it is flushed; a part of that may wait unsorted.
    package init(
        partitions: Int, digestKey: SipKey, window: WindowLength,
        bytesMax: Int
    ) {
        store = CellStore(
            partitions: partitions, digestKey: digestKey, buckets: TimeBuckets(window: window),
            pendingMax: min(
                bytesMax / StorageLimits.pendingShare / partitions,
                StorageLimits.pendingBytesMax))
    }

    /// Adds a slice's cells, all of them or, if it is malformed, none. The caller has checked that
    /// the partition exists.
    package mutating func apply(
        slice bytes: UnsafeRawBufferPointer, partition: PartitionID
    ) throws(SliceError) {
        try store.add(bytes, partition: partition)
    }

    var buckets: TimeBuckets { store.buckets }

    /// One cell, as a table holds it.
    mutating func insert(
        _ partition: PartitionID, key: [UInt8], type: [UInt8], window: Int64, _ measure: Measure
    ) {
        store.insert(partition, key: key, type: type, window: window, measure)
    }

    /// About the memory held: what a flush by size looks at.
    package var bytes: Int { store.size.bytes }

    /// Bytes of slices that wait to be added.
    package var pendingBytes: Int { store.pendingBytes }

    /// At most: slices that wait may be of cells that are there.
    package var cells: Int { store.size.cells }

    package var isEmpty: Bool { store.size.cells == 0 }

    /// Adds what waits: no answer changes, but those that need the sums of many partitions come
    /// faster.
    package mutating func settle(_ partition: PartitionID) {
        store.settle(partition)
    }

    /// Adds what waits in the partitions from a place on, until as many bytes as given are added:
    /// some milliseconds for a megabyte. True where it was the last.
    package mutating func settle(from place: inout Int, bytesMax: Int) -> Bool {
        store.settle(from: &place, bytesMax: bytesMax)
    }

    /// Moves all that it holds out, immutable from here on, and is empty. `through` is the LSN of
    /// the last application in it: what `coveredThrough` becomes when its tables are in the
    /// manifest.
    package mutating func freeze(through: LSN) -> FrozenMemtable {
        store.settle()
        var full = store.emptyCopy
        swap(&full, &store)
        return FrozenMemtable(store: full, through: through)
    }

    package func series(_ query: SeriesQuery) -> [SeriesRow] {
        store.rows(query)
    }

    package func scan(into aggregate: inout ScanAggregate) {
        store.scan(into: &aggregate)
    }

    package func stateDigest(of partition: PartitionID) -> StateDigest {
        store.sum(of: partition).state
    }

    package func sum(of partition: PartitionID) -> PartitionSum {
        store.sum(of: partition)
    }

    /// Partitions whose cells do not add up to the sums kept beside them, ascending. A pass over
    /// all cells: a scrub, not an audit.
    package func recount() -> [PartitionID] {
        store.recount()
    }

    /// For tests of those who must notice: counts one event too many in the first cell of a
    /// partition, as a flipped bit would, and says so nowhere. False where there is no cell.
    package mutating func corruptCell(of partition: PartitionID) -> Bool {
        store.corruptCell(of: partition)
    }
}

/// A memtable on its way to the disk: answers the same questions, changes no more.
package final class FrozenMemtable: Sendable {
    let store: CellStore
    package let through: LSN

    init(store: CellStore, through: LSN) {
        self.store = store
        self.through = through
    }

    package var bytes: Int { store.size.bytes }

    package var cells: Int { store.size.cells }

    package func series(_ query: SeriesQuery) -> [SeriesRow] {
        store.rows(query)
    }

    package func scan(into aggregate: inout ScanAggregate) {
        store.scan(into: &aggregate)
    }

    package func stateDigest(of partition: PartitionID) -> StateDigest {
        store.sum(of: partition).state
    }

    package func sum(of partition: PartitionID) -> PartitionSum {
        store.sum(of: partition)
    }
}
