import Core
import Storage
import Testing

/// Tables on another disk: they answer as before, and a disk that is not there is no damage.
@Suite("The cold tier")
struct ColdTierTests {
    private static let options = StorageModel.options
    private static let host = ManifestTests.identity.hostID
    private static let owner = "cold/OWNER"

    private static func claim(isFirst: Bool = true) -> TableDestination {
        .cold(ColdClaim(hostID: host, isFirst: isFirst))
    }

    /// A node with three tables, none of them cold.
    private static func hot(
        _ seed: UInt64
    ) throws -> (files: MemoryFileSystem, model: StorageModel, tables: [TableHandle]) {
        let (files, model, tables) = try CompactionTests.flushes(3, seed: seed, slices: 6)
        let edit = ManifestEdit(addTables: tables.map(\.meta), identity: ManifestTests.identity)
        _ = try ManifestTests.commit(edit, to: ManifestTests.runner(files))
        return (files, model, tables)
    }

    /// The first two of them are one cold table now.
    private static func moved(
        _ seed: UInt64
    ) throws -> (files: MemoryFileSystem, model: StorageModel, cold: TableHandle) {
        let (files, model, tables) = try hot(seed)
        let inputs = Array(tables.prefix(2))
        let (cold, _) = try CompactionTests.run(
            TableCompaction(inputs, id: 9, to: claim()), on: files, step: 100)
        let runner = ManifestTests.runner(files)
        let edit = ManifestEdit(
            addTables: [cold.meta], removeTables: inputs.map(\.meta.id))
        _ = try ManifestTests.commit(edit, to: runner)
        _ = try runner.run(.removeTables(inputs.map(\.path))).get()
        return (files, model, cold)
    }

    private static func recover(
        _ files: MemoryFileSystem, hasColdTier: Bool = true
    ) throws(StorageError) -> Recovered {
        var options = options
        options.hasColdTier = hasColdTier
        return try Recovery.open(files, options: options) { _, _ in }
    }

    private static func isRefused(_ files: MemoryFileSystem, hasColdTier: Bool = true) -> Bool {
        let before = files.contents
        do throws(StorageError) {
            _ = try recover(files, hasColdTier: hasColdTier)
        } catch {
            guard case .coldTierMissing = error else { return false }
            return files.contents == before
        }
        return false
    }

    // MARK: - Moving

    @Test("a table that moves answers as its inputs did, and so after a start")
    func moves() throws {
        let (files, model, cold) = try Self.moved(401)
        #expect(cold.path == "cold/00000000000000000009.sst")
        #expect(cold.meta.location == .cold)
        #expect(files.contents[FileNames.table(1)] == nil)
        #expect(files.contents[FileNames.table(2)] == nil)
        #expect(files.contents[FileNames.table(9)] == nil)
        let recovered = try Self.recover(files)
        #expect(recovered.damage.isEmpty)
        #expect(recovered.manifest.tables.map(\.location) == [.hot, .cold])
        #expect(recovered.tables.map(\.meta) == recovered.manifest.tables)
        var random = RandomSource(seed: 402)
        for query in MemtableTests.queries(&random, model) {
            #expect(try TableTests.rows(query, recovered.tables) == model.rows(query))
        }
        #expect(try Self.recover(files).manifest.tables == recovered.manifest.tables)
    }

    @Test("a manifest of before there was a cold disk lists hot tables; an edit says which moved")
    func manifestByte() throws {
        let (files, _, tables) = try Self.hot(403)
        let before = try Inspection.manifest(FileNames.manifest, in: files)
        #expect(before.lines.contains { $0.hasPrefix("\(tables[0].path): hot, ") })
        let (later, _, cold) = try Self.moved(403)
        let after = try Inspection.manifest(FileNames.manifest, in: later)
        #expect(after.lines.contains { $0.hasPrefix("\(cold.path): cold, ") })
    }

