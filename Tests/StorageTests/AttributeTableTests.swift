import Core
import Storage
import Testing

@Suite("Tables of attributes")
struct AttributeTableTests {
    private static func row(_ number: Int, version: Int64 = 1, size: Int = 40) -> AttributeRow {
        let digits = String(number)
        let key = "k" + String(repeating: "0", count: 6 - digits.count) + digits
        let text = String(repeating: "x", count: size)
        return AttributeRow(
            key: Array(key.utf8), version: version,
            json: number % 7 == 3 ? nil : Array("{\"n\":\(number),\"t\":\"\(text)\"}".utf8))
    }

    private static func write(
        _ rows: [AttributeRow], _ span: AttributeSpan, after tables: AttributeTables,
        in files: MemoryFileSystem
    ) throws -> AttributeTables {
        var writer = try AttributeTableWriter(id: tables.nextID, in: files)
        for row in rows { try writer.add(row) }
        return try tables.adding(try writer.publish(span), in: files)
    }

    private static func whole(_ through: Int64, nonce: UInt64 = 7) -> AttributeSpan {
        AttributeSpan(nonce: nonce, after: 0, through: through)
    }

    private static func names(_ files: MemoryFileSystem) throws -> [String] {
        try files.list(FileNames.attributeDirectory)
    }

    private static func all(_ tables: AttributeTables) throws -> [AttributeRow] {
        var rows: [AttributeRow] = []
        let damage = try tables.forEach { row in
            rows.append(row)
            return true
        }
        #expect(damage.isEmpty)
        return rows
    }

    @Test("what was written is read back, by key and in order, also after a start")
    func roundTrip() throws {
        let files = MemoryFileSystem()
        let rows = (0..<3000).map { Self.row($0) }
        var tables = try AttributeTables.open(in: files)
        #expect(tables.isEmpty && tables.span == nil)
        tables = try Self.write(rows, Self.whole(3000), after: tables, in: files)
        for opened in [tables, try AttributeTables.open(in: files)] {
            #expect(opened.span == Self.whole(3000))
            #expect(opened.rows == 3000 && opened.size > 1000)
            #expect(try Self.all(opened) == rows)
            for place in [0, 1, 3, 1500, 2999] {
                #expect(try opened.row(of: rows[place].key) == rows[place])
            }
            for absent in ["", "a", "k000000x", "z"] {
                #expect(try opened.row(of: Array(absent.utf8)) == nil)
            }
            #expect(try opened.verify(in: files).isEmpty)
        }
        let report = try Inspection.table(
            FileNames.attributes(1), in: files, options: nil)
        #expect(report.isSound && report.lines[1].hasPrefix("3000 keys, all as of change 3000"))
    }

    @Test("of a key the newest table's row stands; a whole table takes the place of all others")
    func newest() throws {
        let files = MemoryFileSystem()
        var tables = try AttributeTables.open(in: files)
        tables = try Self.write(
            (0..<10).map { Self.row($0) }, Self.whole(10), after: tables, in: files)
        let changed = [Self.row(2, version: 5), Self.row(10, version: 5)]
        let span = AttributeSpan(nonce: 7, after: 10, through: 12)
        tables = try Self.write(changed, span, after: tables, in: files)
        #expect(tables.span == Self.whole(12))
        #expect(try tables.row(of: changed[0].key) == changed[0])
        #expect(try Self.all(tables).map(\.version) == [1, 1, 5, 1, 1, 1, 1, 1, 1, 1, 5])
        #expect(try Self.names(files).count == 2)
        // Changes of the same time and more take the place of changes.
        let more = AttributeSpan(nonce: 7, after: 10, through: 13)
        tables = try Self.write(changed + [Self.row(11)], more, after: tables, in: files)
        #expect(tables.span == Self.whole(13))
        #expect(try Self.names(files).count == 2)
        tables = try Self.write([Self.row(1)], Self.whole(20, nonce: 8), after: tables, in: files)
        #expect(tables.span == Self.whole(20, nonce: 8))
        #expect(try Self.names(files) == ["00000000000000000004.att"])
        // A gap is no copy of anything.
        let gap = AttributeSpan(nonce: 8, after: 21, through: 22)
        tables = try Self.write([Self.row(1)], gap, after: tables, in: files)
        #expect(tables.span == nil)
    }

