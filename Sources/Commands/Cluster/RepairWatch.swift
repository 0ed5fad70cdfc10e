package import Client

/// What `quipu repair` makes of one audit after the other: whether to go on, and what to say.
///
/// All that lags or differs may heal, so that waiting is the right thing. A node that is down does
/// not come back by waiting for it: once that is all that is left, and for longer than a restart
/// takes, somebody has to start it.
package struct RepairWatch {
    /// How long a node that is down may be about to come back.
    package static let awayMax: Duration = .seconds(15)

    package enum Step: Hashable, Sendable {
        /// All nodes answered, and nothing lags or differs.
        case done
        /// Audit again; `news` is for standard error, nil where it was said before.
        case again(news: String?)
        /// Waiting brings nothing; why, and what to do.
        case hopeless(String)
    }

    /// Nodes that could not be reached, and since when it has been these.
    private var away: [String] = []
    private var awaySince: Duration = .zero
    private var last = JSONValue.null

    package init() {}

    /// An audit tells of a node that is down when all others have read their disks, which may take
    /// long; what the cluster's nodes see of each other is known at once.
    ///
    /// - Parameter away: nodes that are down before the first audit.
    /// - Returns: the news for standard error, if there is any.
    package mutating func begin(away: [String]) -> String? {
        self.away = away.sorted()
        return news
    }

    /// - Parameters:
    ///   - report: of an audit.
    ///   - time: since the command began.
    package mutating func take(_ report: JSONValue, at time: Duration) -> Step {
        last = report
        if RepairWatch.isDone(report) { return .done }
        let away = RepairWatch.away(report)
        let isNews = away != self.away
        if isNews {
            self.away = away
            awaySince = time
        }
        guard !away.isEmpty else { return .again(news: nil) }
        if time - awaySince >= RepairWatch.awayMax, RepairWatch.isAllElseDone(report) {
            return .hopeless(
                "\(are(away)) down, and nothing is proved of what is there; the other nodes hold "
                    + "the same: start \(away.joined(separator: ", ")), then repair again")
        }
        return .again(news: isNews ? news : nil)
    }

    private var news: String? {
        guard !away.isEmpty else { return nil }
        return "\(are(away)) down and waited for: start \(away.joined(separator: ", ")), or see "
            + "'quipu status'"
    }

    /// What the last audit lacked, for when the time is over.
    package var remains: String {
        var parts: [String] = []
        if !away.isEmpty {
            parts.append("\(are(away)) down: start \(away.joined(separator: ", "))")
        }
        let lagging = last["lagging"]?.int ?? 0
        if lagging > 0 {
            parts.append("\(Quantity.plural(lagging, "replica", "replicas")) of partitions lag")
        }
        let others = RepairWatch.differences(last).count
        if others > 0 {
            let count = Quantity.plural(others, "difference", "differences")
            parts.append("\(count): docs/operating.md says what to do where one stays")
        }
        if parts.isEmpty {
            parts.append("batches are under way, or a node is just back: repair again")
        }
        return parts.joined(separator: "; ")
    }

    private func are(_ names: [String]) -> String {
        names.joined(separator: ", ") + (names.count == 1 ? " is" : " are")
    }

    private static func isDone(_ report: JSONValue) -> Bool {
        report["clean"]?.bool == true && report["lagging"]?.int == 0
            && report["balance"]?.string == "equal"
    }

    /// Those that could not be reached. One that came while the audit ran is named as well, but
    /// answered.
    private static func away(_ report: JSONValue) -> [String] {
        let answered = report["nodes"]?.array?.compactMap { $0["name"]?.string } ?? []
        return (report["differences"]?.array ?? [])
            .filter { $0["kind"]?.string == "unreachable" }
            .flatMap { $0["nodes"]?.array?.compactMap(\.string) ?? [] }
            .filter { !answered.contains($0) }.sorted()
    }

    /// But those that say that a node could not be asked.
    private static func differences(_ report: JSONValue) -> [JSONValue] {
        (report["differences"]?.array ?? []).filter { $0["kind"]?.string != "unreachable" }
    }

    /// Of the nodes that answered. What went in is never compared with what is there while a node
    /// is away.
    private static func isAllElseDone(_ report: JSONValue) -> Bool {
        differences(report).isEmpty && report["lagging"]?.int == 0
            && (report["nodes"]?.array ?? []).allSatisfy { $0["settled"]?.bool == true }
    }
}
