internal import Core
internal import Replication
internal import Ring
internal import Storage

/// Which attribute the keys of an answer share.
package struct GroupName: Hashable, Sendable {
    package var by: String
    /// How many keys have the value that was asked for.
    package var keys: Int
    /// Which keys have it was told by attributes that may be old, or lack some.
    package var isStale: Bool

    package init(by: String, keys: Int, isStale: Bool = false) {
        self.by = by
        self.keys = keys
        self.isStale = isStale
    }
}

/// The windows of one key, or of all keys together whose attribute has a value. This node's catalog
/// names these. Where the days of a key lie apart, each partition of a key is asked. Each is a
/// query of its own, so that its count is as right as any, and what they add up to is exact.
///
/// Where these would be too many and only the total is asked for, all keys are scanned once, as for
/// the top, and those of the group added up.
extension HTTPAPI {
    func read(
        _ keys: [[UInt8]], _ type: [UInt8]?, _ bounds: WindowBounds, step: WindowStep,
        _ consistency: Consistency
    ) async throws(Problem) -> KeyRows {
        let end = deadline
        guard var open = queries(keys, type, bounds) else {
            guard step == .all else {
                throw .badRequest(
                    "\(keys.count) keys over this range are more than "
                        + "\(HTTPLimits.seriesReadsMax) reads, since placement is key+day; ask for "
                        + "a shorter range, or for the group's total: step=all, or quipu top TYPE "
                        + "--by NAME")
            }
            return try await scan(keys, type, bounds, consistency, by: end)
        }
        var found: [RetentionFloor: KeyRows] = [:]
        for _ in 0..<HTTPLimits.floorRoundsMax {
            try await read(open, consistency, by: end, into: &found)
            // Retention may have come further between two reads: what it shows by hours in one and
            // by minutes in another does not add up. The coordinator knows the greatest by now.
            let floor = found.keys.reduce(RetentionFloor.none) { $0.merged(with: $1) }
            open = found.filter { $0.key != floor }.flatMap(\.value.queries)
            if open.isEmpty { return found[floor] ?? KeyRows(floor: floor) }
            found = found.filter { $0.key == floor }
        }
        throw .floorRises
    }

    /// Adds answers up as they come: of many keys they are large.
    ///
    /// - Parameter found: by the floor of retention under which they are shown.
    private func read(
        _ queries: [SeriesQuery], _ consistency: Consistency, by end: Instant,
        into found: inout [RetentionFloor: KeyRows]
    ) async throws(Problem) {
        for start in stride(from: 0, to: queries.count, by: HTTPLimits.seriesReadsAtOnce) {
            let part = queries[start...].prefix(HTTPLimits.seriesReadsAtOnce)
            let results = await withTaskGroup(
                of: (SeriesQuery, Result<ReadAnswer, Problem>).self
            ) { tasks in
                for query in part {
                    tasks.addTask {
                        do throws(Problem) {
                            let answer = try await read(.series(query), consistency, by: end)
                            return (query, .success(answer))
                        } catch {
                            return (query, .failure(error))
                        }
                    }
                }
                var results: [(SeriesQuery, Result<ReadAnswer, Problem>)] = []
                for await result in tasks { results.append(result) }
                return results
            }
            for (query, result) in results {
                let answer = try result.get()
                try found[answer.floor, default: KeyRows(floor: answer.floor)].add(answer, query)
            }
        }
    }

    /// Nil where they are too many.
    private func queries(
        _ keys: [[UInt8]], _ type: [UInt8]?, _ bounds: WindowBounds
    ) -> [SeriesQuery]? {
        guard keys.count <= HTTPLimits.groupKeysMax else { return nil }
        var queries: [SeriesQuery] = []
        for key in keys {
            let places = placement.partitions(
                of: key, from: bounds.first, to: bounds.end)
            for partition in places {
                queries.append(
                    SeriesQuery(
                        partition: partition, key: key, type: type, from: bounds.first,
                        to: bounds.end))
            }
            guard queries.count <= HTTPLimits.seriesReadsMax else { return nil }
        }
        return queries
    }

