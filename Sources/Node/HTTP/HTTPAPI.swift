package import Core
package import Ingest
package import NodeCore
package import Replication
package import Ring

/// Where the API asks the core. `NodeRuntime` answers in production.
package protocol CoreAsking: Sendable {
    func request(_ request: ClientRequest, deadline: Instant) async -> ClientResponse
    func view() async -> NodeView?
}

/// What the API needs to know and does not ask the core for.
package struct HTTPSettings: Sendable {
    package var node: NodeID
    package var clusterName: String
    package var version: String
    package var window: WindowLength
    package var requestTimeout: Duration
    package var horizon: Duration
    /// How long after a window batches may still count in it follows from them.
    package var rules: RuleTable
    package var ring: RingView
    package var placement: KeyPlacement
    package var replication: ReplicationFactor
    package var members: [CoreConfiguration.Member]
    package var startedAt: Now
    /// What the node knows of each version of the rules after the first.
    package var ruleNotices: @Sendable () -> [RuleNotice] = { [] }
    /// Level ANY is on.
    package var parksAny = false

    package init(
        node: NodeID, clusterName: String, version: String, window: WindowLength,
        requestTimeout: Duration, horizon: Duration, rules: RuleTable, ring: RingView,
        placement: KeyPlacement,
        replication: ReplicationFactor, members: [CoreConfiguration.Member], startedAt: Now
    ) {
        self.node = node
        self.clusterName = clusterName
        self.version = version
        self.window = window
        self.requestTimeout = requestTimeout
        self.horizon = horizon
        self.rules = rules
        self.ring = ring
        self.placement = placement
        self.replication = replication
        self.members = members
        self.startedAt = startedAt
    }
}

