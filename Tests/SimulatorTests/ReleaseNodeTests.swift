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

    @Test("lets go of files of the log beside a list that hangs on a disk")
    func hanging() throws {
        let node = try SoloNode(
            logFileMax: 2 << 10, release: ReleasePolicy(), isAlone: true)
        try node.send(1)
        try node.ask(.flush, 1, within: .seconds(5))
        try node.wait(.milliseconds(100))
        node.hangs = { if case .scan = $0 { true } else { false } }
        let list = ScanSpec(partitions: node.mine, output: .totalsByKey)
        try node.ask(.read(.scan(list, top: nil), consistency: .one), 2, within: .seconds(5))
        for number in 2...UInt64(120) { try node.send(number) }
        try node.wait(.seconds(20))
        #expect(node.jobs.contains { if case .scan = $0 { true } else { false } })
        let view = node.core.view(at: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)))
        #expect(view.logStart > 3)
        #expect(Self.logs(of: node).count == Int(view.logFile - view.logStart) + 1)
        #expect(node.halted == nil)
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
        // Nobody can restore it: it is not read again each second.
        #expect(Self.plans(of: node).count == 1)
    }

    private static func plans(of node: SoloNode) -> [HistoryPlan] {
        node.jobs.compactMap { if case .writeHistory(let plan) = $0 { plan } else { nil } }
    }

    private static func histories(of node: SoloNode) -> [String] {
        node.disk.contents.keys.filter { $0.hasPrefix(FileNames.historyDirectory) }.sorted()
    }

    @Test("goes on without a history file that cannot be read when it is to be merged")
    func damagedHistory() throws {
        let release = ReleasePolicy(filesMin: 1, filesMax: 1, stepMax: 1)
        let node = try SoloNode(logFileMax: 2 << 10, release: release)
        var number: UInt64 = 0
        func send(until isDone: () -> Bool) throws {
            while !isDone(), number < 2000 {
                for _ in 1...10 {
                    number += 1
                    try node.send(number)
                }
                try node.wait(.seconds(2))
            }
        }
        try send { Self.histories(of: node).count >= 3 }
        let broken = try #require(Self.histories(of: node).first)
        var bytes = try #require(node.disk.contents[broken])
        bytes[bytes.count / 3] ^= 1
        node.disk.overwrite(broken, with: bytes)
        let isMerge = { (plan: HistoryPlan) in !plan.merged.isEmpty }
        try send { Self.plans(of: node).count(where: isMerge) >= 2 }
        let merges = Self.plans(of: node).filter(isMerge)
        #expect(merges[0].merged.contains { $0.meta.path == broken })
        #expect(!merges[1].merged.contains { $0.meta.path == broken })
        try node.wait(.seconds(20))
        #expect(node.halted == nil)
        let left = Self.histories(of: node)
        #expect(left.contains(broken) && left.count < StorageLimits.historyFilesMax)
        let view = node.core.view(at: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)))
        #expect(view.logFile - view.logStart <= 2, "\(view.logStart)…\(view.logFile)")
    }
}
