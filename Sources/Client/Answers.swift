/// What a cell or a total holds: how many events and, where they carried values, sum, minimum,
/// maximum and average as exact decimals.
public struct MeasureAnswer: Hashable, Sendable {
    /// How many events.
    public let count: Int
    /// The sum of their values; nil where none carried one.
    public let sum: String?
    /// The least value.
    public let min: String?
    /// The greatest value.
    public let max: String?
    /// The average, rounded as the node rounds it.
    public let average: String?

    package init?(json: JSONValue) {
        guard let count = json["count"]?.int else { return nil }
        self.count = count
        sum = json["sum"]?.plain
        min = json["min"]?.plain
        max = json["max"]?.plain
        average = json["avg"]?.plain
    }
}

/// The counts of one key: per window, and in total.
public struct CountsAnswer: Hashable, Sendable {
    /// One window with events.
    public struct Window: Hashable, Sendable {
        /// The window's start, RFC 3339.
        public let start: String
        /// What the window holds.
        public let measure: MeasureAnswer
        /// `open`, `closing` or `final`.
        public let state: String
        /// `1h` or `1d` where no shorter windows are kept; nil: as asked.
        public let step: String?
    }

    /// The attribute by which keys were counted together; nil for one key.
    public let by: String?
    /// How many keys have its value.
    public let keys: Int?
    /// How long the windows are, as asked or as the node chose: `1m`, `1h`, `all`.
    public let step: String
    /// Where the range begins, as asked, RFC 3339; nil: with all that is kept.
    public let from: String?
    /// The key's attributes (title, channel…), empty where none are known.
    public let attributes: [JSONValue.Member]
    /// How far these may be relied on.
    public let attributesState: AttributesState
    /// Over the whole range.
    public let total: MeasureAnswer
    /// Ascending by start; windows without events are left out.
    public let windows: [Window]
    /// What of the range is not kept as asked.
    public let retained: RetainedAnswer
    /// The consistency at which the answer holds.
    public let consistency: String
    /// The replicas that gave it.
    public let replicas: [String]

    package init?(json: JSONValue) {
        guard let total = json["total"].flatMap(MeasureAnswer.init(json:)),
            let windows = json["windows"]?.array
        else { return nil }
        self.total = total
        by = json["by"]?.string
        keys = (json["keys"]?.plain).flatMap { Int($0) }
        step = json["step"]?.string ?? ""
        from = json["from"]?.string
        self.windows = windows.compactMap { window in
            guard let start = window["start"]?.string, let measure = MeasureAnswer(json: window)
            else { return nil }
            return Window(
                start: start, measure: measure, state: window["state"]?.plain ?? "",
                step: window["step"]?.plain)
        }
        // A window that this version cannot read must not vanish from a count.
        guard self.windows.count == windows.count else { return nil }
        attributes = json["attributes"]?.members ?? []
        attributesState = AttributesState(json: json)
        retained = RetainedAnswer(json: json)
        consistency = json["consistency"]?.plain ?? ""
        replicas = json["replicas"]?.array?.map(\.plain) ?? []
    }
}

/// How far the attributes of an answer may be relied on; its counts are right in any case.
public enum AttributesState: Hashable, Sendable {
    /// As the node knows them.
    case known
    /// The node's database is locked or being restored: they may be old, and some may be missing.
    case stale
    /// They could not be read.
    case unavailable

    package init(json: JSONValue) {
        if json["attributes_unavailable"]?.bool == true {
            self = .unavailable
        } else {
            self = json["attributes_stale"]?.bool == true ? .stale : .known
        }
    }

    /// For people; empty where all is well.
    package var remarks: [String] {
        switch self {
        case .known: []
        case .stale: ["The attributes may be old: the node restores their database"]
        case .unavailable: ["The node cannot read the attributes now"]
        }
    }
}

/// Where part of a range is kept in longer windows than asked for, or no longer.
public struct RetainedAnswer: Hashable, Sendable {
    /// Windows before this time, RFC 3339, are no longer kept; nil where all of the range is.
    public let expiredBefore: String?
    /// Windows before a time are kept as `1h` or `1d`.
    public let rolledUp: [RolledUp]

    /// One length and the end of it.
    public struct RolledUp: Hashable, Sendable {
        /// RFC 3339.
        public let before: String
        /// `1h` or `1d`.
        public let step: String
    }

