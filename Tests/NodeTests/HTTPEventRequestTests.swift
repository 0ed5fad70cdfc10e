import Core
import Crypto
import Ingest
import Node
import Testing
import Wire

@Suite struct HTTPEventRequestTests {
    private func request(
        _ headers: [String: String], query: String = ""
    ) throws -> EventRequest {
        var headers = headers
        if headers["Content-Type"] == nil { headers["Content-Type"] = "application/x-ndjson" }
        return try EventRequest(query: try HTTPQuery(query)) { headers[$0] }
    }

    @Test("The producer's three headers become the batch's identity")
    func identity() throws {
        let seal = try request([
            "Quipu-Producer": "01234567-89ab-cdef-0123-456789abcdef",
            "Quipu-Sequence": "18446744073709551615", "Quipu-Created": "1767225600000",
        ]).seal
        #expect(seal?.id.producer == 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)
        #expect(seal?.id.sequence == .max)
        #expect(seal?.createdAt.milliseconds == 1_767_225_600_000)
        #expect(try request([:]).seal == nil)
    }

    @Test("Two of the three headers are refused, and the message names the third")
    func incomplete() {
        let problem = #expect(throws: Problem.self) {
            try request(["Quipu-Producer": "\(UUIDText.format(1))", "Quipu-Sequence": "1"])
        }
        #expect(problem?.status == 400)
        #expect(problem?.detail.contains("Quipu-Created") == true)
        #expect(problem?.outcome == .notAttempted)
        #expect(throws: Problem.self) {
            try request([
                "Quipu-Producer": "x", "Quipu-Sequence": "1", "Quipu-Created": "1",
            ])
        }
        #expect(throws: Problem.self) {
            try request([
                "Quipu-Producer": UUIDText.format(1), "Quipu-Sequence": "-1", "Quipu-Created": "1",
            ])
        }
        #expect(throws: Problem.self) {
            try request([
                "Quipu-Producer": UUIDText.format(1), "Quipu-Sequence": "1",
                "Quipu-Created": "9223372036854775807",
            ])
        }
    }

    @Test("An idempotency key is hashed to a producer; bare and quoted are the same key")
    func idempotencyKey() throws {
        let bare = try request(["Idempotency-Key": "order 17", "Quipu-Created": "5"]).seal
        let quoted = try request(["Idempotency-Key": "\"order 17\"", "Quipu-Created": "5"]).seal
        #expect(bare == quoted)
        let digest = SHA256.hash(data: Array("order 17".utf8))
        let expected = digest.prefix(16).reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
        #expect(bare?.id == BatchID(producer: expected, sequence: 0))
    }

    @Test("A UUIDv7 brings its own time; another key needs Quipu-Created")
    func keyTime() throws {
        let uuid = "019b7690-5c00-7abc-8def-0123456789ab"
        let seal = try request(["Idempotency-Key": uuid]).seal
        #expect(seal?.createdAt.milliseconds == 0x019b_7690_5c00)
        let problem = #expect(throws: Problem.self) { try request(["Idempotency-Key": "plain"]) }
        #expect(problem?.detail.contains("Quipu-Created") == true)
        #expect(throws: Problem.self) {
            try request(["Idempotency-Key": uuid, "Quipu-Created": "5"])
        }
        #expect(
            try request(["Idempotency-Key": uuid.uppercased()]).seal?.createdAt == seal?.createdAt)
        // A digest is a key like any other, whatever its bits.
        let digest = uuid.replacing("-", with: "")
        #expect(throws: Problem.self) { try request(["Idempotency-Key": digest]) }
        let keyed = try request(["Idempotency-Key": digest, "Quipu-Created": "5"]).seal
        #expect(keyed?.createdAt.milliseconds == 5)
        #expect(throws: Problem.self) {
            try request([
                "Idempotency-Key": String(repeating: "k", count: 256), "Quipu-Created": "5",
            ])
        }
        #expect(throws: Problem.self) {
            try request([
                "Idempotency-Key": "k", "Quipu-Created": "5", "Quipu-Producer": UUIDText.format(1),
            ])
        }
    }

    @Test("Types and encodings that are not known are 415")
    func mediaTypes() throws {
        #expect(try request(["Content-Type": "text/CSV; charset=utf-8"]).parameters.format == .csv)
        #expect(try request(["Content-Type": "text/x-clf"]).parameters.format == .commonLog)
        for type in ["application/x-www-form-urlencoded", "application/cloudevents+xml", ""] {
            let problem = #expect(throws: Problem.self) { try request(["Content-Type": type]) }
            #expect(problem?.status == 415)
            #expect(problem?.outcome == .notAttempted)
            for known in [
                "application/x-ndjson", "text/x-clf", "cloudevents-batch+json", "x-quipu",
            ] {
                #expect(problem?.detail.contains(known) == true, "\(known)")
            }
        }
        let problem = #expect(throws: Problem.self) { try request(["Content-Encoding": "br"]) }
        #expect(problem?.status == 415)
        #expect(problem?.detail.contains("gzip, lz4") == true)
        #expect(try request(["Content-Encoding": "gzip"]).encoding == .gzip)
        #expect(try request(["Content-Encoding": "LZ4"]).encoding == .lz4)
        #expect(try request(["Content-Encoding": "identity"]).encoding == nil)
        #expect(try request([:]).encoding == nil)
    }

    @Test(
        "Each type has its format",
        arguments: [
            ("application/cloudevents+json; charset=UTF-8", EventFormat.cloudEvent),
            ("application/cloudevents-batch+json", .cloudEventBatch),
            ("application/x-quipu-batch", .binary), ("application/jsonl", .ndjson),
        ])
    func formats(type: String, format: EventFormat) throws {
        let request = try request(["Content-Type": type])
        #expect(request.parameters.format == format)
        #expect(request.isWhole == (format == .cloudEvent))
    }

    @Test("Whatever decides what is counted changes the content hash, and nothing else does")
    func contentHash() {
        func hash(
            _ text: String, _ parameters: ParseParameters, _ created: Int64, _ rule: UInt16 = 1,
            lateness: Duration? = nil, future: Duration = .seconds(60)
        ) -> Hash128 {
            Array(text.utf8).withUnsafeBytes {
                ContentHash.of(
                    $0, parameters: parameters, createdAt: WallTime(milliseconds: created),
                    rules: FoldRules(
                        version: RuleVersion(rule), futureLimit: future, lateness: lateness))
            }
        }
        let plain = ParseParameters(format: .ndjson)
        let base = hash("{}", plain, 1)
        #expect(base == hash("{}", plain, 1))
        #expect(base != hash("{} ", plain, 1))
        #expect(base != hash("{}", plain, 2))
        #expect(base != hash("{}", plain, 1, 2))
        let late = hash("{}", plain, 1, lateness: .seconds(60))
        #expect(base != late && late != hash("{}", plain, 1, lateness: .seconds(61)))
        // Of later versions all that they fix, so that two tables never share a hash.
        let later = hash("{}", plain, 1, 2)
        #expect(later != hash("{}", plain, 1, 3))
        #expect(later != hash("{}", plain, 1, 2, lateness: .seconds(60)))
        #expect(later != hash("{}", plain, 1, 2, future: .seconds(61)))
        #expect(base != hash("{}", ParseParameters(format: .csv), 1))
        #expect(base != hash("{}", ParseParameters(format: .ndjson, defaultType: "view"), 1))
        #expect(base != hash("{}", ParseParameters(format: .ndjson, keyField: "view"), 1))
    }
}
