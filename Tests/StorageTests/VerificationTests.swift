import Core
import Storage
import Testing

extension StorageRunner {
    /// All steps of a verification; what it found, nil where all is well.
    func verify(
        _ file: DataFile, step bytes: Int = StorageLimits.verifyStepBytes
    ) throws -> String? {
        try verify(FileVerification(file), step: bytes).found
    }

    /// The rest of a verification: what it found, and what each step has read in all.
    func verify(
        _ verification: FileVerification, step bytes: Int
    ) throws -> (found: String?, read: [UInt64]) {
        var read: [UInt64] = []
        while true {
            let result = try run(.verify(verification, bytes: bytes)).get()
            guard case .verifying(let progress) = result else { throw TableTests.Unexpected() }
            read.append(progress.read)
            switch progress.outcome {
            case .reading: continue
            case .sound: return (nil, read)
            case .damaged(let what): return (what, read)
            }
        }
    }
}

/// Files that are read again, from the first byte to the last.
@Suite("Verification")
struct VerificationTests {
    private static func runner(_ files: MemoryFileSystem) -> StorageRunner {
        StorageRunner(fileSystem: files, options: StorageModel.options)
    }

    /// A bit of each of these bytes flipped, one after the other: whatever the steps, it is found,
    /// and by whoever reads the file in one go.
    private static func rot(
        _ file: DataFile, in files: MemoryFileSystem, by stride: Int, _ runner: StorageRunner,
        isFoundWhole: (MemoryFileSystem) -> Bool
    ) throws {
        let whole = try #require(files.contents[file.path])
        for step in [1, 100, StorageLimits.verifyStepBytes] {
            #expect(try runner.verify(file, step: step) == nil)
        }
        for place in Swift.stride(from: 0, to: whole.count, by: stride) {
            var bytes = whole
            bytes[place] ^= 1 << UInt8(place % 8)
            files.overwrite(file.path, with: bytes)
            var found: Set<String?> = []
            for step in [1, 100, StorageLimits.verifyStepBytes] {
                found.insert(try runner.verify(file, step: step))
            }
            // The same is said of it.
            guard found.count == 1, found.first != .some(nil), isFoundWhole(files) else {
                Issue.record("byte \(place) of \(whole.count) of \(file.path): \(found)")
                return
            }
        }
        files.overwrite(file.path, with: whole)
    }

    // MARK: - Each kind of file

