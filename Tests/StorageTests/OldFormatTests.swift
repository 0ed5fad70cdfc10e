import Core
import Storage
import Testing
import Wire

/// Files that earlier builds wrote, byte for byte: a node that is upgraded has them on its disk,
/// and no writer of today makes them again.
@Suite("Files of older versions")
struct OldFormatTests {
    // MARK: - History

    /// Six batches, `HistoryTests.draft` 0 to 5, as version 1 wrote them.
    private static let history1 = """
        0501000044010000a7000000464e69d41f0001001c60010000000301060008020004100022e80316
        0082157c4a7fb979379e0e000020005001000300020b0007020004100022d0071500842af894fe72
        f36e3c4e0063010002000300530005020004100022b80b1300863f74df7d2c6da6da360000340012
        041d0005020004100022a00f13008454f029fde5e6dd788400003e00320300051d00050200041000
        228813130084696c747c9f60151784006001000100030306010000ba0000005b000000762a37111f
        0001001cfb0c0100000003010101010b6c6574746572206f6620300100010101054a000410002288
        13190092696c747c9f601517030f008900010001000303034a008735010501010102105d00021300
        1903130050010501010107010000450000001c0000007d27d1114201b701000100128007000e0200
        2e016b140005020050000000000008000000200000002000000013e3fb6f100921100d0280000414
        8210100880c800001313908620000808824080801200090000002700000027000000df91a0200100
        000000000000001027000000000000060200000000000000000000000000000000a202ce027e0100
        000000000037000000010000005155495055484953
        """

    /// The same, and husks of the last two, as version 2 wrote them.
    private static let history2 = """
        0501000044010000a7000000464e69d41f0001001c60010000000301060008020004100022e80316
        0082157c4a7fb979379e0e000020005001000300020b0007020004100022d0071500842af894fe72
        f36e3c4e0063010002000300530005020004100022b80b1300863f74df7d2c6da6da360000340012
        041d0005020004100022a00f13008454f029fde5e6dd788400003e00320300051d00050200041000
        228813130084696c747c9f60151784006001000100030306010000ba0000005b000000762a37111f
        0001001cfb0c0100000003010101010b6c6574746572206f6620300100010101054a000410002288
        13190092696c747c9f601517030f008900010001000303034a008735010501010102105d00021300
        190313005001050101010a010000a6000000630000000f0ad5682a0400010004100022a00f180092
        54f029fde5e6dd78020f009000010000000300010108000002001601330004020014050900030200
        041000228813110092696c747c9f601517030f009500010001000303010163001501330080000000
        000000000007010000670000002c000000fa86954e4201b701000100128007000e02002e016b1400
        0a020023017310002380040900040200800400000000000000080000002000000020000000bab22d
        53100921100d02800004148210100880c80000131390862000080882408080120009000000300000
        00300000006adf5e8001000000000000000010270000000000000602000000000000000000000000
        000000009503d1030200000000000000000102000000000000400000000200000051554950554849
        53
        """

    /// Cells of `model`, as version 1 wrote them.
    private static let table1 = """
        010100007c000000540000007fdd2ab4f408031f030f063f0000056b65792d300476696577010401
        310900113209009002020280cff7156482050010840500a90203040306030118fcff01006bcf0fcf
        0f011915006acd0fcd0f011a150050ffcb0fcb0f020000001400000014000000897b8ec401640600
        00056b65792d30047669657780cff715030000002000000020000000b2dfd7632000c00000022001
        01002200088000080000801080002004008040200000006004010000de000000bc000000cf214fcb
        2201000100f10f01e607c0a90703034929570eb851aad780cff715ccd0f715056b65792d300600e9
        326488010300000202010118fcff0100fb1ccf0fcf0f622af5fd8ae09e2cb122e2c5fe8921ce9838
        29fd8770b1d9f43d5482657a7e66010002030101193a00fb1ccd0fcd0f11084c04addbbffe07270f
        226b015b58e3811969f13f6fa0993a4ab2a4279f110200020401011a3a00f015cb0fcb0f30d43a47
        59898ea2b96382bb8bc75aee38332a147d23151294ce6bc0508586b2b800000000000000cc000000
        010000005155495055535354
        """

