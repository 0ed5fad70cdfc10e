import Core
import Ingest
import Node
import Ring
import Testing
import Wire

/// Where batches are folded.
@Suite("Folding beside the core") struct FoldPoolTests {
    /// A pool that takes nothing any more, as one whose threads have more than they can do.
    private func busyPool() throws -> FoldPool {
        FoldPool(
            threads: 1, rules: RuleTable(FoldRules()),
            placement: KeyPlacement(.key, try Partitioning(partitions: 4), window: .minute),
            metrics: NodeMetrics(), queueMax: 0)
    }

    /// One event, in exactly so many bytes.
    private func body(of count: Int) -> [UInt8] {
        let event = Array(#"{"type":"view","key":"a","time":0}"#.utf8)
        return event + [UInt8](repeating: 0x20, count: count - event.count)
    }

    private func fold(_ body: [UInt8], _ pool: FoldPool) async throws(FoldFailure) -> UInt32 {
        try await pool.fold(
            body, id: BatchID(producer: 1, sequence: 1), createdAt: WallTime(milliseconds: 0),
            parameters: ParseParameters(format: .ndjson)
        ).record.totals.counted
    }

    @Test("A small batch waits for no large ones, a larger one has its turn")
    func small() async throws {
        let pool = try busyPool()
        defer { pool.stop(by: SystemClock.monotonic + .seconds(5)) }
        #expect(try await fold(body(of: RuntimeLimits.smallFoldBytes), pool) == 1)
        do {
            _ = try await fold(body(of: RuntimeLimits.smallFoldBytes + 1), pool)
            Issue.record("folded by a pool that takes nothing")
        } catch {
            guard case .busy = error else { throw error }
        }
    }
}
