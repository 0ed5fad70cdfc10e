package import Client
import Core

/// What `quipu send` says at its end.
package struct SendSummary {
    package let report: SendReport
    private let producer: String
    private let seconds: Double

    package init(report: SendReport, producer: UInt128, seconds: Double) {
        self.report = report
        self.producer = UUIDText.format(producer)
        self.seconds = seconds
    }

    private var eventsPerSecond: Int {
        seconds > 0 ? Int(Double(report.events) / seconds) : 0
    }

    package var json: String {
        """
        {"events": \(report.events), "counted": \(report.counted), "dead": \(report.dead), \
        "duplicates": \(report.duplicates), "batches": \(report.batches), \
        "retries": \(report.retries), "seconds": \(Quantity.fixed(seconds, digits: 3)), \
        "events_per_second": \(eventsPerSecond), "parked": \(report.parked)}
        """
    }

    private var parked: String {
        report.parked > 0
            ? ", \(Quantity.grouped(report.parked)) parked (see 'quipu dlq list')" : ""
    }

    package var text: String {
        """
        \(Quantity.plural(report.events, "event", "events")): \
        \(Quantity.grouped(report.counted)) counted, \
        \(Quantity.grouped(report.dead)) dead\(parked); \
        \(Quantity.plural(report.batches, "batch", "batches")) \
        (\(Quantity.plural(report.duplicates, "duplicate", "duplicates"))), \
        \(Quantity.plural(report.retries, "retry", "retries")); \
        \(Quantity.fixed(seconds, digits: 2)) s, \
        \(Quantity.grouped(eventsPerSecond)) events/s
        """
    }

    /// The first dead letter, as a taste of them all.
    package var deadLetterHint: String? {
        guard let first = report.deadLetters.first else { return nil }
        let detail = first.error.detail.map { ": " + TextTable.printable($0) } ?? ""
        return "quipu: send: first dead letter: batch \(producer)/\(first.sequence) "
            + "line \(first.error.line): \(first.error.reason)\(detail); see 'quipu dlq list'"
    }

    /// The batches that did not end counted, by name; nil when there are none.
    package var unresolved: String? {
        let failures = report.failures.sorted { $0.sequence < $1.sequence }
        guard let first = failures.first else { return nil }
        let batches = failures.map { failure in
            "\(producer)/\(failure.sequence) \(SendSummary.word(failure.outcome))"
        }
        return "unresolved: \(batches.joined(separator: ", ")); later batches were not sent; "
            + "ask with 'quipu batch \(producer) \(first.sequence) "
            + "--created \(first.createdAt.milliseconds)'"
    }

    private static func word(_ outcome: BatchOutcome) -> String {
        switch outcome {
        case .counted: "counted"
        case .parked: "parked"
        case .notCounted(let reason): "not counted (\(reason))"
        case .notAttempted(let reason): "not sent (\(reason))"
        case .unknown(let reason): "unknown (\(reason))"
        }
    }
}
