import Catalog
import Core
import Foundation
import GRDB
import Testing

@Suite("The file of parked batches")
struct ParkedCatalogTests {
    private static let key = ParkedKey(
        id: BatchID(producer: .max - 1, sequence: .max), contentHash: Hash128(.max))

    private static let now = WallTime(milliseconds: 1_700_000_000_000)

    private static func note(_ key: ParkedKey = key, bytes: Int = 3) -> ParkedNote {
        ParkedNote(
            key: key, createdAt: WallTime(milliseconds: -5), parkedAt: WallTime(milliseconds: 9),
            events: .max, byteCount: bytes, checksum: .max)
    }

    private func open(_ folder: TemporaryFolder) throws -> ParkedCatalog {
        try ParkedCatalog(file: folder.file("parked.sqlite"), now: Self.now)
    }

    @Test("what is stored is listed and read, to the last bit, also by the next process")
    func survives() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder)
        #expect(try catalog.notes().isEmpty)
        try catalog.store(Self.note(), record: [1, 2, 3])
        let other = ParkedKey(id: BatchID(producer: 1, sequence: 2), contentHash: Hash128(3))
        try catalog.store(Self.note(other, bytes: 0), record: [])
        // The first process is not closed: it may as well have died here.
        let again = try open(folder)
        #expect(again.incident == nil)
        #expect(try again.notes() == [Self.note(other, bytes: 0), Self.note()])
        #expect(try again.record(of: Self.key) == [1, 2, 3])
        #expect(try again.record(of: other) == [])
        try catalog.close()
        try again.close()
    }

    @Test("storing twice keeps one; what is removed is gone, and removing it again does no harm")
    func removes() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder)
        try catalog.store(Self.note(), record: [1, 2, 3])
        try catalog.store(Self.note(), record: [1, 2, 3])
        #expect(try catalog.notes() == [Self.note()])
        try catalog.remove(Self.key)
        try catalog.remove(Self.key)
        #expect(try catalog.notes().isEmpty)
        #expect(try catalog.record(of: Self.key) == nil)
        try catalog.close()
    }

    @Test("what was counted as a renewal leaves the table and is remembered, until it makes room")
    func settles() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder)
        try catalog.store(Self.note(), record: [1, 2, 3])
        let renewed = RenewedBatch(
            key: Self.key, createdAt: WallTime(milliseconds: -5), number: 3,
            totals: BatchTotals(events: .max, counted: .max - 1, dead: 1))
        try catalog.settle(renewed, forgetting: nil)
        try catalog.settle(renewed, forgetting: nil)
        #expect(try catalog.notes().isEmpty)
        let again = try open(folder)
        #expect(try again.renewed() == RenewalMemory([renewed]))
        let key = ParkedKey(id: BatchID(producer: 1, sequence: 2), contentHash: Hash128(3))
        let other = RenewedBatch(
            key: key, createdAt: WallTime(milliseconds: 7), number: 1,
            totals: BatchTotals(events: 2, counted: 1, dead: 1))
        try again.settle(other, forgetting: renewed)
        let memory = RenewalMemory([other], forgotten: WallTime(milliseconds: -5))
        #expect(try again.renewed() == memory)
        try catalog.close()
        try again.close()
    }

    @Test("what is discarded is gone, and in the same commit nobody is denied that is no younger")
    func discards() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder)
        try catalog.store(Self.note(), record: [1, 2, 3])
        try catalog.discard(Self.key, createdAt: WallTime(milliseconds: -5))
        try catalog.discard(Self.key, createdAt: WallTime(milliseconds: -7))
        #expect(try catalog.notes().isEmpty)
        #expect(
            try catalog.renewed() == RenewalMemory(forgotten: WallTime(milliseconds: -5)))
        try catalog.close()
    }

    @Test("a damaged file is kept under another name, which the incident tells")
    func damaged() throws {
        let folder = try TemporaryFolder()
        let file = folder.file("parked.sqlite")
        let catalog = try open(folder)
        try catalog.store(Self.note(), record: Array(repeating: 7, count: 100_000))
        try catalog.close()
        var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
        for place in 0..<4096 { bytes[place] = 0x55 }
        try bytes.write(to: URL(fileURLWithPath: file))
        let again = try open(folder)
        let incident = try #require(again.incident)
        #expect(incident.file == file + ".corrupt-1")
        #expect(try Data(contentsOf: URL(fileURLWithPath: incident.file)) == bytes)
        #expect(try again.notes().isEmpty)
        // What was counted as a renewal is lost with it: of no older batch is that denied.
        let memory = try again.renewed()
        #expect(memory == RenewalMemory(forgotten: Self.now + Limits.admissionAheadMax))
        try again.close()
    }

    @Test("one in the place of a lost file denies nothing older; one that is there is as it was")
    func filling() throws {
        let folder = try TemporaryFolder()
        let file = folder.file("parked.sqlite")
        let catalog = try ParkedCatalog(file: file, isFilling: true, now: Self.now)
        let memory = RenewalMemory(forgotten: Self.now + Limits.admissionAheadMax)
        #expect(try catalog.renewed() == memory)
        let again = try ParkedCatalog(file: file, isFilling: true, now: Self.now + .seconds(60))
        #expect(try again.renewed() == memory)
        try catalog.close()
        try again.close()
    }

    @Test("of what an older program may have counted as a renewal nothing is denied")
    func olderProgram() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder)
        // A new file has nothing to forget.
        #expect(try catalog.renewed() == RenewalMemory())
        try catalog.store(Self.note(), record: [1, 2, 3])
        try catalog.close()
        // As such a program leaves it: the same version, and no memory.
        let queue = try DatabaseQueue(path: folder.file("parked.sqlite"))
        try queue.write { try $0.execute(sql: "DROP TABLE renewed; DROP TABLE renewed_forgotten") }
        try queue.close()
        let later = try ParkedCatalog(
            file: folder.file("parked.sqlite"), now: Self.now + .seconds(1))
        let memory = RenewalMemory(
            forgotten: Self.now + .seconds(1) + Limits.admissionAheadMax)
        #expect(try later.notes() == [Self.note()])
        #expect(try later.renewed() == memory)
        // It has a memory now: the next start forgets no more.
        let again = try ParkedCatalog(
            file: folder.file("parked.sqlite"), now: Self.now + .seconds(60))
        #expect(try again.renewed() == memory)
        try later.close()
        try again.close()
    }
}
