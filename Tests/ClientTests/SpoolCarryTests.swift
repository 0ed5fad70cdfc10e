import Client
import Core
import Storage
import Testing

@Suite("A spool with a batch that never ends")
struct SpoolCarryTests {
    private static let bounds = {
        var bounds = SpoolJournal.Bounds()
        bounds.segmentBytes = 600
        return bounds
    }()

    private func body(_ sequence: UInt64) -> [UInt8] {
        [UInt8](repeating: UInt8(sequence % 251), count: 200)
    }

    private func seal(_ count: Int, _ journal: inout SpoolJournal) throws {
        for _ in 0..<count {
            let sequence = journal.state.nextSequence
            let batch = BatchDraft(body: body(sequence), contentType: "t", events: 2)
            _ = try journal.seal(
                batch, target: "/v1/events", createdAt: WallTime(milliseconds: Int64(sequence)))
        }
    }

    private func settle(
        _ sequences: some Sequence<UInt64>, _ journal: inout SpoolJournal
    ) throws {
        for sequence in sequences {
            try journal.settle(
                sequence, .counted(BatchCounts(events: 2, counted: 2, dead: 0)))
        }
    }

    /// Each is there, once, as it was sealed.
    private func expectHeld(
        _ sequences: [UInt64], in journal: SpoolJournal, _ context: String = ""
    ) throws {
        #expect(journal.state.heldSequences == sequences, "\(context)")
        #expect(journal.state.heldBytes == 200 * sequences.count, "\(context)")
        for sequence in journal.state.heldSequences {
            let batch = try journal.load(sequence)
            #expect(batch.body == body(sequence), "\(context)")
            #expect(batch.createdAt.milliseconds == Int64(sequence), "\(context)")
            #expect((batch.events, batch.target) == (2, "/v1/events"), "\(context)")
        }
    }

    @Test("gives back what ended after it, as often as needed")
    func bounded() throws {
        let files = MemorySpool(disk: MemoryFileSystem())
        var journal = try SpoolJournal(files, producer: 42, bounds: Self.bounds)
        try seal(1, &journal)
        var carries = 0
        for sequence in UInt64(1)..<300 {
            try seal(1, &journal)
            try settle([sequence], &journal)
            guard journal.bytes > 4000 else { continue }
            #expect(try journal.carry())
            carries += 1
            #expect(journal.bytes < 2000, "\(journal.bytes) bytes are left after batch \(sequence)")
        }
        #expect(carries > 10)
        try expectHeld([0], in: journal)
        journal = try SpoolJournal(files, producer: 1, bounds: Self.bounds)
        try expectHeld([0], in: journal)
        #expect(journal.state.totals.events == 598)
        // Copied and settled: it does not come back.
        try settle([0], &journal)
        try journal.compact()
        #expect(try files.names().count == 1)
        #expect(try SpoolJournal(files, producer: 1).state.held.isEmpty)
    }

    @Test("copies nothing where nothing, or little, has ended")
    func worthless() throws {
        let disk = MemoryFileSystem()
        var journal = try SpoolJournal(
            MemorySpool(disk: disk), producer: 42, bounds: Self.bounds)
        try seal(40, &journal)
        try settle([5, 6, 15, 25, 35], &journal)
        try journal.sync()
        let operations = disk.operations
        #expect(try !journal.carry())
        #expect(disk.operations == operations)
    }

    @Test("is one of many: each call copies one segment, and the calls end")
    func rotation() throws {
        let files = MemorySpool(disk: MemoryFileSystem())
        var journal = try SpoolJournal(files, producer: 42, bounds: Self.bounds)
        try seal(100, &journal)
        let kept = (UInt64(0)..<100).filter { $0 < 10 || $0.isMultiple(of: 5) }
        try settle((UInt64(0)..<100).filter { !kept.contains($0) }, &journal)
        let segments = try files.names().count
        var calls = 0
        while try journal.carry() {
            calls += 1
            try #require(calls <= 2 * segments, "it goes round in circles")
        }
        #expect(calls > 0)
        #expect(journal.bytes < 2 * 300 * kept.count)
        try expectHeld(kept, in: journal)
        try expectHeld(kept, in: try SpoolJournal(files, producer: 1, bounds: Self.bounds))
    }

    private let held: [UInt64] = [0, 1, 7]

    /// Twelve batches of which three are held, durably.
    private func begun(_ disk: MemoryFileSystem) throws -> SpoolJournal {
        var journal = try SpoolJournal(
            MemorySpool(disk: disk), producer: 42, bounds: Self.bounds)
        try seal(12, &journal)
        try settle((UInt64(0)..<12).filter { !held.contains($0) }, &journal)
        try journal.sync()
        return journal
    }

    @Test("survives a kill and a power cut at each operation of the copying")
    func cuts() throws {
        let whole = MemoryFileSystem()
        var journal = try begun(whole)
        let before = whole.operations
        while try journal.carry() {}
        let total = whole.operations - before
        #expect(total > 6)
        let last = journal.bytes
        var random = RandomSource(seed: 1)
        for operation in 0..<total {
            for fault in [MemoryFileSystem.Fault.inputOutput, .shortWrite, .shortDiskFull] {
                for isKill in [true, false] {
                    let context = "operation \(operation), \(fault), kill \(isKill)"
                    let disk = MemoryFileSystem()
                    var cut = try begun(disk)
                    disk.setSyncLoss(.keepsDirty)
                    disk.fail(at: disk.operations + operation, with: fault, onward: true)
                    #expect(throws: SpoolError.self, "\(context)") {
                        while try cut.carry() {}
                    }
                    disk.clearFaults()
                    let files = MemorySpool(disk: isKill ? disk : disk.crash(&random))
                    var after = try SpoolJournal(files, producer: 1, bounds: Self.bounds)
                    try expectHeld(held, in: after, context)
                    #expect(after.state.totals.batches == 9, "\(context)")
                    while try after.carry() {}
                    #expect(after.bytes <= last + 900, "\(context): a copy is kept for ever")
                    after = try SpoolJournal(files, producer: 1, bounds: Self.bounds)
                    try expectHeld(held, in: after, context)
                    try settle(held, &after)
                    try after.compact()
                    after = try SpoolJournal(files, producer: 1, bounds: Self.bounds)
                    #expect(after.state.held.isEmpty, "\(context)")
                    #expect(after.state.totals.batches == 12, "\(context)")
                }
            }
        }
    }

    @Test("does not stop its producer, which sends all others")
    func producer() async throws {
        let cluster = ScriptedCluster { request, _ in
            request.header("Quipu-Sequence") == "0"
                ? ScriptedCluster.problem(400) : ScriptedCluster.counted(1)
        }
        let disk = MemoryFileSystem()
        var spoolOptions = SpoolOptions()
        spoolOptions.bytesMax = 40_000
        let spool = try Spool(
            MemorySpool(disk: disk), directory: "d", producer: 42, options: spoolOptions,
            bounds: SpoolJournal.Bounds())
        var options = ProducerOptions()
        options.batchAge = nil
        options.batchEvents = 1
        let producer = Producer(
            client: cluster.client(), options: options, spool: spool, time: ScriptedTime().time)
        let event = String(repeating: "x", count: 2000)
        for _ in 0..<100 { try await producer.append(event) }
        let report = try await producer.finish()
        #expect(report.counted == 99)
        #expect(report.failures.map(\.sequence) == [0])
        #expect(await spool.held == [0])
        #expect(await spool.status.bytes < 20_000, "the end of a run gives back what ended")
    }
}
