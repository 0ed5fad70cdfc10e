package import Core

/// What a node says of one entry of its rules when it greets a peer: a field of the greeting, whose
/// name is `rules.` and the version's number.
package struct RuleNotice: Hashable, Sendable {
    package var entry: RuleEntry
    package var standing: RuleStanding

    package init(_ entry: RuleEntry, _ standing: RuleStanding) {
        self.entry = entry
        self.standing = standing
    }

    static let prefix = "rules."

    /// `from=MS future_limit=MS lateness=MS|unlimited held=STANDING`
    package var text: String {
        "from=\(entry.from.milliseconds) future_limit=\(entry.futureLimit.milliseconds) "
            + "lateness=\(entry.lateness.map { "\($0.milliseconds)" } ?? "unlimited") "
            + "held=\(standing.name)"
    }

    /// nil for any other text: a version that this release cannot fold by.
    package init?(text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 4, let from = Self.value(words[0], of: "from").flatMap({ Int64($0) }),
            let future = Self.value(words[1], of: "future_limit").flatMap(Self.duration),
            let late = Self.value(words[2], of: "lateness"),
            let held = Self.value(words[3], of: "held"),
            let standing = RuleStanding.allCases.first(where: { $0.name == held })
        else { return nil }
        var lateness: Duration?
        if late != "unlimited" {
            guard let duration = Self.duration(late) else { return nil }
            lateness = duration
        }
        entry = RuleEntry(
            from: WallTime(milliseconds: from), futureLimit: future, lateness: lateness)
        self.standing = standing
    }

    private static func value(_ word: Substring, of name: String) -> Substring? {
        word.hasPrefix(name + "=") ? word.dropFirst(name.count + 1) : nil
    }

    private static func duration(_ text: Substring) -> Duration? {
        guard let milliseconds = Int64(text), milliseconds >= 0,
            Duration.milliseconds(milliseconds) <= ConfigurationLimits.eventDistance.upperBound
        else { return nil }
        return .milliseconds(milliseconds)
    }
}

/// Where two tables part.
package struct RuleDivergence: Hashable, Sendable {
    /// `rules.` and the number of the first version that differs.
    package var field: String
    /// Up to this time both say the same.
    package var from: WallTime
    package var ours: String
    package var theirs: String

    /// nil: the tables are the same.
    package init?(_ ours: [RuleNotice], _ theirs: [RuleNotice]) {
        for index in 0..<max(ours.count, theirs.count) {
            let mine = index < ours.count ? ours[index].entry : nil
            let other = index < theirs.count ? theirs[index].entry : nil
            if mine == other { continue }
            guard let from = [mine?.from, other?.from].compactMap(\.self).min() else { continue }
            field = "\(RuleNotice.prefix)\(ruleVersion(at: index).number)"
            self.from = from
            self.ours = mine?.description ?? "(absent)"
            self.theirs = other?.description ?? "(absent)"
            return
        }
        return nil
    }

    /// From then on the two nodes must not be connected.
    package var end: WallTime { from - RuleLimits.guardTime }

    var rejection: PeerRejection {
        PeerRejection(.fingerprint, field: field, theirs: theirs, ours: ours)
    }
}
