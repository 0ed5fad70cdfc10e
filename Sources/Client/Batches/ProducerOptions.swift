/// How sure an answer must be before it counts: how many voters of each partition stand behind it.
public enum ConsistencyLevel: String, Sendable, CaseIterable {
    /// One voter.
    case one = "ONE"
    /// A majority of the voters.
    case quorum = "QUORUM"
    /// Every voter.
    case all = "ALL"
    /// Parked at the node that was asked where the batch's voters are away; off by default.
    case any = "ANY"
    /// One voter in the data centre of the node that is asked.
    case localOne = "LOCAL_ONE"
    /// A majority of the voters in that data centre.
    case localQuorum = "LOCAL_QUORUM"
}

/// What follows for the rest of a spool from a batch that did not end counted.
package enum FailureRule: Hashable, Sendable {
    /// Nothing: it is kept, and tried again where only its time was over.
    case goOn
    /// No batch is sent any more that waits in the spool.
    case stop
    /// The same where a node refused it for good: the next will be refused as well.
    case stopWhenRefused
}

/// How a producer makes and sends its batches.
public struct ProducerOptions: Sendable {
    /// The producer's 128 bits; drawn at random where nil. Two live producers never share them.
    public var producer: UInt128?
    /// Pins the time of every batch, so that a run can be repeated under the same ids. Not with a
    /// spool, nor is `producer`: it keeps its own.
    public var createdAt: Timestamp?
    /// How many voters must hold a batch before it counts as sent.
    public var consistency = ConsistencyLevel.quorum
    /// A batch is sealed when it has this many events…
    public var batchEvents = 10_000
    /// …or this many bytes.
    public var batchBytes = 4 << 20
    /// …or when its first event is so old; nil: however old it is.
    public var batchAge: Duration? = .seconds(1)
    /// How many batches are under way at once.
    public var inFlight = 4
    /// How long a batch may take with all its attempts. Then it is named as unresolved; with a
    /// spool it is kept, and tried again after the others until `finish`.
    public var timeout: Duration = .seconds(60)
    /// How long a node may take for its answer before the next one is asked. Nodes answer within
    /// their own request timeout (5 s), so a longer silence is a node that hangs. The batch's bytes
    /// have time of their own, by what the uplink was seen to take: at most what they take at
    /// 64 KiB/s, and an attempt at most a minute with both.
    public var attemptTimeout: Duration = .seconds(6)
    /// What a batch without a final outcome means for the others, where there is a spool.
    package var failureRule = FailureRule.goOn
    /// The type of events that name none.
    public var type: String?
    /// The field that holds an event's key, as a dotted path.
    public var keyField: String?
    /// The field that holds an event's time.
    public var timeField: String?
    /// The field that holds an event's type.
    public var typeField: String?
    /// The field that holds an event's value.
    public var valueField: String?

    /// The defaults.
    public init() {}

    /// Path and query under which every batch is posted.
    package var target: String {
        PercentEncoding.target(
            "/v1/events",
            query: [
                ("consistency", consistency.rawValue), ("type", type), ("key_field", keyField),
                ("time_field", timeField), ("type_field", typeField), ("value_field", valueField),
            ])
    }
}