    @Test("rot in a table is found by steps of any size")
    func table() throws {
        var options = StorageModel.options
        options.blockTarget = 160
        var random = RandomSource(seed: 30)
        let files = try LogTests.fresh()
        var memtable = StorageModel.memtable()
        for _ in 0..<60 { try memtable.apply(RandomSlice(&random)) }
        let runner = StorageRunner(fileSystem: files, options: options)
        let job = StorageJob.writeTables(memtable.freeze(through: LSN(1)), firstID: 1)
        guard case .tables(let tables) = try runner.run(job).get() else {
            throw TableTests.Unexpected()
        }
        let table = try #require(tables.max { $0.meta.size < $1.meta.size })
        try Self.rot(.table(table), in: files, by: 17, runner) { files in
            do {
                try TableHandle.open(table.meta, in: files, options: options).verify()
                return false
            } catch { return true }
        }
        // The smallest step is one block, behind those sections that are read when it is opened.
        let verification = FileVerification(.table(table))
        let (_, read) = try runner.verify(verification, step: 1)
        #expect(read.count > 5 && read.last == table.meta.size)
        for (before, after) in zip(read, read.dropFirst()) { #expect(after - before < 1024) }
    }

    @Test("rot in a history file is found by steps of any size")
    func history() throws {
        let files = try LogTests.fresh()
        var plan = HistoryTests.plan(1, 0..<60)
        plan.husks = (0..<60).map { HuskDraft(HistoryTests.husk($0)) }
        let handle = try HistoryTests.write(plan, to: files)
        let runner = Self.runner(files)
        try Self.rot(.history(handle), in: files, by: 7, runner) { files in
            do {
                try HistoryHandle.open(handle.meta, in: files).verify()
                return false
            } catch { return true }
        }
        // Outcomes, letters and husks lie in different blocks.
        let (_, read) = try runner.verify(FileVerification(.history(handle)), step: 1)
        #expect(read.count >= 3 && read.last == handle.meta.size)
    }

    @Test("rot in a closed file of the log is found by steps of any size")
    func log() throws {
        let files = try LogTests.fresh()
        let (cursor, _) = try LogTests.write([1, 7, 30], to: files)
        #expect(cursor.closedBefore > 2)
        let runner = Self.runner(files)
        for number in [UInt32(1), 2] {
            let file = DataFile.log(number, sizeMax: 4096)
            try Self.rot(file, in: files, by: 29, runner) { files in
                do {
                    return try !LogTests.recover(files.clone()).recovered.damage.isEmpty
                } catch { return false }
            }
        }
    }

    @Test("a log file that lost its last record, or is gone, is found as well")
    func shortLog() throws {
        let files = try LogTests.fresh()
        let (_, appends) = try LogTests.write([1, 7, 30], to: files)
        let runner = Self.runner(files)
        let file = DataFile.log(1, sizeMax: 4096)
        let whole = try #require(files.contents[file.path])
        let last = try #require(appends.last { $0.position.file == 1 })
        for size in [Int(last.position.offset), Int(last.position.offset) + 40, 32, 7, 0] {
            files.overwrite(file.path, with: Array(whole.prefix(size)))
            for step in [1, 100, StorageLimits.verifyStepBytes] {
                #expect(try runner.verify(file, step: step) != nil, "\(size) bytes")
            }
        }
        files.forget(file.path)
        #expect(try runner.verify(file)?.contains("does not exist") == true)
        // Where there is no next file yet, nobody says that a record is missing.
        files.overwrite(file.path, with: Array(whole.prefix(Int(last.position.offset))))
        files.forget(FileNames.log(2))
        #expect(try runner.verify(file) == nil)
    }

    @Test("rot in the manifest is found, before the first edit of a run and after others")
    func manifest() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 31, slices: 20)
        let writer = Self.runner(files)
        for number in UInt64(1)...4 {
            let edit = ManifestEdit(
                addTables: number == 1 ? tables.map(\.meta) : [], coveredThrough: LSN(number))
            _ = try ManifestTests.commit(edit, to: writer)
        }
        let reader = Self.runner(files)
        for runner in [reader, writer] {
            try Self.rot(.manifest, in: files, by: 5, runner) { files in
                // A start may take the last edit for one that was never acknowledged.
                do {
                    return try LogTests.recover(files.clone()).recovered.manifest.coveredThrough
                        < LSN(4)
                } catch { return true }
            }
        }
        // As it was before the last edit: sound, and not what was written.
        let last = try #require(files.contents[FileNames.manifest])
        _ = try ManifestTests.commit(ManifestEdit(coveredThrough: LSN(5)), to: writer)
        #expect(try writer.verify(.manifest) == nil)
        files.overwrite(FileNames.manifest, with: last)
        #expect(try writer.verify(.manifest) != nil)
    }

    @Test("the manifest is sound between edits, however often it is written anew")
    func manifestAmongEdits() throws {
        let files = try LogTests.fresh()
        var options = StorageModel.options
        options.manifestFileMax = 300
        let runner = StorageRunner(fileSystem: files, options: options)
        var sizes: [Int] = []
        for number in UInt64(1)...20 {
            _ = try ManifestTests.commit(ManifestEdit(coveredThrough: LSN(number)), to: runner)
            #expect(try runner.verify(.manifest) == nil)
            sizes.append(try #require(files.contents[FileNames.manifest]).count)
        }
        #expect(zip(sizes, sizes.dropFirst()).contains { $0 > $1 })
    }

    // MARK: - Steps

    @Test("a step over a log reads no more than it is told, even of one long record")
    func budget() throws {
        let files = try LogTests.fresh()
        var cursor = LogCursor(options: StorageModel.options)
        var writer = LogWriter(fileSystem: files, cursor: cursor)
        let long = cursor.append(kind: 1, payload: [UInt8](repeating: 7, count: 9 << 20))
        let next = cursor.append(kind: 1, payload: [1])
        try writer.append([long, next])
        try writer.sync()
        #expect(long.position.file == 1 && next.position.file == 2)
        let file = DataFile.log(1, sizeMax: 4096)
        let runner = Self.runner(files)
        for step in [64 << 10, StorageLimits.verifyStepBytes] {
            let (found, read) = try runner.verify(FileVerification(file), step: step)
            #expect(found == nil && read.count == (9 << 20) / step + 1)
            for (before, after) in zip([0] + read, read) {
                #expect(after - before <= UInt64(step))
            }
            #expect(read.last == UInt64(try #require(files.contents[file.path]).count))
        }
    }

    @Test("what is found wrong must be found twice")
    func twice() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 31, slices: 20)
        _ = try LogTests.write([1, 7, 30], to: files)
        let runner = Self.runner(files)
        for file in [DataFile.table(tables[0]), .log(1, sizeMax: 4096), .manifest] {
            #expect(try runner.verify(file) == nil)
            files.misread(file.path, 1)
            #expect(try runner.verify(file) == nil)
            files.misread(file.path, 2)
            #expect(try runner.verify(file) != nil)
            #expect(try runner.verify(file) == nil)
        }
    }

    @Test("the second look begins at the first byte, and is a look at all of it")
    func secondLook() throws {
        let files = try LogTests.fresh()
        _ = try LogTests.write([1, 7, 30], to: files)
        let runner = Self.runner(files)
        let file = DataFile.log(1, sizeMax: 4096)
        let size = UInt64(try #require(files.contents[file.path]).count)
        let verification = FileVerification(file)
        for _ in 0..<10 { _ = try runner.run(.verify(verification, bytes: 100)).get() }
        files.misread(file.path, 1)
        let (found, read) = try runner.verify(verification, step: 100)
        #expect(found == nil)
        #expect(try #require(read.last) > size && read.last ?? 0 < 2 * size)
    }

    @Test("a sector that cannot be read is damage, and where it lies is said")
    func unreadable() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 31, slices: 20)
        _ = try LogTests.write([1, 7, 30], to: files)
        for file in [DataFile.table(tables[0]), .log(1, sizeMax: 4096)] {
            files.makeUnreadable(file.path, at: 0)
            // Where the read began: a table is read from its end.
            let found = try Self.runner(files).verify(file)
            #expect(found?.contains("damaged at byte ") == true)
        }
    }

    @Test("a file that cannot be opened for now is not said to be damaged")
    func noDescriptor() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 31, slices: 20)
        _ = try LogTests.write([1, 7, 30], to: files)
        for file in [DataFile.table(tables[0]), .log(1, sizeMax: 4096), .manifest] {
            files.fail(at: files.operations, with: .inputOutput)
            #expect {
                _ = try Self.runner(files).verify(file)
            } throws: { error in
                if case .failed? = error as? StorageError { true } else { false }
            }
            files.clearFaults()
            #expect(try Self.runner(files).verify(file) == nil)
        }
    }
}