    @Test("whatever becomes of the owner's file: refused and nothing changed, or still the node's")
    func rottenOwner() throws {
        let (files, _, _) = try Self.moved(406)
        let sweep = RotSweep(
            try #require(files.contents[Self.owner]), old: Array("\(UUIDText.format(5))\n".utf8))
        let tables = try Self.recover(files.clone()).tables.map(\.meta)
        var accepted: [String] = []
        func judge(_ rotten: [UInt8], _ what: String) throws {
            let disk = files.clone()
            disk.overwrite(Self.owner, with: rotten)
            guard !Self.isRefused(disk) else { return }
            accepted.append(what)
            let recovered = try Self.recover(disk)
            #expect(recovered.tables.map(\.meta) == tables && recovered.damage.isEmpty, "\(what)")
        }
        try sweep.flips(judge)
        try sweep.lengths(judge)
        try sweep.sectors(judge)
        // Without the end of its line it names the same node.
        #expect(accepted == ["\(sweep.bytes.count - 1) bytes"])
    }

    @Test("the disk is this node's before a table there counts, and nobody else's is taken")
    func claims() throws {
        let (files, _, tables) = try Self.hot(404)
        let other = "\(UUIDText.format(5))\n"
        let ways: [(owner: String?, isFirst: Bool)] = [
            (other, true), (other, false), ("", true), (nil, false),
        ]
        for (owner, isFirst) in ways {
            let disk = files.clone()
            try disk.createDirectory(FileNames.coldDirectory)
            if let owner { disk.overwrite(Self.owner, with: Array(owner.utf8)) }
            let before = disk.contents
            #expect(throws: StorageError.self) {
                let compaction = TableCompaction(
                    tables, id: 20, to: Self.claim(isFirst: isFirst))
                _ = try CompactionTests.run(compaction, on: disk, step: 100)
            }
            #expect(disk.contents == before, "\(owner ?? "none")")
        }
        _ = try CompactionTests.run(
            TableCompaction(tables, id: 20, to: Self.claim()), on: files, step: 100)
        #expect(files.contents[Self.owner] == Array("\(UUIDText.format(Self.host))\n".utf8))
        // It is as durable as the table.
        var random = RandomSource(seed: 405)
        let crashed = files.crash(&random)
        #expect(crashed.contents[Self.owner] == files.contents[Self.owner])
        #expect(crashed.contents[FileNames.table(20, .cold)] != nil)
    }

    @Test("whichever operation fails: the inputs stay, no draft does, the next attempt succeeds")
    func everyOperationFails() throws {
        for fault in [MemoryFileSystem.Fault.inputOutput, .diskFull, .shortWrite] {
            for loss in MemoryFileSystem.SyncLoss.allCases {
                var failures = 0
                for operation in 0..<400 {
                    let (files, _, tables) = try Self.hot(406)
                    let before = files.contents
                    files.setSyncLoss(loss)
                    let target = files.operations + operation
                    files.fail(at: target, with: fault)
                    do {
                        let compaction = TableCompaction(tables, id: 20, to: Self.claim())
                        _ = try CompactionTests.run(compaction, on: files, step: 200)
                        if files.operations <= target { break }
                        continue
                    } catch {
                        failures += 1
                        files.clearFaults()
                    }
                    for (path, bytes) in before { #expect(files.contents[path] == bytes) }
                    let left = files.contents.keys.filter { $0.hasSuffix(FileNames.tableSuffix) }
                    #expect(
                        left.filter { FileNames.isCold($0) }.isEmpty,
                        "operation \(operation), \(fault), \(loss)")
                    let (table, _) = try CompactionTests.run(
                        TableCompaction(tables, id: 21, to: Self.claim()), on: files, step: 200)
                    try table.verify()
                    var random = RandomSource(seed: 407)
                    let crashed = files.crash(&random)
                    #expect(crashed.contents[table.path] == files.contents[table.path])
                }
                #expect(failures > 12)
            }
        }
    }

    // MARK: - Starting

    @Test("a start without the cold disk is refused and changes nothing")
    func notThere() throws {
        let (files, _, _) = try Self.moved(408)
        #expect(Self.isRefused(files.clone(), hasColdTier: false))
        let unmounted = files.clone()
        for path in unmounted.contents.keys where FileNames.isCold(path) { unmounted.forget(path) }
        #expect(Self.isRefused(unmounted))
        let foreign = files.clone()
        foreign.overwrite(Self.owner, with: Array("\(UUIDText.format(77))\n".utf8))
        #expect(Self.isRefused(foreign))
        #expect(try Self.recover(files).damage.isEmpty)
    }

    @Test("a cold table that is missing or wrong is damage like any other")
    func damage() throws {
        let (files, _, cold) = try Self.moved(409)
        let bytes = try #require(files.contents[cold.path])
        let missing = files.clone()
        missing.forget(cold.path)
        let found = try Self.recover(missing).damage
        #expect(found.count == 1 && found[0].description.hasPrefix("\(cold.path): "))
        var bent = bytes
        bent[bytes.count - 3] ^= 4
        let wrong = files.clone()
        wrong.overwrite(cold.path, with: bent)
        #expect(try Self.recover(wrong).damage.count == 1)
        bent = bytes
        bent[40] ^= 4
        wrong.overwrite(cold.path, with: bent)
        let recovered = try Self.recover(wrong)
        #expect(throws: StorageError.self) { try recovered.tables[1].verify() }
    }

