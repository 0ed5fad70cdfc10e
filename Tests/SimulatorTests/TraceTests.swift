import Core
import Foundation
import Simulator
import Testing

/// S16: a seed is one history, to the last event.
@Suite("Traces")
struct TraceTests {
    static let seeds: ClosedRange<UInt64> = 1...100
    static let childOutput = "QUIPU_TRACE_OUTPUT"

    static func lines() -> String {
        seeds.map { Simulation.json(SeedRun(seed: $0), nil) + "\n" }.joined()
    }

    @Test("are the same when a seed runs again")
    func again() {
        for seed in UInt64(20)...24 {
            let first = SeedRun(seed: seed)
            let second = SeedRun(seed: seed, keepsHistory: 10)
            #expect(first.trace == second.trace)
            #expect(first.counted == second.counted)
            #expect(!second.history.isEmpty && first.history.isEmpty)
        }
    }

    @Test("differ between seeds")
    func differ() {
        let hashes = Set((UInt64(1)...8).map { SeedRun(seed: $0).trace.hash })
        #expect(hashes.count == 8)
    }

    /// Swift seeds hashing per process: a dictionary's order that reached an effect would show
    /// here.
    @Test("are the same in another process")
    func otherProcess() throws {
        let output = FileManager.default.temporaryDirectory
            .appendingPathComponent("quipu-traces-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: output) }
        let child = Process()
        child.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        child.arguments = [
            "--testing-library", "swift-testing", "--filter", "TraceTests/child",
        ]
        var environment = ProcessInfo.processInfo.environment
        environment[Self.childOutput] = output.path
        child.environment = environment
        child.standardOutput = FileHandle.nullDevice
        child.standardError = FileHandle.nullDevice
        try child.run()
        let ours = Self.lines()
        child.waitUntilExit()
        let theirs = try String(contentsOf: output, encoding: .utf8)
        #expect(theirs == ours)
        #expect(theirs.split(separator: "\n").count == Self.seeds.count)
    }

    /// Runs only in the process that the test above starts.
    @Test(
        "child", .enabled(if: ProcessInfo.processInfo.environment[childOutput] != nil))
    func child() throws {
        let path = try #require(ProcessInfo.processInfo.environment[Self.childOutput])
        try Self.lines().write(toFile: path, atomically: true, encoding: .utf8)
    }
}
