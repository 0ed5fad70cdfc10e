import Core
import Foundation
import Ingest
import Testing

/// Real files with known totals. They lie beside the repository where they are present at all.
private enum RealData {
    static let folder = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "shared/data")

    static var isPresent: Bool {
        FileManager.default.fileExists(atPath: folder.appending(path: "README.md").path)
    }

    static func load(_ name: String) throws -> [UInt8] {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/gzip")
        process.arguments = ["-dc", folder.appending(path: name).path]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        return Array(data)
    }

    static func minute(_ text: String) throws -> Int64 {
        try #require(try FoldFixture.milliseconds(text)) / 60_000
    }

    /// Every event lies before this.
    static let createdAt = WallTime(milliseconds: 1_800_000_000_000)
}

@Suite(
    .enabled(if: RealData.isPresent, "the files of shared/data are not beside this repository"))
struct RealDataTests {
    private func top(_ counts: [String: UInt64], _ count: Int) -> [String] {
        counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(count)
            .map { "\($0.key) \($0.value)" }
    }

    @Test("GitHub: three hours by repository and type")
    func github() throws {
        var folder = BatchFolder()
        let parameters = ParseParameters(
            format: .ndjson, keyField: "repo", timeField: "dt", typeField: "type",
            valueField: "commits")
        var cells: [Folded.CellName: Measure] = [:]
        for (hour, events) in [(21, 29_963), (22, 24_272), (23, 21_177)] {
            let bytes = try RealData.load("gharchive-min-2015-02-22-\(hour).json.gz")
            let folded = try Folded(&folder, bytes, parameters, createdAt: RealData.createdAt)
            #expect(
                folded.batch.totals
                    == BatchTotals(events: UInt32(events), counted: UInt32(events), dead: 0))
            for (name, measure) in folded.cells { cells[name, default: .zero].add(measure) }
        }
        var byKey: [String: UInt64] = [:]
        var byType: [String: UInt64] = [:]
        var stars: [String: UInt64] = [:]
        var byMinute: [Int64: UInt64] = [:]
        for (name, measure) in cells {
            byKey[name.key, default: 0] += measure.count
            byType[name.type, default: 0] += measure.count
            byMinute[name.window, default: 0] += measure.count
            if name.type == "watch" { stars[name.key, default: 0] += measure.count }
        }
        #expect(byKey.count == 27_699)
        #expect(
            top(byKey, 5) == [
                "chrsmith/bwapi 5138", "jtleek/datasharing 316",
                "rdpeng/ProgrammingAssignment2 267",
                "direwolf-github/my-app 264", "KenanSulayman/heartbeat 218",
            ])
        #expect(byType["push"] == 39_206)
        #expect(byType["public"] == 67)
        #expect(byType.count == 14)
        #expect(stars.count == 3538)
        #expect(
            top(stars, 3) == [
                "angrave/SystemProgramming 80", "0xAX/linux-insides 59",
                "bolshchikov/js-must-watch 43",
            ])
        #expect(byMinute[try RealData.minute("2015-02-22T21:17:00Z")] == 640)
        #expect(byMinute[try RealData.minute("2015-02-22T21:18:00Z")] == 744)
        #expect(cells.values.reduce(0) { $0 + ($1.values?.sum ?? 0) } == 64_374_000_000)
    }

    @Test("git: file changes by path, twenty years back")
    func git() throws {
        let parameters = ParseParameters(
            format: .tsv, keyField: "path", timeField: "author_ts", typeField: "change")
        let folded = try Folded(
            try RealData.load("git_file_changes.tsv.gz"), parameters, createdAt: RealData.createdAt)
        #expect(folded.batch.totals == BatchTotals(events: 137_899, counted: 137_899, dead: 0))
        let byKey = folded.byKey
        #expect(byKey.count == 7370)
        #expect(
            top(byKey, 5) == [
                "Makefile 2356", "cache.h 1471", "diff.c 1194", "refs.c 1082",
                "Documentation/config.txt 915",
            ])
        #expect(folded.byType == ["M": 127_905, "A": 7406, "D": 2584, "T": 4])
        let hours = folded.byWindow.reduce(into: [Int64: UInt64]()) {
            $0[floorDivide($1.key, 60), default: 0] += $1.value
        }
        #expect(hours[try RealData.minute("2025-01-20T01:00:00Z") / 60] == 1831)
        #expect(hours[try RealData.minute("2013-01-10T22:00:00Z") / 60] == 4)
    }

    @Test("Apache log: one malformed line of ten thousand")
    func apache() throws {
        let bytes = try RealData.load("semicomplete_apache_access_10k.log.gz")
        let folded = try Folded(
            bytes, ParseParameters(format: .commonLog, defaultType: "hit", keyField: "path"),
            createdAt: RealData.createdAt)
        #expect(folded.batch.totals == BatchTotals(events: 10_000, counted: 9999, dead: 1))
        #expect(folded.reasons == ["bad-line"])
        #expect(folded.byKey.count == 1498)
        #expect(
            top(folded.byKey, 3) == ["/favicon.ico 807", "/style2.css 546", "/reset.css 538"])
        #expect(folded.byWindow[try RealData.minute("2015-05-19T19:05:00Z")] == 136)
        let byStatus = try Folded(
            bytes, ParseParameters(format: .commonLog, keyField: "host", typeField: "status"),
            createdAt: RealData.createdAt)
        #expect(byStatus.byType["200"] == 9125)
        #expect(byStatus.byType["304"] == 445)
        #expect(byStatus.byType["404"] == 213)
    }

    @Test("Flights: by the hour all count, by departure exactly the 8,255 without one do not")
    func flights() throws {
        var folder = BatchFolder()
        let bytes = try RealData.load("nycflights13_flights.csv.gz")
        var parameters = ParseParameters(
            format: .csv, defaultType: "flight", keyField: "dest", timeField: "time_hour",
            valueField: "distance")
        let folded = try Folded(&folder, bytes, parameters, createdAt: RealData.createdAt)
        #expect(folded.batch.totals == BatchTotals(events: 336_776, counted: 336_776, dead: 0))
        #expect(top(folded.byKey, 3) == ["ORD 17283", "ATL 17215", "LAX 16174"])
        #expect(folded.byWindow[try RealData.minute("2013-06-15T12:00:00Z")] == 66)
        parameters.timeField = "dep_time"
        parameters.valueField = nil
        let departed = try Folded(&folder, bytes, parameters, createdAt: RealData.createdAt)
        #expect(
            departed.batch.totals == BatchTotals(events: 336_776, counted: 328_521, dead: 8255))
        #expect(Set(departed.reasons) == ["bad-time"])
    }

    @Test("Wikipedia: pages in many scripts, deltas of either sign")
    func wikipedia() throws {
        let parameters = ParseParameters(
            format: .ndjson, keyField: "page", timeField: "time", typeField: "channel",
            valueField: "delta")
        let folded = try Folded(
            try RealData.load("wikiticker-2015-09-12-sampled.12dates-altered.json.gz"), parameters,
            createdAt: RealData.createdAt)
        #expect(folded.batch.totals == BatchTotals(events: 39_244, counted: 39_244, dead: 0))
        #expect(folded.keys.count == 35_143)
        #expect(folded.byKey["Wikipedia:Vandalismusmeldung"] == 33)
        #expect(folded.byKey["Jeremy Corbyn"] == 27)
        let sum = folded.cells.values.reduce(0) { $0 + ($1.values?.sum ?? 0) }
        #expect(sum == 8_991_275_000_000)
        #expect(folded.byWindow[try RealData.minute("2015-09-12T12:01:00Z")] == 29)
    }
}
