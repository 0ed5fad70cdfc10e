import Core
import NodeCore
import Replication
import Ring
import Storage
import Testing

@Suite("A node audits itself")
struct AuditNodeTests {
    /// What the peer claims to hold of a partition: the same set, and another state.
    private static func suspicion(_ node: SoloNode, _ partition: PartitionID) -> Input {
        let digests = node.core.batches.digests
        let line = AuditLine(
            partition: partition,
            sum: AuditSum(
                applied: digests.total(partition), home: digests.homeTotal(partition),
                state: StateDigest(counts: 1, sums: 2)))
        return .message(.replication(.audit(.suspect(line))), from: SoloNode.peer)
    }

    @Test("a suspected node counts again from its log, in jobs of bounded size, and is right")
    func recount() throws {
        let node = try SoloNode()
        let batches = ReplicationLimits.recountMax + 44
        for number in 1...UInt64(batches) { try node.send(number) }
        let partition = node.mine.sorted()[0]
        let events = node.core.heldSum(of: partition).events
        #expect(events == UInt64(batches))
        try node.handle(Self.suspicion(node, partition))
        var sizes: [Int] = []
        for case .recount(_, let positions) in node.jobs { sizes.append(positions.count) }
        #expect(sizes == [ReplicationLimits.recountMax, 44])
        #expect(node.reports.contains(.incident(SoloNode.peer, partition)))
        #expect(node.reports.contains(.recounted(partition)))
        #expect(node.halted == nil)
        // The same suspicion again is no news.
        let jobs = node.jobs.count
        try node.handle(Self.suspicion(node, partition))
        #expect(node.jobs.count == jobs)
    }

    @Test("a suspected node that counted a batch twice finds itself wrong and ends")
    func lie() throws {
        let node = try SoloNode()
        for number in 1...5 as ClosedRange<UInt64> { try node.send(number) }
        let partition = node.mine.sorted()[0]
        let record = try #require(node.lastRecord)
        let isApplied = node.core.applyBehindTheLog(record, in: partition)
        #expect(isApplied)
        try node.handle(Self.suspicion(node, partition))
        let reason = try #require(node.halted)
        #expect(reason.contains("the cells hold 6 events, the batches applied to them 5"))
    }

    @Test("a suspicion about another set is not believed")
    func otherSet() throws {
        let node = try SoloNode()
        try node.send(1)
        let partition = node.mine.sorted()[0]
        let input = Self.suspicion(node, partition)
        try node.send(2)
        try node.handle(input)
        #expect(!node.reports.contains(.incident(SoloNode.peer, partition)))
    }

    @Test("the scrubber finds a cell that changed in memory within its interval")
    func scrub() throws {
        let node = try SoloNode()
        try node.send(1)
        let partition = node.mine.sorted()[0]
        let isChanged = node.core.corruptCell(of: partition)
        #expect(isChanged)
        try node.wait(.seconds(61))
        #expect(node.halted?.contains("cells in memory do not add up") == true)
    }

    @Test("no more audits are coordinated at once than the limit says")
    func surveys() throws {
        let node = try SoloNode()
        try node.send(1)
        try node.ask(.flush, 1, within: .seconds(5))
        node.holdsJobs = true
        for number in 0...UInt64(ReplicationLimits.surveysMax) {
            try node.ask(.audit(age: .zero), 10 + number, within: .seconds(20))
        }
        let last = node.replies[RequestID(10 + UInt64(ReplicationLimits.surveysMax))]
        guard case .failed(.overloaded)? = last else {
            Issue.record("one more audit than allowed was answered \(String(describing: last))")
            return
        }
        // The disk is read once for all of them.
        try node.wait(.milliseconds(500))
        var reads = 0
        for case .verify in node.jobs { reads += 1 }
        #expect(reads == 1)
        try node.handle(.cancel(RequestID(10)))
        try node.releaseJobs()
        try node.wait(.seconds(8))
        #expect(node.replies[RequestID(10)] == nil)
        for number in 1..<UInt64(ReplicationLimits.surveysMax) {
            guard case .audit(.report(let report))? = node.replies[RequestID(10 + number)] else {
                Issue.record("audit \(number) has no report")
                return
            }
            // The peer, which says nothing, is all that is not proved.
            #expect(report.differences.map(\.kind) == [.unreachable])
            #expect(report.balance.input == HomeTotals(events: 1, counted: 1, dead: 0))
            #expect(report.balance.output == 1)
        }
    }

    @Test("a damaged file is found by an audit, named, and stays so until it is gone")
    func damagedFile() throws {
        let node = try SoloNode()
        try node.send(1)
        try node.ask(.flush, 1, within: .seconds(5))
        let path = try #require(node.core.tablePaths.first)
        var bytes = try #require(node.disk.contents[path])
        bytes[30] ^= 1
        node.disk.overwrite(path, with: bytes)
        for number in 2...3 as ClosedRange<UInt64> {
            try node.ask(.audit(age: .zero), number, within: .seconds(20))
            try node.wait(.seconds(8))
            guard case .audit(.report(let report))? = node.replies[RequestID(number)] else {
                Issue.record("audit \(number) has no report")
                return
            }
            let damage = report.differences.filter { $0.kind == .damage }
            #expect(damage.map(\.nodes) == [[NodeID("n1")]])
            #expect(damage.first?.detail.contains(path) == true)
        }
        #expect(node.halted == nil)
        var reported = 0
        for case .damaged in node.reports { reported += 1 }
        #expect(reported == 1)
    }
}