    @Test("each flipped bit is damage with file and offset, or a table of a later release")
    func flippedBits() throws {
        let files = MemoryFileSystem()
        _ = try Self.write(
            (0..<40).map { Self.row($0, size: 5) }, Self.whole(40),
            after: try AttributeTables.open(in: files), in: files)
        let path = FileNames.attributes(1)
        let sound = try files.readAll(path)
        let file = try files.open(path, .write)
        for place in sound.indices {
            for bit in [0, 3, 7] {
                try file.write([[sound[place] ^ UInt8(1 << bit)]], at: UInt64(place))
                let tables = try AttributeTables.open(in: files)
                var rows = 0
                let found = try tables.forEach { _ in
                    rows += 1
                    return true
                }
                let isSeen = !tables.damage.isEmpty || !found.isEmpty
                #expect(isSeen && rows < 40, "byte \(place), bit \(bit)")
                try file.write([[sound[place]]], at: UInt64(place))
            }
        }
    }

    @Test("whatever becomes of its bytes: damage, or the rows that were written")
    func rot() throws {
        // Three blocks, each of which compresses to some bytes.
        func table(version: Int64) throws -> (rows: [AttributeRow], bytes: [UInt8]) {
            let files = MemoryFileSystem()
            let rows = (0..<6).map { Self.row($0, version: version, size: 20_000) }
            _ = try Self.write(
                rows, Self.whole(6), after: try AttributeTables.open(in: files), in: files)
            return (rows, try files.readAll(FileNames.attributes(1)))
        }
        let (rows, sound) = try table(version: 1)
        let sweep = RotSweep(sound, old: try table(version: 2).bytes)
        // Blocks, index, footer; and of the old table the same ones.
        #expect(RotSweep.frames(of: sound).count == 5)
        #expect(RotSweep.frames(of: sweep.old) == RotSweep.frames(of: sound))
        var seen = 0
        func judge(_ rotten: [UInt8], _ what: String) throws {
            let files = MemoryFileSystem()
            try files.createDirectory(FileNames.attributeDirectory)
            files.overwrite(FileNames.attributes(1), with: rotten)
            let tables = try AttributeTables.open(in: files)
            var found: [AttributeRow] = []
            let damage = try tables.forEach { row in
                found.append(row)
                return true
            }
            if tables.damage.isEmpty, damage.isEmpty {
                #expect(found == rows && rotten.starts(with: sound), "\(what)")
            } else {
                #expect(found.allSatisfy { rows.contains($0) }, "\(what)")
                seen += 1
            }
            for row in rows {
                do throws(StorageError) {
                    let read = try tables.row(of: row.key)
                    #expect(read == row || read == nil && !tables.damage.isEmpty, "\(what)")
                } catch {
                    #expect(!damage.isEmpty, "\(what): \(error)")
                }
            }
        }
        try sweep.flips(judge)
        try sweep.lengths(judge)
        #expect(seen == 3 * sound.count)
        try sweep.sectors(judge)
        try sweep.frames(judge)
    }

    @Test("a damaged block takes its rows and no others; the copy is then no copy any more")
    func damagedBlock() throws {
        let files = MemoryFileSystem()
        let rows = (0..<3000).map { Self.row($0) }
        var tables = try Self.write(
            rows, Self.whole(3000), after: try AttributeTables.open(in: files), in: files)
        let file = try files.open(FileNames.attributes(1), .write)
        try file.write([[0xff, 0xff, 0xff]], at: 100)
        let damage = try #require(try tables.verify(in: files).first)
        #expect(damage.what.contains("damaged at byte 0"))
        var left: [AttributeRow] = []
        let found = try tables.forEach { row in
            left.append(row)
            return true
        }
        #expect(found.count == 1 && left.count > 1000 && left == Array(rows.suffix(left.count)))
        #expect(throws: StorageError.self) { try tables.row(of: rows[0].key) }
        tables.note(found[0])
        #expect(tables.span == nil)
        // What is written next stands in its place.
        tables = try Self.write(rows, Self.whole(3001), after: tables, in: files)
        #expect(tables.span == Self.whole(3001))
        #expect(try Self.names(files).count == 1)
    }

