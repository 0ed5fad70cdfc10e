import Catalog
import Core
import HummingbirdCore
import Ingest
import NIOCore
import Node
import NodeCore
import Replication
import Ring
import Storage
import Synchronization
import Testing
import Wire

/// A core that answers from a script and remembers what it was asked.
final class ScriptedCore: CoreAsking {
    private let asked = Mutex<[ClientRequest]>([])
    private let reply: @Sendable (ClientRequest) -> ClientResponse
    /// What the core shows of itself.
    let shown = Mutex<NodeView?>(nil)

    init(_ reply: @escaping @Sendable (ClientRequest) -> ClientResponse) {
        self.reply = reply
    }

    var requests: [ClientRequest] { asked.withLock { $0 } }

    func request(_ request: ClientRequest, deadline: Instant) async -> ClientResponse {
        asked.withLock { $0.append(request) }
        return reply(request)
    }

    func view() async -> NodeView? { shown.withLock { $0 } }
}

/// Attributes from a dictionary; none at all where `isBroken`, old ones where `isStale`.
final class ScriptedAttributes: AttributeServing {
    private let known: [[UInt8]: [UInt8]]
    private let isBroken: Bool
    private let isStale: Bool
    private let puts = Mutex<[Int]>([])
    /// Runs before the first put.
    let beforePut = Mutex<(@Sendable () async -> Void)?>(nil)
    /// How many more are stored.
    private let putsMax: Int
    /// Of a value the one key that has it is told so often.
    private let repeats: Int

    private let deleted = Mutex<Set<[UInt8]>>([])
    /// Entries of each put.
    var sizes: [Int] { puts.withLock { $0 } }

    init(
        _ known: [String: String] = [:], isBroken: Bool = false, isStale: Bool = false,
        putsMax: Int = .max, repeats: Int = 1
    ) {
        self.repeats = repeats
        self.putsMax = putsMax
        self.known = Dictionary(
            uniqueKeysWithValues: known.map { (Array($0.key.utf8), Array($0.value.utf8)) })
        self.isBroken = isBroken
        self.isStale = isStale
    }

    func attributes(of keys: [[UInt8]]) async -> KnownAttributes? {
        if isBroken { return nil }
        return KnownAttributes(known.filter { keys.contains($0.key) }, isStale: isStale)
    }

    func values(of name: [UInt8], for keys: [[UInt8]]) async -> KnownValues? {
        if isBroken { return nil }
        let values = keys.map { key in
            known[key].flatMap { JSONCanonical.plainValue(of: name, in: $0) }
        }
        return KnownValues(values, isStale: isStale)
    }

    func keys(with value: [UInt8], of name: [UInt8], limit: Int) async -> KnownKeys? {
        if isBroken { return nil }
        let found = known.filter { JSONCanonical.plainValue(of: name, in: $0.value) == value }
        var sorted = found.keys.sorted { $0.lexicographicallyPrecedes($1) }
        if repeats > 1, let key = sorted.first { sorted = Array(repeating: key, count: repeats) }
        return KnownKeys(Array(sorted.prefix(limit)), isStale: isStale)
    }

    func put(_ entries: [AttributeEntry]) async throws(AttributeFailure) -> AttributesPut {
        let before = beforePut.withLock { $0.take() }
        await before?()
        let isTaken = puts.withLock { puts in
            guard puts.count < putsMax else { return false }
            puts.append(entries.count)
            return true
        }
        if isBroken || !isTaken { throw .busy }
        return AttributesPut(written: entries.count, unchanged: 0)
    }

    func delete(_ key: [UInt8]) async throws(AttributeFailure) -> CatalogDeletion {
        if isBroken { throw .busy }
        let isNews = deleted.withLock { $0.insert(key).inserted }
        return CatalogDeletion(
            version: 9, hadContent: isNews && known[key] != nil, isNews: isNews)
    }

    func row(of key: [UInt8]) async throws(AttributeFailure) -> KnownRow {
        if isBroken { throw .busy }
        return KnownRow(
            known[key].map { AttributeRow(key: key, version: 7, json: $0) }, isStale: isStale)
    }
}

struct APIFixture {
    static let now = Now(
        monotonic: Instant(nanoseconds: 1_000_000_000_000),
        wall: WallTime(milliseconds: 1_767_225_600_000))
    let api: HTTPAPI
    let core: ScriptedCore
    let folds: FoldPool
    let metrics = NodeMetrics()
    let state = ServingState()