    package init(json: JSONValue) {
        expiredBefore = json["expired"]?["before"]?.plain
        rolledUp = (json["rolled_up"]?.array ?? []).map {
            RolledUp(before: $0["before"]?.plain ?? "", step: $0["step"]?.plain ?? "")
        }
    }

    /// For people: what the answer lacks, or counts by longer windows.
    package var remarks: [String] {
        rolledUp.map { "Before \($0.before) only whole windows of \($0.step) are kept" }
            + (expiredBefore.map { ["Without windows before \($0), no longer kept"] } ?? [])
    }
}

/// The greatest keys (or groups) of a type.
public struct TopAnswer: Hashable, Sendable {
    /// One of them.
    public struct Row: Hashable, Sendable {
        /// 1 is the greatest.
        public let rank: Int
        /// The key, or the attribute's value where the answer is grouped.
        public let key: String
        /// What it holds.
        public let measure: MeasureAnswer
        /// The key's attributes; of a group the one by which it was made.
        public let attributes: [JSONValue.Member]
    }

    /// In the order of their rank.
    public let rows: [Row]
    /// Whether the answer is exact; Quipu's are.
    public let isExact: Bool
    /// How far its attributes may be relied on, those by which it is grouped included.
    public let attributesState: AttributesState
    /// What of the range is not kept as asked.
    public let retained: RetainedAnswer

    package init?(json: JSONValue) {
        guard let rows = json["rows"]?.array else { return nil }
        self.rows = rows.compactMap { row in
            guard let rank = row["rank"]?.int, let key = row["key"],
                let measure = MeasureAnswer(json: row)
            else { return nil }
            return Row(
                rank: rank, key: key.plain, measure: measure,
                attributes: row["attributes"]?.members ?? [])
        }
        guard self.rows.count == rows.count else { return nil }
        isExact = json["exact"]?.bool ?? false
        let states = [json] + rows
        attributesState =
            states.map { AttributesState(json: $0) }.first { $0 != .known } ?? .known
        retained = RetainedAnswer(json: json)
    }
}

/// One page of a list.
public struct ListAnswer: Hashable, Sendable {
    /// The page's items.
    public let items: [JSONValue]
    /// What to ask for the next page; nil on the last.
    public let next: String?

    package init?(json: JSONValue) {
        guard let items = json["items"]?.array else { return nil }
        self.items = items
        next = json["next"]?.string
    }
}

/// What the cluster knows of a batch.
public struct BatchAnswer: Hashable, Sendable {
    /// `counted`, `not-counted` or `unknown`.
    public let outcome: String
    /// Whether the outcome can no longer change.
    public let isFinal: Bool
    /// The batch's counts, where it is counted.
    public let counts: BatchCounts?

    package init?(json: JSONValue) {
        guard let outcome = json["outcome"]?.string else { return nil }
        self.outcome = outcome
        isFinal = json["final"]?.bool ?? false
        if let events = json["events"]?.int, let counted = json["counted"]?.int,
            let dead = json["dead"]?.int
        {
            counts = BatchCounts(events: events, counted: counted, dead: dead)
        } else {
            counts = nil
        }
    }
}

/// The cluster as one node sees it.
public struct ClusterAnswer: Hashable, Sendable {
    /// One node of it.
    public struct Node: Hashable, Sendable {
        /// The node's name.
        public let name: String
        /// `UN`, `DN`, `UR`…: up or down; normal, recovering, joining, leaving.
        public let state: String
        /// Where it answers HTTP.
        public let http: NodeAddress?
        /// Everything that the answer says of it.
        public let json: JSONValue
    }

    /// The cluster's name.
    public let cluster: String
    /// Who says all this.
    public let asSeenBy: String
    /// The version of the ring.
    public let epoch: Int?
    /// In the order of the answer.
    public let nodes: [Node]

    package init?(json: JSONValue) {
        guard let nodes = json["nodes"]?.array else { return nil }
        self.nodes = nodes.map { node in
            Node(
                name: node["name"]?.plain ?? "?", state: node["state"]?.plain ?? "??",
                http: node["http"]?.string.flatMap { NodeAddress($0) }, json: node)
        }
        cluster = json["cluster"]?.plain ?? ""
        asSeenBy = json["as_seen_by"]?.plain ?? ""
        epoch = json["epoch"]?.int
    }
}
