import Core
import Storage
import Testing

@Suite struct InspectionTests {
    @Test("a log file is described record by record, and damage is named")
    func log() throws {
        let files = try LogTests.fresh()
        let (_, appends) = try LogTests.write([2, 2], to: files)
        let path = FileNames.log(1)
        let report = try Inspection.log(path, in: files)
        #expect(report.isSound)
        #expect(report.lines.count == 2 + appends.count + 1)
        #expect(report.lines[2] == "byte 32: LSN 1, kind 1, 50 bytes")
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
