import Core
import Storage
import Testing

@Suite struct SnapshotTests {
    private static let script = CrashScript(seed: 291) { life in
        try life.identify()
        for round in 1...24 {
            try life.append(1 + life.random.below(4))
            if round % 3 == 0 { try life.flush() }
            if round % 5 == 0 { try life.releaseLog() }
            if round % 4 == 0 { try life.forget(3 + life.random.below(10)) }
            if round == 14 { try life.rollUp(to: .hour) }
            if round == 10 || round == 19 {
                try life.compact(as: round < 14 ? .base : .hour, to: .cold)
            }
            guard round % 6 == 0, life.tables.count > 1 else { continue }
            try life.compact(as: round < 14 ? .base : .hour) { life in
                try life.append(2)
                try life.flush()
            }
        }
    }

    private static let label = Array("a label".utf8)

    private static func take(_ name: String, of files: MemoryFileSystem) throws {
        _ = try ManifestTests.runner(files).snapshot(name)
        try Snapshots.seal(name, label, in: files)
    }

    private static func copy(_ name: String, of files: MemoryFileSystem) -> MemoryFileSystem {
        files.image(ofSnapshot: name)
    }

    /// A life with files of each kind, and what it promised.
    private static func life() -> (files: MemoryFileSystem, promise: StorePromise, CrashOracle) {
        let files = MemoryFileSystem()
        let book = script.live(on: files)
        return (files, book.last, CrashOracle(book.last.slices))
    }

    @Test("taken at any moment of a life, it is what was promised by then")
    func everyMoment() throws {
        let files = MemoryFileSystem()
        files.keepStates()
        let book = Self.script.live(on: files)
        let oracle = CrashOracle(book.last.slices)
        var taken = 0
        for state in files.keptStates {
            let operation = state.operations
            let promise = book.promise(before: operation)
            guard promise.identity != nil else { continue }
            let what = "operation \(operation)"
            try Self.take("a", of: state)
            try oracle.check(Self.copy("a", of: state), promise, "\(what), the snapshot")
            try oracle.check(state, promise, "\(what), the node")
            taken += 1
        }
        #expect(taken > 200)
    }

    @Test("what the node does afterwards does not reach it")
    func standsStill() throws {
        let files = MemoryFileSystem()
        let book = PromiseBook()
        var life = try StoreLife(files, seed: 292, book)
        try life.identify()
        for round in 1...9 {
            try life.append(3)
            if round % 3 == 0 { try life.flush() }
            try life.forget(4)
        }
        let promise = book.last
        try Self.take("a", of: files)
        let before = Self.copy("a", of: files).contents
        #expect(before.keys.contains(Snapshots.labelFile))
        for _ in 1...4 {
            try life.append(3)
            try life.forget(4)
            try life.flush()
            try life.compact()
            try life.releaseLog()
        }
        #expect(Self.copy("a", of: files).contents == before)
        let oracle = CrashOracle(book.last.slices)
        try oracle.check(Self.copy("a", of: files), promise, "the snapshot")
        try oracle.check(files, book.last, "the node")
        // Removed, it frees what only it held.
        let used = files.usedBytes
        #expect(try Snapshots.remove("a", in: files))
        #expect(files.usedBytes < used)
        #expect(try Snapshots.list(in: files).isEmpty)
        try oracle.check(files, book.last, "the node after its removal")
    }

    @Test("a power cut at any operation leaves the node's data, and a whole snapshot or none")
    func powerCuts() throws {
        var random = RandomSource(seed: 293)
        let (files, promise, oracle) = Self.life()
        files.keepStates()
        try Self.take("a", of: files)
        _ = try Snapshots.remove("a", in: files)
        var whole = 0
        for state in files.keptStates {
            let operation = state.operations
            for data in MemoryFileSystem.DataLoss.allCases {
                for names in MemoryFileSystem.NameLoss.allCases {
                    let what = "operation \(operation), \(data), \(names)"
                    let crashed = state.crash(data: data, names: names, &random)
                    let labels = try Snapshots.list(in: crashed)
                    for (name, label) in labels {
                        #expect(name == "a" && label == Self.label, "\(what)")
                        try oracle.check(Self.copy(name, of: crashed), promise, what)
                        whole += 1
                    }
                    try Snapshots.removeUnfinished(in: crashed)
                    #expect(try Snapshots.list(in: crashed).count == labels.count, "\(what)")
                    try oracle.check(crashed, promise, "\(what), the node")
                    if labels.isEmpty {
                        #expect(!crashed.contents.keys.contains { $0.hasPrefix("snapshots/") })
                        try Self.take("a", of: crashed)
                    }
                }
            }
        }
        #expect(whole > 20)
    }

    @Test(
        "an error at any operation leaves the node's data and no snapshot; the next try succeeds",
        arguments: [MemoryFileSystem.Fault.inputOutput, .diskFull, .shortWrite])
    func errors(fault: MemoryFileSystem.Fault) throws {
        let (files, promise, oracle) = Self.life()
        var failed = 0
        for operation in 0... {
            let disk = files.clone()
            disk.fail(at: disk.operations + operation, with: fault)
            let isTaken: Bool
            do {
                try Self.take("a", of: disk)
                isTaken = true
            } catch {
                isTaken = false
                failed += 1
            }
            disk.clearFaults()
            let labels = try Snapshots.list(in: disk)
            // The label's own directory may have failed to sync after it was there.
            if isTaken { #expect(labels.map(\.name) == ["a"], "operation \(operation)") }
            for (name, _) in labels {
                try oracle.check(Self.copy(name, of: disk), promise, "operation \(operation)")
            }
            if isTaken { break }
            if labels.isEmpty { try Self.take("a", of: disk) }
            try oracle.check(disk, promise, "operation \(operation), the node")
        }
        #expect(failed > 30)
    }

    @Test("a name is taken once, and cannot leave the directory")
    func names() throws {
        let (files, _, _) = Self.life()
        try Self.take("a", of: files)
        #expect(throws: StorageError.self) { try Self.take("a", of: files) }
        #expect(try Snapshots.label(of: "a", in: files) == Self.label)
        for name in ["20261127T120000Z", "a.b-c_d", String(repeating: "x", count: 64)] {
            #expect(Snapshots.isName(name), "\(name)")
        }
        for name in ["", ".", "..", "../a", "a/b", "a b", "ä", String(repeating: "x", count: 65)] {
            #expect(!Snapshots.isName(name), "\(name)")
            #expect(try !Snapshots.remove(name, in: files))
        }
        #expect(try !Snapshots.remove("b", in: files))
    }

    @Test("there are never more than the bound")
    func bound() throws {
        let (files, _, _) = Self.life()
        for number in 1...StorageLimits.snapshotsMax { try Self.take("s\(number)", of: files) }
        #expect(throws: StorageError.self) { try Self.take("one-more", of: files) }
        #expect(try Snapshots.list(in: files).count == StorageLimits.snapshotsMax)
    }
}
