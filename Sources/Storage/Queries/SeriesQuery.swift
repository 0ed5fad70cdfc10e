package import Core

/// The cells of one key: of one type or of all, in a half-open range of windows.
package struct SeriesQuery: Hashable, Sendable {
    package var partition: PartitionID
    package var key: [UInt8]
    /// nil: all types.
    package var type: [UInt8]?
    /// nil: no bound.
    package var from: Int64?
    package var to: Int64?

    package init(
        partition: PartitionID, key: [UInt8], type: [UInt8]? = nil, from: Int64? = nil,
        to: Int64? = nil
    ) {
        self.partition = partition
        self.key = key
        self.type = type
        self.from = from
        self.to = to
    }

    package var windows: WindowRange { WindowRange(from: from, to: to) }
}

/// One window of one type.
package struct SeriesRow: Hashable, Sendable {
    package var type: [UInt8]
    package var window: Int64
    package var measure: Measure

    package init(type: [UInt8], window: Int64, measure: Measure) {
        self.type = type
        self.window = window
        self.measure = measure
    }

    /// Sorts by (type, window) and adds rows of the same window up: what every source of rows must
    /// pass through before it is shown.
    package static func merge(_ rows: [SeriesRow]) -> [SeriesRow] {
        let sorted = rows.sorted { left, right in
            let order = ByteOrder.compare(left.type, right.type)
            return order != 0 ? order < 0 : left.window < right.window
        }
        var merged: [SeriesRow] = []
        merged.reserveCapacity(sorted.count)
        for row in sorted {
            if let last = merged.last, last.window == row.window, last.type == row.type {
                merged[merged.count - 1].measure.add(row.measure)
            } else {
                merged.append(row)
            }
        }
        return merged
    }
}

/// A half-open range of windows, open ends included.
package struct WindowRange: Hashable, Sendable {
    package var from: Int64?
    package var to: Int64?

    package init(from: Int64? = nil, to: Int64? = nil) {
        self.from = from
        self.to = to
    }

    @inline(__always)
    package func contains(_ window: Int64) -> Bool {
        (from.map { window >= $0 } ?? true) && (to.map { window < $0 } ?? true)
    }

    /// Whether any window of `first ... last` may lie in it.
    package func overlaps(_ first: Int64, _ last: Int64) -> Bool {
        (from.map { last >= $0 } ?? true) && (to.map { first < $0 } ?? true)
    }

    /// Whether every window of `first ... last` lies in it.
    package func covers(_ first: Int64, _ last: Int64) -> Bool {
        contains(first) && contains(last)
    }
}
