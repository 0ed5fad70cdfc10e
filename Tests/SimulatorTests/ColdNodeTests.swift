import Core
import NodeCore
import Replication
import Simulator
import Storage
import Testing

/// The bucket of their events ended six days ago.
@Suite("A node with a cold disk")
struct ColdNodeTests {
    private static func node(after days: Int64?) throws -> SoloNode {
        try SoloNode(
            isAlone: true, cold: ColdPolicy(after: days.map { .seconds($0 * 86_400) }))
    }

    private static func flushes(_ numbers: ClosedRange<UInt64>, of node: SoloNode) throws {
        for number in numbers {
            try node.send(number)
            try node.ask(.flush, number, within: .seconds(5))
            try node.wait(.milliseconds(40))
        }
    }

    private static func isHot(_ node: SoloNode) -> Bool {
        node.core.tablePaths.allSatisfy { $0.hasPrefix("sstables/") }
    }

    private static func isCold(_ node: SoloNode) -> Bool {
        !node.core.tablePaths.isEmpty
            && node.core.tablePaths.allSatisfy { $0.hasPrefix("cold/") }
    }

    private static func failures(of node: SoloNode) -> Int {
        node.reports.count {
            if case .coldDiskFailed = $0 { true } else { false }
        }
    }

    private static func files(of node: SoloNode) -> [String] {
        node.disk.contents.keys.filter { $0.hasSuffix(FileNames.tableSuffix) }.sorted()
    }

    @Test("moves what is old enough by the frontier, late tables too, and merges them there")
    func moves() throws {
        let node = try Self.node(after: 5)
        try Self.flushes(1...2, of: node)
        try node.wait(.seconds(20))
        #expect(Self.isCold(node), "\(node.core.tablePaths)")
        #expect(node.core.counters.coldMoves > 0)
        #expect(node.reports.contains { if case .moved = $0 { true } else { false } })
        try Self.flushes(3...9, of: node)
        try node.wait(.seconds(60))
        #expect(Self.isCold(node), "\(node.core.tablePaths)")
        #expect(node.core.tablePaths.count < 4)
        #expect(Self.files(of: node) == node.core.tablePaths.sorted())
        #expect(node.core.counters.coldMovesFailed == 0)
        #expect(node.halted == nil)
    }

    @Test("leaves what is younger where it is, and everything where nothing is to move")
    func stays() throws {
        for days in [7, nil] as [Int64?] {
            let node = try Self.node(after: days)
            try Self.flushes(1...3, of: node)
            try node.wait(.seconds(60))
            #expect(Self.isHot(node) && node.core.counters.coldMoves == 0)
        }
    }

    @Test("a full cold disk stops moves alone; a full disk beside the log does not stop them")
    func room() throws {
        let node = try Self.node(after: 5)
        try node.handle(.coldDisk(spare: 0))
        try Self.flushes(1...3, of: node)
        try node.wait(.seconds(60))
        #expect(Self.isHot(node) && node.core.counters.compactions > 0)
        try node.handle(.disk(hasRoom: false, spare: 0))
        try node.handle(.coldDisk(spare: .max))
        try node.wait(.seconds(20))
        #expect(Self.isCold(node), "\(node.core.tablePaths)")
        #expect(node.halted == nil)
    }

    @Test("an fsync that fails there ends nothing: it is tried again later")
    func failedSync() throws {
        let node = try Self.node(after: 5)
        try node.handle(.coldDisk(spare: 0))
        try Self.flushes(1...3, of: node)
        try node.wait(.seconds(60))
        node.holdsJobs = true
        try node.handle(.coldDisk(spare: .max))
        try node.wait(.seconds(1))
        node.disk.failSyncs(1)
        try node.releaseJobs()
        #expect(Self.failures(of: node) == 1)
        #expect(node.halted == nil && Self.isHot(node))
        #expect(node.core.counters.coldMovesFailed == 1)
        #expect(!Self.files(of: node).contains { FileNames.isCold($0) })
        try node.wait(.seconds(30))
        #expect(Self.isHot(node), "it is left alone for a while")
        try node.wait(.seconds(700))
        #expect(Self.isCold(node), "\(node.core.tablePaths)")
    }

    @Test("a disk that goes away while it runs is reported, and is no damage")
    func unmounted() throws {
        let node = try Self.node(after: 5)
        try Self.flushes(1...3, of: node)
        try node.wait(.seconds(30))
        #expect(Self.isCold(node))
        for path in node.disk.contents.keys where FileNames.isCold(path) { node.disk.forget(path) }
        try node.wait(.seconds(200))
        #expect(Self.failures(of: node) > 0)
        #expect(node.core.counters.damaged == 0)
        // Nor does it take the directory under the mount point for its disk.
        try Self.flushes(4...5, of: node)
        try node.wait(.seconds(60))
        #expect(!node.disk.contents.keys.contains { FileNames.isCold($0) })
        #expect(node.halted == nil)
    }
}
