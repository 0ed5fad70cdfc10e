package import Core

/// Which rules hold for which batch: the versions of a cluster's rules, each with the time from
/// which it holds. A pure function of `createdAt`, so that every attempt of a batch folds alike,
/// whenever and wherever it is made (docs/decisions/0032-rule-versions.md).
///
/// Versions begin where a segment does: `createdAt` and its segment have the same version.
package struct RuleTable: Hashable, Sendable {
    private struct Later: Hashable, Sendable {
        var from: WallTime
        var rules: FoldRules
    }

    private let first: FoldRules
    private var later: [Later] = []

    /// `first` holds from the beginning, under the number that it has.
    package init(_ first: FoldRules) {
        self.first = first
    }

    /// The next version: of batches that are created at `from` or after.
    package mutating func append(from: WallTime, futureLimit: Duration, lateness: Duration?) {
        precondition(later.last.map { $0.from < from } ?? true, "versions begin in their order")
        let version = RuleVersion(first.version.number + UInt16(later.count) + 1)
        later.append(
            Later(
                from: from,
                rules: FoldRules(
                    version: version, window: first.window, futureLimit: futureLimit,
                    lateness: lateness)))
    }

    /// The rules of a batch.
    package func rules(at createdAt: WallTime) -> FoldRules {
        later.last { $0.from <= createdAt }?.rules ?? first
    }

    /// All versions in their order; the first has no beginning.
    package var versions: [(from: WallTime?, rules: FoldRules)] {
        [(nil, first)] + later.map { ($0.from, $0.rules) }
    }

    /// No batch that is created at `frontier` or after brings an event of before this time; nil
    /// where some version takes history of any age, or nearly so.
    package func earliestEvent(after frontier: WallTime) -> WallTime? {
        // Beyond this nothing has become final since the epoch.
        let latenessMax: Duration = .seconds(100 * 366 * 86_400)
        var earliest: WallTime?
        for (index, version) in versions.enumerated() {
            if index < later.count, later[index].from <= frontier { continue }
            guard let lateness = version.rules.lateness, lateness < latenessMax else { return nil }
            let time = max(version.from ?? frontier, frontier) - lateness
            earliest = min(earliest ?? time, time)
        }
        return earliest
    }
}
