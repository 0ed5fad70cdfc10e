import Core
import Node
import Replication
import Ring
import Storage
import Testing

@Suite struct HTTPQueryTests {
    private static let start = APIFixture.now.wall.milliseconds / 60_000

    private static func series(
        _ rows: [SeriesRow], attributes: ScriptedAttributes = ScriptedAttributes()
    ) throws -> APIFixture {
        try APIFixture(attributes: attributes) { _ in
            .read(
                ReadAnswer(
                    result: .series(rows), replicas: [NodeID("n1"), NodeID("n3")],
                    consistency: .quorum))
        }
    }

    private static func row(_ type: String, _ window: Int64, _ value: Int64?...) -> SeriesRow {
        var measure = Measure.zero
        for value in value { measure.add(Measure(event: value)) }
        return SeriesRow(type: Array(type.utf8), window: start + window, measure: measure)
    }

    @Test("Counts come per window with total, attributes and replicas, in the documented order")
    func counts() async throws {
        let fixture = try Self.series(
            [Self.row("view", -2, nil, nil), Self.row("view", 0, nil)],
            attributes: ScriptedAttributes(["abc": #"{"title":"A \"b\""}"#]))
        let reply = await fixture.get("/v1/counts/view/abc?from=-15m&to=2026-01-02")
        let expected =
            #"{"type":"view","key":"abc","attributes":{"title":"A \"b\""},"#
            + #""from":"2025-12-31T23:45:00Z","to":"2026-01-02T00:00:00Z","step":"1m","#
            + #""consistency":"QUORUM","total":{"count":3},"windows":["#
            + #"{"start":"2025-12-31T23:58:00Z","count":2,"state":"closing"},"#
            + #"{"start":"2026-01-01T00:00:00Z","count":1,"state":"open"}],"#
            + #""replicas":["n1","n3"]}"#
        #expect(reply.text == expected)
        guard case .read(.series(let query), .quorum)? = fixture.core.requests.first else {
            Issue.record("the core was not asked for a series")
            return
        }
        #expect(query.from == Self.start - 15)
        #expect(query.to == Self.start + 1440)
        #expect(
            query.partition
                == fixture.api.partitioning.partition(of: Murmur3.token(of: "abc")))
    }

    @Test(
        "A key is decoded exactly once before it is asked for",
        arguments: [
            ("a%2Fb", "a/b"), ("%23en", "#en"), ("%25", "%"), ("%252F", "%2F"), ("-2-9", "-2-9"),
            ("%3Fx=1", "?x=1"), ("a+b%20c", "a+b c"), ("%F0%9F%98%80", "😀"),
        ])
    func keys(path: String, key: String) async throws {
        let fixture = try Self.series([])
        let reply = await fixture.get("/v1/counts/view/\(path)?step=all")
        #expect(reply.status == 200)
        guard case .read(.series(let query), _)? = fixture.core.requests.first else {
            Issue.record("the core was not asked for a series")
            return
        }
        #expect(query.key == Array(key.utf8))
        #expect(reply.text.contains(#""total":{"count":0},"windows":[],"#))
        #expect(reply.text.contains(#""from":null,"to":null,"step":"all""#))
    }

    /// Hours before the last bucket's start, days before the one before it, nothing below that.
    private static let floor: RetentionFloor = {
        let buckets = TimeBuckets(window: .minute)
        let bucket = buckets.bucket(of: start)
        let starts = (0..<3).map { buckets.windows(ofBucket: bucket - $0).lowerBound }
        return RetentionFloor(hours: starts[0], days: starts[1], expired: starts[2])
    }()

    private static func kept(_ rows: [SeriesRow]) throws -> APIFixture {
        try APIFixture(attributes: ScriptedAttributes()) { _ in
            var answer = ReadAnswer(
                result: .series(rows), replicas: [NodeID("n1")], consistency: .quorum)
            answer.floor = floor
            return .read(answer)
        }
    }

    private static func text(_ window: Int64) -> String {
        TimeText.format(WindowLength.minute.start(of: window))
    }

    @Test("Longer windows than asked say so, and so does a range that begins before what is kept")
    func retained() async throws {
        func row(_ window: Int64) -> SeriesRow {
            SeriesRow(type: Array("view".utf8), window: window, measure: Measure(count: 2))
        }
        let (day, hour) = (Self.floor.expired, Self.floor.days)
        let fixture = try Self.kept(
            [row(day), row(hour), row(hour + 60), row(Self.floor.hours + 1)])
        let minutes = await fixture.get("/v1/counts/view/k").text
        let rolledUp =
            #""rolled_up":[{"before":"\#(Self.text(hour))","step":"1d"},"#
            + #"{"before":"\#(Self.text(Self.floor.hours))","step":"1h"}]"#
        #expect(minutes.contains(rolledUp))
        for (start, step) in [(day, "1d"), (hour, "1h"), (hour + 60, "1h")] {
            let part =
                #"{"start":"\#(Self.text(start))","count":2,"state":"closing","step":"\#(step)"}"#
            #expect(minutes.contains(part), "\(minutes)")
        }
        let last = #"{"start":"\#(Self.text(Self.floor.hours + 1))","count":2,"state":"closing"}"#
        #expect(minutes.contains(last))
        #expect(minutes.contains(#""expired":{"before":"\#(Self.text(day))"},"total":{"count":8}"#))
        let hours = await fixture.get("/v1/counts/view/k?step=1h").text
        #expect(hours.contains(#""start":"\#(Self.text(Self.floor.hours))","count":2,"state""#))
        #expect(hours.split(separator: #""step":"1d"}"#).count == 3, "of the edge and one window")
        let days = await fixture.get("/v1/counts/view/k?step=1d").text
        #expect(days.contains(#""start":"\#(Self.text(hour))","count":4,"state":"closing"}"#))
        let late = await fixture.get("/v1/counts/view/k?from=\(Self.text(hour))").text
        #expect(!late.contains("expired"))
        let csv = await fixture.get("/v1/counts/view/k", ["Accept": "text/csv"]).text
        #expect(csv.hasPrefix("start,count,sum,min,max,avg,state,step\r\n\(Self.text(day)),2,,,,,"))
    }

    @Test("A range of which nothing is kept is an error that says so, and not a count of nought")
    func expired() async throws {
        let fixture = try Self.kept([])
        let edge = Self.text(Self.floor.expired)
        let gone = await fixture.get("/v1/counts/view/k?from=2020-01-01&to=\(edge)")
        #expect(gone.status == 410)
        #expect(gone.text.contains("windows before \(edge) are no longer kept"))
        // Within an hour that is kept as a whole: it would be nought whatever happened.
        let (from, to) = (Self.text(Self.floor.days + 10), Self.text(Self.floor.days + 50))
        for path in ["counts/view/k", "top/view"] {
            let within = await fixture.get("/v1/\(path)?from=\(from)&to=\(to)")
            #expect(within.status == 410)
            #expect(within.text.contains("ask for the whole hour"))
        }
        let empty = await fixture.get("/v1/counts/view/k?from=\(from)&to=\(from)")
        #expect(empty.status == 200, "nothing was asked for")
        let part = await fixture.get("/v1/counts/view/k?from=2020-01-01")
        #expect(part.status == 200)
        #expect(part.text.contains(#""total":{"count":0}"#))
    }

    @Test("Coarser steps and all types add up exactly, values as decimals")
    func steps() async throws {
        let rows = [
            Self.row("like", -61, 1_500_000), Self.row("view", -61, -2_000_000, nil),
            Self.row("view", -1, 4), Self.row("view", 5, nil),
        ]
        let fixture = try Self.series(rows)
        let hours = await fixture.get("/v1/counts/*/k?step=1h").text
        #expect(
            hours.contains(
                #""total":{"count":5,"sum":"-0.499996","min":"-2","max":"1.5","avg":"-0.166665"}"#),
            "\(hours)")
        #expect(
            hours.contains(
                #"{"start":"2025-12-31T22:00:00Z","count":3,"sum":"-0.5","min":"-2","max":"1.5","#
                    + #""avg":"-0.25","state":"closing"}"#), "\(hours)")
        #expect(hours.contains(#"{"start":"2026-01-01T00:00:00Z","count":1,"state":"open"}"#))
        let days = await fixture.get("/v1/counts/*/k?step=1d").text
        #expect(days.contains(#"{"start":"2025-12-31T00:00:00Z","count":4"#))
        guard case .read(.series(let query), _)? = fixture.core.requests.first else {
            Issue.record("the core was not asked for a series")
            return
        }
        #expect(query.type == nil)
        #expect(await fixture.get("/v1/counts/*/k?step=2h").status == 400)
    }

    @Test("A step is a multiple of the cluster's windows, which have a name as well")
    func stepNames() throws {
        let seconds = WindowLength(milliseconds: 10_000)
        #expect(try WindowStep("10s", base: seconds) == .windows(seconds, name: "10s"))
        #expect(try WindowStep("1m", base: seconds).name == "1m")
        for milliseconds in [250, 1000, 10_000, 60_000] {
            let base = WindowLength(milliseconds: Int64(milliseconds))
            #expect(try WindowStep(nil, base: base) == .windows(.minute, name: "1m"))
        }
        #expect(try WindowStep(nil, base: WindowLength(milliseconds: 45_000)).name == "45s")
        #expect(try WindowStep(nil, base: WindowLength(milliseconds: 300_000)).name == "5m")
        #expect(try WindowStep(nil, base: WindowLength(milliseconds: 3_600_000)).name == "1h")
        #expect(throws: Problem.self) {
            try WindowStep("1m", base: WindowLength(milliseconds: 300_000))
        }
        #expect(throws: Problem.self) { try WindowStep("30s", base: seconds) }
    }

    @Test("CSV comes by Accept")
    func csv() async throws {
        let fixture = try Self.series([Self.row("view", 0, 2_500_000), Self.row("view", 1, nil)])
        let reply = await fixture.get("/v1/counts/view/k", ["Accept": "text/csv"])
        #expect(reply.contentType.hasPrefix("text/csv"))
        #expect(
            reply.text == "start,count,sum,min,max,avg,state\r\n"
                + "2026-01-01T00:00:00Z,1,2.5,2.5,2.5,2.5,open\r\n"
                + "2026-01-01T00:01:00Z,1,,,,,closing\r\n")
    }

    @Test("CSV of the total alone is one row, which starts where the range does")
    func csvTotal() async throws {
        let fixture = try Self.series([Self.row("view", 0, 2_500_000), Self.row("view", 1, nil)])
        let path = "/v1/counts/view/k?step=all"
        let head = "start,count,sum,min,max,avg,state\r\n"
        let whole = await fixture.get(path, ["Accept": "text/csv"])
        #expect(whole.text == head + ",2,2.5,2.5,2.5,2.5,\r\n")
        let ranged = await fixture.get("\(path)&from=2026-01-01", ["Accept": "text/csv"])
        #expect(ranged.text == head + "2026-01-01T00:00:00Z,2,2.5,2.5,2.5,2.5,\r\n")
        let none = try Self.series([])
        #expect(await none.get(path, ["Accept": "text/csv"]).text == head + ",0,,,,,\r\n")
    }

    @Test("A catalog that fails takes the attributes away, not the counts")
    func brokenCatalog() async throws {
        let fixture = try Self.series(
            [Self.row("view", 0, nil)], attributes: ScriptedAttributes(isBroken: true))
        let reply = await fixture.get("/v1/counts/view/k")
        #expect(reply.status == 200)
        #expect(reply.text.contains(#""attributes":null,"attributes_unavailable":true"#))
        #expect(reply.text.contains(#""total":{"count":1}"#))
    }

    @Test("Attributes that may be old say so; a key of which none are known may have some")
    func staleAttributes() async throws {
        let stale = ScriptedAttributes(["k": #"{"c":"x"}"#], isStale: true)
        let fixture = try Self.series([Self.row("view", 0, nil)], attributes: stale)
        let known = await fixture.get("/v1/counts/view/k").text
        #expect(known.contains(#""attributes":{"c":"x"},"attributes_stale":true"#), "\(known)")
        let unknown = await fixture.get("/v1/counts/view/other").text
        #expect(unknown.contains(#""attributes":null,"attributes_stale":true"#), "\(unknown)")
        let group = await fixture.get("/v1/counts/view/x?by=c").text
        #expect(await fixture.get("/v1/attributes/none").status == 503)
        #expect(
            await fixture.get("/v1/attributes/k").text.hasSuffix(
                #""version":7,"attributes_stale":true}"#))
        #expect(group.contains(#""keys":1,"attributes":null,"attributes_stale":true"#), "\(group)")
        let top = try Self.scan(.totals(Self.totals([("k", 2)])), attributes: stale)
        let ranked = await top.get("/v1/top/view?by=c").text
        #expect(ranked.contains(#""exact":true,"attributes_stale":true"#), "\(ranked)")
    }

    @Test(
        "What cannot be answered is an error that says so, never a number",
        arguments: [
            (RequestFailure.tooFewReplicas(required: 2, alive: 1), 503),
            (.timedOut(required: 2, answered: 1), 504), (.notReady("recovering"), 503),
            (.overloaded("too many reads are under way"), 429),
            (.storage("sstables/1.sst is damaged"), 500), (.tooLarge("all keys"), 400),
        ])
    func failures(failure: RequestFailure, status: Int) async throws {
        let fixture = try APIFixture { _ in .failed(failure) }
        for path in ["/v1/counts/view/k", "/v1/top/view", "/v1/types", "/v1/keys/view"] {
            let reply = await fixture.get(path)
            #expect(reply.status == status)
            #expect(reply.contentType == "application/problem+json")
            #expect(!reply.text.contains("count\":") && !reply.text.contains("outcome"))
            let mayRetry = reply.headers.contains { $0.name == "Retry-After" }
            #expect(mayRetry == (status == 429 || status == 503))
        }
    }

    @Test("Too many retired letters are no fault of the question, and it says what makes them less")
    func tooManyRetired() async throws {
        let fixture = try APIFixture { _ in .failed(.tooLarge("2 GiB of marks")) }
        let reply = await fixture.get("/v1/dead-letters")
        #expect(reply.status == 507)
        #expect(reply.contentType == "application/problem+json")
        #expect(reply.text.contains("2 GiB of marks"))
        #expect(reply.text.contains("retention") && !reply.text.contains("shorter range"))
    }

    // MARK: - Top and lists

    private static func totals(_ rows: [(String, Int)]) -> [ScanRows.KeyTotal] {
        rows.map { key, count in
            var measure = Measure.zero
            for _ in 0..<count { measure.add(Measure(event: nil)) }
            return ScanRows.KeyTotal(key: Array(key.utf8), measure: measure)
        }
    }

    private static func scan(
        _ rows: ScanRows, attributes: ScriptedAttributes = ScriptedAttributes(),
        bodies: ByteBudget = ByteBudget(max: RuntimeLimits.bodiesBytesMax)
    ) throws -> APIFixture {
        try APIFixture(attributes: attributes, bodies: bodies) { _ in
            .read(
                ReadAnswer(result: .scan(rows), replicas: [NodeID("n2")], consistency: .one))
        }
    }

    @Test("Windows by an attribute are the sum over its keys, each of which is read by itself")
    func countsByAttribute() async throws {
        let attributes = ["a": #"{"c":"x"}"#, "b": #"{"c":"x"}"#, "d": #"{"c":"y"}"#]
        let fixture = try APIFixture(attributes: ScriptedAttributes(attributes)) { request in
            guard case .read(.series(let query), _) = request else { return .flushed }
            let count = UInt64(query.key[0])
            let rows = [0, 60].map { offset in
                SeriesRow(
                    type: query.type ?? [], window: Self.start + offset,
                    measure: Measure(count: offset == 0 ? count : 1))
            }
            return .read(
                ReadAnswer(
                    result: .series(rows), replicas: [NodeID("n\(query.key[0] % 2 + 1)")],
                    consistency: .quorum))
        }
        let text = await fixture.get("/v1/counts/view/x?by=c&step=1h").text
        #expect(text.contains(#""key":"x","by":"c","keys":2,"attributes":{}"#), "\(text)")
        // The bytes of "a" and "b".
        #expect(text.contains(#""total":{"count":\#(97 + 98 + 2)}"#))
        #expect(text.contains(#""count":\#(97 + 98),"#))
        #expect(text.contains(#""replicas":["n1","n2"]"#))
        let asked = fixture.core.requests.compactMap { request in
            if case .read(.series(let query), _) = request { query.key } else { nil }
        }
        #expect(Set(asked) == [Array("a".utf8), Array("b".utf8)])
        let none = await fixture.get("/v1/counts/view/z?by=c")
        #expect(none.status == 200 && none.text.contains(#""keys":0"#))
        let one = await fixture.get("/v1/counts/view/a?by=key").text
        #expect(one.contains(#""key":"a","attributes":{"c":"x"}"#))
        let broken = try APIFixture(attributes: ScriptedAttributes(isBroken: true))
        let refused = await broken.get("/v1/counts/view/x?by=c")
        #expect(refused.status == 503)
        #expect(refused.headers.contains(.init("Retry-After", "1")))
    }

    @Test("More keys than are read at once are all read; a group beyond its bound is refused")
    func countsByAttributeBounds() async throws {
        func fixture(_ keys: Int) throws -> APIFixture {
            let attributes = (0..<keys).map { ("k\($0)", #"{"c":"x"}"#) }
            return try APIFixture(
                attributes: ScriptedAttributes(Dictionary(uniqueKeysWithValues: attributes))
            ) { _ in
                let row = SeriesRow(type: [], window: Self.start, measure: Measure(count: 1))
                return .read(
                    ReadAnswer(
                        result: .series([row]), replicas: [NodeID("n1")], consistency: .quorum))
            }
        }
        let many = HTTPLimits.seriesReadsAtOnce * 2 + 1
        let text = try await fixture(many).get("/v1/counts/view/x?by=c").text
        #expect(text.contains(#""total":{"count":\#(many)}"#), "\(text)")
        let beyond = try await fixture(HTTPLimits.groupKeysMax + 1).get("/v1/counts/view/x?by=c")
        #expect(beyond.status == 400)
        #expect(beyond.text.contains("step=all and in quipu top TYPE --by c"))
    }

    @Test("The total of a group of more keys than are read one by one comes from one scan")
    func groupTotal() async throws {
        let keys = HTTPLimits.groupKeysMax + 1
        var attributes = ["other": #"{"c":"y"}"#]
        for number in 0..<keys { attributes["k\(number)"] = #"{"c":"x"}"# }
        let fixture = try Self.scan(
            .totals(
                Self.totals([("k0", 3), ("other", 50), ("k\(keys - 1)", 4), ("without any", 60)])),
            attributes: ScriptedAttributes(attributes))
        let target = "/v1/counts/view/x?by=c&from=2025-12-30&step=all"
        let text = await fixture.get(target).text
        #expect(text.contains(#""key":"x","by":"c","keys":\#(keys),"#), "\(text)")
        #expect(text.contains(#""total":{"count":7},"windows":[],"replicas":["n2"]"#), "\(text)")
        #expect(fixture.core.requests.count == 1)
        guard case .read(.scan(let spec, let top), .quorum)? = fixture.core.requests.first else {
            Issue.record("the core was not asked for a scan")
            return
        }
        #expect(top == nil && spec.output == .totalsByKey)
        #expect(spec.type == Array("view".utf8))
        #expect(spec.from == Self.start - 2 * 1440 && spec.to == nil)

        let beyond = ScriptedAttributes(
            ["k": #"{"c":"x"}"#], repeats: HTTPLimits.groupTotalKeysMax + 1)
        let refused = await (try Self.scan(.totals([]), attributes: beyond)).get(target)
        #expect(refused.status == 400)
        #expect(refused.text.contains("their total is in quipu top TYPE --by c"))
    }

    @Test("The keys of a large group count against the budget of all bodies while they are held")
    func groupBudget() async throws {
        let target = "/v1/counts/view/x?by=c&from=2025-12-30&step=all"
        let keys = HTTPLimits.groupKeysMax + 1
        let attributes = ScriptedAttributes(["k": #"{"c":"x"}"#], repeats: keys)
        let needed = keys * (1 + HTTPLimits.groupKeyOverhead)
        for (max, status) in [(needed, 200), (needed - 1, 429)] {
            let budget = ByteBudget(max: max)
            let fixture = try Self.scan(
                .totals(Self.totals([("k", 3)])), attributes: attributes, bodies: budget)
            let reply = await fixture.get(target)
            #expect(reply.status == status, "\(reply.text)")
            #expect(reply.headers.contains { $0.name == "Retry-After" } == (status == 429))
            #expect(!reply.text.contains("outcome"))
            #expect(fixture.core.requests.count == (status == 200 ? 1 : 0))
            #expect(budget.inUse == 0)
        }
        // It is held for as long as the scan takes.
        let budget = ByteBudget(max: needed)
        let seen = Monitor(0)
        let fixture = try APIFixture(attributes: attributes, bodies: budget) { _ in
            seen.withLock { $0 = budget.inUse }
            return .failed(.notReady("recovering"))
        }
        #expect(await fixture.get(target).status == 503)
        #expect(seen.withLock { $0 } == needed)
        #expect(budget.inUse == 0)
        // A group whose keys are read one by one takes none of it.
        let few = try APIFixture(
            attributes: ScriptedAttributes(["k": #"{"c":"x"}"#], repeats: 2),
            bodies: ByteBudget(max: 0)
        ) { _ in
            .read(
                ReadAnswer(
                    result: .series([]), replicas: [NodeID("n2")], consistency: .quorum))
        }
        #expect(await few.get(target).status == 200)
    }

    @Test("The top is ranked, joined and exact")
    func top() async throws {
        let fixture = try Self.scan(
            .totals(Self.totals([("b", 3), ("a", 2)])),
            attributes: ScriptedAttributes(["b": #"{"x":1}"#]))
        let reply = await fixture.get("/v1/top/view?k=2&consistency=ONE")
        #expect(
            reply.text.contains(
                #""rows":[{"rank":1,"key":"b","count":3,"attributes":{"x":1}},"#
                    + #"{"rank":2,"key":"a","count":2,"attributes":{}}],"exact":true"#),
            "\(reply.text)")
        guard case .read(.scan(let spec, let top), .one)? = fixture.core.requests.first else {
            Issue.record("the core was not asked for a scan")
            return
        }
        #expect(top == TopSpec(k: 2, order: .count))
        #expect(spec.output == .totalsByKey)
        #expect(await fixture.get("/v1/top/view?k=0").status == 400)
        #expect(await fixture.get("/v1/top/view?k=1000001").status == 400)
        #expect(await fixture.get("/v1/top/view?measure=max").status == 400)
    }

    @Test("By an attribute all keys are grouped, those without it as null")
    func byAttribute() async throws {
        let fixture = try Self.scan(
            .totals(Self.totals([("a", 2), ("b", 3), ("c", 4), ("d", 1)])),
            attributes: ScriptedAttributes([
                "a": #"{"channel":"x"}"#, "b": #"{"channel":"x"}"#, "c": #"{"channel":7}"#,
            ]))
        let reply = await fixture.get("/v1/top/view?by=channel")
        #expect(
            reply.text.contains(
                #""rows":[{"rank":1,"key":"x","count":5,"keys":2,"attributes":{"channel":"x"}},"#
                    + #"{"rank":2,"key":"7","count":4,"keys":1,"attributes":{"channel":"7"}},"#
                    + #"{"rank":3,"key":null,"count":1,"keys":1,"attributes":{}}]"#),
            "\(reply.text)")
        guard case .read(.scan(_, let top), _)? = fixture.core.requests.first else {
            Issue.record("the core was not asked for a scan")
            return
        }
        #expect(top == nil)
        let broken = try Self.scan(.totals([]), attributes: ScriptedAttributes(isBroken: true))
        #expect(await broken.get("/v1/top/view?by=channel").status == 503)
    }

    @Test("Keys come in pages, and a full page names the next")
    func keyPages() async throws {
        let fixture = try Self.scan(.keys([Array("a/1".utf8), Array("a/2".utf8)]))
        let reply = await fixture.get("/v1/keys/view?prefix=a%2F&limit=2")
        let token = PageToken.text(key: Array("a/2".utf8))
        #expect(reply.text.contains(#""key":"a/1","attributes":{}"#))
        #expect(reply.text.hasSuffix(#""next":"\#(token)"}"#))
        _ = await fixture.get("/v1/keys/view?limit=3&page=\(token)")
        guard case .read(.scan(let spec, _), _)? = fixture.core.requests.last else {
            Issue.record("the core was not asked for a scan")
            return
        }
        #expect(
            spec.output == .keys(prefix: [], after: Array("a/2".utf8), limit: 3))
        let types = try Self.scan(.types([Array("like".utf8), Array("view".utf8)]))
        #expect(
            await types.get("/v1/types").text
                == #"{"items":[{"type":"like"},{"type":"view"}],"next":null}"#)
    }

    @Test("Dead letters show their bytes, in base64 too where they are no text")
    func deadLetters() async throws {
        let place = DeadLetterQuery.Place(
            segment: Segment(4), id: BatchID(producer: 1, sequence: 2), line: 3)
        let fixture = try APIFixture { _ in
            .read(
                ReadAnswer(
                    result: .deadLetters(
                        [
                            DeadLetterItem(
                                place: place, createdAt: WallTime(milliseconds: 60_000),
                                letter: DeadLetter(
                                    line: 3, reason: .badUTF8, detail: "d", raw: [0x61, 0xff],
                                    type: Array("view".utf8), time: WallTime(milliseconds: 0)))
                        ], total: 12, retired: 5), replicas: [], consistency: .quorum))
        }
        let reply = await fixture.get("/v1/dead-letters?reason=bad-utf8&limit=1")
        #expect(
            reply.text.contains(
                #""line":3,"reason":"bad-utf8","detail":"d","raw":"a�","raw_base64":"Yf8=","#))
        #expect(
            reply.text.contains(#""type":"view","key":null,"time":"1970-01-01T00:00:00Z","#))
        #expect(reply.text.contains(#""created":"1970-01-01T00:01:00Z"}"#))
        #expect(reply.text.contains(#""total":12,"retired":5"#))
        let token = PageToken.text(place: place)
        #expect(reply.text.contains(#""next":"\#(token)""#))
        _ = await fixture.get("/v1/dead-letters?page=\(token)")
        let last = fixture.core.requests.last { if case .read = $0 { true } else { false } }
        guard case .read(.deadLetters(let query), _)? = last else {
            Issue.record("the core was not asked for dead letters")
            return
        }
        #expect(query.after == place && query.filter == .all)
        _ = await fixture.get("/v1/dead-letters?type=view&limit=1")
        let byType = fixture.core.requests.last { if case .read = $0 { true } else { false } }
        guard case .read(.deadLetters(let typed), _)? = byType else {
            Issue.record("the core was not asked for dead letters of a type")
            return
        }
        #expect(typed.filter.type == Array("view".utf8))
        #expect(await fixture.get("/v1/dead-letters?reason=worse").status == 400)
    }

    @Test("The ring and a key's replicas need no core")
    func ring() async throws {
        let fixture = try APIFixture()
        #expect(
            await fixture.get("/v1/ring").text.hasPrefix(
                #"{"partitions":16,"replication_factor":3"#))
        let reply = await fixture.get("/v1/endpoints/123").text
        #expect(reply.hasPrefix(#"{"token":"-7468325962851647638","partition":"#))
        #expect(fixture.core.requests.isEmpty)
    }

    @Test("Attributes are loaded from CSV and NDJSON and read back")
    func attributes() async throws {
        let fixture = try APIFixture(attributes: ScriptedAttributes(["a/b": #"{"t":"x"}"#]))
        let put = await fixture.call(
            "PUT", "/v1/attributes?key_field=id", ["Content-Type": "text/csv"],
            body: "id,title\r\na,\"x\ny\"\r\nb\r\n")
        #expect(put.status == 200)
        #expect(
            put.text.hasPrefix(#"{"rows":2,"written":1,"unchanged":0,"rejected":1"#), "\(put.text)")
        #expect(
            await fixture.get("/v1/attributes/a%2Fb").text
                == #"{"key":"a/b","attributes":{"t":"x"},"version":7}"#)
        #expect(await fixture.get("/v1/attributes/other").status == 404)
        let type = await fixture.call("PUT", "/v1/attributes", ["Content-Type": "text/plain"])
        #expect(type.status == 415)
        let noKey = await fixture.call(
            "PUT", "/v1/attributes", ["Content-Type": "text/csv"], body: "id\nx\n")
        #expect(noKey.status == 400)
    }
}
