import Core
import HummingbirdCore
import Ingest
import NIOCore
import Node
import NodeCore
import Replication
import Testing
import Wire

/// `POST /v1/events` in the formats of CloudEvents, in binary batches and in LZ4 frames.
@Suite struct HTTPFormatTests {
    private static let identity = [
        "Quipu-Producer": "00000000-0000-0000-0000-000000000007", "Quipu-Sequence": "7",
        "Quipu-Created": "1767225600000",
    ]

    private struct Sent {
        var reply: HTTPReply
        /// nil where the core was not asked.
        var record: BatchRecord?
    }

    private func send(
        _ body: [UInt8], _ headers: [String: String], query: String = ""
    ) async throws -> Sent {
        let fixture = try APIFixture { _ in
            .write(.counted(duplicate: false, required: 2, acknowledged: 3))
        }
        let all = Self.identity.merging(headers) { $1 }
        let reply = await fixture.call("POST", "/v1/events" + query, all, bytes: body)
        guard case .write(let record, _)? = fixture.core.requests.first else {
            return Sent(reply: reply)
        }
        return Sent(reply: reply, record: record)
    }

    private func send(
        _ body: String, _ headers: [String: String], query: String = ""
    ) async throws -> Sent {
        try await send(Array(body.utf8), headers, query: query)
    }

    private func totals(_ sent: Sent) -> [UInt32] {
        sent.record.map { [$0.totals.events, $0.totals.counted, $0.totals.dead] } ?? []
    }

    private static let event =
        #"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"k","time":"#
        + #""2026-01-01T00:00:00Z","data":{"video":"v","amount":2}}"#

    // MARK: - CloudEvents

    @Test("A structured event and a batch of them are counted")
    func structured() async throws {
        let one = try await send(Self.event, ["Content-Type": "application/cloudevents+json"])
        #expect(one.reply.status == 200)
        #expect(totals(one) == [1, 1, 0])
        let type = ["Content-Type": "application/cloudevents-batch+json; charset=utf-8"]
        let many = try await send("[\(Self.event),{},\(Self.event)]", type)
        #expect(totals(many) == [3, 2, 1])
        #expect(many.reply.text.contains(#"{"line":2,"reason":"bad-json","detail":"#))
        for (body, type) in [("", "cloudevents+json"), ("{}", "cloudevents-batch+json")] {
            let refused = try await send(body, ["Content-Type": "application/\(type)"])
            #expect(refused.reply.status == 400)
            #expect(refused.reply.text.contains(#""outcome":"not-counted""#))
            #expect(refused.record == nil)
        }
    }

    private static let binaryMode = [
        "Content-Type": "application/json; charset=utf-8", "ce-specversion": "1.0", "ce-id": "1",
        "CE-Source": "/s", "ce-type": "t", "Ce-Subject": "caf%C3%A9 \u{e9}%25",
        "ce-time": "\"2026-01-01T00:00:00Z\"",
    ]

    @Test("An event in binary mode is the same batch as its structured form")
    func binaryModeEvent() async throws {
        let data = #" {"video":"v", "amount":2} "#
        let text =
            #"{"datacontenttype":"application/json; charset=utf-8","id":"1","source":"/s","#
            + #""specversion":"1.0","subject":"café é%","time":"2026-01-01T00:00:00Z","type":"t","#
            + #""data":\#(data)}"#
        for query in ["", "?key_field=data.video&value_field=data.amount"] {
            let binary = try await send(data, Self.binaryMode, query: query)
            let structured = try await send(
                text, ["Content-Type": "application/cloudevents+json"], query: query)
            #expect(totals(binary) == [1, 1, 0], "\(binary.reply.text)")
            #expect(binary.record == structured.record)
        }
    }

    @Test("In binary mode extensions may be the key, the time and the value")
    func binaryModeExtensions() async throws {
        var headers = Self.binaryMode
        headers["ce-time"] = nil
        headers["ce-key"] = "k"
        headers["ce-ts"] = "1767225600"
        headers["ce-value"] = "1.5"
        let text =
            #"{"datacontenttype":"application/json; charset=utf-8","id":"1","key":"k","#
            + #""source":"/s","specversion":"1.0","subject":"café é%","ts":"1767225600","#
            + #""type":"t","value":"1.5"}"#
        let binary = try await send("", headers)
        let structured = try await send(text, ["Content-Type": "application/cloudevents+json"])
        #expect(totals(binary) == [1, 1, 0], "\(binary.reply.text)")
        #expect(binary.record == structured.record)
        headers["ce-value"] = "much"
        let bad = try #require(try await send("", headers).record?.deadLetters().first)
        #expect(bad.reason == .badValue)
        #expect(bad.key == Array("k".utf8))
    }

