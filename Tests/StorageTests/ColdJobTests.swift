import Core
import Storage
import Testing

/// Which jobs ask anything of the cold disk: too many, and they wait for it in vain; too few, and
/// others wait for them.
@Suite("Jobs of the cold disk")
struct ColdJobTests {
    private struct Fixture {
        let files: MemoryFileSystem
        let model: StorageModel
        let hot: TableHandle
        let cold: TableHandle
        let runner: StorageRunner
        let destination = TableDestination.cold(
            ColdClaim(hostID: ManifestTests.identity.hostID, isFirst: true))

        init(_ seed: UInt64) throws {
            let (files, model, tables) = try CompactionTests.flushes(3, seed: seed, slices: 6)
            self.files = files
            self.model = model
            hot = tables[2]
            (cold, _) = try CompactionTests.run(
                TableCompaction(Array(tables.prefix(2)), id: 9, to: destination), on: files,
                step: 1000)
            runner = StorageRunner(fileSystem: files, options: StorageModel.options)
        }
    }

    @Test("a read that is said to ask nothing of the cold disk reads no byte there")
    func reads() throws {
        let fixture = try Fixture(431)
        let snapshot = TableSnapshot(tables: [fixture.cold])
        var random = RandomSource(seed: 432)
        var jobs = MemtableTests.queries(&random, fixture.model).map {
            StorageJob.series($0, snapshot, base: [])
        }
        let outputs: [ScanSpec.Output] = [
            .totalsByKey, .types, .statistics, .keys(prefix: [], after: nil, limit: 10),
        ]
        for spec in outputs.flatMap({ QueryTests.specs($0) }) {
            for keeping in [nil, ScanAggregate.Top(3, by: .count)] {
                jobs.append(.scan(snapshot, base: ScanAggregate(spec, keeping: keeping)))
            }
        }
        var touching = 0
        for job in jobs {
            let before = fixture.files.operations
            _ = try fixture.runner.run(job).get()
            if job.touchesCold {
                touching += 1
            } else {
                #expect(fixture.files.operations == before, "\(job)")
            }
        }
        #expect(touching > 10 && touching < jobs.count - 10)
    }

    @Test("a question about days of which no cold table holds any is none for the cold disk")
    func otherDays() throws {
        let fixture = try Fixture(433)
        let both = TableSnapshot(tables: [fixture.cold, fixture.hot])
        let last = fixture.cold.meta.lastWindow
        let query = SeriesQuery(
            partition: try #require(fixture.cold.partitions.first).partition,
            key: fixture.cold.meta.firstKey, from: last + 1)
        #expect(!StorageJob.series(query, both, base: []).touchesCold)
        var spec = ScanSpec(partitions: .all, from: last + 1, output: .types)
        #expect(!StorageJob.scan(both, base: ScanAggregate(spec)).touchesCold)
        spec.from = last
        #expect(StorageJob.scan(both, base: ScanAggregate(spec)).touchesCold)
        // The marks of letters may lie in any table that overlaps.
        spec.type = RetirementMark.type
        #expect(StorageJob.scan(both, base: ScanAggregate(spec)).touchesCold)
        let hot = TableSnapshot(tables: [fixture.hot])
        #expect(!StorageJob.scan(hot, base: ScanAggregate(spec)).touchesCold)
    }

    @Test("what writes, moves, copies and removes says by its files whether they are cold")
    func others() throws {
        let fixture = try Fixture(434)
        let (hot, cold) = (fixture.hot, fixture.cold)
        #expect(StorageJob.removeTables([cold.path]).touchesCold)
        #expect(!StorageJob.removeTables([hot.path]).touchesCold)
        let move = TableCompaction([hot], id: 10, to: fixture.destination)
        #expect(StorageJob.compact(move, bytes: 1).touchesCold)
        #expect(StorageJob.abandonCompaction(move).touchesCold)
        let merge = TableCompaction([hot], id: 11)
        #expect(!StorageJob.compact(merge, bytes: 1).touchesCold)
        #expect(!StorageJob.abandonCompaction(merge).touchesCold)
        let tables = [cold, hot]
        #expect(StorageJob.copyCells(tables, .all, .start).touchesCold)
        let next = CopyCursor(.cells, file: 1)
        #expect(!StorageJob.copyCells(tables, .all, next).touchesCold)
        #expect(StorageJob.copyCells([hot, cold], .all, next).touchesCold)
        #expect(!StorageJob.copyCells(tables, .all, CopyCursor(.cells, file: 7)).touchesCold)
        #expect(!StorageJob.commit(ManifestEdit()).touchesCold)
        #expect(!StorageJob.readLog([]).touchesCold)
    }
}
