import Core
import Replication
import Testing
import Wire

@Suite("Parking lot")
struct ParkingLotTests {
    static let record = MessageCodecTests.record
    static let key = ParkedKey(id: record.header.id, contentHash: record.header.contentHash)
    static let away = ClientResponse.write(
        .notAttempted(.tooFewReplicas(required: 2, alive: 1)))
    static let counted = ClientResponse.write(
        .counted(duplicate: false, required: 2, acknowledged: 2))
    static let client = RequestID(1)

    /// A lot with the effects of its last call.
    struct Bench {
        var lot: ParkingLot
        var effects: [ParkingLot.Effect] = []
        var now = Now(monotonic: .zero, wall: WallTime(milliseconds: 1_424_639_830_000))

        init(_ change: (inout ParkingOptions) -> Void = { _ in }, isListed: Bool = true) {
            var options = ParkingOptions()
            options.bytesMax = 1 << 20
            change(&options)
            lot = ParkingLot(options, seed: 7)
            lot.start(into: &effects)
            if isListed { _ = complete(.listed([])) }
        }

        mutating func complete(_ result: ParkingResult) -> ParkingLot.Loaded {
            effects = []
            return lot.complete(
                result, now, homeOf: { PartitionID(Int($0.sequence % 7)) }, into: &effects)
        }

        mutating func write(_ record: BatchRecord = record, client: RequestID = client) -> RequestID
        {
            lot.begin(client, record, deadline: now.monotonic + .seconds(5))
        }

        mutating func receive(_ response: ClientResponse, for request: RequestID) {
            effects = []
            lot.receive(response, for: request, now, into: &effects)
        }

        mutating func advance(_ time: Duration, canReach: Bool = true) {
            effects = []
            now.monotonic = now.monotonic + time
            lot.advance(to: now, canReach: { _ in canReach }, into: &effects)
        }

        /// Parks `record`, durably.
        mutating func park() {
            let request = write()
            receive(away, for: request)
            _ = complete(.stored(key))
        }

        /// Waits until the batch is loaded, and hands it over.
        mutating func submission() throws -> (RequestID, BatchRecord) {
            advance(.seconds(60))
            guard jobs == [.load(key)] else { throw Unexpected(effects) }
            guard case .submit(let request, let record) = complete(.loaded(key, record.bytes))
            else { throw Unexpected(effects) }
            return (request, record)
        }

        var jobs: [ParkingJob] {
            effects.compactMap { if case .job(let job) = $0 { job } else { nil } }
        }

        var answers: [WriteOutcome] {
            effects.compactMap {
                if case .answer(_, .write(let outcome)) = $0 { outcome } else { nil }
            }
        }

        var events: [ParkingLot.Event] {
            effects.compactMap { if case .report(let event) = $0 { event } else { nil } }
        }
    }

    struct Unexpected: Error, CustomStringConvertible {
        let description: String

        init(_ effects: [ParkingLot.Effect]) { description = "\(effects)" }
    }

    @Test("a batch whose voters are away is answered as parked after it is on disk, not before")
    func parks() {
        var bench = Bench()
        let request = bench.write()
        #expect(request.isOfParking && !Self.client.isOfParking)
        bench.receive(Self.away, for: request)
        #expect(bench.answers.isEmpty)
        guard case .store(let note, let bytes)? = bench.jobs.first else {
            Issue.record("\(bench.effects)")
            return
        }
        #expect(note.key == Self.key && bytes == Self.record.bytes)
        #expect(note.checksum == Checksum.crc32c(bytes) && note.events == 3)
        _ = bench.complete(.stored(Self.key))
        #expect(bench.answers == [.parked])
    }

    @Test("what needs no parking is answered as it comes")
    func passesOn() {
        let outcomes: [WriteOutcome] = [
            .counted(duplicate: true, required: 2, acknowledged: 3), .conflict,
            .notAttempted(.aheadOfClock), .notAttempted(.overloaded),
            .expired(.unknown(heldBy: 1)), .expired(.notCounted),
        ]
        for outcome in outcomes {
            var bench = Bench()
            let request = bench.write()
            bench.receive(.write(outcome), for: request)
            #expect(bench.answers == [outcome])
            #expect(bench.lot.count == 0)
        }
    }

    @Test("voters that are silent for half of the time lead to the parking lot as well")
    func silence() {
        var bench = Bench()
        let request = bench.write()
        bench.receive(.write(.unknown(required: 2, answered: 1)), for: request)
        #expect(bench.jobs.count == 1)
    }

