import Core
import NodeCore
import Replication
import Simulator
import Storage
import Testing

@Suite("A node whose log is kept")
struct LogIndexNodeTests {
    private static let policy = LogIndexPolicy(age: .seconds(4), rest: 1)

    /// Its log has many files, and tables cover what is in them.
    private static func node(_ bend: (SoloNode) throws -> Void = { _ in }) throws -> SoloNode {
        let node = try SoloNode(logFileMax: 2 << 10, logIndex: policy)
        for number in 1...UInt64(60) { try node.send(number) }
        try bend(node)
        try node.ask(.flush, 1, within: .seconds(5))
        try node.wait(.seconds(1))
        return node
    }

    private static func asked(_ node: SoloNode) -> [UInt32] {
        node.jobs.compactMap { if case .indexLog(let plan) = $0 { plan.file } else { nil } }
    }

    private static func start(
        _ node: SoloNode, readsIndexes: Bool
    ) throws -> NodeStart {
        var options = StorageOptions(digestKey: SoloNode.key, logFileMax: 2 << 10)
        options.readsLogIndexes = readsIndexes
        return try NodeStart(
            node.core.configuration, ring: node.core.ring, fileSystem: node.disk.clone(),
            options: options, hostID: 1, nonce: 9,
            wall: WallTime(milliseconds: 1_767_225_700_000))
    }

    @Test("writes an index for each file that stays, and starts by them as without")
    func indexes() throws {
        let node = try Self.node()
        #expect(Self.asked(node).isEmpty, "a file is not old enough after a second")
        try node.wait(.seconds(15))
        let view = node.core.view(at: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)))
        let done = Int(view.counters.logFilesIndexed)
        #expect(done >= 4 && done < Int(view.logFile) && node.halted == nil)
        // One after the other, each once but the last, which no table covers to its end.
        let asked = Self.asked(node)
        #expect(Array(asked.prefix(done)) == (1...UInt32(done)).map { $0 })
        #expect(asked.dropFirst(done).allSatisfy { $0 == UInt32(done) + 1 })
        let indexed = try Self.start(node, readsIndexes: true)
        let whole = try Self.start(node, readsIndexes: false)
        let files = indexed.recovered.indexed
        #expect(files == (1...UInt32(done)).map { $0 })
        let differences = indexed.differences(from: whole)
        #expect(differences.isEmpty)
        let known = indexed.batches.ids
        #expect(known.count == 60 && known == node.core.batches.ids)
    }

    @Test("says of a log file that cannot be read that it is damaged, once, and goes on")
    func damage() throws {
        let path = FileNames.log(2)
        let node = try Self.node { node in
            var bytes = try #require(node.disk.contents[path])
            bytes[bytes.count / 2] ^= 1
            node.disk.overwrite(path, with: bytes)
        }
        try node.wait(.seconds(15))
        let found = node.reports.filter {
            if case .damaged(let what) = $0 { what.contains(path) } else { false }
        }
        #expect(found.count == 1 && node.halted == nil)
        #expect(Self.asked(node).count { $0 == 2 } == 1)
        let names = node.disk.contents.keys.filter { $0.hasSuffix(FileNames.logIndexSuffix) }
        #expect(names.contains(FileNames.logIndex(1)) && names.contains(FileNames.logIndex(3)))
        #expect(!names.contains(FileNames.logIndex(2)))
    }
}
