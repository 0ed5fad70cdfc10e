package import Core

/// What to gather from many keys.
package struct ScanSpec: Hashable, Sendable {
    package enum Output: Hashable, Sendable {
        /// One measure per key: for top K and for grouping.
        case totalsByKey
        /// One measure per type.
        case types
        /// The first `limit` keys that begin with `prefix` and come after `after`, ascending.
        case keys(prefix: [UInt8], after: [UInt8]?, limit: Int)
        /// What each partition holds.
        case statistics
    }

    package var partitions: PartitionSet
    /// nil: all types.
    package var type: [UInt8]?
    package var from: Int64?
    package var to: Int64?
    package var output: Output

    package init(
        partitions: PartitionSet, type: [UInt8]? = nil, from: Int64? = nil, to: Int64? = nil,
        output: Output
    ) {
        self.partitions = partitions
        self.type = type
        self.from = from
        self.to = to
        self.output = output
    }

    package var windows: WindowRange { WindowRange(from: from, to: to) }
}

/// What a partition holds in one place or, summed, in all. A cell that lies in several places is
/// counted in each; events and values are exact.
package struct PartitionStatistics: Hashable, Sendable {
    package var cells: UInt64 = 0
    package var total = Measure.zero
    package var firstWindow = Int64.max
    package var lastWindow = Int64.min

    package init() {}

    mutating func add(_ part: SeriesPart) {
        cells += UInt64(part.cells)
        total.add(part.total)
        firstWindow = min(firstWindow, part.firstWindow)
        lastWindow = max(lastWindow, part.lastWindow)
    }

    mutating func merge(_ other: PartitionStatistics) {
        cells += other.cells
        total.add(other.total)
        firstWindow = min(firstWindow, other.firstWindow)
        lastWindow = max(lastWindow, other.lastWindow)
    }
}

/// The cells of one series that a scan selected, added up: what an aggregate takes.
package struct SeriesPart: Hashable, Sendable {
    package var cells = 0
    package var total = Measure.zero
    package var firstWindow = Int64.max
    package var lastWindow = Int64.min

    package init() {}

    @inline(__always)
    mutating func clear() {
        cells = 0
        total.count = 0
        total.values = nil
        firstWindow = .max
        lastWindow = .min
    }

    @inline(__always)
    package mutating func add(window: Int64, _ measure: Measure) {
        cells += 1
        total.add(measure)
        firstWindow = min(firstWindow, window)
        lastWindow = max(lastWindow, window)
    }
}
