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

    /// What it becomes, in one commit with what nobody is told of it any more.
    private static let removal = ParkingJob.discard(
        key, createdAt: ParkingLotTests.record.header.createdAt)

    private func discard(
        _ bench: inout Bench, _ id: BatchID = key.id, for request: RequestID = operatorID
    ) {
        bench.effects = []
        bench.lot.discard(
            id, for: request, deadline: bench.now.monotonic + .seconds(5),
            into: &bench.effects)
    }

    private func failures(_ bench: Bench) -> [RequestFailure] {
        bench.effects.compactMap {
            if case .answer(Self.operatorID, .failed(let failure)) = $0 { failure } else { nil }
        }
    }

    /// What an operator was told of what lies here, or lay here.
    private func answers(_ bench: Bench, to request: RequestID = operatorID) -> [ParkedListing] {
        bench.effects.compactMap {
            if case .answer(request, .parked(let listing)) = $0 { listing } else { nil }
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
        #expect(answers(bench).map(\.items) == [[]] && bench.jobs.isEmpty)
        bench.park()
        discard(&bench)
        #expect(answers(bench).first?.items.map(\.state) == [.waiting])
        #expect(bench.jobs.isEmpty && bench.lot.count == 1)
        try forget(&bench, before: WallTime(milliseconds: .max))
        let shown = bench.lot.listing(limit: 1).items
        discard(&bench)
        #expect(bench.jobs == [Self.removal] && bench.events == [.discarded(Self.key)])
        #expect(answers(bench).isEmpty)
        _ = bench.complete(.removed(Self.key))
        #expect(answers(bench).map(\.items) == [shown] && shown[0].state == .forgotten)
        #expect(bench.lot.count == 0 && bench.lot.byteCount == 0)
    }

    @Test("of two contents of one id the one that is listed first goes, and the answer tells of it")
    func twoContents() {
        let id = Self.key.id
        let notes = [9, 5].map { parkedAt in
            ParkedNote(
                key: ParkedKey(id: id, contentHash: Hash128(UInt128(10 - parkedAt))),
                createdAt: WallTime(milliseconds: 1),
                parkedAt: WallTime(milliseconds: Int64(parkedAt)), events: UInt32(parkedAt),
                byteCount: 7, checksum: 0)
        }
        #expect(notes[0].key < notes[1].key)
        var bench = Bench(isListed: false)
        _ = bench.complete(.listed(notes))
        bench.advance(.seconds(60))
        for note in notes { _ = bench.complete(.loaded(note.key, nil)) }
        discard(&bench)
        #expect(bench.events == [.discarded(notes[1].key)])
        _ = bench.complete(.removed(notes[1].key))
        #expect(answers(bench).map(\.items).first?.map(\.note) == [notes[1]])
        #expect(bench.lot.listing(limit: 9).items.map(\.note) == [notes[0]])
    }

    @Test("two operators discard one batch, which goes once, and both hear of it")
    func twice() throws {
        let second = RequestID(78)
        var bench = Bench()
        bench.park()
        try forget(&bench, before: WallTime(milliseconds: .max))
        discard(&bench)
        discard(&bench, for: second)
        #expect(bench.effects.isEmpty)
        #expect(bench.lot.listing(limit: 1).items.map(\.state) == [.forgotten])
        _ = bench.complete(.removed(Self.key))
        for request in [Self.operatorID, second] {
            #expect(answers(bench, to: request).first?.items.map(\.state) == [.forgotten])
        }
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
        #expect(answers(bench).first?.items.map(\.state) == [.damaged])
        #expect(bench.lot.count == 0 && bench.lot.active == 0)
    }

    @Test("one that is damaged while an outcome is open is not denied once it is discarded")
    func openOutcome() throws {
        let createdAt = ParkingLotTests.record.header.createdAt
        var bench = Bench()
        bench.park()
        let (request, _) = try bench.submission()
        bench.receive(.write(.expired(.notCounted)), for: request)
        let (renewal, _) = try bench.submission()
        // Its voters may have counted the renewal, and the answer was lost.
        bench.receive(.write(.unknown(required: 2, answered: 1)), for: renewal)
        bench.advance(.seconds(60))
        _ = bench.complete(.loaded(Self.key, [1]))
        discard(&bench)
        #expect(bench.jobs == [Self.removal])
        _ = bench.complete(.removed(Self.key))
        let word = bench.lot.word(
            .status(.notCounted), on: Self.key.id, nil, createdAt: createdAt)
        guard case .status(.unknown) = word else {
            Issue.record("\(word)")
            return
        }
        let later = bench.lot.word(
            .status(.notCounted), on: Self.key.id, nil, createdAt: createdAt + .milliseconds(1))
        guard case .status(.notCounted) = later else {
            Issue.record("\(later)")
            return
        }
    }

    @Test("an operator hears of a disk that fails or hangs, and the removal is tried again")
    func diskFails() throws {
        var bench = Bench()
        bench.park()
        try forget(&bench, before: WallTime(milliseconds: .max))
        discard(&bench)
        _ = bench.complete(.removeFailed(Self.key, "busy"))
        #expect(failures(bench) == [.storage("busy")])
        // Who asks again waits for it, and does not hear that it may still be counted.
        discard(&bench)
        #expect(bench.effects.isEmpty)
        bench.advance(.seconds(4))
        #expect(bench.jobs == [Self.removal])
        _ = bench.complete(.removed(Self.key))
        #expect(answers(bench).first?.items.map(\.state) == [.forgotten])
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
