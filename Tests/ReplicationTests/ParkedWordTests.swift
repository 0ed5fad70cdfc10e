import Core
import Replication
import Testing
import Wire

/// What a node says of a batch that its home closed without, while it keeps or kept it itself.
@Suite("A parking node's word")
struct ParkedWordTests {
    private typealias Bench = ParkingLotTests.Bench
    private static let record = ParkingLotTests.record
    private static let key = ParkingLotTests.key
    private static let closed = ClientResponse.write(.expired(.notCounted))

    private func word(
        _ status: BatchStatus, _ lot: ParkingLot, _ hash: Hash128? = nil,
        _ id: BatchID = key.id, at createdAt: WallTime? = record.header.createdAt
    ) -> BatchStatus? {
        let word = lot.word(.status(status), on: id, hash, createdAt: createdAt)
        guard case .status(let status) = word else { return nil }
        return status
    }

    /// Counts the parked batch as its first renewal.
    private func renewAndCount(_ bench: inout Bench) throws {
        let (request, _) = try bench.submission()
        bench.receive(Self.closed, for: request)
        let (again, _) = try bench.submission()
        bench.receive(ParkingLotTests.counted, for: again)
    }

    @Test("what is parked here is not finally not counted to whoever sends it again or asks")
    func kept() throws {
        var bench = Bench()
        #expect(word(.notCounted, bench.lot) == .notCounted)
        let request = bench.write()
        // What is under way may end in the lot.
        #expect(word(.notCounted, bench.lot) == .unknown(heldBy: 0))
        bench.receive(ParkingLotTests.away, for: request)
        // The disk is slow, and the client hears no more than a doubt.
        #expect(word(.notCounted, bench.lot) == .unknown(heldBy: 0))
        bench.advance(.seconds(5))
        #expect(bench.answers == [.unknown(required: 1, answered: 0)])
        _ = bench.complete(.stored(Self.key))
        #expect(word(.notCounted, bench.lot) == .unknown(heldBy: 0))
        #expect(word(.notCounted, bench.lot, Self.key.contentHash) == .unknown(heldBy: 0))
        // At ANY it is parked, whenever it comes.
        let late = bench.write()
        bench.receive(Self.closed, for: late)
        #expect(bench.answers == [.parked])
        // Other bytes under its id are another matter: these were closed out.
        #expect(word(.notCounted, bench.lot, Hash128(1)) == .notCounted)
        let other = BatchID(producer: 1, sequence: 99)
        #expect(word(.notCounted, bench.lot, nil, other) == .notCounted)
        // The lot itself hears it as it is, and seals it anew.
        let (submitted, _) = try bench.submission()
        bench.receive(Self.closed, for: submitted)
        #expect(bench.events == [.renewed(Self.key, 1)])
        #expect(word(.notCounted, bench.lot) == .unknown(heldBy: 0))
    }

    @Test("what was counted as a renewal is said to be counted, also after it is gone")
    func counted() throws {
        var bench = Bench()
        bench.park()
        try renewAndCount(&bench)
        let renewed = RenewedBatch(
            key: Self.key, createdAt: Self.record.header.createdAt, number: 1,
            totals: Self.record.totals)
        #expect(bench.jobs == [.settle(renewed, forgetting: nil)])
        _ = bench.complete(.removed(Self.key))
        #expect(bench.lot.count == 0 && bench.lot.rememberedCount == 1)
        for status in [BatchStatus.notCounted, .unknown(heldBy: 1)] {
            #expect(word(status, bench.lot) == .counted(Self.record.totals))
        }
        let late = bench.write()
        bench.receive(Self.closed, for: late)
        #expect(bench.answers == [.expired(.counted(Self.record.totals))])
        #expect(word(.notCounted, bench.lot, Hash128(1)) == .notCounted)
    }

    @Test("a removal that failed remembers all the same when it is tried again")
    func triedAgain() throws {
        var bench = Bench()
        bench.park()
        try renewAndCount(&bench)
        let jobs = bench.jobs
        _ = bench.complete(.removeFailed(Self.key, "busy"))
        #expect(word(.notCounted, bench.lot) == .counted(Self.record.totals))
        bench.advance(.seconds(60))
        #expect(bench.jobs == jobs)
    }

    @Test("before the file is read nothing is finally not counted; then what it remembers is known")
    func restart() {
        var bench = Bench(isListed: false)
        #expect(word(.notCounted, bench.lot) == .unknown(heldBy: 0))
        let renewed = RenewedBatch(
            key: Self.key, createdAt: Self.record.header.createdAt, number: 2,
            totals: Self.record.totals)
        _ = bench.complete(.listed([], renewed: RenewalMemory([renewed])))
        #expect(word(.notCounted, bench.lot) == .counted(Self.record.totals))
        let other = BatchID(producer: 1, sequence: 99)
        #expect(word(.notCounted, bench.lot, nil, other) == .notCounted)
    }

    @Test("memory is bounded: the oldest goes first, and then nobody as old is denied")
    func bounded() {
        let times = [5, 3, 9].map { WallTime(milliseconds: Int64($0)) }
        var memory = RenewalMemory()
        var gone: [Int64] = []
        for (number, time) in times.enumerated() {
            let key = ParkedKey(
                id: BatchID(producer: 1, sequence: UInt64(number)), contentHash: Hash128(1))
            let batch = RenewedBatch(
                key: key, createdAt: time, number: 1,
                totals: BatchTotals(events: 1, counted: 1, dead: 0))
            if let old = memory.insert(batch, max: 2) { gone.append(old.createdAt.milliseconds) }
        }
        #expect(gone == [3] && memory.batches.count == 2)
        var bench = Bench(isListed: false)
        _ = bench.complete(.listed([], renewed: memory))
        let other = BatchID(producer: 1, sequence: 99)
        let at3 = WallTime(milliseconds: 3)
        let at4 = WallTime(milliseconds: 4)
        #expect(word(.notCounted, bench.lot, nil, other, at: at3) == .unknown(heldBy: 0))
        #expect(word(.notCounted, bench.lot, nil, other, at: at4) == .notCounted)
        #expect(word(.notCounted, bench.lot, nil, other, at: nil) == .unknown(heldBy: 0))
    }
}
