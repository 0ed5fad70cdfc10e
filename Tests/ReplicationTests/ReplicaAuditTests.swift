import Core
import Replication
import Storage
import Testing

@Suite("What a replica makes of comparisons")
struct ReplicaAuditTests {
    private static let peer = NodeID("n2")
    private static let young = Duration.seconds(1)

    private static func line(_ partition: Int, set: Int, state: Int = 0, home: Int = 0) -> AuditLine
    {
        AuditLine(
            partition: PartitionID(partition),
            sum: AuditSum(
                applied: SetDigest(sum: UInt128(set), count: UInt64(set)),
                home: SetDigest(sum: UInt128(home), count: UInt64(home)),
                state: StateDigest(counts: UInt128(state), sums: 0)))
    }

    private static func judge(
        _ audit: inout ReplicaAudit, _ own: AuditLine, _ theirs: AuditLine, pulls: UInt64 = 0,
        theirPulls: UInt64? = nil, at seconds: Int64
    ) -> [AuditFinding.Kind] {
        audit.judge(
            peer, own: [own], theirs: [theirs],
            pulls: ReplicaAudit.Pulls(own: pulls, theirs: theirPulls ?? pulls), young: young,
            at: Instant.zero + .seconds(seconds)
        ).map(\.kind)
    }

    @Test("the same set with another state is an incident at once, told once until it is over")
    func incident() {
        var audit = ReplicaAudit()
        let own = Self.line(3, set: 5, state: 70)
        let lie = Self.line(3, set: 5, state: 71)
        #expect(Self.judge(&audit, own, lie, at: 1) == [.incident])
        #expect(Self.judge(&audit, own, lie, at: 2) == [])
        #expect(audit.open.map(\.partition) == [PartitionID(3)])
        #expect(audit.lastClean(with: Self.peer) == nil)
        #expect(Self.judge(&audit, own, own, at: 3) == [])
        #expect(audit.open.isEmpty)
        #expect(audit.lastClean(with: Self.peer) == Instant.zero + .seconds(3))
        #expect(Self.judge(&audit, own, lie, at: 4) == [.incident])
    }

    @Test("other home records do not excuse another state of the same slices")
    func incidentBesideLag() {
        var audit = ReplicaAudit()
        let findings = Self.judge(
            &audit, Self.line(0, set: 5, state: 1, home: 2),
            Self.line(0, set: 5, state: 2, home: 3), at: 1)
        #expect(findings == [.incident])
        #expect(audit.lag(of: Self.peer).partitions == 1)
        #expect(audit.lag(of: Self.peer).batches == 1)
    }

    @Test("sets that differ are lag, and sets that move stay lag however long it takes")
    func lag() {
        var audit = ReplicaAudit()
        for second in 1...100 {
            let found = Self.judge(
                &audit, Self.line(0, set: second, state: second),
                Self.line(0, set: second + 3, state: second + 3), pulls: UInt64(second),
                at: Int64(second))
            #expect(found == [])
        }
        #expect(audit.lag(of: Self.peer).batches == 3)
        audit.agree(with: Self.peer, at: .zero)
        #expect(audit.lag(of: Self.peer) == ReplicaAudit.Lag())
    }

    @Test("sets that stay different are divergence only after both sides pulled twice")
    func divergence() {
        let own = Self.line(0, set: 5)
        let theirs = Self.line(0, set: 6)
        var audit = ReplicaAudit()
        #expect(Self.judge(&audit, own, theirs, pulls: 10, at: 0) == [])
        // Too young to be listed by catch-up: these pulls prove nothing.
        #expect(Self.judge(&audit, own, theirs, pulls: 20, at: 0) == [])
        #expect(Self.judge(&audit, own, theirs, pulls: 20, at: 1) == [])
        #expect(Self.judge(&audit, own, theirs, pulls: 22, theirPulls: 21, at: 50) == [])
        #expect(Self.judge(&audit, own, theirs, pulls: 22, at: 51) == [.divergence])
        #expect(Self.judge(&audit, own, theirs, pulls: 30, at: 52) == [])
        #expect(audit.open.map(\.kind) == [.divergence])
        // Something came after all.
        #expect(Self.judge(&audit, Self.line(0, set: 6), theirs, pulls: 31, at: 53) == [])
        #expect(audit.open.isEmpty)
    }

    @Test("a peer that restarted begins to count its pulls anew")
    func restart() {
        let own = Self.line(0, set: 5)
        let theirs = Self.line(0, set: 6)
        var audit = ReplicaAudit()
        _ = Self.judge(&audit, own, theirs, pulls: 10, at: 0)
        _ = Self.judge(&audit, own, theirs, pulls: 10, at: 2)
        #expect(Self.judge(&audit, own, theirs, pulls: 14, theirPulls: 1, at: 3) == [])
        #expect(Self.judge(&audit, own, theirs, pulls: 15, theirPulls: 3, at: 4) == [])
        #expect(Self.judge(&audit, own, theirs, pulls: 16, theirPulls: 3, at: 5) == [.divergence])
    }

    @Test("a suspicion is news once, and a peer that is forgotten is no longer behind")
    func suspicion() {
        var audit = ReplicaAudit()
        let isNews = audit.note(PartitionID(1), suspectedBy: Self.peer)
        let isNewsAgain = audit.note(PartitionID(1), suspectedBy: Self.peer)
        #expect(isNews && !isNewsAgain)
        _ = Self.judge(&audit, Self.line(0, set: 1), Self.line(0, set: 2), at: 1)
        audit.forget(Self.peer)
        #expect(audit.lag(of: Self.peer).partitions == 0)
        #expect(audit.open.map(\.kind) == [.incident])
        var blind = ReplicaAudit(isBlind: true)
        let isSeen = blind.note(PartitionID(1), suspectedBy: Self.peer)
        #expect(!isSeen)
    }
}
