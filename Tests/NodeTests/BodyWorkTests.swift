import HummingbirdCore
import NIOCore
import Node
import Synchronization
import Testing
import Wire

/// Does the work where it is, and knows how much there was.
final class HereWorkers: BodyWorkers {
    private let asked = Mutex<[Int]>([])
    private let takes: Bool

    init(takes: Bool = true) {
        self.takes = takes
    }

    /// The size that each work was said to have, in bytes.
    var sizes: [Int] { asked.withLock { $0 } }

    func run<Outcome: Sendable>(
        bytes: Int, _ body: @escaping @Sendable () -> Outcome
    ) async -> Outcome? {
        asked.withLock { $0.append(bytes) }
        return takes ? body() : nil
    }
}

/// What of a body is done on the threads of all requests, and what on those of folding.
@Suite("Work on bodies") struct BodyWorkTests {
    private func parts(
        _ body: [UInt8], _ workers: HereWorkers, type: String = "application/x-ndjson",
        gzipped: Bool = true, limits: EventPartLimits
    ) async throws -> [[UInt8]] {
        let request = try EventRequest(query: HTTPQuery(nil)) {
            switch $0 {
            case "Content-Type": type
            case "Content-Encoding": gzipped ? "gzip" : nil
            default: nil
            }
        }
        let stream = AsyncStream<ByteBuffer> { continuation in
            continuation.yield(ByteBuffer(bytes: body))
            continuation.finish()
        }
        let source = EventParts(
            request: request, body: RequestBody(asyncSequence: stream),
            budget: ByteBudget(max: 1 << 30), workers: workers, metrics: NodeMetrics(),
            limits: limits)
        var all: [[UInt8]] = []
        while let part = try await source.next() {
            all.append(part)
            source.release()
        }
        return all
    }

    private let limits = EventPartLimits(sentMax: 4 << 20, decodedMax: 4 << 20, piece: 256)

    @Test("A small compressed body is decoded where it comes in")
    func small() async throws {
        let text = [UInt8](repeating: 0x0a, count: limits.turn / 2)
        let workers = HereWorkers()
        let all = try await parts(HTTPBodyTests.gzip(text), workers, limits: limits)
        #expect(all == [text])
        #expect(workers.sizes.isEmpty)
    }

    @Test("Of a large one little is decoded there, and the rest in turns beside")
    func large() async throws {
        let text = [UInt8](repeating: 0x0a, count: 4 << 20)
        let workers = HereWorkers()
        let packed = try HTTPBodyTests.gzip(text)
        let all = try await parts(packed, workers, limits: limits)
        #expect(all == [text])
        // A piece of 256 bytes decodes to some 256 KiB, more than a turn is.
        let first = try #require(workers.sizes.first)
        #expect(first < 1 << 20)
        #expect(workers.sizes.count > packed.count / limits.piece / 2)
    }

    @Test("Bytes as they are stay on their thread until they are cut")
    func plain() async throws {
        let line = [UInt8](#"{"type":"t","key":"k"}"#.utf8) + [0x0a]
        let text = [UInt8](Array(repeating: line, count: 100_000).joined())
        let workers = HereWorkers()
        let whole = EventPartLimits()
        #expect(try await parts(text, workers, gzipped: false, limits: whole) == [text])
        #expect(workers.sizes.isEmpty)
        let cut = EventPartLimits(sentMax: 1 << 20, decodedMax: 1 << 20)
        let all = try await parts(text, workers, gzipped: false, limits: cut)
        #expect(Array(all.joined()) == text)
        #expect(all.count > 1 && workers.sizes.count == all.count - 1)
    }

    @Test("Where too much waits, a body is refused before anything is counted")
    func busy() async throws {
        let text = [UInt8](repeating: 0x0a, count: 4 << 20)
        let problem = await #expect(throws: Problem.self) {
            try await parts(HTTPBodyTests.gzip(text), HereWorkers(takes: false), limits: limits)
        }
        #expect(problem?.status == 429)
        #expect(problem?.outcome == .notAttempted)
        #expect(problem?.retryAfter != nil)
    }
}
