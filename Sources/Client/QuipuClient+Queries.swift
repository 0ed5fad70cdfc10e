internal import Core

/// A half-open range of time; nil ends are open.
public struct TimeRange: Hashable, Sendable {
    /// The first instant that belongs to the range.
    public var from: Timestamp?
    /// The first instant after the range.
    public var to: Timestamp?

    /// A range; all time by default.
    public init(from: Timestamp? = nil, to: Timestamp? = nil) {
        self.from = from
        self.to = to
    }
}

/// The requests behind the queries, shared by the typed ones below and by the command line, which
/// prints bodies unchanged.
package enum QueryCall {
    package static func counts(
        type: String, key: String, by: String?, range: TimeRange, step: String?,
        consistency: ConsistencyLevel
    ) -> HTTPCall {
        get(
            "/v1/counts/\(PercentEncoding.encode(type))/\(PercentEncoding.encode(key))",
            ends(range) + [
                ("step", step), ("by", by), ("consistency", consistency.rawValue),
            ])
    }

    package static func top(
        type: String, range: TimeRange, count: Int, by: String, measure: String,
        consistency: ConsistencyLevel
    ) -> HTTPCall {
        get(
            "/v1/top/\(PercentEncoding.encode(type))",
            ends(range) + [
                ("k", String(count)), ("by", by), ("measure", measure),
                ("consistency", consistency.rawValue),
            ])
    }

    package static let types = get("/v1/types", [])

    package static func keys(
        type: String, prefix: String?, limit: Int?, page: String?
    ) -> HTTPCall {
        get(
            "/v1/keys/\(PercentEncoding.encode(type))",
            [("prefix", prefix), ("limit", limit.map { String($0) }), ("page", page)])
    }

    package static func batch(
        producer: String, sequence: UInt64, createdAt: Timestamp?
    ) -> HTTPCall {
        get(
            "/v1/batches/\(PercentEncoding.encode(producer))/\(sequence)",
            [("created", createdAt.map { String($0.milliseconds) })])
    }

    package static func deadLetters(
        _ filter: [(String, String?)], limit: Int?, page: String?
    ) -> HTTPCall {
        get(
            "/v1/dead-letters", filter + [("limit", limit.map { String($0) }), ("page", page)])
    }

    package static func purge(_ filter: [(String, String?)], page: String?) -> HTTPCall {
        HTTPCall(
            .delete,
            PercentEncoding.target("/v1/dead-letters", query: filter + [("page", page)]))
    }

    package static func replay(_ query: [(String, String?)], page: String?) -> HTTPCall {
        HTTPCall(
            .post,
            PercentEncoding.target("/v1/dead-letters/replay", query: query + [("page", page)]))
    }

    package static func parked(limit: Int) -> HTTPCall {
        get("/v1/parked", [("limit", String(limit))])
    }

    package static func attributes(key: String) -> HTTPCall {
        get("/v1/attributes/\(PercentEncoding.encode(key))", [])
    }

    package static func endpoints(key: String, at time: String? = nil) -> HTTPCall {
        get("/v1/endpoints/\(PercentEncoding.encode(key))", [("at", time)])
    }

    package static let cluster = get("/v1/cluster", [])
    package static let info = get("/v1/info", [])
    package static let gossip = get("/v1/gossip", [])
    package static let ring = get("/v1/ring", [])
    package static let partitions = get("/v1/partitions", [])
    package static let flush = HTTPCall(.post, "/v1/flush")
    package static let compact = HTTPCall(.post, "/v1/compact")
    package static let drain = HTTPCall(.post, "/v1/drain")

    package static let snapshots = get("/v1/snapshots", [])

    package static func takeSnapshot(name: String) -> HTTPCall {
        call(.post, "/v1/snapshots", [("name", name)])
    }

    package static func removeSnapshot(name: String) -> HTTPCall {
        call(.delete, "/v1/snapshots/\(PercentEncoding.encode(name))", [])
    }

    /// - Parameters:
    ///   - since: of an answer that said that disks were still being read.
    ///   - wait: seconds after which such an answer comes.
    package static func audit(since: Int?, wait: Int?) -> HTTPCall {
        call(.get, "/v1/audit", verification(since, wait))
    }

    /// As `audit`, of one node's files.
    package static func verify(since: Int?, wait: Int?) -> HTTPCall {
        call(.post, "/v1/verify", verification(since, wait))
    }

    private static func verification(_ since: Int?, _ wait: Int?) -> [(String, String?)] {
        [("since", since.map { String($0) }), ("wait", wait.map { String($0) })]
    }

    private static func get(_ path: String, _ query: [(String, String?)]) -> HTTPCall {
        call(.get, path, query)
    }

    private static func call(
        _ method: HTTPCall.Method, _ path: String, _ query: [(String, String?)]
    ) -> HTTPCall {
        HTTPCall(
            method, PercentEncoding.target(path, query: query),
            headers: [HTTPCall.Header("Accept", "application/json")])
    }

    private static func ends(_ range: TimeRange) -> [(String, String?)] {
        [("from", range.from?.description), ("to", range.to?.description)]
    }
}

