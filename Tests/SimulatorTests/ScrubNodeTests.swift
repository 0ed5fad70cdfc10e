import Core
import NodeCore
import Replication
import Simulator
import Storage
import Testing

@Suite("A node that scrubs")
struct ScrubNodeTests {
    private static let logFileMax: UInt64 = 4 << 10

    /// With so many closed files of the log, and no table.
    private static func node(
        closedLogs: UInt32, step: Int? = nil, rate: Int? = nil, release: ReleasePolicy? = nil
    ) throws -> SoloNode {
        let node = try SoloNode(
            logFileMax: logFileMax, release: release, verifyStepBytes: step,
            scrubBytesPerSecond: rate)
        var number: UInt64 = 0
        while view(node).logFile <= closedLogs {
            number += 1
            try node.send(number)
        }
        // The last is closed once a record behind it is on the disk.
        try node.send(number + 1)
        return node
    }

    private static func view(_ node: SoloNode) -> NodeView {
        node.core.view(at: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)))
    }

    private static func wait(
        _ node: SoloNode, atMost seconds: Int, until isDone: () -> Bool
    ) throws {
        for _ in 0..<seconds * 50 where !isDone() { try node.wait(.milliseconds(20)) }
        try #require(isDone())
    }

    private static func flip(_ path: String, of node: SoloNode) throws {
        var bytes = try #require(node.disk.contents[path])
        bytes[bytes.count / 2] ^= 1
        node.disk.overwrite(path, with: bytes)
    }

    private static func damage(_ node: SoloNode) -> [String] {
        node.reports.compactMap { if case .damaged(let what) = $0 { what } else { nil } }
    }

    @Test("reads no more in a second than its budget, a step at a time; who waits does not")
    func pace() throws {
        let (step, rate) = (1 << 10, 2 << 10)
        let node = try Self.node(closedLogs: 1, step: step, rate: rate)
        try Self.wait(node, atMost: 70) { node.core.counters.scrubbedBytes > 0 }
        let size = UInt64(try #require(node.disk.contents[FileNames.log(1)]).count)
        #expect(size > 3 * UInt64(step))
        var before = node.core.counters.scrubbedBytes
        #expect(before <= UInt64(step))
        for slept in 1...20 {
            try node.wait(.milliseconds(100))
            let read = node.core.counters.scrubbedBytes
            #expect(read - before <= UInt64(step))
            #expect(read <= UInt64(step + rate * slept / 10))
            before = read
        }
        #expect(before > UInt64(step) && node.core.counters.scrubbedFiles <= 1)
        try node.wait(.seconds(2))
        #expect(node.core.counters.scrubbedFiles == 1)
        #expect(node.core.counters.scrubbedBytes == size)
        // All of it at once.
        try node.ask(.verify(age: .zero), 500, within: .seconds(5))
        try node.wait(.milliseconds(200))
        guard case .verified(let report)? = node.replies[RequestID(500)] else {
            Issue.record("a verification took as long as a scrub")
            return
        }
        #expect(report.state.isDone && report.damage.isEmpty)
        #expect(report.state.doneBytes == report.state.totalBytes)
        #expect(node.core.counters.verifiedBytes == report.state.doneBytes)
        #expect(report.state.doneBytes > size)
    }

    @Test("pauses for three times as long as a step took: what is slow is busy")
    func share() throws {
        let node = try Self.node(closedLogs: 1, step: 1 << 10)
        node.holdsJobs = true
        try Self.wait(node, atMost: 70) { Self.steps(of: node) == 1 }
        try node.wait(.seconds(1))
        try node.releaseOneJob()
        try node.wait(.milliseconds(2900))
        #expect(Self.steps(of: node) == 1)
        try node.wait(.milliseconds(300))
        #expect(Self.steps(of: node) == 2)
        #expect(node.core.counters.scrubbedBytes > 0)
    }

    private static func steps(of node: SoloNode) -> Int {
        node.jobs.count { if case .verify = $0 { true } else { false } }
    }

    @Test("says how far a verification is, file by file and step by step")
    func progress() throws {
        let node = try Self.node(closedLogs: 1, step: 1 << 10)
        #expect(Self.view(node).audit.verification == nil)
        node.holdsJobs = true
        try node.ask(.verify(age: .zero), 500, within: .seconds(60))
        var before: UInt64 = 0
        var steps = 0
        while let state = Self.view(node).audit.verification {
            #expect(!state.isDone && state.doneBytes <= state.totalBytes)
            #expect(steps == 0 || state.doneBytes > before)
            before = state.doneBytes
            steps += 1
            try node.releaseOneJob()
            try #require(steps < 50)
        }
        // The log in steps of a fourth, the manifest in one.
        #expect(steps > 4)
    }

    @Test("finds rot in a closed file of the log, and a verification names it")
    func log() throws {
        let node = try Self.node(closedLogs: 2)
        let path = FileNames.log(2)
        try Self.flip(path, of: node)
        try node.ask(.verify(age: .zero), 500, within: .seconds(5))
        try node.wait(.milliseconds(200))
        guard case .verified(let report)? = node.replies[RequestID(500)] else {
            Issue.record("no answer")
            return
        }
        let found = report.damage.map(\.detail)
        #expect(found.count == 1 && found.first?.contains(path) == true, "\(found)")
        let scrubbing = try Self.node(closedLogs: 2)
        try Self.flip(path, of: scrubbing)
        try Self.wait(scrubbing, atMost: 500) { !Self.damage(scrubbing).isEmpty }
        #expect(Self.damage(scrubbing).allSatisfy { $0.contains(path) })
        // Nobody else holds what is here: it goes on with what it has.
        #expect(node.halted == nil && scrubbing.halted == nil)
    }

    @Test("does not take the file that is written to for a closed one")
    func openLog() throws {
        let node = try Self.node(closedLogs: 1)
        try Self.flip(FileNames.log(2), of: node)
        try node.ask(.verify(age: .zero), 500, within: .seconds(5))
        try node.wait(.milliseconds(200))
        #expect(node.replies[RequestID(500)] != nil)
        #expect(Self.damage(node).isEmpty)
    }

    @Test("finds rot in the manifest")
    func manifest() throws {
        let node = try Self.node(closedLogs: 1)
        try node.ask(.flush, 400, within: .seconds(5))
        try node.wait(.milliseconds(100))
        try Self.flip(FileNames.manifest, of: node)
        try Self.wait(node, atMost: 500) { !Self.damage(node).isEmpty }
        #expect(Self.damage(node).allSatisfy { $0.contains(FileNames.manifest) })
        #expect(node.halted == nil)
    }

    @Test("a file of the log that is let go of meanwhile is nobody's loss")
    func released() throws {
        // After its first step over a file, a scrub waits for a quarter of an hour.
        let node = try Self.node(closedLogs: 1, step: 1 << 10, rate: 1, release: ReleasePolicy())
        try Self.wait(node, atMost: 70) { node.core.counters.scrubbedBytes > 0 }
        #expect(Self.view(node).logStart == 1)
        for number in UInt64(1001)...1080 { try node.send(number) }
        try Self.wait(node, atMost: 30) { Self.view(node).logStart > 1 }
        try Self.wait(node, atMost: 30) { node.disk.contents[FileNames.log(1)] == nil }
        let read = node.core.counters.scrubbedBytes
        // It is no longer looked at, and others are.
        try Self.wait(node, atMost: 200) { node.core.counters.scrubbedBytes > read }
        try node.wait(.seconds(60))
        #expect(node.core.counters.damaged == 0 && node.core.counters.unverified == 0)
        #expect(Self.damage(node).isEmpty)
        // One that is missing and was not let go of is.
        let other = try Self.node(closedLogs: 2)
        other.holdsJobs = true
        try other.ask(.verify(age: .zero), 500, within: .seconds(5))
        other.disk.forget(FileNames.log(1))
        try other.releaseJobs()
        #expect(Self.damage(other).count == 1)
    }
}
