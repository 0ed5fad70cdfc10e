import Core
import Ingest
import Node
import Replication
import Ring
import Storage
import Testing
import Wire

private let hour: Duration = .seconds(3600)
private let start = WallTime(milliseconds: 1_800_000_000_000)
private let later = start + hour * 24
private let entry = RuleEntry(from: later, futureLimit: .seconds(600), lateness: hour * 720)

private func configuration(
    _ entries: [RuleEntry] = [], future: Duration = hour * 24, lateness: Duration? = nil
) throws -> ClusterConfiguration {
    var configuration = try ClusterConfiguration.parse(
        """
        cluster_name: demo
        nodes:
          n1: {http: 127.0.0.1:8181, peer: 127.0.0.1:7181}
          n2: {http: 127.0.0.1:8182, peer: 127.0.0.1:7182}
          n3: {http: 127.0.0.1:8183, peer: 127.0.0.1:7183}
        """, file: "cluster.conf")
    configuration.rules = entries
    configuration.futureLimit = future
    configuration.lateness = lateness
    return configuration
}

private func situation(
    _ now: WallTime = start, isFresh: Bool = false, isAlone: Bool = false, acceptsLoss: Bool = false
) -> RuleMemory.Situation {
    RuleMemory.Situation(now: now, isFresh: isFresh, isAlone: isAlone, acceptsLoss: acceptsLoss)
}

private func memory(_ standings: RuleStanding?...) -> RuleMemory {
    var memory = RuleMemory(futureLimit: hour * 24, lateness: nil)
    if let standing = standings[0] { memory.entries = [RuleNotice(entry, standing)] }
    return memory
}

@Suite struct RuleMemoryTests {
    @Test("How a node came by an entry depends on when it first ran with it")
    func standings() throws {
        let file = try configuration([entry])
        func standing(_ situation: RuleMemory.Situation) throws -> RuleStanding? {
            try RuleMemory.resumed(memory(nil), with: file, situation).entries.first?.standing
        }
        let last = later - RuleLimits.leadMin
        #expect(try standing(situation()) == .early)
        #expect(try standing(situation(last)) == .early)
        #expect(try standing(situation(last + .milliseconds(1))) == .late)
        #expect(try standing(situation(later + hour)) == .late)
        #expect(try standing(situation(later + hour, isFresh: true)) == .fresh)
        #expect(try standing(situation(later + hour, acceptsLoss: true)) == .early)
        #expect(try standing(situation(isAlone: true)) == .confirmed)
        #expect(try standing(situation(later, isFresh: true, isAlone: true)) == .confirmed)
        #expect(try standing(situation(later, isAlone: true, acceptsLoss: true)) == .confirmed)
    }

    @Test("A node alone refuses an entry that comes too late, and says which time would do")
    func tooNear() throws {
        let file = try configuration([entry])
        let error = #expect(throws: RuleError.self) {
            try RuleMemory.resumed(memory(nil), with: file, situation(later, isAlone: true))
        }
        let text = error?.description ?? ""
        #expect(text.contains("version 2 begins at \(TimeText.format(later))"))
        #expect(text.contains("choose 2027-01-16T08:16:10Z or later"))
    }

    @Test("What the node remembers outlives a restart, and time does not make it late")
    func remembered() throws {
        let file = try configuration([entry])
        let early = try RuleMemory.resumed(nil, with: file, situation())
        #expect(early == memory(.early))
        #expect(try RuleMemory.resumed(early, with: file, situation(later + hour)) == early)
    }

    @Test("A confirmed entry that is in force cannot be changed or removed")
    func past() throws {
        let stored = memory(.confirmed)
        let border = later - RuleLimits.guardTime
        var other = entry
        other.lateness = nil
        for entries in [[], [other]] {
            let file = try configuration(entries)
            #expect(throws: RuleError.pastChanged(RuleVersion(2), was: entry)) {
                try RuleMemory.resumed(stored, with: file, situation(border))
            }
            let before = situation(border - .milliseconds(1))
            let changed = try RuleMemory.resumed(stored, with: file, before)
            #expect(changed.entries.map(\.entry) == entries)
            // Nor does one that was never confirmed bind: nothing was counted under it.
            _ = try RuleMemory.resumed(memory(.early), with: file, situation(later))
        }
        var next = entry
        next.from = later + hour * 24
        let longer = try configuration([entry, next])
        let resumed = try RuleMemory.resumed(stored, with: longer, situation(later))
        #expect(resumed.entries.map(\.standing) == [.confirmed, .early])
    }

    @Test("The first version cannot be changed: that would change the past")
    func first() throws {
        for file in [try configuration(future: hour), try configuration(lateness: hour)] {
            let error = #expect(throws: RuleError.self) {
                try RuleMemory.resumed(memory(nil), with: file, situation())
            }
            #expect(
                error?.description.contains("write future_limit: 1d and lateness: unlimited")
                    == true)
            _ = try RuleMemory.resumed(nil, with: file, situation())
        }
    }

    /// Each byte changed, each length, and zeroes.
    static func rot(_ bytes: [UInt8]) -> [[UInt8]] {
        var rotten = [[UInt8](repeating: 0, count: bytes.count)]
        for index in bytes.indices {
            for mask in [4, 0xff] as [UInt8] {
                var bent = bytes
                bent[index] ^= mask
                rotten.append(bent)
            }
            rotten.append(Array(bytes.prefix(index)))
        }
        return rotten
    }

    @Test("The file comes back as it was stored, and whatever else becomes of it is found")
    func file() throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let files = DirectoryFileSystem(root: scratch.path)
        #expect(try RuleMemory.load(from: files) == nil)
        var stored = memory(.confirmed)
        stored.lateness = hour
        stored.entries.append(
            RuleNotice(
                RuleEntry(from: later + hour, futureLimit: .zero, lateness: nil), .late))
        try stored.store(in: files)
        #expect(try RuleMemory.load(from: files) == stored)
        let bytes = try files.readAll("RULES")
        for damaged in Self.rot(bytes) {
            let file = try files.open("RULES", .replace)
            try file.write([damaged], at: 0)
            #expect(throws: StorageError.self) { try RuleMemory.load(from: files) }
        }
    }
}