/// The node's answers to HTTP requests. A value without state of its own: all state is behind what
/// it refers to, so that any number of requests are answered at once.
package struct HTTPAPI: Sendable {
    let settings: HTTPSettings
    let core: any CoreAsking
    let folds: FoldPool
    let sealer: BatchSealer
    let attributes: any AttributeServing
    let metrics: NodeMetrics
    /// nil where there are no files to take snapshots of.
    let keeper: SnapshotService?
    let bodies: ByteBudget
    package let admission = AdmissionLimit()
    /// Of purges and replays one at a time: each writes as much as it can.
    let retiring = OneAtATime()
    /// Whether writes must wait for room on the disk, and what operators see of queues.
    let gauges: @Sendable () -> MetricGauges
    let state: ServingState
    let clock: @Sendable () -> Now

    package init(
        settings: HTTPSettings, core: any CoreAsking, folds: FoldPool, sealer: BatchSealer,
        attributes: any AttributeServing, metrics: NodeMetrics, keeper: SnapshotService? = nil,
        bodies: ByteBudget = ByteBudget(max: RuntimeLimits.bodiesBytesMax),
        state: ServingState = ServingState(),
        gauges: @escaping @Sendable () -> MetricGauges = { MetricGauges() },
        clock: @escaping @Sendable () -> Now = { SystemClock.now }
    ) {
        self.settings = settings
        self.core = core
        self.folds = folds
        self.sealer = sealer
        self.attributes = attributes
        self.metrics = metrics
        self.keeper = keeper
        self.bodies = bodies
        self.state = state
        self.gauges = gauges
        self.clock = clock
    }

    package var partitioning: Partitioning { settings.ring.partitioning }
    package var placement: KeyPlacement { settings.placement }

    /// Answers a request, also one that is no call: with a target that cannot be read.
    package func answer(
        _ method: String, _ call: () throws(Problem) -> HTTPCall
    ) async -> HTTPReply {
        let known: HTTPCall
        do throws(Problem) {
            known = try call()
        } catch {
            countOutcome(error.outcome)
            return finish(error.reply, method)
        }
        return await answer(known)
    }

    package func answer(_ call: HTTPCall) async -> HTTPReply {
        do throws(Problem) {
            return finish(try await route(call), call.method)
        } catch {
            return finish(error.reply, call.method)
        }
    }

    private func finish(_ reply: HTTPReply, _ method: String) -> HTTPReply {
        metrics.answered(status: reply.status)
        if reply.status == 429 { metrics.requestsRefused.increment() }
        return method == "HEAD" ? reply.withoutBody : reply
    }

    private func route(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        let path = call.path
        switch (path.first, path.count) {
        case (nil, _): return try page(call)
        case ("v1"?, 2...): return try await version1(call, path[1], Array(path.dropFirst(2)))
        case ("livez"?, 1): return try reading(call) { _ in .text("ok\n") }
        case ("readyz"?, 1): return try await ready(call)
        case ("metrics"?, 1): return try await metricsText(call)
        case ("openapi.json"?, 1):
            return try reading(call) { _ in
                HTTPReply(
                    status: 200, contentType: "application/json", body: Array(OpenAPI.document.utf8)
                )
            }
        default: throw unknownPath(call)
        }
    }

    private func version1(
        _ call: HTTPCall, _ resource: String, _ rest: [String]
    ) async throws(Problem) -> HTTPReply {
        switch (resource, rest.count) {
        case ("events", 0): return try await events(call)
        case ("batches", 2): return try await batch(call, rest[0], rest[1])
        case ("counts", 2): return try await counts(call, type: rest[0], key: rest[1])
        case ("top", 1): return try await top(call, type: rest[0])
        case ("types", 0): return try await types(call)
        case ("keys", 1): return try await keys(call, type: rest[0])
        case ("dead-letters", 0): return try await deadLetters(call)
        case ("dead-letters", 1) where rest[0] == "replay":
            return try await replayLetters(call)
        case ("parked", 0): return try await parked(call)
        case ("parked", 2): return try await discardParked(call, rest[0], rest[1])
        case ("attributes", 0): return try await putAttributes(call)
        case ("attributes", 1): return try await attributes(call, key: rest[0])
        case ("partitions", 0): return try await partitions(call)
        case ("cluster", 0): return try await cluster(call)
        case ("ring", 0): return try ring(call)
        case ("endpoints", 1): return try endpoints(call, key: rest[0])
        case ("gossip", 0): return try await gossip(call)
        case ("info", 0): return try await info(call)
        case ("flush", 0): return try await flush(call)
        case ("compact", 0): return try await compact(call)
        case ("audit", 0): return try await audit(call)
        case ("verify", 0): return try await verify(call)
        case ("snapshots", 0): return try await snapshots(call)
        case ("snapshots", 1): return try await snapshot(call, name: rest[0])
        case ("drain", 0): return try await drain(call)
        default: throw unknownPath(call)
        }
    }

    private func unknownPath(_ call: HTTPCall) -> Problem {
        Problem(
            404, "not-found", "No such resource",
            "\(call.target) is no resource of this node; /openapi.json lists them")
    }

    // MARK: - What several resources share

    /// Answers GET and HEAD and nothing else.
    func reading(
        _ call: HTTPCall, _ body: (HTTPCall) throws(Problem) -> HTTPReply
    ) throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        return try body(call)
    }

    func allow(_ call: HTTPCall, _ methods: [String]) throws(Problem) {
        if methods.contains(call.method) { return }
        let list = methods.joined(separator: ", ")
        var problem = Problem(
            405, "method-not-allowed", "The resource does not take this method",
            "only \(list) can be used here")
        problem.allow = list
        throw problem
    }

    var deadline: Instant { clock().monotonic + settings.requestTimeout }

    /// Asks a question of the core; failures become problems.
    func read(
        _ query: ReadQuery, _ consistency: Consistency, by end: Instant? = nil
    ) async throws(Problem) -> ReadAnswer {
        metrics.queries.increment()
        let began = clock().monotonic
        defer { metrics.read.observe(clock().monotonic - began) }
        let response = await core.request(
            .read(query, consistency: consistency), deadline: end ?? deadline)
        switch response {
        case .read(let answer): return answer
        case .failed(.tooLarge(let what)):
            if case .deadLetters = query { throw .tooManyMarks(what) }
            throw RequestFailure.tooLarge(what).problem(consistency: consistency)
        case .failed(let failure): throw failure.problem(consistency: consistency)
        case .write, .status, .flushed, .compacted, .verified, .parked, .audit:
            throw .unexpectedAnswer
        }
    }

    /// nil for `*`.
    func type(_ name: String) throws(Problem) -> [UInt8]? {
        if name == "*" { return nil }
        let bytes = Array(name.utf8)
        guard !bytes.isEmpty, bytes.count <= Limits.typeMax else {
            throw .badRequest("a type has 1 to \(Limits.typeMax) bytes, this one \(bytes.count)")
        }
        return bytes
    }

    func key(_ name: String) throws(Problem) -> [UInt8] {
        let bytes = Array(name.utf8)
        guard !bytes.isEmpty, bytes.count <= Limits.keyMax else {
            throw .badRequest("a key has 1 to \(Limits.keyMax) bytes, this one \(bytes.count)")
        }
        return bytes
    }
}

