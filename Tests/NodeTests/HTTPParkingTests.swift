import Core
import Logging
import Node
import Replication
import Synchronization
import Testing
import Wire

@Suite("Level ANY over HTTP")
struct HTTPParkingTests {
    private static let sealed = [
        "Content-Type": "application/x-ndjson",
        "Quipu-Producer": "00000000-0000-0000-0000-000000000007", "Quipu-Sequence": "7",
        "Quipu-Created": "1767225600000",
    ]
    private static let body =
        #"{"type":"view","key":"a","time":"2026-01-01T00:00:01Z"}"# + "\n"
        + #"{"type":"view","key":"a","time":"never"}"# + "\n"
    private static let id = BatchID(producer: 7, sequence: 7)

    static let listing = ParkedListing(
        count: 3, bytes: 700,
        items: [
            ParkedItem(
                note: ParkedNote(
                    key: ParkedKey(id: id, contentHash: Hash128(1)),
                    createdAt: WallTime(milliseconds: 1_767_225_600_000),
                    parkedAt: WallTime(milliseconds: 1_767_225_601_000), events: 2,
                    byteCount: 100, checksum: 5),
                attempts: 4, renewals: 1, id: BatchID(producer: 9, sequence: 7), reason: "away")
        ])

    @Test(
        "while it is off, a write at ANY is a 400 that names the setting"
    )
    func off() async throws {
        let fixture = try APIFixture { _ in .write(.parked) }
        let reply = await fixture.call(
            "POST", "/v1/events?consistency=ANY", Self.sealed, body: Self.body)
        #expect(reply.status == 400)
        #expect(reply.text.contains("max_parked_size"))
        #expect(reply.text.contains(#""outcome":"not-attempted""#))
        #expect(fixture.core.requests.isEmpty)
    }

    @Test("a parked batch is a 202 with its id, and nothing of it is said to be counted")
    func parked() async throws {
        let fixture = try APIFixture(parksAny: true) { _ in .write(.parked) }
        let reply = await fixture.call(
            "POST", "/v1/events?consistency=any", Self.sealed, body: Self.body)
        #expect(reply.status == 202)
        let start =
            #"{"batch":{"producer":"00000000-0000-0000-0000-000000000007","sequence":7},"#
            + #""outcome":"parked","events":2,"counted":0,"dead":0,"parked":2,"duplicate":false,"#
            + #""consistency":"ANY","required":0,"acknowledged":0,"errors":[{"line":2,"#
        #expect(reply.text.hasPrefix(start), "\(reply.text)")
        guard case .writeOrPark(let record)? = fixture.core.requests.first else {
            Issue.record("the core was not asked to park")
            return
        }
        #expect(record.header.id == Self.id)
        #expect(fixture.metrics.batchesParked.value == 1)
        #expect(fixture.metrics.eventsCounted.value == 0)
    }

    @Test("a write at ANY that finds its voters is counted like any other")
    func counted() async throws {
        let fixture = try APIFixture(parksAny: true) { _ in
            .write(.counted(duplicate: false, required: 2, acknowledged: 3))
        }
        let reply = await fixture.call(
            "POST", "/v1/events?consistency=ANY", Self.sealed, body: Self.body)
        #expect(reply.status == 200)
        #expect(
            reply.text.contains(
                #""outcome":"counted","events":2,"counted":1,"dead":1,"parked":0,"duplicate":false"#
            ))
    }

    @Test("reads at ANY are refused")
    func reads() async throws {
        let fixture = try APIFixture(parksAny: true)
        let reply = await fixture.get("/v1/types?consistency=ANY")
        #expect(reply.status == 400)
        #expect(reply.text.contains("for writes alone"))
    }

    @Test("what is parked is listed by its node, with why it waits, also beside the dead letters")
    func listed() async throws {
        let fixture = try APIFixture(parked: Self.listing) { _ in
            .read(
                ReadAnswer(
                    result: .deadLetters([], total: 0, retired: 0), replicas: [],
                    consistency: .quorum))
        }
        let text =
            #"{"node":"n1","batches":3,"bytes":700,"items":[{"batch":{"producer":"#
            + #""00000000-0000-0000-0000-000000000007","sequence":7},"#
            + #""created":"2026-01-01T00:00:00Z","parked":"2026-01-01T00:00:01Z","events":2,"#
            + #""bytes":100,"attempts":4,"reason":"away","sealed_anew_as":{"producer":"#
            + #""00000000-0000-0000-0000-000000000009","sequence":7}}]}"#
        #expect(await fixture.get("/v1/parked?limit=5").text == text)
        guard case .parked(nil, limit: 5)? = fixture.core.requests.last else {
            Issue.record("the core was not asked for five parked batches")
            return
        }
        let beside = await fixture.get("/v1/dead-letters").text
        #expect(beside == #"{"items":[],"next":null,"total":0,"retired":0,"parked":"# + text + "}")
        #expect(await fixture.call("POST", "/v1/parked").status == 405)
    }

    @Test("a batch that is parked here is unknown and parked, also while its home is away")
    func status() async throws {
        let path = "/v1/batches/\(UUIDText.format(7))/7"
        let away = try APIFixture(parked: Self.listing) { _ in
            .failed(.tooFewReplicas(required: 2, alive: 1))
        }
        #expect(
            await away.get(path).text == #"{"outcome":"unknown","final":false,"parked":true}"#)
        let undecided = try APIFixture(parked: Self.listing) { _ in .status(.unknown(heldBy: 0)) }
        #expect(
            await undecided.get(path).text
                == #"{"outcome":"unknown","final":false,"held_by":0,"parked":true}"#)
        let elsewhere = try APIFixture { _ in .failed(.tooFewReplicas(required: 2, alive: 1)) }
        #expect(await elsewhere.get(path).status == 503)
    }

    @Test("one that will never be counted is shown as such and may be discarded, no other")
    func discards() async throws {
        let path = "/v1/parked/\(UUIDText.format(7))/7"
        for state in [ParkedState.waiting, .damaged, .forgotten] {
            var shownHere = Self.listing
            shownHere.items[0].state = state
            // Another content of the id, of which the list tells nothing: the lot decides alone.
            var chosen = shownHere
            chosen.items[0].note.events = 9
            let (listing, answer) = (shownHere, chosen)
            let fixture = try APIFixture(parked: listing) { request in
                guard case .discardParked(Self.id) = request else { return .flushed }
                return .parked(answer)
            }
            let shown = await fixture.get("/v1/parked").text
            let reply = await fixture.call("DELETE", path)
            if state == .waiting {
                #expect(!shown.contains("state"))
                #expect(reply.status == 409 && reply.text.contains("away"), "\(reply.text)")
                #expect(fixture.core.requests.count == 2)
                continue
            }
            #expect(shown.contains(#""state":"\#(state.rawValue)""#), "\(shown)")
            #expect(
                reply.text
                    == #"{"node":"n1","batch":{"producer":"00000000-0000-0000-0000-000000000007","#
                    + #""sequence":7},"events":9,"state":"\#(state.rawValue)","discarded":true}"#)
        }
        let other = try APIFixture { _ in .parked(ParkedListing(count: 0, bytes: 0, items: [])) }
        #expect(await other.call("DELETE", path).status == 404)
        #expect(await other.call("DELETE", "/v1/parked/7/7").status == 400)
        #expect(await other.get(path).status == 405)
    }
}
