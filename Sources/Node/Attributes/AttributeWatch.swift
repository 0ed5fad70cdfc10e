internal import Catalog
internal import Core
internal import Logging

/// What the spreading thread remembers between two looks at the store, so that the log says each
/// change once.
struct AttributeWatch {
    /// For which file of ours a peer was last asked.
    var asked: [NodeID: UInt64] = [:]
    var reading = AttributeReading()
    private var nextLook = Instant.zero
    private var failures: [String: String] = [:]
    private var problems: [String] = []
    private var lost = 0

    /// True about every second, however often it is asked.
    mutating func isDue(at now: Instant) -> Bool {
        guard now >= nextLook else { return false }
        nextLook = now + AttributeLimits.interval
        return true
    }

    /// The same failure of the same action again is not news.
    mutating func failed(_ action: String, _ error: CatalogError, _ logger: Logger) {
        let words = "\(error)"
        if failures[action] != words { logger.warning("\(action): \(words)") }
        failures[action] = words
    }

    /// Rows that stay out for now: said once for each time that the file is read again.
    mutating func cameEarly(
        _ result: CatalogUpsert, from peer: NodeID, againIn wait: Duration, _ logger: Logger
    ) {
        let ahead = CatalogLimits.versionAheadMax.milliseconds / 1000
        let words =
            "\(result.early) rows of attributes from \(peer), and maybe more behind them, are "
            + "dated more than \(ahead) s ahead of this node's clock and not taken; they are asked "
            + "for again in \(wait.milliseconds / 1000) s: look at both clocks"
        logger.warning("\(words)")
    }

    /// Says what has become wrong or right; how many files were lost since the last time.
    mutating func report(_ store: AttributeStore, _ logger: Logger) -> Int {
        let now = store.problems
        for problem in now where !problems.contains(problem) {
            logger.error("attributes: \(problem)")
        }
        if now.isEmpty, !problems.isEmpty {
            logger.notice("attributes: catalog and copy can be used again")
            failures = [:]
        }
        problems = now
        let (count, incidents) = store.losses
        let new = count - lost
        for incident in incidents.suffix(max(0, new)) { logger.error("\(incident)") }
        lost = count
        return max(0, new)
    }
}
