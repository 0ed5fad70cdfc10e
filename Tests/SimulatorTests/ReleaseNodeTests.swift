import Core
import NodeCore
import Replication
import Simulator
import Storage
import Testing

@Suite("A node that lets go of payloads")
struct ReleaseNodeTests {
    private static func logs(of node: SoloNode) -> [String] {
        node.disk.contents.keys.filter { $0.hasPrefix(FileNames.logDirectory) }.sorted()
    }

    @Test("keeps few log files, and knows every batch as before")
    func releases() throws {
        let node = try SoloNode(logFileMax: 2 << 10, release: ReleasePolicy())
        for number in 1...UInt64(120) { try node.send(number) }
        let last = try #require(node.lastRecord)
        try node.wait(.seconds(20))
        let view = node.core.view(at: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)))
        #expect(view.logStart > 3 && view.logFile - view.logStart <= 2)
        #expect(Self.logs(of: node).count == Int(view.logFile - view.logStart) + 1)
        #expect(view.counters.payloadsReleased > 100)
        #expect(view.counters.logFilesReleased == UInt64(view.logStart) - 1)
        #expect(node.core.batches.count == 120)
        #expect(node.halted == nil)
        // The same batch once more is a duplicate, and changes nothing.
        let before = node.core.batches.ids
        try node.ask(.write(last, consistency: .quorum), 5000, within: .seconds(5))
        try node.wait(.milliseconds(100))
        guard case .write(let outcome)? = node.replies[RequestID(5000)] else {
            Issue.record("no answer to a duplicate")
            return
        }
        #expect("\(outcome)".contains("counted") || "\(outcome)".contains("uplicate"))
        #expect(node.core.batches.ids == before)
        let released = node.reports.filter {
            if case .released = $0 { true } else { false }
        }
        #expect(!released.isEmpty)
    }

    @Test("a start without the log's head knows what was in it")
    func restart() throws {
        let release = ReleasePolicy(filesMin: 1, filesMax: 1, stepMax: 1)
        let node = try SoloNode(logFileMax: 2 << 10, release: release)
        for number in 1...UInt64(60) { try node.send(number) }
        try node.wait(.seconds(5))
        let disk = node.disk.clone()
        let start = try NodeStart(
            node.core.configuration, ring: node.core.ring, fileSystem: disk,
            options: StorageOptions(digestKey: SoloNode.key, logFileMax: 2 << 10), hostID: 1,
            nonce: 9, wall: WallTime(milliseconds: 1_767_225_700_000))
        #expect(start.damage.isEmpty && start.quarantined.isEmpty)
        #expect(start.recovered.manifest.logStart > 1)
        let index = start.batches
        #expect(index.ids == node.core.batches.ids && index.unsettledIDs.isEmpty)
        for partition in node.mine {
            #expect(
                index.digests.total(partition) == node.core.batches.digests.total(partition))
            #expect(
                index.digests.homeTotal(partition)
                    == node.core.batches.digests.homeTotal(partition))
        }
    }

    @Test("keeps a file of the log of which a record cannot be read, and says so")
    func damage() throws {
        let node = try SoloNode(logFileMax: 2 << 10, release: ReleasePolicy())
        for number in 1...UInt64(6) { try node.send(number) }
        let first = FileNames.log(1)
        let id = try #require(node.core.batches.ids.first)
        let position = try #require(node.core.batches[id]?.record?.position)
        #expect(position.file == 1)
        var bytes = try #require(node.disk.contents[first])
        bytes[Int(position.offset) + Int(position.length) / 2] ^= 1
        node.disk.overwrite(first, with: bytes)
        for number in 7...UInt64(60) { try node.send(number) }
        try node.wait(.seconds(5))
        #expect(node.halted == nil && Self.logs(of: node).contains(first))
        let found = node.reports.filter {
            if case .damaged(let what) = $0 { what.contains(first) } else { false }
        }
        #expect(found.count == 1)
        #expect(node.core.batches.count == 60)
    }
}
