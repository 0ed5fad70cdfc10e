import Core
package import Ingest

extension ClusterConfiguration {
    /// The versions after the first. What an entry does not name stays as in the one before.
    mutating func readRules(_ top: ConfigurationSection) throws(ConfigurationError) {
        guard let sections = try top.sections("rules", from: 2) else { return }
        guard sections.count <= RuleLimits.entriesMax else {
            throw .badValue(
                key: "rules", at: top.place(of: "rules"), problem: "\(sections.count) versions",
                remedy: "write at most \(RuleLimits.entriesMax); those in force must stay")
        }
        for section in sections {
            try section.allowOnly(["from", "future_limit", "lateness"])
            let from = try Self.readFrom(section, after: rules.last?.from)
            var entry = RuleEntry(
                from: from, futureLimit: rules.last?.futureLimit ?? futureLimit,
                lateness: rules.last.map(\.lateness) ?? lateness)
            if let setting = try section.setting("future_limit") {
                entry.futureLimit = try setting.duration(in: ConfigurationLimits.eventDistance)
            }
            if let setting = try section.setting("lateness") {
                entry.lateness = try setting.durationUnless(
                    ["unlimited", "forever"], in: ConfigurationLimits.eventDistance)
            }
            rules.append(entry)
        }
    }

    private static func readFrom(
        _ section: ConfigurationSection, after last: WallTime?
    ) throws(ConfigurationError) -> WallTime {
        guard let setting = try section.setting("from") else {
            throw .missing(
                key: (section.path + ["from"]).joined(separator: "."), at: section.place,
                remedy: "write the time from which it holds, as from: 2030-01-01T00:00:00Z")
        }
        let from = try setting.time()
        let length = Segment.lengthDefault.milliseconds
        guard floorDivide(from.milliseconds, length) * length == from.milliseconds else {
            let next = RuleError.segmentStart(after: from)
            throw setting.bad(
                "\(setting.text) is within a segment of "
                    + QuantityText.format(Segment.lengthDefault),
                remedy: "write \(TimeText.format(next)), the next start of one")
        }
        guard last.map({ $0 < from }) ?? true else {
            throw setting.bad(
                "\(setting.text) is not after the version before it",
                remedy: "put the versions in the order of their times")
        }
        return from
    }

    /// The rules by which this node folds. What would expire at once is too late under all.
    package var ruleTable: RuleTable {
        var table = RuleTable(
            FoldRules(
                version: .first, window: window, futureLimit: futureLimit,
                lateness: inForce(lateness)))
        for entry in rules {
            table.append(
                from: entry.from, futureLimit: entry.futureLimit, lateness: inForce(entry.lateness))
        }
        return table
    }
}
