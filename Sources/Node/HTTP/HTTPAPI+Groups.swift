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
/// names these; each is read like a query of its own, so that its count is as right as any, and
/// what they add up to is exact.
extension HTTPAPI {
    func read(
        _ keys: [[UInt8]], _ type: [UInt8]?, _ bounds: WindowBounds, _ consistency: Consistency
    ) async throws(Problem) -> KeyRows {
        var found = KeyRows()
        let end = deadline
        var start = 0
        while start < keys.count {
            let part = keys[start..<min(start + HTTPLimits.groupReadsMax, keys.count)]
            let results = await withTaskGroup(of: Result<ReadAnswer, Problem>.self) { tasks in
                for key in part {
                    let query = SeriesQuery(
                        partition: partitioning.partition(of: Murmur3.token(of: key)), key: key,
                        type: type, from: bounds.first, to: bounds.end)
                    tasks.addTask {
                        do throws(Problem) {
                            return .success(try await read(.series(query), consistency, by: end))
                        } catch {
                            return .failure(error)
                        }
                    }
                }
                var results: [Result<ReadAnswer, Problem>] = []
                for await result in tasks { results.append(result) }
                return results
            }
            for result in results { try found.add(try result.get()) }
            start += HTTPLimits.groupReadsMax
        }
        return found
    }

    /// The keys of a group, ascending.
    func keys(with value: String, of name: String) async throws(Problem) -> KnownKeys {
        let found = await attributes.keys(
            with: Array(value.utf8), of: Array(name.utf8), limit: HTTPLimits.groupKeysMax + 1)
        guard let found else { throw .noCatalog }
        guard found.keys.count <= HTTPLimits.groupKeysMax else {
            throw .badRequest(
                "more than \(HTTPLimits.groupKeysMax) keys have this value of \(name); their total "
                    + "is in quipu top TYPE --by \(name) (GET /v1/top/TYPE?by=\(name))")
        }
        return found
    }
}

/// What the reads of many keys come to.
struct KeyRows {
    /// By window, over all keys and types.
    private var measures: [Int64: Measure] = [:]
    /// The coarsest form in which any of them was read.
    private(set) var floor = RetentionFloor.none
    /// The earliest; nil where none is known for one of them.
    private(set) var frontier: WallTime?
    private(set) var replicas: Set<NodeID> = []

    var rows: [SeriesRow] {
        measures.sorted { $0.key < $1.key }.map {
            SeriesRow(type: [], window: $0.key, measure: $0.value)
        }
    }

    mutating func add(_ answer: ReadAnswer) throws(Problem) {
        guard case .series(let rows) = answer.result else { throw .unexpectedAnswer }
        for row in rows { measures[row.window, default: .zero].add(row.measure) }
        floor = floor.merged(with: answer.floor)
        // Every answer names its replicas.
        if replicas.isEmpty {
            frontier = answer.frontier
        } else if let mine = frontier {
            frontier = answer.frontier.map { min(mine, $0) }
        }
        replicas.formUnion(answer.replicas)
    }
}
