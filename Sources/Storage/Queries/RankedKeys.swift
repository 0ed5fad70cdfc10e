import Core

/// The greatest keys of those that are offered; a key that does not rank costs one comparison.
struct RankedKeys {
    private struct Ranked {
        var weight: Int128
        var row: ScanAggregate.Row
    }

    private let order: ScanAggregate.Order
    private var heap: BoundedHeap<Ranked>
    /// What a key must reach, once there are enough of them.
    private(set) var weightMin: Int128?

    init(_ top: ScanAggregate.Top) {
        order = top.order
        heap = BoundedHeap(capacity: max(0, top.count)) { left, right in
            left.weight != right.weight
                ? left.weight < right.weight : ByteOrder.compare(left.row.key, right.row.key) > 0
        }
    }

    @inline(__always)
    mutating func offer(_ key: UnsafeRawBufferPointer, _ measure: Measure) {
        guard let weight = order.weight(measure) else { return }
        if let weightMin, weight < weightMin { return }
        // Ties go by key, which the heap compares.
        heap.offer(
            Ranked(weight: weight, row: ScanAggregate.Row(key: Array(key), measure: measure)))
        weightMin = heap.worst?.weight
    }

    /// The greatest first.
    var rows: [ScanAggregate.Row] { heap.descending().map(\.row) }
}
