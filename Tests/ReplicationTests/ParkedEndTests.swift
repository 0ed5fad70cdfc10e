import Core
import Replication
import Testing
import Wire

/// Parked batches that this node will never count: those whose outcome nobody remembers, and
/// those whose record is damaged.
@Suite("Parked batches at their end")
struct ParkedEndTests {
    private typealias Bench = ParkingLotTests.Bench
    private static let key = ParkingLotTests.key
    private static let operatorID = RequestID(77)

    /// Answers a submission as a home does that cannot tell.
    private func forget(
        _ bench: inout Bench, before: WallTime
    ) throws {
        let (request, _) = try bench.submission()
        bench.effects = []
        bench.lot.receive(
            .write(.expired(.unknown(heldBy: 0))), for: request, bench.now,
            isBeyondMemory: { $0 < before }, into: &bench.effects)
    }

    private func discard(_ bench: inout Bench, _ id: BatchID = key.id) {
        bench.effects = []
        bench.lot.discard(
            id, for: Self.operatorID, deadline: bench.now.monotonic + .seconds(5),
            into: &bench.effects)
    }

    private func failures(_ bench: Bench) -> [RequestFailure] {
        bench.effects.compactMap {
            if case .answer(Self.operatorID, .failed(let failure)) = $0 { failure } else { nil }
        }
    }

    private func isAnswered(_ bench: Bench) -> Bool {
        bench.effects.contains {
            if case .answer(Self.operatorID, .parked) = $0 { true } else { false }
        }
    }

    @Test("one whose home has forgotten its outcome is not submitted again, and shown as such")
    func forgotten() throws {
        let createdAt = ParkingLotTests.record.header.createdAt
        var bench = Bench()
        bench.park()
        // Undecided is not forgotten: it is tried again.
        try forget(&bench, before: createdAt)
        #expect(bench.events.isEmpty)
        #expect(bench.lot.listing(limit: 1).items[0].state == .waiting)
        try forget(&bench, before: createdAt + .milliseconds(1))
        #expect(bench.events == [.forgotten(Self.key)] && bench.lot.active == 0)
        let item = bench.lot.listing(limit: 1).items[0]
        #expect(item.state == .forgotten && item.reason.contains("outcome forgotten"))
        bench.advance(.seconds(86_400))
        #expect(bench.jobs.isEmpty && bench.lot.count == 1)
        // Nobody knows whether it counts, so nobody is told that it does not.
        let word = bench.lot.word(
            .status(.notCounted), on: Self.key.id, nil, createdAt: createdAt)
        guard case .status(.unknown) = word else {
            Issue.record("\(word)")
            return
        }
        let late = bench.write()
        bench.receive(ParkingLotTests.away, for: late)
        #expect(bench.answers == [.notAttempted(.tooFewReplicas(required: 2, alive: 1))])
    }

    @Test("a renewal is judged by its own time")
    func renewal() throws {
        let createdAt = ParkingLotTests.record.header.createdAt
        var bench = Bench()
        bench.park()
        let (request, _) = try bench.submission()
        bench.receive(.write(.expired(.notCounted)), for: request)
        try forget(&bench, before: createdAt + Renewal.step)
        #expect(bench.events.isEmpty)
        try forget(&bench, before: createdAt + Renewal.step + .milliseconds(1))
        #expect(bench.events == [.forgotten(Self.key)])
    }

    @Test("what may still be counted is not discarded, what never will be is, by a word alone")
    func discards() throws {
        var bench = Bench()
        discard(&bench)
        #expect(failures(bench).count == 1 && bench.jobs.isEmpty)
        bench.park()
        discard(&bench)
        #expect(failures(bench) == [.notReady("batch \(Self.key.id) may still be counted")])
        #expect(bench.jobs.isEmpty && bench.lot.count == 1)
        try forget(&bench, before: WallTime(milliseconds: .max))
        discard(&bench)
        #expect(bench.jobs == [.remove(Self.key)] && bench.events == [.discarded(Self.key)])
        #expect(!isAnswered(bench))
        _ = bench.complete(.removed(Self.key))
        #expect(isAnswered(bench) && bench.lot.count == 0 && bench.lot.byteCount == 0)
    }

    @Test("a damaged one gives its room back as well")
    func damaged() {
        var bench = Bench()
        bench.park()
        bench.advance(.seconds(60))
        _ = bench.complete(.loaded(Self.key, nil))
        #expect(bench.lot.listing(limit: 1).items[0].state == .damaged)
        discard(&bench)
        _ = bench.complete(.removed(Self.key))
        #expect(isAnswered(bench) && bench.lot.count == 0 && bench.lot.active == 0)
    }

    @Test("an operator hears of a disk that fails or hangs, and the removal is tried again")
    func diskFails() throws {
        var bench = Bench()
        bench.park()
        try forget(&bench, before: WallTime(milliseconds: .max))
        discard(&bench)
        _ = bench.complete(.removeFailed(Self.key, "busy"))
        #expect(failures(bench) == [.storage("busy")])
        bench.advance(.seconds(60))
        #expect(bench.jobs == [.remove(Self.key)])
        _ = bench.complete(.removed(Self.key))
        #expect(bench.lot.count == 0)

        var hanging = Bench()
        hanging.park()
        try forget(&hanging, before: WallTime(milliseconds: .max))
        discard(&hanging)
        hanging.advance(.seconds(4))
        #expect(failures(hanging).isEmpty)
        hanging.advance(.seconds(1))
        #expect(failures(hanging) == [.timedOut(required: 1, answered: 0)])
        _ = hanging.complete(.removed(Self.key))
        #expect(hanging.effects.isEmpty && hanging.lot.count == 0)
    }
}
