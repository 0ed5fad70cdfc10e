import Core
import Foundation
import HummingbirdCore
import Ingest
import NIOCore
import Node
import Testing

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

    private func inflate(_ bytes: [UInt8], piece: Int, max: Int = 1 << 30) throws -> [UInt8] {
        let inflater = GzipInflater()
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
            #expect(throws: GzipInflater.Failure.self) {
                try inflate(Array(packed[..<length]), piece: 64)
            }
        }
        // Behind the header, of which some bytes mean nothing, every bit is covered by a checksum.
        for place in 10..<packed.count {
            var bad = packed
            bad[place] ^= 0x10
            #expect(throws: GzipInflater.Failure.self) { try inflate(bad, piece: 4096) }
        }
        #expect(throws: GzipInflater.Failure.self) { try inflate(Array("{}".utf8), piece: 10) }
    }

    @Test("A bomb is stopped at the bound, not after it")
    func bomb() throws {
        let packed = try Self.gzip([UInt8](repeating: 0x20, count: 8 << 20))
        let inflater = GzipInflater()
        var output: [UInt8] = []
        #expect(throws: GzipInflater.Failure.tooLarge(max: 1 << 20)) {
            try packed.withUnsafeBytes { try inflater.inflate($0, into: &output, max: 1 << 20) }
        }
        #expect(output.count <= (1 << 20) + (128 << 10))
    }

    // MARK: - Parts

    private func parts(
        _ body: [UInt8], type: String, sealed: Bool = false, gzip: Bool = false,
        limits: EventPartLimits, chunk: Int = 100, budget: ByteBudget = ByteBudget(max: 1 << 30)
    ) async throws -> [[UInt8]] {
        var headers = ["Content-Type": type]
        if gzip { headers["Content-Encoding"] = "gzip" }
        if sealed {
            headers["Quipu-Producer"] = UUIDText.format(7)
            headers["Quipu-Sequence"] = "1"
            headers["Quipu-Created"] = "1767225600000"
        }
        let fixed = headers
        let request = try EventRequest(query: HTTPQuery(nil)) { fixed[$0] }
        let chunks = stride(from: 0, to: body.count, by: chunk).map {
            ByteBuffer(bytes: body[$0..<min($0 + chunk, body.count)])
        }
        let stream = AsyncStream<ByteBuffer> { continuation in
            for chunk in chunks { continuation.yield(chunk) }
            continuation.finish()
        }
        let parts = EventParts(
            request: request, body: RequestBody(asyncSequence: stream), budget: budget,
            metrics: NodeMetrics(), limits: limits)
        var all: [[UInt8]] = []
        while let part = try await parts.next() {
            all.append(part)
            parts.release(part.count)
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
            Self.gzip(text), type: "application/x-ndjson", gzip: true,
            limits: EventPartLimits(sentMax: 1 << 20, decodedMax: 100_000, piece: 64))
        #expect(all.count > 5)
        #expect(Array(all.joined()) == text)
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
                packed, type: "application/x-ndjson", sealed: true, gzip: true, limits: small)
        }
        #expect(decoded?.status == 413)
        #expect(decoded?.outcome == .notCounted)
    }

    @Test("An event that is longer than a part is 413")
    func noCut() async throws {
        let problem = await #expect(throws: Problem.self) {
            try await parts(
                [UInt8](repeating: 0x61, count: 5000), type: "application/x-ndjson", limits: small)
        }
        #expect(problem?.status == 413)
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
}
