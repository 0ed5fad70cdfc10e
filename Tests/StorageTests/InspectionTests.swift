import Core
import Foundation
import Storage
import Testing

@Suite struct InspectionTests {
    /// As a program reads it.
    private static func parsed(_ report: InspectReport) throws -> [String: Any] {
        let json = try JSONSerialization.jsonObject(with: Data(report.value.json.utf8))
        return try #require(json as? [String: Any])
    }

    private static func list(_ value: Any?) throws -> [[String: Any]] {
        try #require(value as? [[String: Any]])
    }

    @Test("a log file is described record by record, and damage is named")
    func log() throws {
        let files = try LogTests.fresh()
        let (_, appends) = try LogTests.write([2, 2], to: files)
        let path = FileNames.log(1)
        let report = try Inspection.log(path, in: files)
        #expect(report.isSound)
        #expect(report.lines.count == 2 + appends.count + 1)
        #expect(report.lines[2].hasPrefix("byte 32: LSN 1, kind 1, 50 bytes, synced"))
        #expect(report.value.json.contains("\"lsn\": 4"))
        var bytes = try #require(files.contents[path])
        bytes[70] ^= 1
        files.overwrite(path, with: bytes)
        let damaged = try Inspection.log(path, in: files)
        #expect(!damaged.isSound)
        #expect(damaged.lines.contains { $0.hasPrefix("byte 32: DAMAGED") })
        #expect(files.contents[path] == bytes)
        files.overwrite(path, with: [])
        #expect(try !Inspection.log(path, in: files).isSound)
    }

    @Test("a program learns where a log is damaged and where its tail is torn")
    func logJSON() throws {
        let files = try LogTests.fresh()
        let (_, appends) = try LogTests.write([2, 2], to: files)
        let path = FileNames.log(1)
        let bytes = try #require(files.contents[path])
        let sound = try Self.parsed(try Inspection.log(path, in: files))
        #expect(sound["sound"] as? Bool == true && sound["first_lsn"] as? Int == 1)
        #expect(sound["end"] as? Int == bytes.count && sound["torn_bytes"] as? Int == 0)
        #expect(try Self.list(sound["damage"]).isEmpty)
        #expect(try Self.list(sound["records"]).count == appends.count)
        let last = Int(appends[appends.count - 1].position.offset)
        files.overwrite(path, with: Array(bytes.dropLast(3)))
        let torn = try Self.parsed(try Inspection.log(path, in: files))
        #expect(torn["sound"] as? Bool == true && torn["end"] as? Int == last)
        #expect(torn["torn_bytes"] as? Int == bytes.count - 3 - last)
        var bent = bytes
        bent[70] ^= 1
        files.overwrite(path, with: bent)
        let damaged = try Self.parsed(try Inspection.log(path, in: files))
        #expect(damaged["sound"] as? Bool == false)
        let damage = try #require(try Self.list(damaged["damage"]).first)
        #expect(damage["offset"] as? Int == 32 && damage["missing_from"] as? Int == 1)
        #expect((damage["what"] as? String)?.isEmpty == false)
        files.overwrite(path, with: [])
        let empty = try Self.parsed(try Inspection.log(path, in: files))
        #expect(try Self.list(empty["damage"]).count == 1)
    }