extension QuipuClient {
    /// How many events of `type` happened to `key`, per window and in total.
    ///
    /// - Parameters:
    ///   - type: The events' type; `*` sums all types.
    ///   - key: The key, as it was sent; with `by` a value of that attribute.
    ///   - by: An attribute: all keys count whose value of it is `key`. At most 10,000 keys, or
    ///     1,000,000 with the step `all`.
    ///   - range: Selects windows whose start lies in it.
    ///   - step: The length of the windows: `1m`, `1h`, `1d`, `all` or the cluster's own; nil for
    ///     `1m`, or the cluster's own where that is longer.
    ///   - consistency: How many voters must agree.
    public func counts(
        type: String, key: String, by: String? = nil, range: TimeRange = TimeRange(),
        step: String? = nil, consistency: ConsistencyLevel = .quorum
    ) async throws(ClientError) -> CountsAnswer {
        let call = QueryCall.counts(
            type: type, key: key, by: by, range: range, step: step, consistency: consistency)
        return try await ask(call, CountsAnswer.init(json:))
    }

    /// The exact `count` greatest keys of a type.
    ///
    /// - Parameters:
    ///   - type: The events' type; `*` sums all types.
    ///   - range: Selects windows whose start lies in it.
    ///   - count: How many rows.
    ///   - by: `key`, or an attribute to group by.
    ///   - measure: `count` or `sum`.
    ///   - consistency: How many voters must agree.
    public func top(
        type: String, range: TimeRange = TimeRange(), count: Int = 10, by: String = "key",
        measure: String = "count", consistency: ConsistencyLevel = .quorum
    ) async throws(ClientError) -> TopAnswer {
        let call = QueryCall.top(
            type: type, range: range, count: count, by: by, measure: measure,
            consistency: consistency)
        return try await ask(call, TopAnswer.init(json:))
    }

    /// The types that were ever counted, all of them.
    public func types() async throws(ClientError) -> ListAnswer {
        try await ask(QueryCall.types, ListAnswer.init(json:))
    }

    /// The keys of a type, ascending, one page.
    public func keys(
        type: String, prefix: String? = nil, limit: Int? = nil, page: String? = nil
    ) async throws(ClientError) -> ListAnswer {
        try await ask(
            QueryCall.keys(type: type, prefix: prefix, limit: limit, page: page),
            ListAnswer.init(json:))
    }

    /// The outcome of a batch. Without `createdAt` an id that nobody holds stays unknown.
    public func batch(
        producer: UInt128, sequence: UInt64, createdAt: Timestamp? = nil
    ) async throws(ClientError) -> BatchAnswer {
        try await ask(
            QueryCall.batch(
                producer: UUIDText.format(producer), sequence: sequence, createdAt: createdAt),
            BatchAnswer.init(json:))
    }

    /// The cluster as the first node that answers sees it.
    public func cluster() async throws(ClientError) -> ClusterAnswer {
        try await ask(QueryCall.cluster, ClusterAnswer.init(json:))
    }

    private func ask<Answer>(
        _ call: HTTPCall, _ read: (JSONValue) -> Answer?
    ) async throws(ClientError) -> Answer {
        try await perform(call).reading(read)
    }
}

extension NodeAnswer {
    /// The body as an answer of one kind.
    package func reading<Answer>(
        _ read: (JSONValue) -> Answer?
    ) throws(ClientError) -> Answer {
        guard let answer = read(try json()) else {
            throw .unintelligible(detail: "fields are missing", node: node)
        }
        return answer
    }
}
