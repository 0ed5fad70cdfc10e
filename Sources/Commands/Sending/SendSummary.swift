package import Client
import Core

/// What `quipu send` says at its end.
package struct SendSummary {
    package let report: SendReport
    private let producer: String
    private let seconds: Double
    private let spool: SpoolStatus?

    package init(
        report: SendReport, producer: UInt128, seconds: Double, spool: SpoolStatus? = nil
    ) {
        self.report = report
        self.spool = spool
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
        "events_per_second": \(eventsPerSecond), "parked": \(report.parked)\(spoolJSON)}
        """
    }

    private var spoolJSON: String {
        guard let spool else { return "" }
        let totals = spool.totals
        return """
            , "spool": {"batches_kept": \(spool.batches), "bytes": \(spool.bytes), \
            "batches": \(totals.batches), "events": \(totals.events), \
            "counted": \(totals.counted), "dead": \(totals.dead), "parked": \(totals.parked)}
            """
    }

    private var spoolText: String {
        guard let spool else { return "" }
        let totals = spool.totals
        let kept =
            spool.batches == 0
            ? "nothing kept" : "\(Quantity.plural(spool.batches, "batch", "batches")) kept"
        return "; spool: \(kept), in all runs \(Quantity.plural(totals.events, "event", "events")) "
            + "with \(Quantity.grouped(totals.counted)) counted, "
            + "\(Quantity.grouped(totals.dead)) dead"
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
        \(Quantity.grouped(eventsPerSecond)) events/s\(spoolText)
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
        let rest =
            spool.map {
                "the spool keeps \(Quantity.plural($0.batches, "batch", "batches")) and goes on "
                    + "where it was: run the same again"
            } ?? "later batches were not sent"
        return "unresolved: \(batches.joined(separator: ", ")); \(rest); "
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
