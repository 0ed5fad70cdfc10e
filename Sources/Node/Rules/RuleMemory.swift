package import Core

/// The rules that a node has run with, kept in its directory (docs/formats/rules.md): what was in
/// force stays, whatever cluster.conf says later.
package struct RuleMemory: Hashable, Sendable {
    package var futureLimit: Duration
    package var lateness: Duration?
    package var entries: [RuleNotice]

    package init(futureLimit: Duration, lateness: Duration?, entries: [RuleNotice] = []) {
        self.futureLimit = futureLimit
        self.lateness = lateness
        self.entries = entries
    }

    /// What the node knows at its start beside the file.
    package struct Situation: Sendable {
        package var now: WallTime
        /// The directory holds nothing yet.
        package var isFresh: Bool
        /// The cluster has no other members.
        package var isAlone: Bool
        package var acceptsLoss: Bool

        package init(now: WallTime, isFresh: Bool, isAlone: Bool, acceptsLoss: Bool = false) {
            self.now = now
            self.isFresh = isFresh
            self.isAlone = isAlone
            self.acceptsLoss = acceptsLoss
        }
    }

    /// The memory of a node that starts with this cluster.conf, and remembers what is `stored`.
    package static func resumed(
        _ stored: RuleMemory?, with configuration: ClusterConfiguration, _ situation: Situation
    ) throws(RuleError) -> RuleMemory {
        if let stored { try stored.check(configuration, at: situation.now) }
        var memory = RuleMemory(
            futureLimit: configuration.futureLimit, lateness: configuration.lateness)
        for (index, entry) in configuration.rules.enumerated() {
            if let stored, index < stored.entries.count, stored.entries[index].entry == entry {
                memory.entries.append(stored.entries[index])
            } else {
                memory.entries.append(
                    RuleNotice(entry, try standing(of: entry, at: index, situation)))
            }
        }
        return memory
    }

    private func check(
        _ configuration: ClusterConfiguration, at now: WallTime
    ) throws(RuleError) {
        guard futureLimit == configuration.futureLimit, lateness == configuration.lateness else {
            throw .firstChanged(
                was: "future_limit: \(QuantityText.format(futureLimit)) and lateness: "
                    + (lateness.map { QuantityText.format($0) } ?? "unlimited"))
        }
        for (index, notice) in entries.enumerated()
        where notice.standing == .confirmed && notice.entry.from <= now + RuleLimits.guardTime {
            let rules = configuration.rules
            guard index < rules.count, rules[index] == notice.entry else {
                throw .pastChanged(ruleVersion(at: index), was: notice.entry)
            }
        }
    }

    private static func standing(
        of entry: RuleEntry, at index: Int, _ situation: Situation
    ) throws(RuleError) -> RuleStanding {
        // An operator who accepts a loss puts the whole cluster back: nobody counts otherwise.
        let isEarly =
            situation.acceptsLoss || situation.now + RuleLimits.leadMin <= entry.from
        guard situation.isAlone else {
            if isEarly { return .early }
            return situation.isFresh ? .fresh : .late
        }
        // There is nobody who could have counted otherwise but this node.
        guard isEarly || situation.isFresh else {
            throw .tooNear(ruleVersion(at: index), entry, now: situation.now)
        }
        return .confirmed
    }
}

/// Why a node does not start with its rules.
package enum RuleError: Error, Hashable, Sendable, CustomStringConvertible {
    case firstChanged(was: String)
    case pastChanged(RuleVersion, was: RuleEntry)
    case tooNear(RuleVersion, RuleEntry, now: WallTime)

    package var description: String {
        switch self {
        case .firstChanged(let was):
            return "cluster.conf: future_limit or lateness is not what this node has run with: "
                + "write \(was), and put the change into rules, with the time from which it holds"
        case .pastChanged(let version, let was):
            return "cluster.conf: rules: version \(version.number) is in force and was changed or "
                + "removed: write it as it was, \(was), and add another entry after it"
        case .tooNear(let version, let entry, let now):
            let first = RuleError.segmentStart(after: now + RuleLimits.leadMin + .seconds(60))
            return "cluster.conf: rules: version \(version.number) begins at "
                + "\(TimeText.format(entry.from)), which is past or too near for a node that has "
                + "run without it: choose \(TimeText.format(first)) or later; if it was in force "
                + "here, put back the RULES of a snapshot instead"
        }
    }

    /// The first time at which a version may begin.
    static func segmentStart(after time: WallTime) -> WallTime {
        let length = Segment.lengthDefault.milliseconds
        return WallTime(milliseconds: (floorDivide(time.milliseconds, length) + 1) * length)
    }
}
