import Core
import Ingest
import Node
import NodeCore
import Replication
import Ring
import Storage
import Synchronization
import Testing
import Wire

/// Purging and replaying dead letters, as the API seals it.
@Suite struct LetterTests {
    private static let batch = BatchID(producer: 7, sequence: 3)
    private static let created = WallTime(milliseconds: 1_767_225_540_000)

    private static func item(
        _ line: UInt32, _ raw: String, _ reason: DeadLetterReason = .missingKey,
        type: String? = nil
    ) -> DeadLetterItem {
        DeadLetterItem(
            place: DeadLetterQuery.Place(segment: Segment(4), id: batch, line: line),
            createdAt: created,
            letter: DeadLetter(
                line: line, reason: reason, detail: "d", raw: Array(raw.utf8),
                type: type.map { Array($0.utf8) }))
    }

    /// A cluster that holds some letters, binds what it is sent, the first content of an id alone,
    /// and lists what is not retired.
    private final class Cluster: Sendable {
        struct State {
            var letters: [DeadLetterItem]
            var bound: [BatchID: BatchRecord] = [:]
            var failsAfter = Int.max
        }

        let state: Mutex<State>

        init(_ letters: [DeadLetterItem]) {
            state = Mutex(State(letters: letters))
        }

        func fixture() throws -> APIFixture {
            try APIFixture { [self] request in
                switch request {
                case .write(let record, _): return write(record)
                case .read(.deadLetters(let query), _): return list(query)
                default: return .failed(.notReady("no test asks for it"))
                }
            }
        }

        private func write(_ record: BatchRecord) -> ClientResponse {
            state.withLock { state in
                guard state.bound.count < state.failsAfter else {
                    return .write(.unknown(required: 2, answered: 1))
                }
                let first = state.bound[record.header.id] ?? record
                state.bound[record.header.id] = first
                guard first == record else { return .write(.conflict) }
                return .write(.counted(duplicate: false, required: 2, acknowledged: 3))
            }
        }

        private func list(_ query: DeadLetterQuery) -> ClientResponse {
            state.withLock { state in
                let retired = Set(state.bound.values.flatMap(LetterTests.marks))
                let left = state.letters.filter { item in
                    !retired.contains(item.id) && query.filter.selects(item.letter)
                }
                let page = left.filter { item in query.after.map { $0 < item.place } ?? true }
                return .read(
                    ReadAnswer(
                        result: .deadLetters(
                            Array(page.prefix(query.limit)), total: UInt64(left.count),
                            retired: UInt64(retired.count)), replicas: [], consistency: .quorum))
            }
        }

        var records: [BatchRecord] { state.withLock { Array($0.bound.values) } }
    }

    private struct Cell: Hashable {
        var partition: PartitionID
        var key: [UInt8]
        var type: [UInt8]
        var window: Int64
        var count: UInt64
    }

    /// What a record counts.
    private static func cells(_ record: BatchRecord) -> [Cell] {
        var cells: [Cell] = []
        do {
            let body = try record.body()
            for slice in record.slices {
                try body[slice.offset..<slice.offset + slice.length].withUnsafeBytes { bytes in
                    var reader = SliceReader(bytes)
                    while let cell = try reader.next() {
                        cells.append(
                            Cell(
                                partition: slice.partition, key: Array(cell.key),
                                type: Array(cell.type), window: cell.window,
                                count: cell.measure.count))
                    }
                }
            }
        } catch {
            Issue.record("a record that cannot be read: \(error)")
        }
        return cells
    }

    private static func marks(_ record: BatchRecord) -> [LetterID] {
        cells(record).filter { $0.type == RetirementMark.type }
            .compactMap { RetirementMark.letter(ofKey: $0.key) }
    }