    @Test("a batch that is parked is answered at once when it comes again, one under way once")
    func twice() {
        var bench = Bench()
        let first = bench.write(client: RequestID(1))
        let second = bench.write(client: RequestID(2))
        bench.receive(Self.away, for: first)
        bench.receive(Self.away, for: second)
        #expect(bench.jobs.isEmpty && bench.answers.isEmpty)
        _ = bench.complete(.stored(Self.key))
        #expect(bench.answers == [.parked, .parked])
        let third = bench.write(client: RequestID(3))
        bench.receive(Self.away, for: third)
        #expect(bench.answers == [.parked] && bench.jobs.isEmpty)
        #expect(bench.lot.count == 1)
    }

    @Test("count and bytes are bounded; beyond them nothing is stored, and a doubt stays one")
    func bounds() {
        let size = Self.record.bytes.count
        for change in [
            { (options: inout ParkingOptions) in options.batchesMax = 0 },
            { options in options.bytesMax = size - 1 }, { options in options.bytesMax = 0 },
        ] {
            var bench = Bench(change)
            let request = bench.write()
            bench.receive(Self.away, for: request)
            let full = WriteOutcome.NotAttempted.parkingFull(
                batches: 0, bytes: 0, required: 2, alive: 1)
            #expect(bench.answers == [.notAttempted(full)])
            let sent = bench.write()
            bench.receive(.write(.unknown(required: 2, answered: 1)), for: sent)
            #expect(bench.answers == [.unknown(required: 2, answered: 1)])
            #expect(bench.jobs.isEmpty)
        }
        var full = Bench { $0.bytesMax = size }
        full.park()
        #expect(full.answers == [.parked] && full.lot.byteCount == size)
    }

    @Test("a store that fails leaves a doubt, which keeps its place until it is settled")
    func storeFails() throws {
        for isThere in [false, true] {
            var bench = Bench()
            let request = bench.write()
            bench.receive(Self.away, for: request)
            _ = bench.complete(.storeFailed(Self.key, "no space"))
            #expect(bench.answers == [.unknown(required: 1, answered: 0)])
            #expect(bench.events == [.failed("no space")])
            // Else the next start could find more than the bounds allow.
            #expect(bench.lot.count == 1)
            let again = bench.write()
            bench.receive(Self.away, for: again)
            #expect(bench.answers == [.notAttempted(.tooFewReplicas(required: 2, alive: 1))])
            guard isThere else {
                bench.advance(.seconds(60))
                _ = bench.complete(.loaded(Self.key, nil))
                #expect(bench.lot.count == 0 && bench.lot.byteCount == 0 && bench.lot.active == 0)
                #expect(bench.effects.isEmpty)
                continue
            }
            let (submitted, _) = try bench.submission()
            bench.receive(Self.counted, for: submitted)
            #expect(bench.jobs == [.remove(Self.key)])
        }
    }

    @Test("a disk that hangs does not keep the client waiting beyond its time")
    func impatience() {
        var bench = Bench()
        let request = bench.write()
        bench.receive(Self.away, for: request)
        bench.advance(.seconds(4))
        #expect(bench.answers.isEmpty)
        bench.advance(.seconds(1))
        #expect(bench.answers == [.unknown(required: 1, answered: 0)])
        _ = bench.complete(.stored(Self.key))
        #expect(bench.answers.isEmpty && bench.lot.count == 1)
    }

    @Test("it is submitted as it came, and removed when a quorum has counted it")
    func counts() throws {
        var bench = Bench()
        bench.park()
        let (request, record) = try bench.submission()
        #expect(record == Self.record && request.isOfParking)
        bench.receive(Self.counted, for: request)
        #expect(bench.jobs == [.remove(Self.key)] && bench.lot.count == 1)
        _ = bench.complete(.removed(Self.key))
        #expect(bench.lot.count == 0 && bench.lot.byteCount == 0 && bench.lot.active == 0)
    }

    @Test(
        "waits double up to their bound and are drawn below it; a home that is away costs no load")
    func backoff() {
        var bench = Bench {
            $0.waitMin = .milliseconds(100)
            $0.waitMax = .milliseconds(1600)
        }
        bench.park()
        var gaps: [Duration] = []
        var last = bench.now.monotonic
        var attempts = 0
        while attempts < 200 {
            bench.advance(.milliseconds(1), canReach: false)
            #expect(bench.jobs.isEmpty)
            let now = bench.lot.listing(limit: 1).items[0].attempts
            guard now > attempts else { continue }
            attempts = now
            gaps.append(bench.now.monotonic - last)
            last = bench.now.monotonic
        }
        for (number, gap) in gaps.enumerated().dropFirst() {
            let bound = min(1600, 100 << min(number - 1, 10))
            #expect(gap <= .milliseconds(bound + 1), "wait \(number)")
        }
        // Full jitter: short ones among the last, and on the average half of the bound.
        let late = gaps.suffix(150).map(\.milliseconds)
        #expect(late.contains { $0 < 400 } && late.contains { $0 > 1200 })
        let mean = late.reduce(0, +) / Int64(late.count)
        #expect((600...1000).contains(mean))
    }

