package import Core

/// Which partition a cell lies in.
///
/// By key, all windows of a key lie in one partition. By key and day the UTC day of the window
/// joins the placement key, for keys with very many windows: their load and their bytes are spread
/// over all partitions, and a question over several days is put to several partitions.
///
/// A key's token is Cassandra's for `PRIMARY KEY (key)`, with the day that for
/// `PRIMARY KEY ((key, day))`, `day` a `date`. Windows of an hour and of a day lie within one
/// UTC day, so that rollup never moves a cell (docs/decisions/0036-key-and-day.md).
package struct KeyPlacement: Hashable, Sendable {
    package enum Rule: String, CaseIterable, Hashable, Sendable {
        case key
        case keyAndDay = "key+day"
    }

    package let rule: Rule
    package let partitioning: Partitioning
    private let windowsPerDay: Int64

    /// - Parameter window: the base length; it divides a day.
    package init(_ rule: Rule, _ partitioning: Partitioning, window: WindowLength) {
        precondition(86_400_000 % window.milliseconds == 0, "\(window) does not divide a day")
        self.rule = rule
        self.partitioning = partitioning
        windowsPerDay = 86_400_000 / window.milliseconds
    }

    /// Where days lie apart, the windows of one; nil: all of a key's windows lie together.
    package var windowsPerPlace: Int64? { rule == .key ? nil : windowsPerDay }

    /// - Parameter window: its index, `floor(time / length)`.
    package func token(of key: UnsafeRawBufferPointer, window: Int64) -> Token {
        switch rule {
        case .key: Murmur3.token(of: key)
        case .keyAndDay: Murmur3.token(of: key, onDay: floorDivide(window, windowsPerDay))
        }
    }

    package func partition(of key: UnsafeRawBufferPointer, window: Int64) -> PartitionID {
        partitioning.partition(of: token(of: key, window: window))
    }

    package func partition(of key: [UInt8], window: Int64) -> PartitionID {
        key.withUnsafeBytes { partition(of: $0, window: window) }
    }

    /// The partitions that may hold windows of a key, from `from` up to but not `to` (indices, not
    /// times); nil is no bound. An empty range has that of `from`. From as many days as partitions
    /// on they are all, unhashed: so many days reach most of them.
    package func partitions(of key: [UInt8], from: Int64?, to: Int64?) -> PartitionSet {
        guard rule == .keyAndDay else { return PartitionSet([partition(of: key, window: 0)]) }
        guard let days = days(from: from, to: to), days.count < partitioning.count else {
            return PartitionSet(partitioning.all)
        }
        return PartitionSet(days.map { partition(of: key, window: $0 * windowsPerDay) })
    }

    /// Whether the windows of one key in this range may lie in several partitions.
    package func splitsKeys(from: Int64?, to: Int64?) -> Bool {
        guard rule == .keyAndDay else { return false }
        return days(from: from, to: to).map { $0.count > 1 } ?? true
    }

    /// Days since 1970-01-01 UTC that a range touches; nil where it has no bound.
    private func days(from: Int64?, to: Int64?) -> Range<Int64>? {
        guard let from, let to else { return nil }
        let first = floorDivide(from, windowsPerDay)
        return first..<(from < to ? floorDivide(to - 1, windowsPerDay) : first) + 1
    }
}