    @Test("what no manifest lists goes at a start, on this node's disk alone")
    func leftovers() throws {
        let (files, _, _) = try Self.moved(410)
        let drafts = ["cold/00000000000000000011.sst", "cold/00000000000000000012.sst.tmp"]
        for path in drafts { files.overwrite(path, with: [1, 2, 3]) }
        files.overwrite("cold/notes.txt", with: [4])
        _ = try Self.recover(files)
        for path in drafts { #expect(files.contents[path] == nil) }
        #expect(files.contents["cold/notes.txt"] == [4])
        // Another's, while this node has none there.
        let (fresh, _, _) = try Self.hot(410)
        try fresh.createDirectory(FileNames.coldDirectory)
        fresh.overwrite(Self.owner, with: Array("\(UUIDText.format(77))\n".utf8))
        for path in drafts { fresh.overwrite(path, with: [1, 2, 3]) }
        _ = try Self.recover(fresh)
        for path in drafts { #expect(fresh.contents[path] == [1, 2, 3]) }
    }

    // MARK: - While it runs

    @Test("a scrub tells a table that is missing from a disk that is")
    func scrub() throws {
        let (files, _, cold) = try Self.moved(411)
        let runner = ManifestTests.runner(files)
        let bytes = try #require(files.contents[cold.path])
        #expect(try runner.verify(.table(cold)) == nil)
        files.forget(cold.path)
        #expect(try runner.verify(.table(cold)) != nil)
        files.forget(Self.owner)
        #expect {
            _ = try runner.verify(.table(cold))
        } throws: { error in
            if case .coldTierMissing? = error as? StorageError { true } else { false }
        }
        files.overwrite(cold.path, with: bytes)
        #expect(try runner.verify(.table(cold)) == nil)
    }

    @Test("a stopped node's directory is read with its cold disk, or says what was not looked at")
    func directoryCheck() throws {
        let (files, _, cold) = try Self.moved(412)
        var options = Self.options
        for hasColdTier in [true, false] {
            options.hasColdTier = hasColdTier
            var check = DirectoryCheck(files, options: options)
            let report = try check.run()
            #expect(report.isSound)
            let skipped = report.lines.filter { $0.hasPrefix("\(cold.path): not looked at") }
            #expect(skipped.count == (hasColdTier ? 0 : 1))
        }
        options.hasColdTier = true
        files.forget(cold.path)
        var check = DirectoryCheck(files, options: options)
        #expect(try !check.run().isSound)
        files.forget(Self.owner)
        #expect(throws: StorageError.self) { try check.run() }
    }

    // MARK: - Setting aside

    private static func evidence(_ files: MemoryFileSystem) -> [String: [UInt8]] {
        files.contents.filter { $0.key.hasPrefix("cold/quarantine/") }
    }

    @Test("data that is set aside keeps its cold tables on their disk, whenever the power fails")
    func setsAside() throws {
        var random = RandomSource(seed: 414)
        for operation in 0..<400 {
            let (files, _, cold) = try Self.moved(413)
            let bytes = try #require(files.contents[cold.path])
            files.fail(at: files.operations + operation, with: .inputOutput, onward: true)
            var isDone = false
            do {
                try Quarantine.setAside(files, because: "a test", hasColdTier: true)
                isDone = true
            } catch {
                // The power fails here.
            }
            files.clearFaults()
            let crashed = isDone ? files : files.crash(&random)
            if try Quarantine.sentence(in: crashed) != nil {
                try Quarantine.setAside(crashed, because: "a test", hasColdTier: true)
            }
            let recovered = try Self.recover(crashed)
            #expect(recovered.damage.isEmpty, "operation \(operation)")
            if recovered.tables.isEmpty {
                // One that had both names when the power failed is moved once more.
                #expect(
                    Set(Self.evidence(crashed).values) == [bytes], "operation \(operation)")
                #expect(crashed.contents[cold.path] == nil)
                #expect(recovered.manifest.identity?.hostID == Self.host)
            } else {
                #expect(crashed.contents[cold.path] == bytes)
            }
            if isDone {
                #expect(operation > 20)
                return
            }
        }
        Issue.record("it never ends")
    }

    @Test("nothing is set aside while the cold disk is away, nor what may be another node's")
    func setAsideRefused() throws {
        let (files, _, _) = try Self.moved(415)
        let away = files.clone()
        away.forget(Self.owner)
        let before = away.contents
        #expect(throws: StorageError.self) {
            try Quarantine.setAside(away, because: "a test", hasColdTier: true)
        }
        #expect(throws: StorageError.self) {
            try Quarantine.setAside(away, because: "a test", hasColdTier: false)
        }
        #expect(away.contents == before)
        // Whose it is stood in the manifest.
        let lost = files.clone()
        lost.overwrite(FileNames.manifest, with: [1, 2, 3])
        let cold = lost.contents.filter { FileNames.isCold($0.key) }
        try Quarantine.setAside(lost, because: "a test", hasColdTier: true)
        #expect(lost.contents.filter { FileNames.isCold($0.key) } == cold)
        #expect(try Self.recover(lost).tables.isEmpty)
    }

    @Test("of several, only the newest are kept there as well")
    func bounded() throws {
        let (files, _, cold) = try Self.moved(416)
        for round in 1...4 {
            files.overwrite("cold/0000000000000000010\(round).sst", with: [UInt8(round)])
            try Quarantine.setAside(files, because: "a test", hasColdTier: true)
        }
        let kept = Self.evidence(files)
        #expect(kept.count == Quarantine.keptMax)
        #expect(kept.values.sorted { $0[0] < $1[0] } == [[3], [4]])
        #expect(files.contents[cold.path] == nil)
    }
}
