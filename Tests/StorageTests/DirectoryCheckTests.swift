import Core
import Storage
import Testing

@Suite("A directory that is read whole")
struct DirectoryCheckTests {
    /// With several tables, history files and log files.
    private static func directory(
        _ more: (inout StoreLife) throws -> Void = { _ in }
    ) throws -> MemoryFileSystem {
        let files = MemoryFileSystem()
        var life = try StoreLife(files, seed: 7, PromiseBook())
        try life.identify()
        for _ in 0..<3 {
            try life.append(4)
            try life.flush()
            try life.forget(3)
        }
        try more(&life)
        try life.append(3)
        return files
    }

    private static func check(_ files: MemoryFileSystem) throws -> InspectReport {
        var check = DirectoryCheck(files, options: StorageModel.options)
        return try check.run()
    }

    @Test("names each file, finds nothing wrong, and changes nothing")
    func sound() throws {
        let files = try Self.directory()
        let before = files.contents
        let report = try Self.check(files)
        #expect(report.isSound)
        #expect(files.contents == before)
        for path in before.keys {
            #expect(report.lines.contains { $0.hasPrefix(path + ": ") }, "\(path)")
        }
        #expect(report.lines.last?.hasSuffix(" read, 0 damaged") == true)
        #expect(report.value.json.hasPrefix(#"{"clean": true"#))
    }

    @Test("finds a byte that is wrong in any file, and a file that is missing")
    func damaged() throws {
        let files = try Self.directory()
        let intact = files.contents
        var cases = 0
        for (path, bytes) in intact.sorted(by: { $0.key < $1.key })
        where path != FileNames.manifest {
            for place in [bytes.count / 3, bytes.count / 2] {
                var wrong = bytes
                wrong[place] ^= 0x10
                files.overwrite(path, with: wrong)
                let report = try Self.check(files)
                #expect(!report.isSound, "\(path), byte \(place)")
                #expect(report.lines.contains { $0.hasPrefix("\(path): DAMAGED, ") }, "\(path)")
                cases += 1
            }
            files.overwrite(path, with: bytes)
        }
        #expect(cases >= 12)
        let table = try #require(intact.keys.first { $0.hasPrefix(FileNames.tableDirectory) })
        try files.remove(table)
        let report = try Self.check(files)
        #expect(report.lines.contains("\(table): DAMAGED, it is missing"))
    }

    @Test("an index of a log file is held against it, and no finding where no start would use it")
    func logIndex() throws {
        let files = try Self.directory { life in
            for _ in 0..<2 {
                try life.append(40)
                try life.flush()
            }
            try life.indexLogs()
        }
        let path = FileNames.logIndex(1)
        let report = try Self.check(files)
        #expect(report.isSound && report.lines.contains { $0.hasPrefix("\(path): an index") })
        let bytes = try #require(files.contents[path])
        for wrong in [Array(bytes.dropLast()), Array(repeating: 7, count: 90)] {
            files.overwrite(path, with: wrong)
            let report = try Self.check(files)
            let line = report.lines.first { $0.hasPrefix(path) }
            #expect(report.isSound && line?.contains("no start uses") == true, "\(line ?? "")")
        }
        // One that a start would believe: a record more in its first block, sealed anew.
        files.overwrite(path, with: try LogIndexTests.forged(bytes))
        let forged = try Self.check(files)
        #expect(!forged.isSound)
        #expect(forged.lines.contains { $0.hasPrefix("\(path): DAMAGED, it says otherwise") })
    }

    @Test("a torn tail of the log is what a crash leaves, and no damage")
    func tornTail() throws {
        let files = try Self.directory()
        let last = try #require(
            files.contents.keys.filter { $0.hasPrefix(FileNames.logDirectory) }.max())
        let bytes = try #require(files.contents[last])
        files.overwrite(last, with: bytes + [0x47, 0x51, 1, 0, 9])
        #expect(try Self.check(files).isSound)
        #expect(files.contents[last] == bytes + [0x47, 0x51, 1, 0, 9])
    }

    @Test("a manifest that cannot be read says nothing of the rest")
    func manifest() throws {
        let files = try Self.directory()
        files.overwrite(FileNames.manifest, with: Array("not a manifest at all".utf8))
        #expect(throws: StorageError.self) { try Self.check(files) }
    }
}