    @Test("a table of a later release is refused by name, and nothing is removed")
    func laterRelease() throws {
        let files = MemoryFileSystem()
        var tables = try Self.write(
            [Self.row(1)], Self.whole(1), after: try AttributeTables.open(in: files), in: files)
        let file = try files.open(FileNames.attributes(1), .write)
        let size = try file.size()
        // 1 and 2 differ in two bits; 6 in three.
        try file.write([[6]], at: size - 12)
        tables = try AttributeTables.open(in: files)
        #expect(tables.isNewer && tables.span == nil)
        #expect(tables.damage[0].what.contains("format version 6"))
        tables = try Self.write([Self.row(1)], Self.whole(2), after: tables, in: files)
        #expect(try Self.names(files).count == 2)
    }

    @Test("a crash at any operation leaves a copy as it was before or after, and never less")
    func crashes() throws {
        let rows = (0..<500).map { Self.row($0) }
        let changed = rows[100..<200].map {
            AttributeRow(key: $0.key, version: 2, json: $0.json)
        }
        for isWhole in [true, false] {
            let files = MemoryFileSystem()
            let before = try Self.write(
                rows, Self.whole(500), after: try AttributeTables.open(in: files), in: files)
            let span = isWhole ? Self.whole(600) : AttributeSpan(nonce: 7, after: 500, through: 600)
            files.keepStates()
            _ = try Self.write(
                isWhole
                    ? rows.map { row in changed.first { $0.key == row.key } ?? row } : changed,
                span, after: before, in: files)
            var seen: Set<Int64> = []
            for (place, crashed) in files.keptStates.enumerated() {
                var random = RandomSource(seed: UInt64(place))
                let disk = crashed.crash(&random)
                let found = try AttributeTables.open(in: disk)
                let through = try #require(found.span?.through)
                #expect([500, 600].contains(through))
                seen.insert(through)
                let versions = try Self.all(found).map(\.version)
                #expect(versions.count == 500)
                #expect(versions.filter { $0 == 2 }.count == (through == 600 ? 100 : 0))
                #expect(try Self.names(disk).allSatisfy { $0.hasSuffix(".att") })
            }
            #expect(seen.contains(500))
        }
    }

    @Test("a row of attributeRowMax bytes and a key of keyMax fit a block, whatever is before them")
    func rowMax() throws {
        let files = MemoryFileSystem()
        var rows = [Self.row(1, size: StorageLimits.blockTarget - 60)]
        let key = Array(repeating: UInt8(ascii: "z"), count: Limits.keyMax)
        rows.append(
            AttributeRow(
                key: key, version: .max,
                json: Array(repeating: 0x20, count: StorageLimits.attributeRowMax)))
        let tables = try Self.write(
            rows, Self.whole(2), after: try AttributeTables.open(in: files), in: files)
        #expect(try Self.all(tables) == rows)
        #expect(StorageLimits.attributeBlockRawMax > StorageLimits.attributeRowMax)
    }

    @Test("the check of a stopped node's directory reads the copy, too")
    func directoryCheck() throws {
        let files = MemoryFileSystem()
        _ = try Recovery.open(files, options: StorageModel.options) { _, _ in }
        _ = try Self.write(
            [Self.row(1)], Self.whole(1), after: try AttributeTables.open(in: files), in: files)
        var check = DirectoryCheck(files, options: StorageModel.options)
        let sound = try check.run()
        #expect(sound.isSound && sound.lines.contains { $0.contains("a copy of attributes") })
        try files.open(FileNames.attributes(1), .write).write([[0xff]], at: 20)
        let damaged = try check.run()
        #expect(!damaged.isSound && damaged.lines.contains { $0.contains(".att: DAMAGED") })
    }
}