    /// The total of a group, out of those of all keys.
    private func scan(
        _ keys: [[UInt8]], _ type: [UInt8]?, _ bounds: WindowBounds, _ consistency: Consistency,
        by end: Instant
    ) async throws(Problem) -> KeyRows {
        let spec = ScanSpec(
            partitions: PartitionSet(), type: type, from: bounds.first, to: bounds.end,
            output: .totalsByKey)
        let answer = try await read(.scan(spec, top: nil), consistency, by: end)
        guard case .scan(.totals(let totals)) = answer.result else { throw .unexpectedAnswer }
        return KeyRows(answer, totals, of: Set(keys), from: bounds.first)
    }

    /// The keys of a group, ascending: as many as the step allows.
    ///
    /// - Parameter held: bytes that more keys than are read one by one take of the budget of all
    ///   bodies, to be given back also after an error. One thread of the catalog's lists them, so
    ///   that what is not in the budget yet is one group.
    func keys(
        with value: String, of name: String, step: WindowStep, _ held: inout Int
    ) async throws(Problem) -> KnownKeys {
        let max = step == .all ? HTTPLimits.groupTotalKeysMax : HTTPLimits.groupKeysMax
        let found = await attributes.keys(
            with: Array(value.utf8), of: Array(name.utf8), limit: max + 1)
        guard let found else { throw .noCatalog }
        guard found.keys.count <= max else {
            let more = step == .all ? "" : "step=all and in "
            throw .badRequest(
                "more than \(max) keys have this value of \(name); their total is in "
                    + "\(more)quipu top TYPE --by \(name) (GET /v1/top/TYPE?by=\(name))")
        }
        if found.keys.count > HTTPLimits.groupKeysMax {
            let bytes = found.keys.reduce(0) { $0 + $1.count + HTTPLimits.groupKeyOverhead }
            guard bodies.take(bytes) else { throw .groupWaits(bodies.max) }
            held += bytes
        }
        return found
    }
}

extension Problem {
    fileprivate static func groupWaits(_ max: Int) -> Problem {
        withoutOutcome(overloaded("all bodies and large groups together hold \(max) bytes"))
    }
}

/// What the reads of many keys come to that were answered by one floor.
struct KeyRows {
    let floor: RetentionFloor
    /// Those that were answered.
    private(set) var queries: [SeriesQuery] = []
    /// By window, over all keys and types.
    private var measures: [Int64: Measure] = [:]
    /// The earliest; nil where none is known for one of them.
    private(set) var frontier: WallTime?
    private(set) var replicas: Set<NodeID> = []

    var rows: [SeriesRow] {
        measures.sorted { $0.key < $1.key }.map {
            SeriesRow(type: [], window: $0.key, measure: $0.value)
        }
    }

    init(floor: RetentionFloor) {
        self.floor = floor
    }

    /// What `totals` of a scan come to for some keys: as one row, since no windows are known.
    init(
        _ answer: ReadAnswer, _ totals: [ScanRows.KeyTotal], of keys: Set<[UInt8]>,
        from first: Int64?
    ) {
        floor = answer.floor
        replicas = Set(answer.replicas)
        var sum = Measure.zero
        for total in totals where keys.contains(total.key) { sum.add(total.measure) }
        measures[first ?? 0] = sum
    }

    mutating func add(_ answer: ReadAnswer, _ query: SeriesQuery) throws(Problem) {
        guard case .series(let rows) = answer.result else { throw .unexpectedAnswer }
        for row in rows { measures[row.window, default: .zero].add(row.measure) }
        queries.append(query)
        // Every answer names its replicas.
        if replicas.isEmpty {
            frontier = answer.frontier
        } else if let mine = frontier {
            frontier = answer.frontier.map { min(mine, $0) }
        }
        replicas.formUnion(answer.replicas)
    }
}