    @Test("a mark names its letter, in a key that no event has and that sorts last")
    func marks() throws {
        let letter = LetterID(
            batch: BatchID(producer: 0x0102 << 112 | 9, sequence: .max), line: 0x0304_0506)
        let key = RetirementMark.key(of: letter)
        #expect(key.count == 29 && key.prefix(3) == [0xff, 1, 2] && key.suffix(4) == [3, 4, 5, 6])
        #expect(RetirementMark.letter(ofKey: key) == letter)
        #expect(RetirementMark.letter(ofKey: Array(key.dropLast())) == nil)
        #expect(RetirementMark.letter(ofKey: Array(repeating: 0x61, count: 29)) == nil)
        #expect(String(validating: key, as: UTF8.self) == nil)
        #expect(String(validating: RetirementMark.type, as: UTF8.self) == nil)
    }

    @Test("a purge counts one mark beside each letter, under an id of the letter alone")
    func purge() async throws {
        let cluster = Cluster((1...1203).map { Self.item(UInt32($0), "{\"n\":\($0)}") })
        let fixture = try cluster.fixture()
        let reply = await fixture.call("DELETE", "/v1/dead-letters")
        #expect(reply.status == 200)
        #expect(reply.text == #"{"purged":1203,"already":0,"next":null}"#)
        let records = cluster.records
        #expect(records.count == 1203)
        let ring = fixture.api.partitioning
        for record in records {
            let cells = Self.cells(record)
            let letter = try #require(Self.marks(record).first)
            #expect(cells.count == 1 && cells[0].count == 1)
            #expect(cells[0].partition == ring.home(of: Self.batch))
            #expect(record.header.id == LetterSealer.id(of: letter))
            #expect(record.header.rule == .retirement)
            #expect(record.totals == BatchTotals(events: 1, counted: 1, dead: 0))
            #expect(record.home == ring.home(of: record.header.id))
        }
        let again = await fixture.call("DELETE", "/v1/dead-letters")
        #expect(again.text == #"{"purged":0,"already":0,"next":null}"#)
        #expect(await fixture.get("/v1/dead-letters").text.contains(#""total":0,"retired":1203"#))
    }

    @Test("a filter and a limit leave the others, and the answer says where to go on")
    func partly() async throws {
        let cluster = Cluster(
            [Self.item(1, "x", .badJSON)] + (2...9).map { Self.item(UInt32($0), "{}") })
        let fixture = try cluster.fixture()
        let reply = await fixture.call("DELETE", "/v1/dead-letters?reason=missing-key&limit=3")
        #expect(reply.text.hasPrefix(#"{"purged":3,"already":0,"next":""#))
        #expect(Set(cluster.records.flatMap(Self.marks).map(\.line)) == [2, 3, 4])
        for bad in ["reason=none", "line=3", "producer=x&sequence=1", "limit=0", "key_field=a"] {
            #expect(await fixture.call("DELETE", "/v1/dead-letters?\(bad)").status == 400, "\(bad)")
        }
        #expect(cluster.records.count == 3)
    }