    @Test("A dead letter of binary mode holds attributes and data, whatever they are")
    func binaryModeLetters() async throws {
        var headers = Self.binaryMode
        headers["ce-time"] = nil
        headers["Ce-Subject"] = "%22k%5C"
        let start =
            #"{"datacontenttype":"application/json; charset=utf-8","id":"1","source":"/s","#
            + #""specversion":"1.0","subject":"\"k\\","type":"t""#
        for (body, data) in [
            (Array("[1]".utf8), #","data":[1]}"#), ([], "}"),
            (Array(#"1},"id":"2"#.utf8), #","data_base64":"MX0sImlkIjoiMg=="}"#),
            ([0xff, 0], #","data_base64":"/wA="}"#),
        ] as [([UInt8], String)] {
            let letter = try #require(
                try await send(body, headers).record?.deadLetters().first)
            #expect(letter.reason == .missingTime)
            #expect(letter.raw == Array((start + data).utf8))
            #expect(letter.key == Array(#""k\"#.utf8))
        }
        headers["Content-Type"] = "text/plain"
        let plain = try await send("[1]", headers).record?.deadLetters().first
        #expect(plain.map { String(decoding: $0.raw, as: UTF8.self).contains("WzFd") } == true)
        headers = Self.binaryMode
        headers["ce-specversion"] = "0.3"
        let old = try await send("{}", headers).record?.deadLetters().first
        #expect(old?.reason == .badJSON)
        headers = Self.binaryMode
        headers["Content-Type"] = nil
        #expect(totals(try await send("", headers)) == [1, 1, 0])
    }

    @Test("Attributes that have no meaning refuse the request, which names the header")
    func binaryModeRefusals() async throws {
        for (name, value) in [
            ("ce-subject", "%C0%A0"), ("ce-subject", "100%"), ("ce-data", "1"),
            ("ce-datacontenttype", "text/plain"), ("ce-a_b", "1"), ("ce-", "1"), ("ce-ID", "2"),
        ] {
            var headers = Self.binaryMode
            headers["Ce-Subject"] = nil
            headers[name] = value
            let refused = try await send("{}", headers)
            #expect(refused.reply.status == 400)
            #expect(refused.reply.text.contains(name.lowercased()), "\(refused.reply.text)")
            #expect(refused.reply.text.contains(#""outcome":"not-attempted""#))
        }
    }

    @Test("A body that is an event itself is read as one, whatever headers are beside it")
    func structuredFirst() async throws {
        let headers = ["ce-specversion": "0.3", "Content-Type": "application/cloudevents+json"]
        #expect(totals(try await send(Self.event, headers)) == [1, 1, 0])
        let xml = try await send(
            "<e/>", headers.merging(["Content-Type": "application/cloudevents+xml"]) { $1 })
        #expect(xml.reply.status == 415)
    }

    // MARK: - Binary batches

    private static let batch: [UInt8] = {
        var body = ByteWriter()
        for text in ["t", "k"] {
            body.write(count: 1)
            body.write(sized: text)
        }
        for delta in [1_767_225_600_000, 60_000, Int64.max] as [Int64] {
            body.write(raw: [0, 0])
            body.write(zigzag: delta)
        }
        return BinaryBatchHead(events: 3, body: body.bytes).bytes + body.bytes
    }()

    @Test("A binary batch is counted; a damaged one is refused whole")
    func binaryBatch() async throws {
        let type = ["Content-Type": "application/x-quipu-batch"]
        let sent = try await send(Self.batch + Self.batch, type)
        #expect(totals(sent) == [6, 4, 2], "\(sent.reply.text)")
        #expect(sent.reply.text.contains(#""errors":[{"line":3,"reason":"bad-time""#))
        var damaged = Self.batch
        damaged[damaged.count - 1] ^= 1
        for body in [damaged, Array(Self.batch.dropLast()), Array("{}\n".utf8)] {
            let refused = try await send(body, type)
            #expect(refused.reply.status == 400)
            #expect(refused.reply.text.contains(#""outcome":"not-counted""#))
            #expect(refused.record == nil)
        }
        #expect(try await send(Self.batch, type, query: "?key_field=a").reply.status == 400)
    }

    @Test("Binary batches in one body are parted between each other")
    func binaryHalves() throws {
        let halves = try #require(
            EventHalves(of: Self.batch + Self.batch + Self.batch, format: .binary))
        #expect(halves.first == Self.batch + Self.batch && halves.second == Self.batch)
        let second = try #require(EventHalves(of: halves.first, format: .binary))
        #expect(second.first == Self.batch && second.second == Self.batch)
        #expect(EventHalves(of: Self.batch, format: .binary) == nil)
        #expect(EventHalves(of: Self.batch + [1, 2], format: .binary)?.second == [1, 2])
    }

    // MARK: - LZ4

    @Test("A body in LZ4 frames is the same batch as its bytes; a damaged one is 400")
    func lz4() async throws {
        let body = Array("\(Self.event)\n\(Self.event)\n".utf8)
        var headers = ["Content-Type": "application/x-ndjson"]
        let plain = try await send(body, headers)
        headers["Content-Encoding"] = "lz4"
        let packed = HTTPBodyTests.lz4(body)
        #expect(try await send(packed, headers).record == plain.record)
        #expect(totals(plain) == [2, 2, 0])
        for bad in [Array(packed.dropLast()), packed + [1], body] {
            let refused = try await send(bad, headers)
            #expect(refused.reply.status == 400)
            #expect(refused.reply.text.contains(#""outcome":"not-attempted""#))
            #expect(refused.reply.text.contains("lz4"))
        }
        let bomb = try await send(HTTPBodyTests.lz4Bomb(Limits.bodyDecodedMax + 1), headers)
        #expect(bomb.reply.status == 413)
        headers = Self.binaryMode
        headers["Content-Encoding"] = "lz4"
        let whole = try await send(HTTPBodyTests.lz4(Array(#"{"video":"v"}"#.utf8)), headers)
        #expect(try await whole.record == send(#"{"video":"v"}"#, Self.binaryMode).record)
        // Inside an envelope a body grows: it may decode to less.
        let large = try await send(HTTPBodyTests.lz4Bomb(Limits.bodySentMax + 1), headers)
        #expect(large.reply.status == 413)
    }

    @Test("Attributes may come in LZ4 frames as well")
    func attributes() async throws {
        let fixture = try APIFixture()
        let headers = ["Content-Type": "text/csv", "Content-Encoding": "lz4"]
        let body = HTTPBodyTests.lz4(Array("key,title\na,A\n".utf8))
        #expect(await fixture.call("PUT", "/v1/attributes", headers, bytes: body).status == 200)
        #expect(
            await fixture.call("PUT", "/v1/attributes", headers, bytes: [1, 2]).status == 400)
    }
}
