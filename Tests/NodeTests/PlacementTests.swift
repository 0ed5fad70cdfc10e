import Core
import Node
import Replication
import Ring
import Storage
import Synchronization
import Testing

enum ThreeNodes {
    /// - Parameter line: a setting, or none.
    static func configuration(_ line: String) throws -> ClusterConfiguration {
        let nodes = (1...3).map { "  n\($0): {http: h\($0):80, peer: h\($0):70}\n" }.joined()
        return try ClusterConfiguration.parse(
            "cluster_name: demo\n\(line)\nnodes:\n\(nodes)", file: "/etc/quipu/cluster.conf")
    }
}

/// Counts whose days lie apart.
@Suite("Placement by key and day")
struct PlacementTests {
    private static let start = APIFixture.now.wall.milliseconds / 60_000

    /// A node whose every partition has one event of the first window that it is asked for.
    private func fixture(
        _ rule: KeyPlacement.Rule = .keyAndDay,
        attributes: ScriptedAttributes = ScriptedAttributes()
    ) throws -> APIFixture {
        try APIFixture(attributes: attributes, placement: rule) { request in
            guard case .read(.series(let query), _) = request else { return .flushed }
            let row = SeriesRow(
                type: Array("view".utf8),
                window: (query.from ?? Self.start) + Int64(query.partition.index) * 1440,
                measure: Measure(count: 1))
            return .read(
                ReadAnswer(
                    result: .series([row]), replicas: [NodeID("n\(query.partition.index % 3 + 1)")],
                    consistency: .quorum))
        }
    }

    private func asked(_ fixture: APIFixture) -> [SeriesQuery] {
        fixture.core.requests.compactMap {
            if case .read(.series(let query), _) = $0 { query } else { nil }
        }
    }

    @Test("A count over one day is one question, over several it is put to each partition once")
    func counts() async throws {
        let one = try fixture()
        let day = await one.get("/v1/counts/view/abc?from=2025-12-30&to=2025-12-31")
        #expect(day.text.contains(#""total":{"count":1}"#))
        #expect(asked(one).count == 1)

        let week = try fixture()
        let reply = await week.get("/v1/counts/view/abc?from=2025-12-20&to=2025-12-27&step=all")
        let queries = asked(week)
        let placement = week.api.placement
        let expected = placement.partitions(
            of: Array("abc".utf8), from: queries[0].from, to: queries[0].to)
        #expect(queries.count == expected.count)
        #expect(PartitionSet(queries.map(\.partition)) == expected)
        #expect(expected.count > 1)
        #expect(reply.text.contains(#""total":{"count":\#(expected.count)}"#))

        let always = try fixture()
        let all = await always.get("/v1/counts/view/abc?step=1d")
        #expect(asked(always).count == always.api.partitioning.count)
        #expect(all.text.contains(#""replicas":["n1","n2","n3"]"#))
    }

    @Test("What was read before retention came further is read again")
    func floors() async throws {
        let buckets = TimeBuckets(window: .minute)
        let edge = buckets.windows(ofBucket: buckets.bucket(of: Self.start)).lowerBound
        let risen = RetentionFloor(hours: edge, days: .min, expired: .min)
        let asked = Mutex<[PartitionID: Int]>([:])
        let fixture = try APIFixture(placement: .keyAndDay) { request in
            guard case .read(.series(let query), _) = request else { return .flushed }
            let turn = asked.withLock { turns in
                turns[query.partition, default: 0] += 1
                return turns[query.partition] ?? 0
            }
            // The last partition is the first that knows.
            let knows = query.partition == PartitionID(15) || turn > 1
            let row = SeriesRow(
                type: Array("view".utf8), window: edge - 60 * 24 * 64,
                measure: Measure(count: knows ? 10 : 7))
            var answer = ReadAnswer(
                result: .series([row]), replicas: [NodeID("n1")], consistency: .quorum)
            answer.floor = knows ? risen : .none
            return .read(answer)
        }
        let reply = await fixture.get("/v1/counts/view/abc?step=all")
        #expect(reply.text.contains(#""total":{"count":160}"#))
        let turns = asked.withLock { $0 }
        #expect(turns.count == 16 && turns.values.reduce(0, +) == 31)
    }

    @Test("By key a count is one question, whatever its range")
    func byKey() async throws {
        let fixture = try fixture(.key)
        _ = await fixture.get("/v1/counts/view/abc")
        #expect(asked(fixture).count == 1)
    }

    @Test("Of a group of too many keys and days to ask for each, only the total is told")
    func groups() async throws {
        var rows: [String: String] = [:]
        for number in 0..<700 { rows["k\(number)"] = #"{"channel":"c"}"# }
        let fixture = try fixture(attributes: ScriptedAttributes(rows))
        let reply = await fixture.get("/v1/counts/view/c?by=channel&step=1d")
        #expect(reply.status == 400)
        #expect(reply.text.contains("ask for a shorter range"))
        #expect(fixture.core.requests.isEmpty)
        _ = await fixture.get("/v1/counts/view/c?by=channel&step=all")
        guard case .read(.scan, _)? = fixture.core.requests.first else {
            Issue.record("the core was not asked for a scan")
            return
        }
        let day = await fixture.get(
            "/v1/counts/view/c?by=channel&from=2025-12-30&to=2025-12-31&step=all")
        #expect(day.text.contains(#""total":{"count":700}"#))
    }

    @Test("The replicas of a key are those of a day")
    func endpoints() async throws {
        let fixture = try fixture()
        let reply = await fixture.get("/v1/endpoints/abc?at=2015-02-22T21:17:00Z")
        #expect(reply.text.hasPrefix(#"{"day":"2015-02-22","token":"496069298934399941","#))
        let today = await fixture.get("/v1/endpoints/abc")
        #expect(today.text.hasPrefix(#"{"day":"2026-01-01","#))
        let whole = try self.fixture(.key)
        #expect(await whole.get("/v1/endpoints/abc?at=2015-02-22").status == 400)
        #expect(await fixture.get("/v1/ring").text.contains(#""placement":"key+day""#))
    }

    @Test("The configuration names it, and nodes that differ are not of one cluster")
    func configuration() throws {
        let plain = try ThreeNodes.configuration("")
        let days = try ThreeNodes.configuration("placement: key+day")
        #expect(plain.placement == .key)
        #expect(days.placement == .keyAndDay)
        #expect(try ThreeNodes.configuration("placement: key") == plain)
        #expect(plain.fingerprint.difference(from: days.fingerprint)?.field == "placement")
        let error = #expect(throws: ConfigurationError.self) {
            try ThreeNodes.configuration("placement: day")
        }
        #expect(error?.description.contains("2: placement: ") == true)
        #expect(error?.description.contains("key+day") == true)
    }
}
