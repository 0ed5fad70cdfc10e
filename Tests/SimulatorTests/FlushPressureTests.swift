import Core
import Gossip
import NodeCore
import Replication
import Simulator
import Testing
import Wire

@Suite("A node whose flushes do not keep up")
struct FlushPressureTests {
    private static let memtableMax = 4 << 10

    private static func bytes(_ node: SoloNode) -> Int {
        node.core.view(at: Now(monotonic: .zero, wall: WallTime(milliseconds: 0))).memtableBytes
    }

    /// A batch of a key of its own.
    private static func record(_ node: SoloNode, _ number: UInt64) -> BatchRecord {
        node.record(number, key: Array("key \(number)".utf8))
    }

    /// One that may write no files, full to where it takes nothing more.
    private static func full() throws -> SoloNode {
        let node = try SoloNode(memtableBytesMax: memtableMax)
        node.holdsJobs = true
        var number: UInt64 = 0
        while bytes(node) <= 2 * memtableMax {
            number += 1
            try #require(number < 1000, "the memtable does not fill")
            let write = ClientRequest.write(record(node, number), consistency: .one)
            try node.ask(write, 1000 + number, within: .seconds(5))
            try node.wait(.milliseconds(20))
        }
        return node
    }

    private static func bind(_ node: SoloNode, _ record: BatchRecord, _ tag: UInt64) throws {
        let bind = Bind(
            tag: Tag(tag), header: record.header, home: record.home, record: record,
            isBound: false, isAdmitted: false)
        try node.handle(.message(.replication(.bind(bind)), from: SoloNode.peer))
    }

    @Test("takes nothing new of its peers, says why, and takes it once a file is written")
    func peers() throws {
        let node = try Self.full()
        let before = Self.bytes(node)
        let record = Self.record(node, 2000)
        try Self.bind(node, record, 1)
        #expect(node.bindAnswers == [.unable(.flushes)])
        let slices = try record.subset(record.partitions)
        try node.handle(
            .message(.replication(.applySlices(Tag(2), slices)), from: SoloNode.peer))
        #expect(node.bindAnswers == [.unable(.flushes), .unable(.flushes)])
        #expect(node.core.counters.heldBack == 2)
        #expect(Self.bytes(node) == before)

        try node.releaseJobs()
        try node.wait(.milliseconds(200))
        #expect(Self.bytes(node) < before)
        try Self.bind(node, record, 3)
        #expect(node.bindAnswers.last == .holds(wasBound: false))
        #expect(node.halted == nil)
    }

    private static func write(
        _ node: SoloNode, _ number: UInt64, inPartitionOfPeer: Bool = true
    ) throws -> ClientResponse? {
        let record = node.record(number, inPartitionOfPeer: inPartitionOfPeer)
        let write = ClientRequest.write(record, consistency: .quorum)
        try node.ask(write, 3000 + number, within: .seconds(5))
        try node.wait(.milliseconds(40))
        return node.replies[RequestID(3000 + number)]
    }

    @Test("that took no slices is not counted on for a while: what needs it is refused at once")
    func coordinator() throws {
        let node = try SoloNode()
        try node.hear([.status: "NORMAL"])
        #expect(try Self.write(node, 1) == nil, "it waits for the peer, which says nothing")
        let tag = try #require(node.slicesSent.last)
        let refusal = BindReply(
            tag: tag, answer: .unable(.flushes),
            vote: Vote(incarnation: Incarnation(1), isVoting: true))
        try node.handle(.message(.replication(.bindReply(refusal)), from: SoloNode.peer))
        let sent = node.slicesSent.count
        guard case .write(.notAttempted(.tooFewReplicas(1, 0)))? = try Self.write(node, 2) else {
            Issue.record("\(String(describing: node.replies[RequestID(3002)]))")
            return
        }
        #expect(node.slicesSent.count == sent && node.core.batches[node.id(2)] == nil)
        // What does not need it goes on, and so does what is bound.
        guard case .write(.counted)? = try Self.write(node, 3, inPartitionOfPeer: false) else {
            Issue.record("\(String(describing: node.replies[RequestID(3003)]))")
            return
        }
        #expect(node.replies[RequestID(3001)] == nil)
        try node.wait(.seconds(1))
        #expect(node.slicesSent.contains(tag) && node.slicesSent.count > sent)
        // It is asked again.
        #expect(try Self.write(node, 4) == nil)
        #expect(Set(node.slicesSent).count == 2 && node.halted == nil)
    }

    @Test("whose clock is doubted is counted on for slices all the same")
    func doubted() throws {
        let node = try SoloNode()
        try node.hear([.status: "NORMAL"])
        #expect(try Self.write(node, 1) == nil)
        let refusal = BindReply(
            tag: try #require(node.slicesSent.last), answer: .unable(.clock),
            vote: Vote(incarnation: Incarnation(1), isVoting: true))
        try node.handle(.message(.replication(.bindReply(refusal)), from: SoloNode.peer))
        let sent = Set(node.slicesSent).count
        #expect(try Self.write(node, 2) == nil, "it waits for the peer")
        #expect(Set(node.slicesSent).count == sent + 1)
    }
}
