import Core
import Storage
import Testing

/// Damaged data is set aside, whole, whenever the power fails on the way.
@Suite("Quarantine")
struct QuarantineTests {
    private static let options = StorageModel.options

    /// A directory with a log, tables and an identity.
    private static func directory() -> MemoryFileSystem {
        let files = MemoryFileSystem()
        CrashTests.script.live(on: files)
        return files
    }

    private static func evidence(_ files: MemoryFileSystem) -> [[UInt8]] {
        files.contents.filter { $0.key.hasPrefix("quarantine/") }.map(\.value)
            .sorted { $0.lexicographicallyPrecedes($1) }
    }

    @Test("leaves an empty directory of the same node, and everything as evidence")
    func setsAside() throws {
        let files = Self.directory()
        let before = files.contents
        #expect(before.count > 3)
        try Quarantine.setAside(files, because: "a test")
        let recovered = try Recovery.open(files, options: Self.options) { _, _ in
            Issue.record("a record is left")
        }
        #expect(recovered.damage.isEmpty && recovered.tables.isEmpty)
        #expect(recovered.cursor.last == .zero)
        var identity = ManifestTests.identity
        identity.mustRecover = true
        #expect(recovered.manifest.identity == identity)
        let kept = Self.evidence(files)
        for (path, bytes) in before { #expect(kept.contains(bytes), "\(path) is gone") }
        #expect(try Quarantine.sentence(in: files) == nil)
    }

    @Test("needs neither the manifest nor the sentence, where the disk cannot read them")
    func unreadable() throws {
        let files = Self.directory()
        let before = files.contents
        try Quarantine.condemn("a test", in: files)
        files.makeUnreadable("CONDEMNED", at: 0)
        #expect(try Quarantine.sentence(in: files) == "it was condemned")
        files.makeUnreadable(FileNames.manifest, at: 0)
        try Quarantine.setAside(files, because: "a test")
        #expect(try Quarantine.sentence(in: files) == nil)
        let recovered = try Recovery.open(files, options: Self.options) { _, _ in }
        #expect(recovered.damage.isEmpty && recovered.manifest.identity == nil)
        let kept = Self.evidence(files)
        for (path, bytes) in before where path != FileNames.manifest {
            #expect(kept.contains(bytes), "\(path) is gone")
        }
    }

    @Test("goes on after a power cut at any operation, and loses no byte of evidence")
    func everyOperation() throws {
        var random = RandomSource(seed: 6)
        let whole = Self.directory().contents.filter { $0.key != FileNames.manifest }
        for operation in 0..<400 {
            let files = Self.directory().clone()
            files.fail(at: files.operations + operation, with: .inputOutput, onward: true)
            var isDone = false
            do {
                try Quarantine.setAside(files, because: "a test")
                isDone = true
            } catch {
                // The power fails here.
            }
            files.clearFaults()
            if isDone {
                #expect(operation > 20)
                return
            }
            let crashed = files.crash(&random)
            // Until it is done the data is condemned, or was not touched yet.
            let isCondemned = try Quarantine.sentence(in: crashed) != nil
            if isCondemned {
                try Quarantine.setAside(crashed, because: "a test")
            } else {
                let isDone = crashed.contents.keys.allSatisfy { !$0.hasPrefix("log/") }
                #expect(isDone || crashed.contents.keys.allSatisfy { !$0.hasPrefix("quarantine/") })
                if !isDone { continue }
            }
            let recovered = try Recovery.open(crashed, options: Self.options) { _, _ in }
            #expect(recovered.damage.isEmpty && recovered.cursor.last == .zero)
            #expect(recovered.manifest.identity?.hostID == ManifestTests.identity.hostID)
            let kept = Self.evidence(crashed)
            for (path, bytes) in whole { #expect(kept.contains(bytes), "\(operation): \(path)") }
        }
        Issue.record("it never ends")
    }

    @Test("only the newest are kept")
    func bounded() throws {
        let files = Self.directory()
        for round in 0..<4 {
            try Quarantine.setAside(files, because: "round \(round)")
            let numbers = Set(
                files.contents.keys.filter { $0.hasPrefix("quarantine/") }
                    .compactMap { $0.dropFirst(11).split(separator: ".").first })
            #expect(numbers.count <= Quarantine.keptMax)
            let writer = try files.open("log/0000000001.log", .write)
            try writer.write([[UInt8(round)]], at: 0)
            try writer.sync()
        }
    }

    @Test("a condemned directory says why, even where the words are gone")
    func sentence() throws {
        let files = Self.directory()
        #expect(try Quarantine.sentence(in: files) == nil)
        try Quarantine.condemn("its audit failed", in: files)
        #expect(try Quarantine.sentence(in: files) == "its audit failed")
        files.overwrite("CONDEMNED", with: [])
        #expect(try Quarantine.sentence(in: files) == "it was condemned")
    }

    @Test("a disk without room for a word condemns, and sets aside once it has room again")
    func full() throws {
        let files = Self.directory()
        let before = files.contents
        files.setCapacity(files.usedBytes)
        try Quarantine.condemn("its audit failed", in: files)
        var random = RandomSource(seed: 7)
        let crashed = files.crash(&random)
        #expect(crashed.contents["CONDEMNED"] != nil)
        #expect(try Quarantine.sentence(in: crashed) == "it was condemned")
        #expect(throws: StorageError.self) {
            try Quarantine.setAside(crashed, because: "it was condemned")
        }
        #expect(try Quarantine.sentence(in: crashed) == "it was condemned")
        crashed.setCapacity(.max)
        try Quarantine.setAside(crashed, because: "it was condemned")
        #expect(try Quarantine.sentence(in: crashed) == nil)
        let recovered = try Recovery.open(crashed, options: Self.options) { _, _ in }
        #expect(recovered.damage.isEmpty && recovered.cursor.last == .zero)
        let kept = Self.evidence(crashed)
        for (path, bytes) in before { #expect(kept.contains(bytes), "\(path) is gone") }
    }
}
