import Core
import Foundation
import Logging
import Node
import Replication
import Testing

@Suite("The thread of parked batches")
struct ParkingServiceTests {
    private static let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    private static let note = ParkedNote(
        key: ParkedKey(id: BatchID(producer: 1, sequence: 2), contentHash: Hash128(3)),
        createdAt: WallTime(milliseconds: 1), parkedAt: WallTime(milliseconds: 2), events: 4,
        byteCount: 2, checksum: 5)

    private func run(_ job: ParkingJob, _ service: ParkingService) async -> ParkingResult {
        await withCheckedContinuation { continuation in
            service.run(job) { continuation.resume(returning: $0) }
        }
    }

    private func folder() throws -> String {
        let url = FileManager.default.temporaryDirectory
            .appendingPathComponent("parking-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        return url.path
    }

    @Test("every job is carried out and answered, over two lives of the process")
    func jobs() async throws {
        let folder = try folder()
        defer { removeFolder(folder) }
        let first = ParkingService(directory: folder, logger: Self.logger)
        #expect(await run(.list, first) == .listed([]))
        #expect(await run(.store(Self.note, [8, 9]), first) == .stored(Self.note.key))
        first.stop(by: SystemClock.monotonic + .seconds(10))
        let second = ParkingService(directory: folder, logger: Self.logger)
        #expect(await run(.list, second) == .listed([Self.note]))
        #expect(await run(.load(Self.note.key), second) == .loaded(Self.note.key, [8, 9]))
        #expect(await run(.remove(Self.note.key), second) == .removed(Self.note.key))
        #expect(await run(.load(Self.note.key), second) == .loaded(Self.note.key, nil))
        let renewed = RenewedBatch(
            key: Self.note.key, createdAt: Self.note.createdAt, number: 1,
            totals: BatchTotals(events: 4, counted: 3, dead: 1))
        #expect(
            await run(.settle(renewed, forgetting: nil), second) == .removed(Self.note.key))
        #expect(await run(.list, second) == .listed([], renewed: RenewalMemory([renewed])))
        let discard = ParkingJob.discard(Self.note.key, createdAt: Self.note.createdAt)
        #expect(await run(discard, second) == .removed(Self.note.key))
        let memory = RenewalMemory([renewed], forgotten: Self.note.createdAt)
        #expect(await run(.list, second) == .listed([], renewed: memory))
        second.stop(by: SystemClock.monotonic + .seconds(10))
        // A service that has ended refuses, and says so.
        guard case .listFailed = await run(.list, second) else {
            Issue.record("a stopped service took a job")
            return
        }
    }

    @Test("a file that is lost, beside one that is younger, takes with it what it remembered")
    func lost() async throws {
        let folder = try folder()
        defer { removeFolder(folder) }
        let began = SystemClock.now.wall
        try Data().write(to: URL(fileURLWithPath: "\(folder)/catalog.sqlite"))
        let service = ParkingService(directory: folder, logger: Self.logger)
        guard case .listed(let notes, let memory) = await run(.list, service) else {
            Issue.record("the file was not made anew")
            return
        }
        #expect(notes.isEmpty && memory.mayHaveForgotten(began))
        service.stop(by: SystemClock.monotonic + .seconds(10))
    }

    @Test("a file that cannot be opened fails every job with the reason")
    func closed() async throws {
        let service = ParkingService(directory: "/nowhere/at/all", logger: Self.logger)
        guard case .storeFailed(let key, let reason) = await run(.store(Self.note, []), service)
        else {
            Issue.record("a batch was parked in no file")
            return
        }
        #expect(key == Self.note.key)
        #expect(reason.contains("/nowhere/at/all/parked.sqlite"))
    }

    private func removeFolder(_ path: String) {
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            Issue.record("\(path) is left behind: \(error)")
        }
    }
}