@Suite struct RuleWatchTests {
    private let border = later - RuleLimits.guardTime
    private let now = Instant(nanoseconds: 0)

    private func watch(_ own: RuleStanding?, of members: Int = 3) -> RuleWatch {
        RuleWatch(memory(own), members: members)
    }

    private func notices(_ standing: RuleStanding) -> [RuleNotice] { memory(standing).entries }

    /// Stores at once what is confirmed.
    private func settled(_ watch: RuleWatch) -> RuleWatch {
        var watch = watch
        if let next = watch.toStore(at: now) { watch.stored(next) }
        return watch
    }

    @Test("An entry is confirmed once most members had it in time, and holds back nothing then")
    func confirmed() {
        var one = watch(.early)
        #expect(one.toStore(at: now) == nil)
        one.heard([], of: NodeID("n3"))
        #expect(one.toStore(at: now) == nil)
        one.heard(notices(.early), of: NodeID("n2"))
        #expect(one.refusal(at: border) != nil)
        one = settled(one)
        #expect(one.memory == memory(.confirmed))
        #expect(one.refusal(at: later) == nil)
    }

    @Test("A node that comes late takes batches again when most members had the entry in time")
    func lateComer() {
        var late = watch(.late)
        late.heard(notices(.early), of: NodeID("n1"))
        late = settled(late)
        #expect(late.refusal(at: later + hour)?.contains("version 2 begins") == true)
        late.heard(notices(.confirmed), of: NodeID("n2"))
        #expect(settled(late).refusal(at: later + hour) == nil)
    }

    @Test("An entry that everybody put in late is never confirmed")
    func allLate() {
        var late = watch(.late)
        for peer in ["n1", "n2"] { late.heard(notices(.late), of: NodeID(peer)) }
        #expect(settled(late).refusal(at: border) != nil)
        #expect(settled(late).refusal(at: border - .milliseconds(1)) == nil)
        var mixed = watch(.fresh)
        mixed.heard(notices(.fresh), of: NodeID("n1"))
        #expect(settled(mixed).refusal(at: later) != nil)
        mixed.heard(notices(.late), of: NodeID("n2"))
        #expect(settled(mixed).refusal(at: later) != nil)
    }

    @Test("A cluster that begins with an entry of the past takes it once all have met")
    func allFresh() {
        var fresh = watch(.fresh)
        for peer in ["n1", "n2"] { fresh.heard(notices(.fresh), of: NodeID(peer)) }
        #expect(settled(fresh).refusal(at: later) == nil)
    }

    @Test("Another entry in the same place, or before it, confirms nothing")
    func otherEntries() {
        var one = watch(.early)
        var other = notices(.early)
        other[0].entry.lateness = nil
        one.heard(other, of: NodeID("n2"))
        #expect(one.toStore(at: now) == nil)
    }

    @Test("Of two tables only that of most members takes batches")
    func majority() {
        let refusal = PeerRejection(.fingerprint, field: "rules.2", theirs: "a", ours: "b")
        // One of three put the entry in, the other two did not: they go on, it does not.
        var new = watch(.early)
        var old = watch(nil)
        for peer in ["n2", "n3"] { new.refused(refusal.description, by: NodeID(peer)) }
        old.refused(refusal.description, by: NodeID("n1"))
        #expect(old.refusal(at: later) != nil)
        old.heard([], of: NodeID("n3"))
        #expect(old.refusal(at: later) == nil)
        #expect(new.refusal(at: later) != nil)
        // The other way round the old one is left alone.
        var alone = watch(nil)
        for peer in ["n1", "n2"] { alone.refused(refusal.description, by: NodeID(peer)) }
        #expect(alone.refusal(at: later)?.hasPrefix("n1: rules.2 is ") == true)
        // Half and half: nobody.
        var half = watch(nil, of: 4)
        half.heard([], of: NodeID("n4"))
        for peer in ["n1", "n2"] { half.refused(refusal.description, by: NodeID(peer)) }
        #expect(half.refusal(at: later) != nil)
        half.heard([], of: NodeID("n1"))
        #expect(half.refusal(at: later) == nil)
    }