    /// The same, as version 2 wrote them.
    static let table2 = """
        010100007c000000540000007fdd2ab4f408031f030f063f0000056b65792d300476696577010401
        310900113209009002020280cff7156482050010840500a90203040306030118fcff01006bcf0fcf
        0f011915006acd0fcd0f011a150050ffcb0fcb0f02000000180000001800000093bad3d401640600
        00056b65792d30047669657780cff7157fdd2ab4030000002000000020000000f8e0b4f92000c000
        0002200101002200088000080000801080002004008040200000006004010000e6000000c4000000
        74095eea2201000100f10f01e607c0a90703034929570eb851aad780cff715ccd0f715056b65792d
        300600e932648c010300000202010118fcff0100fb1ccf0fcf0f622af5fd8ae09e2cb122e2c5fe89
        21ce983829fd8770b1d9f43d5482657a7e66010002030101193a00fb1ccd0fcd0f11084c04addbbf
        fe07270f226b015b58e3811969f13f6fa0993a4ab2a4279f110200020401011a3a00f01dcb0fcb0f
        30d43a4759898ea2b96382bb8bc75aee38332a147d23151294ce6bc0508586b293bad3d4f8e0b4f9
        bc00000000000000d4000000020000005155495055535354
        """

    private static func bytes(_ hex: String) throws -> [UInt8] {
        let digits = hex.filter { !$0.isWhitespace }
        #expect(digits.count.isMultiple(of: 2))
        return try stride(from: 0, to: digits.count, by: 2).map { place in
            let start = digits.index(digits.startIndex, offsetBy: place)
            return try #require(UInt8(digits[start..<digits.index(start, offsetBy: 2)], radix: 16))
        }
    }

    private static func husk(_ number: Int) -> Husk {
        let draft = HistoryTests.draft(number)
        return Husk(
            header: draft.header, home: draft.home, totals: draft.totals, hasRecord: true,
            isFinished: false, touched: PartitionSet([draft.home]),
            applied: [Husk.Slice(partition: draft.home, hash: Hash128(UInt128(number)))])
    }

    private static func open(
        _ bytes: [UInt8], in files: MemoryFileSystem
    ) throws -> HistoryHandle {
        let path = FileNames.history(1)
        files.overwrite(path, with: bytes)
        return try HistoryHandle.open(try files.open(path, .read), id: 1, as: path)
    }

    private static func check(
        _ file: HistoryHandle, husks: [Int], in files: MemoryFileSystem
    ) throws {
        let runner = ManifestTests.runner(files)
        for number in 0..<6 {
            let entry = try #require(try HistoryTests.lookUp(number, in: [file], runner))
            let record = HistoryTests.record(number)
            #expect(entry.header == record.header && entry.home == record.home)
            #expect(entry.totals == record.totals)
        }
        #expect(try HistoryTests.lookUp(6, in: [file], runner) == nil)
        let query = LetterQuery(homes: .all, limit: 100)
        guard case .letters(let items, _) = try runner.run(.letters(query, [file])).get() else {
            throw TableTests.Unexpected()
        }
        #expect(items.map(\.letter) == (0..<6).flatMap { HistoryTests.letters($0) })
        #expect(try HistoryTests.husks(of: file) == husks.map(husk))
        try file.verify()
    }

    @Test("a history file of version 1 or 2 is read, recovered and merged into one of today")
    func history() throws {
        for (hex, husks) in [(Self.history1, []), (Self.history2, [4, 5])] {
            let files = try LogTests.fresh()
            let file = try Self.open(try Self.bytes(hex), in: files)
            #expect(file.meta.outcomes == 6 && file.meta.letters == 2)
            try Self.check(file, husks: husks, in: files)
            let runner = ManifestTests.runner(files)
            _ = try ManifestTests.commit(Self.listing(file), to: runner)
            let recovered = try LogTests.recover(files).recovered
            #expect(recovered.damage.isEmpty && recovered.history.map(\.meta) == [file.meta])
            let merged = try HistoryTests.write(
                HistoryTests.plan(2, 0..<0, merging: recovered.history, level: 1), to: files)
            try Self.check(merged, husks: husks, in: files)
            #expect(try Self.version(of: merged.path, in: files) == 4)
        }
    }

    private static func listing(_ file: HistoryHandle) -> ManifestEdit {
        var edit = ManifestEdit()
        edit.addHistory = [file.meta]
        return edit
    }