    init(
        attributes: ScriptedAttributes = ScriptedAttributes(), parksAny: Bool = false,
        parked: ParkedListing = ParkedListing(count: 0, bytes: 0, items: []),
        keeper: SnapshotService? = nil, placement rule: KeyPlacement.Rule = .key,
        foldsMax: Int = RuntimeLimits.foldsMax,
        bodies: ByteBudget = ByteBudget(max: RuntimeLimits.bodiesBytesMax),
        _ reply: @escaping @Sendable (ClientRequest) -> ClientResponse = { _ in .flushed }
    ) throws {
        let members = ["n1", "n2", "n3"].map {
            CoreConfiguration.Member(
                node: NodeID($0), http: "\($0):80", peer: "\($0):70", dc: "dc1", rack: "r1")
        }
        let configuration = CoreConfiguration(
            node: NodeID("n1"), clusterName: "test", members: members, partitions: 16,
            replication: .everywhere(3), digestKey: SipKey(low: 1, high: 2))
        let ring = try configuration.ring()
        core = ScriptedCore { request in
            if case .parked = request { .parked(parked) } else { reply(request) }
        }
        let placement = KeyPlacement(rule, ring.partitioning, window: .minute)
        var settings = HTTPSettings(
            node: NodeID("n1"), clusterName: "test", version: "1", window: .minute,
            requestTimeout: .seconds(5), horizon: .seconds(3600),
            rules: RuleTable(FoldRules()), ring: ring,
            placement: placement, replication: .everywhere(3), members: members,
            startedAt: APIFixture.now)
        settings.parksAny = parksAny
        folds = FoldPool(
            threads: 1, rules: RuleTable(FoldRules()), placement: placement, metrics: metrics,
            queueMax: foldsMax)
        api = HTTPAPI(
            settings: settings, core: core, folds: folds, sealer: BatchSealer(producer: 99),
            attributes: attributes, metrics: metrics, keeper: keeper, bodies: bodies, state: state,
            clock: { APIFixture.now })
    }

    func call(
        _ method: String, _ target: String, _ headers: [String: String] = [:], body: String = ""
    ) async -> HTTPReply {
        await call(method, target, headers, bytes: Array(body.utf8))
    }

    func call(
        _ method: String, _ target: String, _ headers: [String: String], bytes: [UInt8]
    ) async -> HTTPReply {
        await call(method, target, headers, body: RequestBody(buffer: ByteBuffer(bytes: bytes)))
    }

    func call(
        _ method: String, _ target: String, _ headers: [String: String], body: RequestBody
    ) async -> HTTPReply {
        await api.answer(method) { () throws(Problem) in
            try HTTPCall(
                method: method, target: target, header: { headers[$0] },
                fields: headers.map { HeaderField($0.key, $0.value) },
                body: body)
        }
    }

    func get(_ target: String, _ headers: [String: String] = [:]) async -> HTTPReply {
        await call("GET", target, headers)
    }
}

extension HTTPReply {
    var text: String { String(decoding: body, as: UTF8.self) }
}

@Suite struct HTTPAPITests {
    private static let sealed = [
        "Content-Type": "application/x-ndjson",
        "Quipu-Producer": "00000000-0000-0000-0000-000000000007", "Quipu-Sequence": "7",
        "Quipu-Created": "1767225600000",
    ]
    private static let body =
        #"{"type":"view","key":"a","time":"2026-01-01T00:00:01Z"}"# + "\n"
        + #"{"type":"view","key":"a","time":"never"}"# + "\n"

    private static func write(_ outcome: WriteOutcome) throws -> APIFixture {
        try APIFixture { _ in .write(outcome) }
    }