    @Test("a program learns of a table's form, filter, bounds and damage what a person does")
    func tableJSON() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 61, slices: 10)
        let table = tables[tables.count - 1]
        let report = try Inspection.table(
            table.path, in: files, options: StorageModel.options)
        #expect(report.lines.contains { $0.hasPrefix("format 4, by base, windows of 60000 ms") })
        #expect(report.lines.contains { $0.hasPrefix("filter of ") })
        #expect(report.lines.contains { $0.hasPrefix("bounds of all types and of ") })
        let json = try Self.parsed(report)
        #expect(json["format"] as? Int == 4 && json["granularity"] as? String == "base")
        #expect(json["window_ms"] as? Int == 60_000)
        let filter = try #require(json["filter_bytes"] as? Int)
        #expect(filter > 0 && json["filter_offset"] as? Int != nil)
        #expect(json["bounded"] as? Bool == true)
        let types = try #require(json["bound_types"] as? [String])
        #expect(!types.isEmpty && Set(types).isSubset(of: ["view", "like", "share"]))
        let block = try #require(try Self.list(json["blocks"]).first)
        #expect(try #require(block["heaviest_events"] as? Int) > 0)
        #expect(block["first_key"] as? String == json["first_key"] as? String)
        #expect((json["damage"] as? [String])?.isEmpty == true)
        var bytes = try #require(files.contents[table.path])
        bytes[17] ^= 1
        files.overwrite(table.path, with: bytes)
        let damaged = try Self.parsed(
            try Inspection.table(table.path, in: files, options: nil))
        #expect((damaged["damage"] as? [String])?.count == 1)
    }

    @Test("a program learns who a manifest belongs to, what is forgotten, and each edit")
    func manifestJSON() throws {
        let files = MemoryFileSystem()
        var life = try StoreLife(files, seed: 63, PromiseBook())
        try life.identify()
        try life.append(3)
        try life.flush()
        try life.checkpoint(20)
        try life.append(2)
        try life.setAside()
        try life.checkpoint(7)
        let path = FileNames.manifest
        let json = try Self.parsed(try Inspection.manifest(path, in: files))
        let identity = try #require(json["identity"] as? [String: Any])
        #expect(identity["incarnation"] as? Int == 3 && identity["generation"] as? Int == 99)
        #expect(identity["start"] as? String == "7")
        #expect(try Self.list(json["history"]).map { $0["outcomes"] as? Int } == [7])
        let base = try #require(json["base"] as? [String: Any])
        #expect(base["through"] as? Int == 7)
        #expect(
            try Self.list(base["partitions"]).map { $0["events"] as? Int }
                == Array(repeating: 7, count: StorageModel.partitions))
        #expect(json["void_through"] as? Int == 6 && json["covered_through"] as? Int == 6)
        let edits = try Self.list(json["edits"])
        #expect(edits.map { $0["number"] as? Int } == Array(1...edits.count))
        #expect(edits.filter { $0["void_through"] != nil }.count == 1)
        #expect(edits.compactMap { $0["add_history"] as? [Int] } == [[1], [2]])
        #expect(edits.compactMap { $0["remove_history"] as? [Int] } == [[1]])
        #expect(json["torn_bytes"] as? Int == 0)
        let bytes = try #require(files.contents[path])
        files.overwrite(path, with: Array(bytes.dropLast(2)))
        let torn = try Self.parsed(try Inspection.manifest(path, in: files))
        #expect(torn["end"] as? Int == edits[edits.count - 1]["offset"] as? Int)
        #expect(try #require(torn["torn_bytes"] as? Int) > 0)
    }

    @Test("a table is described with what it holds, and read whole")
    func table() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 61, slices: 10)
        let table = tables[tables.count - 1]
        for options in [StorageModel.options, nil] {
            let report = try Inspection.table(table.path, in: files, options: options)
            #expect(report.isSound)
            #expect(report.lines.contains { $0.hasPrefix("\(table.meta.cells) cells") })
            #expect(report.value.json.contains("\"cells\": \(table.meta.cells)"))
        }
        var bytes = try #require(files.contents[table.path])
        bytes[17] ^= 1
        files.overwrite(table.path, with: bytes)
        #expect(try !Inspection.table(table.path, in: files, options: nil).isSound)
    }

    @Test("a manifest is described with its state and its edits")
    func manifest() throws {
        let (files, _, tables) = try TableTests.flushed(seed: 62, slices: 10)
        _ = try ManifestTests.commit(
            ManifestEdit(
                addTables: tables.map(\.meta), coveredThrough: LSN(0),
                identity: ManifestTests.identity), to: ManifestTests.runner(files))
        let report = try Inspection.manifest("MANIFEST", in: files)
        #expect(report.lines.contains { $0.contains("incarnation 3, generation 99") })
        #expect(report.lines.filter { $0.hasPrefix("sstables/") }.count == tables.count)
        #expect(report.value.json.contains("\"next_table\": \(tables.count + 1)"))
    }

    @Test("what is printed as JSON is quoted as JSON wants it")
    func json() {
        let value = InspectValue.object([
            InspectValue.Field(name: "a\"b", value: .text("line\nback\\slash")),
            InspectValue.Field(name: "list", value: .list([.number(-3), .flag(true)])),
        ])
        #expect(value.json == #"{"a\"b": "line\u000aback\\slash", "list": [-3, true]}"#)
    }
}