    /// What the tail of a file says.
    private static func version(of path: String, in files: MemoryFileSystem) throws -> UInt8 {
        let bytes = try #require(files.contents[path])
        return bytes[bytes.count - 12]
    }

    @Test("whatever version an old file's tail claims, it is refused or gives what it held")
    func claimedVersions() throws {
        let files = try LogTests.fresh()
        var opened: [UInt8] = []
        for version in UInt8.min...UInt8.max {
            var bytes = try Self.bytes(Self.history2)
            bytes[bytes.count - 12] = version
            do {
                let file = try Self.open(bytes, in: files)
                opened.append(version)
                try Self.check(file, husks: [4, 5], in: files)
            } catch let error as StorageError {
                switch error {
                case .damaged, .newerFormat: continue
                default: Issue.record("version \(version): \(error)")
                }
            }
        }
        // Three is two with a bit that flipped. What stands in the file decides how it is read.
        #expect(opened == [1, 2, 4])
    }

    @Test("a changed byte of an old history file is found, though no index names its checksums")
    func rot() throws {
        let whole = try Self.bytes(Self.history2)
        let files = try LogTests.fresh()
        for place in 0..<whole.count - 24 {
            var bytes = whole
            bytes[place] ^= 0x10
            #expect(throws: StorageError.self, "byte \(place)") {
                try Self.open(bytes, in: files).verify()
            }
        }
    }

    // MARK: - Tables

    private static var model: StorageModel {
        var model = StorageModel()
        for number in 0..<3 {
            func cell(_ window: Int) -> StorageModel.Cell {
                StorageModel.Cell(
                    partition: PartitionID(number), key: Array("key-\(number)".utf8),
                    type: Array("view".utf8), window: Int64(window + number))
            }
            let one = Measure(event: nil)
            for _ in 0...number { model.cells[cell(23_000_000), default: .zero].add(one) }
            model.cells[cell(23_000_100)] = Measure(event: Int64(number) - 1000)
        }
        return model
    }

    private static func check(_ table: TableHandle, times: Int) throws {
        var model = StorageModel()
        for (cell, measure) in Self.model.cells {
            for _ in 0..<times { model.cells[cell, default: .zero].add(measure) }
        }
        for number in 0..<3 {
            let query = SeriesQuery(
                partition: PartitionID(number), key: Array("key-\(number)".utf8))
            let rows = try TableTests.rows(query, [table])
            #expect(rows.count == 2 && rows == model.rows(query))
            let digest = table.stateDigest(of: PartitionID(number))
            #expect(digest == model.digest(of: PartitionID(number)))
        }
        try table.verify()
    }

    /// The table of `model` as an earlier version wrote it.
    static func oldTable(_ hex: String, in files: MemoryFileSystem) throws -> TableHandle {
        let path = FileNames.table(1)
        files.overwrite(path, with: try bytes(hex))
        return try TableHandle.open(
            try files.open(path, .read), id: 1, as: path, options: StorageModel.options)
    }

    @Test("a table of version 1 or 2 is read, recovered and merged into one of today")
    func table() throws {
        for hex in [Self.table1, Self.table2] {
            let files = try LogTests.fresh()
            let table = try Self.oldTable(hex, in: files)
            try Self.check(table, times: 1)
            let runner = ManifestTests.runner(files)
            _ = try ManifestTests.commit(
                ManifestEdit(addTables: [table.meta], coveredThrough: .zero), to: runner)
            let recovered = try LogTests.recover(files).recovered
            #expect(recovered.damage.isEmpty && recovered.tables.map(\.meta) == [table.meta])
            // With what a memtable of today holds.
            var memtable = StorageModel.memtable()
            for number in 0..<3 {
                let partition = PartitionID(number)
                let cells = Self.model.cells.filter { $0.key.partition == partition }
                try memtable.apply(RandomSlice(partition: partition, cells: cells))
            }
            let new = try TableTests.flush(memtable.freeze(through: LSN(1)), to: files, firstID: 2)
            let merged = try CompactionTests.run(
                TableCompaction(recovered.tables + new, id: 3), on: files, step: 1 << 20
            ).table
            try Self.check(merged, times: 2)
            #expect(try Self.version(of: merged.path, in: files) == 4)
        }
    }
}