    @Test("no more submissions are under way than allowed")
    func submissions() {
        var bench = Bench { $0.submissionsMax = 2 }
        let notes = (1...5).map { number in
            ParkedNote(
                key: ParkedKey(
                    id: BatchID(producer: 1, sequence: UInt64(number)), contentHash: Hash128(1)),
                createdAt: bench.now.wall, parkedAt: bench.now.wall, events: 1, byteCount: 1,
                checksum: 0)
        }
        bench.lot = ParkingLot(bench.lot.options, seed: 1)
        _ = bench.complete(.listed(notes))
        bench.advance(.seconds(60))
        #expect(bench.jobs.count == 2 && bench.lot.active == 2)
        _ = bench.complete(.loadFailed(notes[0].key, "busy"))
        bench.advance(.milliseconds(1))
        #expect(bench.lot.active == 2)
    }

    @Test("what was parked before the start is found and submitted; before that nothing is taken")
    func restart() throws {
        var bench = Bench(isListed: false)
        #expect(bench.jobs == [.list])
        let early = bench.write()
        bench.receive(Self.away, for: early)
        #expect(bench.answers == [.notAttempted(.tooFewReplicas(required: 2, alive: 1))])
        _ = bench.complete(.listFailed("locked"))
        bench.advance(.seconds(60))
        #expect(bench.jobs == [.list])
        let note = ParkedNote(
            key: Self.key, createdAt: Self.record.header.createdAt, parkedAt: bench.now.wall,
            events: 3, byteCount: Self.record.bytes.count,
            checksum: Checksum.crc32c(Self.record.bytes))
        _ = bench.complete(.listed([note]))
        #expect(bench.lot.count == 1)
        let (request, _) = try bench.submission()
        bench.receive(Self.counted, for: request)
        #expect(bench.jobs == [.remove(Self.key)])
    }

    @Test("a removal that failed is tried again without another submission")
    func removalFails() throws {
        var bench = Bench()
        bench.park()
        let (request, _) = try bench.submission()
        bench.receive(Self.counted, for: request)
        _ = bench.complete(.removeFailed(Self.key, "busy"))
        // It can no longer be relied upon: it may be gone.
        let late = bench.write()
        bench.receive(Self.away, for: late)
        #expect(bench.answers == [.notAttempted(.tooFewReplicas(required: 2, alive: 1))])
        bench.advance(.seconds(60))
        #expect(bench.jobs == [.remove(Self.key)])
    }

    @Test("another content under its id ends it, with a word to the operator")
    func refused() throws {
        var bench = Bench()
        bench.park()
        let (request, _) = try bench.submission()
        bench.receive(.write(.conflict), for: request)
        #expect(bench.events == [.refused(Self.key)])
        #expect(bench.jobs == [.remove(Self.key)])
    }

    @Test("a record that is not what was stored is kept, shown and not submitted")
    func damaged() {
        var bench = Bench()
        bench.park()
        bench.advance(.seconds(60))
        var bytes = Self.record.bytes
        bytes[bytes.count / 2] ^= 1
        guard case .nothing = bench.complete(.loaded(Self.key, bytes)) else {
            Issue.record("a damaged record was submitted")
            return
        }
        #expect(bench.lot.active == 0 && bench.lot.count == 1)
        #expect(bench.lot.listing(limit: 9).items[0].reason.contains("checksum"))
        bench.advance(.seconds(600))
        #expect(bench.jobs.isEmpty)
    }

    @Test("finally not counted it is sealed anew, step by step, each a function of the first")
    func renews() throws {
        var bench = Bench()
        bench.park()
        var seen: Set<BatchID> = [Self.key.id]
        for number in 1...3 {
            let (request, _) = try bench.submission()
            bench.receive(.write(.expired(.notCounted)), for: request)
            #expect(bench.events == [.renewed(Self.key, number)])
            #expect(bench.jobs.isEmpty)
            let (again, record) = try bench.submission()
            let header = Renewal.header(Self.record.header, number)
            #expect(record.header == header && record.totals == Self.record.totals)
            #expect(header.createdAt == Self.record.header.createdAt + Renewal.step * number)
            #expect(seen.insert(header.id).inserted)
            #expect(record.home == PartitionID(Int(header.id.sequence % 7)))
            #expect(try record.deadLetters() == Self.record.deadLetters())
            #expect(record.slices == Self.record.slices)
            bench.receive(.write(.unknown(required: 2, answered: 0)), for: again)
        }
        let found = bench.lot.listing(of: Renewal.id(Self.key.id, 3), limit: 1)
        #expect(found.items.map(\.renewals) == [3])
        #expect(bench.lot.listing(of: BatchID(producer: 0, sequence: 0), limit: 1).items.isEmpty)
        let (request, _) = try bench.submission()
        bench.receive(Self.counted, for: request)
        #expect(bench.events == [.counted(Self.key)])
    }
}
