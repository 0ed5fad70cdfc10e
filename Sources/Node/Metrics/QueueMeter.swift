package import Core
internal import Synchronization

/// What a bounded queue does to those who stand in it: how long they waited, and how many found it
/// full. One clock is read when they come and one when they leave; the rest are additions without
/// a lock.
package final class QueueMeter: Sendable {
    package let name: String
    private let nanoseconds = Atomic<UInt64>(0)
    private let taken = Counter()
    private let refused = Counter()

    package init(_ name: String) {
        self.name = name
    }

    /// One that came at `since` leaves the queue.
    package func take(since: Instant, at now: Instant = SystemClock.monotonic) {
        nanoseconds.wrappingAdd(
            UInt64(max(0, now.nanoseconds - since.nanoseconds)), ordering: .relaxed)
        taken.increment()
    }

    /// One found the queue full.
    package func refuse() {
        refused.increment()
    }

    package var reading: QueueReading {
        QueueReading(
            name: name, refused: refused.value,
            wait: QueueReading.Wait(
                microseconds: nanoseconds.load(ordering: .relaxed) / 1000, taken: taken.value))
    }
}

/// What is known of a queue at the moment of a scrape.
package struct QueueReading: Hashable, Sendable {
    package struct Wait: Hashable, Sendable {
        /// Of all that left it, together.
        package var microseconds: UInt64
        package var taken: UInt64
    }

    package var name: String
    package var refused: UInt64
    /// nil where nobody stands in line: there is room, or there is none.
    package var wait: Wait?

    package init(name: String, refused: UInt64, wait: Wait? = nil) {
        self.name = name
        self.refused = refused
        self.wait = wait
    }
}

extension NodeMetrics {
    func queues(_ readings: [QueueReading], _ out: inout MetricText) {
        out.counter(
            "quipu_queue_refused_total", "What found a queue or a bound full.", by: "queue",
            readings.map { ($0.name, $0.refused) })
        let waits = readings.compactMap { reading in reading.wait.map { (reading.name, $0) } }
        out.seconds(
            "quipu_queue_wait_seconds_total", "How long what left a queue had waited in it.",
            by: "queue", waits.map { ($0.0, $0.1.microseconds) })
        out.counter(
            "quipu_queue_taken_total", "What left a queue; of the core, turns.", by: "queue",
            waits.map { ($0.0, $0.1.taken) })
    }
}
