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
}
