import Core
import Storage
import Testing

@Suite struct ManifestTests {
    static let identity = NodeIdentity(
        hostID: 0x1234, incarnation: Incarnation(3), generation: 99, startNonce: 7)

    static func commit(_ edit: ManifestEdit, to runner: StorageRunner) throws -> ManifestState {
        guard case .committed(let state) = try runner.run(.commit(edit)).get() else {
            throw TableTests.Unexpected()
        }
        return state
    }

    static func runner(_ files: MemoryFileSystem) -> StorageRunner {
        StorageRunner(fileSystem: files, options: StorageModel.options)
    }

    @Test("an edit that is misread is not cut off as if it were torn")
    func misread() throws {
        let files = try LogTests.fresh()
        _ = try Self.commit(ManifestEdit(identity: Self.identity), to: Self.runner(files))
        let contents = files.contents
        let runner = Self.runner(files)
        files.misread(FileNames.manifest, 1, isLast: true)
        #expect(throws: StorageError.self) {
            try Self.commit(ManifestEdit(logStart: 2), to: runner)
        }
        #expect(files.contents == contents)
        let state = try Self.commit(ManifestEdit(logStart: 2), to: runner)
        #expect(state.identity == Self.identity && state.logStart == 2)
    }

    @Test("edits come back as one state: tables, coverage, identity, the log's start")
    func roundTrip() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 31, slices: 60)
        _ = try LogTests.write([30, 30], to: files)
        let runner = Self.runner(files)
        var state = try Self.commit(ManifestEdit(identity: Self.identity), to: runner)
        #expect(state.identity == Self.identity)
        state = try Self.commit(
            ManifestEdit(addTables: tables.map(\.meta), coveredThrough: LSN(40)), to: runner)
        #expect(state.tables == tables.map(\.meta))
        #expect(state.nextTableID == UInt64(tables.count) + 1)
        state = try Self.commit(ManifestEdit(removeTables: [tables[0].meta.id]), to: runner)
        state = try Self.commit(ManifestEdit(logStart: 2), to: runner)
        let (recovered, records) = try LogTests.recover(files)
        #expect(recovered.manifest == state)
        #expect(recovered.manifest.coveredThrough == LSN(40))
        #expect(recovered.tables.map(\.meta) == state.tables)
        #expect(recovered.damage.isEmpty)
        // The first log file and the removed table are gone, what remains begins with the second.
        #expect(files.contents[FileNames.log(1)] == nil)
        #expect(files.contents[tables[0].path] == nil)
        #expect(records.first?.position.file == 2)
        #expect(recovered.cursor.last == LSN(60))
    }

    @Test("a manifest cut at any byte of its last edit is the manifest before it")
    func tornEdit() throws {
        let files = try LogTests.fresh()
        _ = try LogTests.write([50], to: files)
        let runner = Self.runner(files)
        let before = try Self.commit(ManifestEdit(coveredThrough: LSN(10)), to: runner)
        let kept = try #require(files.contents["MANIFEST"]).count
        let after = try Self.commit(
            ManifestEdit(coveredThrough: LSN(20), identity: Self.identity), to: runner)
        let bytes = try #require(files.contents["MANIFEST"])
        for length in kept...bytes.count {
            let torn = files.clone()
            torn.overwrite("MANIFEST", with: Array(bytes[0..<length]))
            let (recovered, _) = try LogTests.recover(torn)
            #expect(recovered.manifest == (length == bytes.count ? after : before))
            let contents = torn.contents
            _ = try LogTests.recover(torn)
            #expect(torn.contents == contents)
            _ = try Self.commit(ManifestEdit(coveredThrough: LSN(30)), to: Self.runner(torn))
            #expect(try LogTests.recover(torn).recovered.manifest.coveredThrough == LSN(30))
        }
    }

    @Test("whichever byte of the manifest below its last edit is changed, the start is refused")
    func damage() throws {
        let files = try LogTests.fresh()
        _ = try LogTests.write([50], to: files)
        let runner = Self.runner(files)
        _ = try Self.commit(ManifestEdit(identity: Self.identity), to: runner)
        let state = try Self.commit(ManifestEdit(coveredThrough: LSN(10)), to: runner)
        let kept = try #require(files.contents["MANIFEST"]).count
        let last = try Self.commit(ManifestEdit(coveredThrough: LSN(11)), to: runner)
        let bytes = try #require(files.contents["MANIFEST"])
        for offset in bytes.indices {
            for mask in [1, 0x80] as [UInt8] {
                var bent = bytes
                bent[offset] ^= mask
                let damaged = files.clone()
                damaged.overwrite("MANIFEST", with: bent)
                if offset < kept {
                    #expect(throws: StorageError.self, "byte \(offset)") {
                        try LogTests.recover(damaged)
                    }
                    #expect(damaged.contents["MANIFEST"] == bent)
                } else {
                    // The last edit looks torn: the log still holds what it covered.
                    let found = try LogTests.recover(damaged).recovered.manifest
                    #expect(found == state && found != last)
                }
            }
        }
    }

    @Test("a directory whose manifest is missing is refused and keeps its files")
    func missing() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 32, slices: 5)
        _ = try Self.commit(ManifestEdit(addTables: tables.map(\.meta)), to: Self.runner(files))
        try files.remove("MANIFEST")
        #expect(throws: StorageError.self) { try LogTests.recover(files) }
        #expect(files.contents[tables[0].path] != nil)
    }

    @Test("a manifest that grows past its limit is written anew, with the same state")
    func rewrite() throws {
        let files = try LogTests.fresh()
        let runner = Self.runner(files)
        let key = Array(repeating: UInt8(ascii: "k"), count: Limits.keyMax)
        let sample = try #require(try TableTests.flushed(seed: 33, slices: 1).tables.first)
        func meta(_ id: UInt64) -> TableMeta {
            var meta = sample.meta
            meta.id = id
            meta.firstKey = key
            meta.lastKey = key
            return meta
        }
        var longest = 0
        var state = ManifestState()
        for round in 0..<70 {
            let first = UInt64(1 + round * 40)
            state = try Self.commit(
                ManifestEdit(
                    addTables: (first..<first + 40).map(meta),
                    removeTables: round == 0 ? [] : Array(first - 40..<first)), to: runner)
            longest = max(longest, files.contents["MANIFEST"]?.count ?? 0)
        }
        #expect(state.tables.count == 40)
        #expect(longest > 3 << 20)
        #expect(longest <= StorageLimits.manifestFileMax)
        #expect(try #require(files.contents["MANIFEST"]).count < longest)
        let report = try Inspection.manifest("MANIFEST", in: files)
        #expect(report.isSound)
        let (recovered, _) = try LogTests.recover(files)
        #expect(recovered.manifest == state)
        // The tables were never written: each is reported, none is invented.
        #expect(recovered.damage.count == 40)
        #expect(recovered.tables.isEmpty)
    }

    @Test("after a failed sync of the manifest no commit succeeds")
    func failedSync() throws {
        let files = try LogTests.fresh()
        let runner = Self.runner(files)
        _ = try Self.commit(ManifestEdit(identity: Self.identity), to: runner)
        files.failSyncs(1)
        let edit = ManifestEdit(coveredThrough: LSN.zero)
        guard case .failure(.syncFailed) = runner.run(.commit(edit)) else {
            Issue.record("a failed sync went unnoticed")
            return
        }
        #expect(runner.run(.commit(edit)) == .failure(.writerDead(path: "MANIFEST")))
    }

    @Test("a full disk refuses an edit and takes it later")
    func diskFull() throws {
        let files = try LogTests.fresh()
        let runner = Self.runner(files)
        _ = try Self.commit(ManifestEdit(identity: Self.identity), to: runner)
        files.setCapacity(files.contents.values.reduce(0) { $0 + $1.count })
        let edit = ManifestEdit(identity: Self.identity)
        guard case .failure(.diskFull) = runner.run(.commit(edit)) else {
            Issue.record("a full disk went unnoticed")
            return
        }
        files.setCapacity(.max)
        let state = try Self.commit(edit, to: runner)
        #expect(try LogTests.recover(files).recovered.manifest == state)
    }
}
