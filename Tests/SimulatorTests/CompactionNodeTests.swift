import Core
import NodeCore
import Replication
import Simulator
import Storage
import Testing

@Suite("A node that compacts")
struct CompactionNodeTests {
    private static func flushes(_ count: UInt64, of node: SoloNode) throws {
        for number in 1...count {
            try node.send(number)
            try node.ask(.flush, number, within: .seconds(5))
            try node.wait(.milliseconds(40))
        }
    }

    private static func files(of node: SoloNode) -> [String] {
        node.disk.contents.keys.filter { $0.hasPrefix(FileNames.tableDirectory) }.sorted()
    }

    private static func events(of node: SoloNode) throws -> UInt64 {
        var events: UInt64 = 0
        for path in node.core.tablePaths {
            let report = try Inspection.table(
                path, in: node.disk, options: StorageOptions(digestKey: SoloNode.key))
            #expect(report.isSound)
            guard case .object(let fields) = report.value,
                case .number(let held)? = fields.first(where: { $0.name == "events" })?.value
            else { continue }
            events += UInt64(held)
        }
        return events
    }

    @Test("merges what flushes leave; the files of the inputs go")
    func merges() throws {
        let node = try SoloNode()
        try Self.flushes(6, of: node)
        try node.wait(.seconds(2))
        let compacted = node.reports.filter {
            if case .compacted = $0 { true } else { false }
        }
        #expect(!compacted.isEmpty)
        #expect(node.core.tablePaths.count < 6)
        #expect(Self.files(of: node) == node.core.tablePaths.sorted())
        #expect(try Self.events(of: node) == 6)
        #expect(node.halted == nil)
        #expect(node.core.counters.compactions == UInt64(compacted.count))
        #expect(node.core.counters.compactionBytesWritten > 0)
    }

    @Test("asked for it, ends with one table and answers then; asked again, at once")
    func onRequest() throws {
        let node = try SoloNode()
        try node.handle(.disk(hasRoom: true, spare: 0))
        try Self.flushes(5, of: node)
        #expect(node.core.tablePaths.count == 5)
        try node.ask(.compact, 100, within: .seconds(1))
        guard case .failed(.notReady) = node.replies[RequestID(100)] else {
            Issue.record("it compacts without room: \(String(describing: node.replies))")
            return
        }
        try node.handle(.disk(hasRoom: true, spare: .max))
        for request in [101, 102] as [UInt64] {
            try node.ask(.compact, request, within: .seconds(5))
            try node.wait(.seconds(1))
            guard case .compacted(isDone: true) = node.replies[RequestID(request)] else {
                Issue.record("it does not answer")
                return
            }
            #expect(node.core.tablePaths.count == 1)
        }
        #expect(try Self.events(of: node) == 5)
        #expect(node.halted == nil)
    }

    @Test("says at the deadline that it is not done, and goes on")
    func deadline() throws {
        let node = try SoloNode()
        try node.handle(.disk(hasRoom: true, spare: 0))
        try Self.flushes(3, of: node)
        try node.handle(.disk(hasRoom: true, spare: .max))
        node.holdsJobs = true
        try node.ask(.compact, 100, within: .seconds(1))
        try node.wait(.seconds(2))
        guard case .compacted(isDone: false) = node.replies[RequestID(100)] else {
            Issue.record("it does not answer at the deadline")
            return
        }
        try node.releaseJobs()
        // Nobody waits any more: it pauses for longer than its last step took.
        try node.wait(.seconds(8))
        #expect(node.core.tablePaths.count == 1)
        #expect(node.halted == nil)
    }
}