    @Test(
        "A counted batch is answered with its balance and its first errors, in the documented order"
    )
    func counted() async throws {
        let fixture = try Self.write(.counted(duplicate: false, required: 2, acknowledged: 3))
        let reply = await fixture.call("POST", "/v1/events", Self.sealed, body: Self.body)
        #expect(reply.status == 200)
        let start =
            #"{"batch":{"producer":"00000000-0000-0000-0000-000000000007","sequence":7},"#
            + #""outcome":"counted","events":2,"counted":1,"dead":1,"duplicate":false,"#
            + #""consistency":"QUORUM","required":2,"acknowledged":3,"#
            + #""errors":[{"line":2,"reason":"bad-time","detail":"#
        #expect(reply.text.hasPrefix(start), "\(reply.text)")
        guard case .write(let record, let consistency)? = fixture.core.requests.first else {
            Issue.record("the core was not asked to write")
            return
        }
        #expect(consistency == .quorum)
        #expect(record.header.id == BatchID(producer: 7, sequence: 7))
        #expect(record.home == fixture.api.partitioning.home(of: record.header.id))
        #expect(try record.deadLetters().count == 1)
        #expect(fixture.metrics.eventsCounted.value == 1)
        #expect(fixture.metrics.eventsDead.value == 1)
    }

    @Test("The same bytes under the same id make the same record through any node")
    func sameRecord() async throws {
        let first = try Self.write(.counted(duplicate: false, required: 2, acknowledged: 3))
        let second = try Self.write(.counted(duplicate: true, required: 2, acknowledged: 3))
        _ = await first.call("POST", "/v1/events", Self.sealed, body: Self.body)
        var headers = Self.sealed
        headers["Content-Encoding"] = "identity"
        let reply = await second.call(
            "POST", "/v1/events?consistency=ALL", headers, body: Self.body)
        #expect(reply.text.contains(#""duplicate":true,"consistency":"ALL""#))
        guard case .write(let one, _)? = first.core.requests.first,
            case .write(let two, let consistency)? = second.core.requests.first
        else {
            Issue.record("the cores were not asked to write")
            return
        }
        #expect(one == two)
        #expect(consistency == .all)
    }

    @Test("A body without an id is sealed by the node, each under its own sequence")
    func nodeSeals() async throws {
        let fixture = try Self.write(.counted(duplicate: false, required: 2, acknowledged: 2))
        let type = ["Content-Type": "application/x-ndjson"]
        for sequence in 0..<3 {
            let reply = await fixture.call("POST", "/v1/events", type, body: Self.body)
            #expect(reply.text.contains("\"sequence\":\(sequence)}"))
        }
        for case .write(let record, _) in fixture.core.requests {
            #expect(record.header.id.producer == 99)
            #expect(record.header.createdAt == APIFixture.now.wall)
        }
    }