extension RequestFailure {
    /// What a query's client hears. Never a wrong number instead.
    package func problem(consistency: Consistency?) -> Problem {
        switch self {
        case .tooFewReplicas(let required, let alive):
            var problem = Problem(
                503, "too-few-replicas", "Too few replicas can be reached",
                "\(consistency.map { "\($0.name) needs" } ?? "this needs") \(required) "
                    + "voting replicas, "
                    + "\(alive) can be reached; try again, or ask with a lower consistency"
            )
            problem.required = required
            problem.alive = alive
            problem.retryAfter = HTTPLimits.retryAfterSeconds
            return problem
        case .timedOut(let required, let answered):
            var problem = Problem(
                504, "no-answer-in-time", "No answer in time",
                "\(answered) of \(required) replicas answered before the deadline; try again")
            problem.required = required
            problem.answered = answered
            return problem
        case .notReady(let reason):
            var problem = Problem(
                503, "not-ready", "The node cannot answer now",
                "\(reason); try again, or ask another node")
            problem.retryAfter = HTTPLimits.retryAfterSeconds
            return problem
        case .overloaded(let what):
            return .withoutOutcome(.overloaded(what))
        case .storage(let what):
            return Problem(
                500, "storage", "A file cannot be read",
                "\(what); ask another node, and see this node's log")
        case .tooLarge(let what):
            return Problem(
                400, "query-too-large", "The query gathers too much at once",
                "\(what); ask for a shorter range, or for one type instead of *")
        }
    }
}

extension Problem {
    /// The core answered with something else than what was asked: a bug, and no number.
    static let unexpectedAnswer = Problem(
        500, "internal", "The node made a mistake",
        "the core gave an answer of another kind; see the node's log")

    static func catalogFilling(_ key: String) -> Problem {
        passing(
            "catalog", "The attributes are not complete",
            "this node's catalog is being filled, and whether \(key) has attributes is not known "
                + "here yet; ask another node, or later")
    }

    static let floorRises = passing(
        "expiring", "Retention comes further while this is read",
        "parts of the range were read in different windows; ask again")

    static let noCatalog = passing(
        "catalog", "The attributes cannot be read",
        "this node's catalog does not answer; ask another node, or without by")

    /// What may be otherwise in a moment.
    private static func passing(_ kind: String, _ title: String, _ detail: String) -> Problem {
        var problem = Problem(503, kind, title, detail)
        problem.retryAfter = HTTPLimits.retryAfterSeconds
        return problem
    }

    /// The node has no room for what the answer needs, and no other question makes it less: the
    /// marks of all letters that are retired are gathered for each.
    static func tooManyMarks(_ what: String) -> Problem {
        Problem(
            507, "too-many-retired", "Too many dead letters are retired",
            "\(what): which letters were purged or replayed is kept as long as the windows of "
                + "their time; wait until some have expired, or set a shorter retention in "
                + "cluster.conf. The counts are untouched")
    }

    /// Of a request that was not to count anything.
    static func withoutOutcome(_ problem: Problem) -> Problem {
        var problem = problem
        problem.outcome = nil
        return problem
    }
}
