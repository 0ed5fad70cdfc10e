import Core
import NodeCore
import Replication
import Storage
import Testing

@Suite("A node that is asked for many lists at once")
struct ScanNodeTests {
    private static let lists: Range<UInt64> = 100..<105

    /// All lists are asked for while no file is read.
    private static func asked() throws -> SoloNode {
        let node = try SoloNode(isAlone: true, scanBytesMax: 1)
        try node.send(1)
        try node.ask(.flush, 1, within: .seconds(5))
        try node.wait(.milliseconds(40))
        try node.send(2)
        node.holdsJobs = true
        let spec = ScanSpec(partitions: node.mine, output: .totalsByKey)
        for number in lists {
            let read = ClientRequest.read(.scan(spec, top: nil), consistency: .one)
            try node.ask(read, number, within: .seconds(5))
        }
        return node
    }

    private static func scans(_ node: SoloNode) -> Int {
        node.jobs.count { job in
            if case .scan = job { true } else { false }
        }
    }

    @Test("gathers one after the other, and answers all")
    func oneByOne() throws {
        let node = try Self.asked()
        #expect(Self.scans(node) == 1)
        #expect(node.core.counters.scansWaited == 4)
        try node.releaseJobs()
        try node.wait(.milliseconds(100))
        #expect(Self.scans(node) == 5)
        for number in Self.lists {
            guard case .read? = node.replies[RequestID(number)] else {
                Issue.record("\(number): \(String(describing: node.replies[RequestID(number)]))")
                continue
            }
        }
    }

    @Test("says of one that would gather too much that it does, and not that a file is damaged")
    func tooLarge() throws {
        let node = try Self.asked()
        try node.failJobs(.scanTooLarge(bytes: 1 << 31))
        guard case .failed(.tooLarge(let why))? = node.replies[RequestID(100)] else {
            Issue.record("\(String(describing: node.replies[RequestID(100)]))")
            return
        }
        #expect(why.contains("\(1 << 31)"))
        // The others were answered in their turn.
        try node.wait(.milliseconds(100))
        guard case .read? = node.replies[RequestID(101)] else {
            Issue.record("\(String(describing: node.replies[RequestID(101)]))")
            return
        }
        #expect(node.halted == nil)
    }

    @Test("forgets those for which nobody waits any more")
    func late() throws {
        let node = try Self.asked()
        try node.wait(.seconds(12))
        try node.releaseJobs()
        try node.wait(.milliseconds(100))
        #expect(Self.scans(node) == 1)
        #expect(node.halted == nil)
    }
}