    @Test("A peer that went before the time came counts by the table that it had")
    func gone() {
        var old = watch(nil)
        old.heard(notices(.early), of: NodeID("n1"))
        old.heard(notices(.early), of: NodeID("n2"))
        #expect(old.refusal(at: border - .milliseconds(1)) == nil)
        #expect(old.refusal(at: border)?.hasPrefix("n1: rules.2 is from ") == true)
    }

    @Test("Peers that are only away are no reason to refuse batches")
    func away() {
        #expect(watch(nil).refusal(at: later) == nil)
        #expect(watch(.confirmed, of: 5).refusal(at: later) == nil)
    }

    @Test("What could not be stored is asked for again, not at every look")
    func retry() {
        var one = watch(.early)
        one.heard(notices(.early), of: NodeID("n2"))
        #expect(one.toStore(at: now) != nil)
        #expect(one.toStore(at: now + RuleLimits.storeRetry - .seconds(1)) == nil)
        #expect(one.toStore(at: now + RuleLimits.storeRetry) == memory(.confirmed))
    }
}

@Suite struct RuleNoticeTests {
    @Test("A notice comes out as it went in, and nothing else is one")
    func text() {
        for standing in RuleStanding.allCases {
            let notice = RuleNotice(entry, standing)
            #expect(RuleNotice(text: notice.text) == notice)
        }
        let text = RuleNotice(entry, .early).text
        #expect(
            text == "from=1800086400000 future_limit=600000 lateness=2592000000 held=early")
        for other in [
            "", text + " ", text + " more=1", String(text.dropLast()), "  " + text,
            text.replacing("600000", with: "-1"), text.replacing("2592000000", with: "never"),
            text.replacing("2592000000", with: "9223372036854775807"),
        ] {
            #expect(RuleNotice(text: other) == nil, "\(other)")
        }
    }

    @Test("Two tables part where the earlier of two different entries begins")
    func divergence() {
        let one = [RuleNotice(entry, .early)]
        var sooner = one
        sooner[0].entry.from = later - hour
        #expect(RuleDivergence(one, one) == nil)
        #expect(RuleDivergence(one, [RuleNotice(entry, .late)]) == nil)
        #expect(RuleDivergence(one, sooner)?.from == later - hour)
        #expect(RuleDivergence(sooner, one)?.from == later - hour)
        let absent = RuleDivergence(one, [])
        #expect(absent?.from == later)
        #expect(absent?.end == later - RuleLimits.guardTime)
        #expect(absent?.field == "rules.2")
        #expect(absent?.theirs == "(absent)")
        #expect(
            absent?.ours == "from \(TimeText.format(later)), future_limit 10m, lateness 30d")
        var longer = one
        longer.append(
            RuleNotice(RuleEntry(from: later + hour, futureLimit: hour, lateness: nil), .early))
        #expect(RuleDivergence(longer, one)?.field == "rules.3")
    }
}

@Suite struct RuleServingTests {
    @Test("While the rules keep a node from it, batches are refused and may be sent elsewhere")
    func refused() async throws {
        let fixture = try APIFixture { _ in
            .write(.counted(duplicate: false, required: 2, acknowledged: 3))
        }
        let body = #"{"type":"view","key":"a","time":"2026-01-01T00:00:01Z"}"#
        let headers = ["Content-Type": "application/x-ndjson"]
        fixture.state.setRules("rules: version 2 begins")
        let refused = await fixture.call("POST", "/v1/events", headers, body: body)
        #expect(refused.status == 503)
        #expect(refused.text.contains(#""outcome":"not-attempted""#))
        #expect(refused.text.contains("rules: version 2 begins; send to another node"))
        #expect(fixture.state.reasons == ["rules: version 2 begins"])
        fixture.state.setRules(nil)
        #expect(await fixture.call("POST", "/v1/events", headers, body: body).status == 200)
    }

    @Test("A node folds each batch by the version of its creation")
    func folds() async throws {
        var table = RuleTable(FoldRules(futureLimit: hour))
        table.append(from: later, futureLimit: hour, lateness: hour)
        let placement = KeyPlacement(.key, try Partitioning(partitions: 4), window: .minute)
        let pool = FoldPool(
            threads: 1, rules: table, placement: placement, metrics: NodeMetrics())
        defer { pool.stop(by: SystemClock.monotonic + .seconds(5)) }
        for (offset, version, dead) in [(-1, 1, 0), (0, 2, 1)] as [(Int64, UInt16, UInt32)] {
            let created = later + .milliseconds(offset)
            let text = #"{"type":"view","key":"a","time":\#((created - hour * 2).milliseconds)}"#
            let folded = try await pool.fold(
                Array(text.utf8), id: BatchID(producer: 1, sequence: 1), createdAt: created,
                parameters: ParseParameters(format: .ndjson))
            #expect(folded.record.header.rule.number == version)
            #expect(folded.record.totals.dead == dead)
        }
    }
}
