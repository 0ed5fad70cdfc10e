import Core
import Foundation
import HummingbirdCore
import Ingest
import NIOCore
import Node
import Testing
import Wire

@Suite struct HTTPBodyTests {
    /// gzip of the bytes, by the system's own program; nil where there is none.
    static func gzip(_ bytes: [UInt8]) throws -> [UInt8] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/gzip")
        process.arguments = ["-c"]
        let input = Pipe()
        let output = Pipe()
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        let writer = Thread {
            input.fileHandleForWriting.write(Data(bytes))
            input.fileHandleForWriting.closeFile()
        }
        writer.start()
        let packed = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Array(packed)
    }

    private func inflate(
        _ bytes: [UInt8], _ encoding: StreamEncoding = .gzip, piece: Int, max: Int = 1 << 30
    ) throws -> [UInt8] {
        let inflater = BodyInflater(encoding)
        var output: [UInt8] = []
        var start = 0
        while start < bytes.count {
            let end = min(start + piece, bytes.count)
            try bytes[start..<end].withUnsafeBytes {
                try inflater.inflate($0, into: &output, max: max)
            }
            start = end
        }
        try inflater.finish()
        return output
    }

    private let text = Array(
        (0..<20_000).map { "{\"type\":\"view\",\"key\":\"k\($0 % 97)\"}\n" }.joined().utf8)

    @Test("gzip is undone whatever pieces it comes in", arguments: [1, 7, 1000, 1 << 20])
    func pieces(piece: Int) throws {
        let packed = try Self.gzip(text)
        #expect(try inflate(packed, piece: piece) == text)
    }

    @Test("Members that follow one another are one text")
    func members() throws {
        let packed = try Self.gzip(Array("ab\n".utf8)) + Self.gzip(Array("cd\n".utf8))
        #expect(try inflate(packed, piece: 5) == Array("ab\ncd\n".utf8))
    }

    @Test("A cut or damaged body is told apart from a good one at every byte")
    func damage() throws {
        let packed = try Self.gzip(Array(text.prefix(2000)))
        for length in 0..<packed.count {
            #expect(throws: BodyInflater.Failure.self) {
                try inflate(Array(packed[..<length]), piece: 64)
            }
        }
        // Behind the header, of which some bytes mean nothing, every bit is covered by a checksum.
        for place in 10..<packed.count {
            var bad = packed
            bad[place] ^= 0x10
            #expect(throws: BodyInflater.Failure.self) { try inflate(bad, piece: 4096) }
        }
        #expect(throws: BodyInflater.Failure.self) { try inflate(Array("{}".utf8), piece: 10) }
    }

    @Test("A bomb is stopped at the bound, not after it")
    func bomb() throws {
        let packed = try Self.gzip([UInt8](repeating: 0x20, count: 8 << 20))
        let inflater = BodyInflater(.gzip)
        var output: [UInt8] = []
        #expect(throws: BodyInflater.Failure.tooLarge(max: 1 << 20)) {
            try packed.withUnsafeBytes { try inflater.inflate($0, into: &output, max: 1 << 20) }
        }
        #expect(output.count <= (1 << 20) + (128 << 10))
    }

    /// LZ4 frames of blocks that are stored as they are, of no more than 64 KiB each.
    static func lz4(_ bytes: [UInt8]) -> [UInt8] {
        // Magic number, version 1 with independent blocks, 64 KiB, and the checksum of both.
        var frame: [UInt8] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]
        for start in stride(from: 0, to: bytes.count, by: 1 << 16) {
            let block = bytes[start..<min(start + 1 << 16, bytes.count)]
            var writer = ByteWriter()
            writer.write(fixed: UInt32(block.count) | 1 << 31)
            frame += writer.bytes + block
        }
        return frame + [0, 0, 0, 0]
    }

    /// A frame of so many zeros, in blocks of 4 MiB: a literal and a match that goes on and on.
    static func lz4Bomb(_ count: Int) -> [UInt8] {
        var frame: [UInt8] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73]
        for start in stride(from: 0, to: count, by: 4 << 20) {
            let zeros = min(4 << 20, count - start)
            var block = ByteWriter()
            if zeros < 4 << 20 {
                block.write(fixed: UInt32(zeros) | 1 << 31)
                block.write(raw: [UInt8](repeating: 0, count: zeros))
            } else {
                // One literal, a match of 19 and more, five literals at the end.
                let more = zeros - 1 - 19 - 5
                var bytes: [UInt8] = [0x1f, 0x00, 0x01, 0x00]
                bytes += [UInt8](repeating: 255, count: more / 255) + [UInt8(more % 255)]
                bytes += [0x50, 0, 0, 0, 0, 0]
                block.write(fixed: UInt32(bytes.count))
                block.write(raw: bytes)
            }
            frame += block.bytes
        }
        return frame + [0, 0, 0, 0]
    }

    @Test("LZ4 frames are undone as gzip is, one behind the other", arguments: [1, 7, 1 << 20])
    func lz4Pieces(piece: Int) throws {
        #expect(try inflate(Self.lz4(text), .lz4, piece: piece) == text)
        let two = Self.lz4(Array("ab\n".utf8)) + Self.lz4([]) + Self.lz4(Array("cd\n".utf8))
        #expect(try inflate(two, .lz4, piece: piece) == Array("ab\ncd\n".utf8))
    }

    @Test("LZ4 that is cut off, damaged or followed by other bytes is told, with the byte")
    func lz4Damage() throws {
        let packed = Self.lz4(Array("ab\n".utf8))
        for length in 0..<packed.count {
            #expect(throws: BodyInflater.Failure.cutOff(.lz4, at: UInt64(length))) {
                try inflate(Array(packed[..<length]), .lz4, piece: 3)
            }
        }
        for bad in [packed + Array("{}{}{}{}".utf8), Array("{}{}{}{}".utf8), try Self.gzip(text)] {
            let failure = #expect(throws: BodyInflater.Failure.self) {
                try inflate(bad, .lz4, piece: 64)
            }
            guard case .damaged(.lz4, _, _)? = failure else {
                Issue.record("\(String(describing: failure))")
                continue
            }
        }
    }

    @Test("A bomb of LZ4 is stopped at the bound")
    func lz4Bomb() throws {
        let packed = Self.lz4Bomb(4 << 20)
        #expect(try inflate(packed, .lz4, piece: 999) == [UInt8](repeating: 0, count: 4 << 20))
        let inflater = BodyInflater(.lz4)
        var output: [UInt8] = []
        #expect(throws: BodyInflater.Failure.tooLarge(max: 1 << 20)) {
            try packed.withUnsafeBytes { try inflater.inflate($0, into: &output, max: 1 << 20) }
        }
        #expect(output.count <= (1 << 20) + (128 << 10))
    }

    // MARK: - Parts

    private func parts(
        _ body: [UInt8], type: String, sealed: Bool = false, encoding: String? = nil,
        more: [String: String] = [:], limits: EventPartLimits, chunk: Int = 100,
        budget: ByteBudget = ByteBudget(max: 1 << 30)
    ) async throws -> [[UInt8]] {
        var headers = more
        headers["Content-Type"] = type
        if let encoding { headers["Content-Encoding"] = encoding }
        if sealed {
            headers["Quipu-Producer"] = UUIDText.format(7)
            headers["Quipu-Sequence"] = "1"
            headers["Quipu-Created"] = "1767225600000"
        }
        let fixed = headers
        let fields = fixed.map { HeaderField($0.key, $0.value) }
        let request = try EventRequest(query: HTTPQuery(nil), fields: fields) { fixed[$0] }
        let chunks = stride(from: 0, to: body.count, by: chunk).map {
            ByteBuffer(bytes: body[$0..<min($0 + chunk, body.count)])
        }
        let stream = AsyncStream<ByteBuffer> { continuation in
            for chunk in chunks { continuation.yield(chunk) }
            continuation.finish()
        }
        let parts = EventParts(
            request: request, body: RequestBody(asyncSequence: stream), budget: budget,
            workers: HereWorkers(), metrics: NodeMetrics(), limits: limits)
        var all: [[UInt8]] = []
        while let part = try await parts.next() {
            all.append(part)
            parts.release()
        }
        return all
    }

    private let small = EventPartLimits(sentMax: 1000, decodedMax: 2000, piece: 64)

    @Test("A body within the limits is one part, an empty one as well")
    func onePart() async throws {
        let body = Array(text.prefix(900))
        #expect(try await parts(body, type: "application/x-ndjson", limits: small) == [body])
        #expect(try await parts([], type: "application/x-ndjson", limits: small) == [[]])
    }

    @Test("A long body without an id is cut behind lines, and nothing is lost")
    func lines() async throws {
        let all = try await parts(text, type: "application/x-ndjson", limits: small)
        #expect(all.count > 100)
        #expect(Array(all.joined()) == text)
        #expect(all.dropLast().allSatisfy { $0.last == 0x0a && $0.count <= 2000 })
    }

    @Test("Rows are cut where no quote is open, and each part has the header")
    func rows() async throws {
        let header = "key,note\r\n"
        let rows = (0..<500).map { "k\($0),\"a \"\"b\"\",\nline \($0)\"\r\n" }
        let body = Array((header + rows.joined()).utf8)
        let all = try await parts(body, type: "text/csv", limits: small)
        #expect(all.count > 5)
        let texts = all.map { String(decoding: $0, as: UTF8.self) }
        #expect(texts.allSatisfy { $0.hasPrefix(header) })
        #expect(texts.map { $0.dropFirst(header.count) }.joined() == rows.joined())
        #expect(texts.allSatisfy { $0.filter { $0 == "\"" }.count % 2 == 0 })
    }

    @Test("An array is cut between elements, and each part is an array")
    func arrays() async throws {
        let elements = (0..<400).map { #"{"key":"k\#($0), ]","deep":[{"a":[1,2]},"\"\\"]}"# }
        let body = Array("[\(elements.joined(separator: ", "))]".utf8)
        let all = try await parts(body, type: "application/json", limits: small)
        #expect(all.count > 5)
        var found: [String] = []
        for part in all {
            let json = try JSONSerialization.jsonObject(with: Data(part)) as? [[String: Any]]
            found += (json ?? []).compactMap { $0["key"] as? String }
        }
        #expect(found == (0..<400).map { "k\($0), ]" })
    }

    @Test("A gzip body without an id is cut by what it decodes to")
    func gzipParts() async throws {
        let all = try await parts(
            Self.gzip(text), type: "application/x-ndjson", encoding: "gzip",
            limits: EventPartLimits(sentMax: 1 << 20, decodedMax: 100_000, piece: 64))
        #expect(all.count > 5)
        #expect(Array(all.joined()) == text)
    }

    @Test("Binary batches are cut between each other, and never inside")
    func binaryParts() async throws {
        let batches = (0..<40).map { number in
            let body = [UInt8](repeating: UInt8(number), count: 10 * number)
            return BinaryBatchHead(events: 1, body: body).bytes + body
        }
        let type = "application/x-quipu-batch"
        let all = try await parts(Array(batches.joined()), type: type, limits: small)
        #expect(all.count > 4)
        #expect(Array(all.joined()) == Array(batches.joined()))
        for part in all {
            var rest = part[...]
            while !rest.isEmpty {
                let head = try rest.withUnsafeBytes { try BinaryBatchHead($0) }
                rest = rest.dropFirst(BinaryBatchHead.size + Int(head.length))
            }
        }
        // A batch that does not fit into a part, and bytes that are none: both are refused, the
        // latter by who reads them.
        let large = BinaryBatchHead(events: 1, body: [UInt8](repeating: 0, count: 3000))
        let problem = await #expect(throws: Problem.self) {
            try await parts(
                large.bytes + [UInt8](repeating: 0, count: 3000), type: type, limits: small)
        }
        #expect(problem?.status == 413)
        let noise = [UInt8](repeating: 7, count: 5000)
        #expect(try await Array(parts(noise, type: type, limits: small).joined()) == noise)
    }

    @Test("An array of CloudEvents is cut like any array, a single event never")
    func cloudEvents() async throws {
        let event = #"{"specversion":"1.0","id":"1","source":"/","data":[1,2]}"#
        let body = Array("[\(Array(repeating: event, count: 100).joined(separator: ","))]".utf8)
        let all = try await parts(
            body, type: "application/cloudevents-batch+json", limits: small)
        #expect(all.count > 2)
        #expect(all.allSatisfy { $0.first == UInt8(ascii: "[") && $0.last == UInt8(ascii: "]") })
        for type in ["application/cloudevents+json", "text/plain"] {
            let more = type == "text/plain" ? ["ce-specversion": "1.0"] : [:]
            let problem = await #expect(throws: Problem.self) {
                try await parts(body, type: type, more: more, limits: small)
            }
            #expect(problem?.status == 413)
        }
    }

    @Test("With an id a body beyond a limit is 413, whatever it is")
    func sealedTooLarge() async throws {
        let sent = await #expect(throws: Problem.self) {
            try await parts(text, type: "application/x-ndjson", sealed: true, limits: small)
        }
        #expect(sent?.status == 413)
        #expect(sent?.outcome == .notAttempted)
        let packed = try Self.gzip([UInt8](repeating: 0x0a, count: 50_000))
        let decoded = await #expect(throws: Problem.self) {
            try await parts(
                packed, type: "application/x-ndjson", sealed: true, encoding: "gzip", limits: small)
        }
        #expect(decoded?.status == 413)
        #expect(decoded?.outcome == .notCounted)
    }

    @Test("An element that is longer than a part, and than a line may be, is 413")
    func noCut() async throws {
        let element = [UInt8](repeating: 0x61, count: Limits.lineMax + 5000)
        let problem = await #expect(throws: Problem.self) {
            try await parts(
                [UInt8(ascii: "[")] + element, type: "application/json", limits: small,
                chunk: 1 << 16)
        }
        #expect(problem?.status == 413)
        #expect(problem?.outcome == .notCounted)
    }

    @Test("Bodies share a budget, which is given back in full")
    func budget() async throws {
        let budget = ByteBudget(max: 500)
        let problem = await #expect(throws: Problem.self) {
            try await parts(
                Array(text.prefix(900)), type: "application/x-ndjson", limits: small, budget: budget
            )
        }
        #expect(problem?.status == 429)
        #expect(problem?.retryAfter != nil)
        #expect(budget.inUse == 0)
        #expect(
            try await parts(
                Array(text.prefix(400)), type: "application/x-ndjson", limits: small, budget: budget
            )
            .count == 1)
        #expect(budget.inUse == 0)
    }

    @Test("The room that a length reserves counts before it is there, and until it is dealt with")
    func reservedRoom() async throws {
        let fields = [HeaderField("Content-Type", "application/x-ndjson")]
        let request = try EventRequest(query: HTTPQuery("type=t"), fields: fields) { name in
            [
                "Content-Type": "application/x-ndjson", "Idempotency-Key": "k",
                "Quipu-Created": "1767225600000",
            ][name]
        }
        func parts(of count: Int, length: Int, _ budget: ByteBudget) -> EventParts {
            let stream = AsyncStream<ByteBuffer> { continuation in
                for _ in 0..<count / 1000 {
                    continuation.yield(ByteBuffer(repeating: 0x0a, count: 1000))
                }
                continuation.finish()
            }
            return EventParts(
                request: request, body: RequestBody(asyncSequence: stream), length: length,
                budget: budget, workers: HereWorkers(), metrics: NodeMetrics())
        }
        let budget = ByteBudget(max: 1 << 30)
        var body: EventParts? = parts(of: 100_000, length: 100_000, budget)
        let part = try #require(try await body?.next())
        #expect(part.count == 100_000)
        #expect(budget.inUse >= part.capacity)
        body?.release()
        #expect(budget.inUse == 0)
        #expect(try await body?.next() == nil)
        // A length of which little comes: four times what came is what it may reserve, and count.
        body = parts(of: 20_000, length: 1_000_000, budget)
        let short = try #require(try await body?.next())
        #expect(short.count == 20_000 && short.capacity > 40_000)
        #expect(budget.inUse >= short.capacity && budget.inUse < 100_000)
        body = nil
        #expect(budget.inUse == 0)
        // Without that much left, the body is refused before the room is taken.
        let small = ByteBudget(max: 30_000)
        let problem = await #expect(throws: Problem.self) {
            _ = try await parts(of: 20_000, length: 1_000_000, small).next()
        }
        #expect(problem?.status == 429)
        #expect(small.inUse == 0)
    }
}
