import Core
import Storage
import Testing

/// A scripted life with compactions in it: flushes, a compaction during which another flush counts,
/// one edit, the removal of the inputs. The power fails at every file operation of it.
@Suite struct CompactionCrashTests {
    private static let script = CrashScript(seed: 262) { life in
        func flush(_ life: inout StoreLife) throws {
            try life.append(3)
            try life.flush()
        }
        for _ in 0..<3 { try flush(&life) }
        try life.compact(flush)
        try flush(&life)
        try life.compact(flush)
    }

    @Test("after a power cut at any operation of a compaction: the same sums, and twice the same")
    func everyOperation() throws {
        var random = RandomSource(seed: 261)
        #expect(try Self.script.cutEverywhere(&random) > 1200)
    }

    @Test("a single failed operation ends in an error or is harmless, and then recovers clean")
    func singleFaults() throws {
        var random = RandomSource(seed: 263)
        for fault in [MemoryFileSystem.Fault.inputOutput, .diskFull, .shortWrite] {
            try Self.script.failEverywhere(with: fault, &random)
        }
    }

    @Test("a script without faults ends with two tables that hold all")
    func whole() throws {
        let files = MemoryFileSystem()
        let promise = Self.script.live(on: files).last
        try CrashOracle(promise.slices).check(files, promise, "no fault")
        let recovered = try Recovery.open(files, options: StorageModel.options) { _, _ in }
        #expect(recovered.tables.count == 2)
        #expect(recovered.manifest.coveredThrough == promise.covered)
    }
}
