import Core
import NodeCore
import Replication
import Simulator
import Storage
import Testing

@Suite("A node that verifies its files")
struct VerifyNodeTests {
    private static func verify(
        _ node: SoloNode, _ request: UInt64, age: Duration = .zero
    ) throws -> VerifyReport {
        try node.ask(.verify(age: age), request, within: .seconds(5))
        try node.wait(.seconds(2))
        guard case .verified(let report) = node.replies[RequestID(request)] else {
            throw Unexpected()
        }
        return report
    }

    private struct Unexpected: Error {}

    @Test("reads all of them, once for all who ask, and says what it found")
    func verifies() throws {
        let node = try SoloNode()
        for number in UInt64(1)...3 {
            try node.send(number)
            try node.ask(.flush, number, within: .seconds(5))
        }
        let report = try Self.verify(node, 100)
        #expect(report.state.isDone && report.damage.isEmpty)
        #expect(report.state.tables == UInt64(node.core.tablePaths.count))
        #expect(report.state.doneBytes > 0)
        #expect(report.state.doneBytes == report.state.totalBytes)
        let path = try #require(node.core.tablePaths.first)
        var bytes = try #require(node.disk.contents[path])
        bytes[bytes.count / 2] ^= 1
        node.disk.overwrite(path, with: bytes)
        // What was read a moment ago serves whoever does not mind.
        let old = try Self.verify(node, 101, age: .seconds(60))
        #expect(old.damage.isEmpty)
        let new = try Self.verify(node, 102)
        #expect(new.state.isDone)
        #expect(new.damage.count == 1)
        #expect(new.damage.first?.detail.contains(path) == true)
    }

    @Test("a file that cannot be opened for now is no damage, and is verified later")
    func outOfDescriptors() throws {
        let node = try SoloNode()
        for number in UInt64(1)...2 {
            try node.send(number)
            try node.ask(.flush, number, within: .seconds(5))
        }
        node.holdsJobs = true
        try node.ask(.verify(age: .zero), 100, within: .seconds(60))
        try Self.releaseFailing(node)
        #expect(node.core.counters.damaged == 0 && node.core.counters.unverified == 1)
        #expect(node.halted == nil)
        try node.wait(.seconds(5))
        // It is not told that all is well before all was read.
        #expect(node.replies[RequestID(100)] == nil)
        try node.wait(.seconds(10))
        guard case .verified(let report)? = node.replies[RequestID(100)] else {
            throw Unexpected()
        }
        #expect(report.state.isDone && report.damage.isEmpty)
        #expect(report.state.doneBytes == report.state.totalBytes)
    }

    @Test("nor is it damage where the scrubber cannot open it")
    func scrubOutOfDescriptors() throws {
        let node = try SoloNode()
        try node.send(1)
        try node.ask(.flush, 1, within: .seconds(5))
        node.holdsJobs = true
        try node.wait(.seconds(65))
        try Self.releaseFailing(node)
        #expect(node.core.counters.damaged == 0 && node.core.counters.unverified == 1)
        let reads = node.jobs.count
        try node.wait(.seconds(65))
        #expect(node.jobs.count > reads)
        #expect(node.core.counters.unverified == 1)
        #expect(node.core.counters.damaged == 0 && node.halted == nil)
    }

    /// The one job that waits is a verification, and cannot open its file.
    private static func releaseFailing(_ node: SoloNode) throws {
        guard case .verify? = node.jobs.last else { throw Unexpected() }
        node.disk.fail(at: node.disk.operations, with: .inputOutput)
        try node.releaseJobs()
        node.disk.clearFaults()
    }
}
