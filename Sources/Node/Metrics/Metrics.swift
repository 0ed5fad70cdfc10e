/// # Metrics: what a node says about itself in numbers
///
/// A handful of counters and histograms that any thread may bump without a lock, and gauges that
/// are read when somebody scrapes. `MetricText` writes them in Prometheus' text format 0.0.4. The
/// four golden signals (Beyer et al., *Site Reliability Engineering*, 2016, chapter 6) come first:
/// traffic, errors, latency, saturation; then what this database in particular must show: fsync
/// time, what is not yet in files, who is up, whether this node votes, how far it is behind.
///
/// It is our own and not a backend of swift-metrics because the set is small and fixed: each metric
/// is a stored property that the compiler checks, there is no registry to look names up in, and a
/// bump is one atomic addition. docs/operating.md lists them all.
internal import Synchronization

/// Only grows, until the process ends.
package final class Counter: Sendable {
    private let number = Atomic<UInt64>(0)

    package init() {}

    package var value: UInt64 { number.load(ordering: .relaxed) }

    package func increment(by amount: Int = 1) {
        number.wrappingAdd(UInt64(max(0, amount)), ordering: .relaxed)
    }
}

/// Durations in buckets that double from 100 µs to about 26 s.
package final class Histogram: Sendable {
    /// Upper bounds in microseconds; the last bucket has none.
    package static let bounds: [Int64] = (0..<19).map { 100 << Int64($0) }

    private let buckets: [Bucket]
    private let microseconds = Atomic<UInt64>(0)

    private final class Bucket: Sendable {
        let count = Atomic<UInt64>(0)
    }

    package init() {
        buckets = (0...Histogram.bounds.count).map { _ in Bucket() }
    }

    package func observe(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let micros = max(0, seconds * 1_000_000 + attoseconds / 1_000_000_000_000)
        let place = Histogram.bounds.firstIndex { micros <= $0 } ?? Histogram.bounds.count
        buckets[place].count.wrappingAdd(1, ordering: .relaxed)
        microseconds.wrappingAdd(UInt64(micros), ordering: .relaxed)
    }

    /// Per bucket, not yet summed up.
    package var counts: [UInt64] { buckets.map { $0.count.load(ordering: .relaxed) } }

    package var sumMicroseconds: UInt64 { microseconds.load(ordering: .relaxed) }
}