    @Test("Each outcome of a write has its status, its word and what a client needs to go on")
    func outcomes() async throws {
        let totals = BatchTotals(events: 3, counted: 2, dead: 1)
        let cases: [(WriteOutcome, Int, [String])] = [
            (.conflict, 422, [#""outcome":"not-counted""#]),
            (.notAttempted(.aheadOfClock), 409, [#""outcome":"not-attempted""#]),
            (.notAttempted(.overloaded), 429, [#""outcome":"not-attempted""#]),
            (.notAttempted(.notReady("x")), 503, [#""outcome":"not-attempted""#]),
            (
                .notAttempted(.tooFewReplicas(required: 2, alive: 1)), 503,
                [#""outcome":"not-attempted""#, #""required":2,"alive":1"#]
            ),
            (
                .unknown(required: 2, answered: 1), 504,
                [#""outcome":"unknown""#, #""required":2,"answered":1"#]
            ),
            (
                .expired(.counted(totals)), 410,
                [#""outcome":"counted","final":true,"events":3,"counted":2,"dead":1"#]
            ),
            (
                .notAttempted(.parkingFull(batches: 3, bytes: 99, required: 2, alive: 1)), 503,
                [
                    #""outcome":"not-attempted""#, "3 batches of 99 bytes",
                    #""required":2,"alive":1"#,
                ]
            ),
            (
                .notAttempted(.deadLettersFull([NodeID("n2"), NodeID("n3")])), 503,
                [
                    #""outcome":"not-attempted""#, "on n2, n3", "quipu dlq purge",
                    "max_dead_letters_size",
                ]
            ),
            (.expired(.notCounted), 410, [#""outcome":"not-counted","final":true"#]),
            (.expired(.unknown(heldBy: 1)), 410, [#""outcome":"unknown","final":false"#]),
            (
                .expired(.unknown(heldBy: 0, isForgotten: true)), 410,
                [#""outcome":"unknown","final":false,"forgotten":true"#, "batch_status_retention"]
            ),
            (
                .expired(.unknown(heldBy: 0, isForgotten: false)), 410,
                [#""final":false,"forgotten":false"#]
            ),
        ]
        for (outcome, status, words) in cases {
            let fixture = try Self.write(outcome)
            let reply = await fixture.call("POST", "/v1/events", Self.sealed, body: Self.body)
            #expect(reply.status == status)
            #expect(reply.contentType == "application/problem+json")
            for word in words { #expect(reply.text.contains(word), "\(reply.text)") }
            let mayRetry = reply.headers.contains { $0.name == "Retry-After" }
            #expect(mayRetry == (status == 429 || status == 503))
        }
    }

    @Test("A write that the core could not finish is unknown, one that it did not begin is not")
    func failedWrites() async throws {
        let late = try APIFixture { _ in .failed(.timedOut(required: 2, answered: 0)) }
        let reply = await late.call("POST", "/v1/events", Self.sealed, body: Self.body)
        #expect(reply.status == 504)
        #expect(reply.text.contains(#""outcome":"unknown""#))
        let closed = try APIFixture { _ in .failed(.notReady("stopping")) }
        let refused = await closed.call("POST", "/v1/events", Self.sealed, body: Self.body)
        #expect(refused.status == 503)
        #expect(refused.text.contains(#""outcome":"not-attempted""#))
    }

    @Test(
        "A part that fails behind counted ones leaves the body's outcome unknown",
        arguments: [
            (WriteOutcome.notAttempted(.tooFewReplicas(required: 2, alive: 1)), "not-attempted"),
            (.notAttempted(.overloaded), "not-attempted"), (.conflict, "not-counted"),
            (.unknown(required: 2, answered: 1), "unknown"),
        ])
    func laterPart(outcome: WriteOutcome, rest: String) async throws {
        let writes = Mutex(0)
        let fixture = try APIFixture { _ in
            let isFirst = writes.withLock { count in
                count += 1
                return count == 1
            }
            return .write(
                isFirst ? .counted(duplicate: false, required: 2, acknowledged: 3) : outcome)
        }
        // An event, more blank lines than one batch may be sent of, and an event without line end.
        let blank = [UInt8](repeating: 0x20, count: 1 << 20) + [0x0a]
        let event = Array(#"{"type":"view","key":"a","time":"2026-01-01T00:00:01Z"}"#.utf8)
        let body = event + [0x0a] + Array(repeatElement(blank, count: 17).joined()) + event
        let reply = await fixture.call(
            "POST", "/v1/events", ["Content-Type": "application/x-ndjson"], bytes: body)
        #expect(fixture.core.requests.count == 2)
        #expect(reply.contentType == "application/problem+json")
        #expect(
            reply.text.contains(#""outcome":"unknown","rest":"\#(rest)""#), "\(reply.text)")
        // Who goes by it would send all of the body again.
        #expect(!reply.headers.contains { $0.name == "Retry-After" })
        #expect(
            reply.text.contains(#""outcome":"counted","events":1,"counted":1,"dead":0}]"#),
            "\(reply.text)")
    }

    @Test(
        "Broken gzip and unusable bodies are 400, and the core hears of neither"
    )
    func unusableBodies() async throws {
        let fixture = try APIFixture()
        var headers = Self.sealed
        headers["Content-Encoding"] = "gzip"
        let broken = await fixture.call("POST", "/v1/events", headers, body: "no gzip at all")
        #expect(broken.status == 400)
        #expect(broken.text.contains(#""outcome":"not-attempted""#))
        headers = Self.sealed
        headers["Content-Type"] = "application/json"
        let noArray = await fixture.call("POST", "/v1/events", headers, body: "{}")
        #expect(noArray.status == 400)
        #expect(noArray.text.contains(#""outcome":"not-counted""#))
        #expect(fixture.core.requests.isEmpty)
    }

    @Test("A draining or full node turns writes away and says where to go")
    func turnedAway() async throws {
        let fixture = try APIFixture()
        fixture.state.setReadOnly("the disk is full")
        var reply = await fixture.call("POST", "/v1/events", Self.sealed, body: Self.body)
        #expect(reply.status == 503)
        #expect(reply.text.contains("the disk is full"))
        fixture.state.setReadOnly(nil)
        fixture.state.drain()
        reply = await fixture.call("POST", "/v1/events", Self.sealed, body: Self.body)
        #expect(reply.status == 503)
        #expect(reply.text.contains(#""outcome":"not-attempted""#))
        let ready = await fixture.get("/readyz")
        #expect(ready.status == 503)
        #expect(fixture.core.requests.isEmpty)
    }

    @Test("Resources, methods and parameters that do not exist are told apart")
    func unknown() async throws {
        let fixture = try APIFixture()
        #expect(await fixture.get("/v1/nothing").status == 404)
        #expect(await fixture.get("/v2/types").status == 404)
        let method = await fixture.call("DELETE", "/v1/types")
        #expect(method.status == 405)
        #expect(method.headers.contains(.init("Allow", "GET, HEAD")))
        #expect(await fixture.get("/v1/counts/view/k?form=now").status == 400)
        #expect(await fixture.get("/v1/counts/view/%FF").status == 400)
        #expect(await fixture.get("/v1/counts/view/").status == 404)
        #expect(
            await fixture.get("/v1/counts/\(String(repeating: "t", count: 65))/k").status == 400)
        #expect(await fixture.get("/v1/repair").status == 404)
        #expect(await fixture.call("PUT", "/v1/dead-letters").status == 405)
        #expect(await fixture.get("/livez").status == 200)
        #expect(await fixture.get("/").contentType.hasPrefix("text/html"))
    }

    @Test("Every path of the OpenAPI document is a route")
    func openAPI() async throws {
        let fixture = try APIFixture()
        let document = await fixture.get("/openapi.json").text
        let paths = document.split(separator: "\"").filter {
            $0.hasPrefix("/") && !$0.contains("#")
        }
        #expect(paths.count >= 18)
        for path in paths {
            var target = path.replacing("{producer}", with: UUIDText.format(1))
            for name in ["{sequence}", "{type}", "{key}"] {
                target = target.replacing(name, with: "1")
            }
            let reply = await fixture.get(String(target))
            #expect(!reply.text.contains("No such resource"), "\(target)")
        }
    }

    @Test("A compaction answers when it is done, when it is not yet, and why it cannot be")
    func compaction() async throws {
        for (response, status, text) in [
            (ClientResponse.compacted(isDone: true), 200, #"{"compacted":true,"#),
            (.compacted(isDone: false), 202, #"{"compacted":false,"#),
            (.failed(.notReady("the disk has no room")), 503, "the disk has no room"),
            (.failed(.storage("sstables/1.sst is damaged")), 500, "sstables/1.sst is damaged"),
        ] {
            let fixture = try APIFixture { request in
                if case .compact = request { response } else { .flushed }
            }
            let reply = await fixture.call("POST", "/v1/compact")
            #expect(reply.status == status, "\(reply.text)")
            #expect(reply.text.contains(text), "\(reply.text)")
            #expect(await fixture.get("/v1/compact").status == 405)
            #expect(await fixture.call("POST", "/v1/compact?all=1").status == 400)
        }
    }

    @Test("A batch's outcome is asked by id, and unknown is not final")
    func batchStatus() async throws {
        let fixture = try APIFixture { request in
            guard case .status(let id, let created) = request else { return .flushed }
            return .status(
                id.sequence == 1 && created?.milliseconds == 5
                    ? .counted(BatchTotals(events: 2, counted: 2, dead: 0)) : .unknown(heldBy: 1))
        }
        let path = "/v1/batches/\(UUIDText.format(3))"
        #expect(
            await fixture.get("\(path)/1?created=5").text
                == #"{"outcome":"counted","final":true,"events":2,"counted":2,"dead":0}"#)
        #expect(
            await fixture.get("\(path)/2").text
                == #"{"outcome":"unknown","final":false,"held_by":1}"#)
        for isForgotten in [true, false] {
            let old = try APIFixture { _ in
                .status(.unknown(heldBy: 0, isForgotten: isForgotten))
            }
            let word = #""held_by":0,"forgotten":\#(isForgotten)"#
            #expect(
                await old.get("\(path)/2?created=5").text
                    == #"{"outcome":"unknown","final":false,\#(word)}"#)
        }
        #expect(await fixture.get("\(path)/x").status == 400)
        #expect(await fixture.get("/v1/batches/y/1").status == 400)
    }
}