    @Test("a replay counts what can be read now, with its mark in one batch, and leaves the rest")
    func replay() async throws {
        let cluster = Cluster([
            Self.item(1, #"{"repo":"a/b","time":"2026-01-01T00:00:00Z"}"#, type: "star"),
            Self.item(2, #"{"time":"2026-01-01T00:00:00Z"}"#, type: "star"),
            Self.item(3, "{", .badJSON),
            Self.item(4, "a,b,c", .badRow),
        ])
        let fixture = try cluster.fixture()
        let reply = await fixture.call("POST", "/v1/dead-letters/replay?key_field=repo")
        #expect(reply.status == 200)
        #expect(reply.text.hasPrefix(#"{"replayed":1,"still_dead":3,"already":0,"next":null,"#))
        #expect(reply.text.contains(#""line":2,"reason":"missing-key""#))
        #expect(reply.text.contains(#""line":3,"reason":"bad-json""#))
        #expect(reply.text.contains(#""line":4,"reason":"bad-row","detail":"it is no JSON"#))
        let record = try #require(cluster.records.first)
        #expect(cluster.records.count == 1)
        #expect(record.totals == BatchTotals(events: 2, counted: 2, dead: 0))
        let cells = Self.cells(record)
        let event = try #require(cells.first { $0.type != RetirementMark.type })
        #expect(event.key == Array("a/b".utf8) && event.type == Array("star".utf8))
        #expect(event.window == 29_453_760 && event.count == 1)
        #expect(Self.marks(record) == [LetterID(batch: Self.batch, line: 1)])
        #expect(record.slices.map(\.partition) == record.slices.map(\.partition).sorted())
        let again = await fixture.call("POST", "/v1/dead-letters/replay?key_field=repo")
        #expect(again.text.hasPrefix(#"{"replayed":0,"still_dead":3,"already":0,"#))
    }

    @Test("an event that spans lines is read as one, in an array as well as a CloudEvent")
    func spread() async throws {
        let event = "{\n  \"repo\": \"a/b\",\r\n  \"time\": \"2026-01-01T00:00:00Z\"\n}"
        let cloud =
            "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/\",\"type\":\"star\","
            + "\"time\":\"2026-01-01T00:00:00Z\",\"data\":{\n  \"repo\": \"c/d\"\n}}"
        let cluster = Cluster([
            Self.item(1, event, type: "star"), Self.item(2, cloud, type: "star"),
            Self.item(3, "{\n\"repo\":\"a\"", .badJSON), Self.item(4, "{\n}}]", .badJSON),
            Self.item(5, event + "," + event, .badJSON, type: "star"),
        ])
        let fixture = try cluster.fixture()
        let reply = await fixture.call("POST", "/v1/dead-letters/replay?key_field=repo")
        #expect(reply.text.hasPrefix(#"{"replayed":1,"still_dead":4,"#), "\(reply.text)")
        #expect(reply.text.contains(#""line":2,"reason":"missing-key""#))
        #expect(
            reply.text.contains(#""line":3,"reason":"bad-json","detail":"it is no JSON object""#))
        #expect(reply.text.contains(#""line":4,"reason":"bad-json""#))
        #expect(reply.text.contains("it reads as 2 events"))
        let again = await fixture.call(
            "POST", "/v1/dead-letters/replay?format=cloudevents&key_field=data.repo")
        #expect(again.text.hasPrefix(#"{"replayed":1,"still_dead":3,"#), "\(again.text)")
        let events = cluster.records.flatMap(Self.cells).filter { $0.type != RetirementMark.type }
        #expect(Set(events.map(\.key)) == [Array("a/b".utf8), Array("c/d".utf8)])
    }

    @Test("rows are read below the header that is given; a default type serves where none is known")
    func rows() async throws {
        let cluster = Cluster([
            Self.item(2, "x,2026-01-01"), Self.item(3, #""y ""z""",2025-12-31"#),
            Self.item(4, "only one field"),
        ])
        let fixture = try cluster.fixture()
        let reply = await fixture.call(
            "POST",
            "/v1/dead-letters/replay?format=csv&columns=id,at&key_field=id&time_field=at"
                + "&default_type=visit")
        #expect(reply.text.hasPrefix(#"{"replayed":2,"still_dead":1,"#))
        let events = cluster.records.flatMap(Self.cells).filter { $0.type != RetirementMark.type }
        #expect(Set(events.map(\.key)) == [Array("x".utf8), Array("y \"z\"".utf8)])
        #expect(events.allSatisfy { $0.type == Array("visit".utf8) })
        let wrong = await fixture.call(
            "POST", "/v1/dead-letters/replay?format=csv&columns=id,at&key_field=other")
        #expect(wrong.status == 400 && wrong.text.contains("other"), "\(wrong.text)")
    }

    @Test("a letter that another batch retires first is no error, and counts once")
    func contested() async throws {
        let letter = Self.item(1, #"{"key":"a","type":"view","time":"2026-01-01"}"#)
        let cluster = Cluster([letter])
        let fixture = try cluster.fixture()
        let sealer = LetterSealer(partitioning: fixture.api.partitioning, window: .minute)
        let other = sealer.purge(
            letter.id, of: letter.createdAt, at: WallTime(milliseconds: 5))
        // A producer's clock may be ahead: a mark never expires before its letter.
        #expect(Self.cells(other).map(\.window) == [29_453_759])
        // It is bound, and on no replica that was asked for the list.
        cluster.state.withLock { $0.bound[other.header.id] = other }
        let stale = try APIFixture { request in
            guard case .write(let record, _) = request else {
                return .read(
                    ReadAnswer(
                        result: .deadLetters([letter], total: 1, retired: 0), replicas: [],
                        consistency: .quorum))
            }
            return record == other
                ? .write(.counted(duplicate: true, required: 2, acknowledged: 2))
                : .write(.conflict)
        }
        #expect(
            await stale.call("POST", "/v1/dead-letters/replay?consistency=ONE").status == 400)
        let reply = await stale.call("POST", "/v1/dead-letters/replay")
        #expect(reply.text.hasPrefix(#"{"replayed":0,"still_dead":0,"already":1,"#))
        #expect(LetterSealer.id(of: letter.id) == other.header.id)
    }

    @Test("what is not certain ends the request, which says what was done and to repeat it")
    func interrupted() async throws {
        let cluster = Cluster((1...100).map { Self.item(UInt32($0), "{}") })
        cluster.state.withLock { $0.failsAfter = 7 }
        let fixture = try cluster.fixture()
        let reply = await fixture.call("DELETE", "/v1/dead-letters")
        #expect(reply.status == 504)
        #expect(reply.text.contains("7 dead letters were done"), "\(reply.text)")
        #expect(reply.text.contains("send the same request again"))
        #expect(!reply.text.contains("outcome"))
        cluster.state.withLock { $0.failsAfter = .max }
        let again = await fixture.call("DELETE", "/v1/dead-letters")
        #expect(again.text.hasPrefix(#"{"purged":93,"#))
        fixture.state.setReadOnly("the disk is nearly full")
        #expect(await fixture.call("DELETE", "/v1/dead-letters").status == 503)
    }

    @Test("a page of large letters ends by their bytes, and each is shown whole and replayed")
    func large() async throws {
        let filler = String(repeating: "x", count: Limits.lineMax - 100)
        let letters = (1...9).map { line in
            let event = "{\"repo\":\"r\(line)\",\"time\":60,\"type\":\"t\",\"x\":\"\(filler)\"}"
            return Self.item(UInt32(line), event)
        }
        let first = LetterList(limit: 100, of: letters).items
        #expect(first.count == 5)
        let cluster = Cluster(letters)
        let shown = try APIFixture { _ in
            .read(
                ReadAnswer(
                    result: .deadLetters(first, total: 9, retired: 0), replicas: [],
                    consistency: .quorum))
        }
        let page = await shown.get("/v1/dead-letters?limit=100").text
        #expect(page.contains(#""next":""#), "fewer than were asked for, and there are more")
        #expect(!page.contains("raw_cut"))
        #expect(page.utf8.count > 5 * filler.utf8.count)
        let fixture = try cluster.fixture()
        let reply = await fixture.call("POST", "/v1/dead-letters/replay?key_field=repo")
        #expect(reply.text.hasPrefix(#"{"replayed":9,"still_dead":0,"#))
    }

    @Test("bytes that were cut are not taken for the event, however many they are")
    func cut() async throws {
        let text = "{\"key\":\"" + String(repeating: "k", count: 4080) + "\"}xyz"
        var letter = Self.item(1, text).letter
        var replay = LetterReplay()
        replay.format = .ndjson
        guard case .event = replay.body(of: letter) else {
            Issue.record("\(letter.raw.count) bytes are all there")
            return
        }
        letter.isWhole = false
        guard case .unreadable(let why) = replay.body(of: letter) else {
            Issue.record("\(letter.raw.count) bytes are not all there")
            return
        }
        #expect(why.contains("4093"))
        var item = Self.item(1, text)
        item.letter = letter
        let cluster = Cluster([item])
        let page = await (try cluster.fixture()).get("/v1/dead-letters").text
        #expect(page.contains(#""raw_cut":true"#))
    }
}
