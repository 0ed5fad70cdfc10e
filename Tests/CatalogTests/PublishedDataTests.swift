import Catalog
import Core
import Foundation
import Testing

/// Published files of trending videos, which lie beside the repository where they are present.
private enum PublishedData {
    static let folder = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "shared/data/youtube")

    static var isPresent: Bool {
        FileManager.default.fileExists(atPath: folder.appending(path: "videos_merged.jsonl").path)
    }
}

@Suite(
    .enabled(
        if: PublishedData.isPresent,
        "the files of shared/data/youtube are not beside this repository"))
struct PublishedDataTests {
    private func parse(_ name: String, _ format: AttributeFormat) throws -> ParsedAttributes {
        let bytes = try Data(contentsOf: PublishedData.folder.appending(path: name))
        return try ParsedAttributes(Array(bytes), format: format, keyField: "video_id")
    }

    @Test(
        "Each CSV as published gives its 200 videos",
        arguments: ["18.01.11_US_videos.csv", "18.01.11_JP_videos.csv", "18.01.11_RU_videos.csv"])
    func csv(name: String) throws {
        let parser = try parse(name, .csv)
        #expect(parser.rejectedCount == 0)
        #expect(parser.entries.count == 200)
        #expect(Set(parser.entries.map(\.key)).count == 200)
    }

    @Test("Titles are the same bytes in both publications and come back from the database")
    func titles() throws {
        let merged = try parse("videos_merged.jsonl", .ndjson)
        #expect(merged.rejectedCount == 0)
        #expect(merged.entries.count == 1672)
        let temporary = try TemporaryFolder()
        let catalog = try AttributeCatalog(file: temporary.file("catalog.sqlite")) { 1 }
        let result = try catalog.put(merged.entries, at: WallTime(milliseconds: 1))
        #expect(result.rows.count == 1672)
        let found = try catalog.attributes(of: merged.entries.map(\.key))
        for entry in merged.entries { #expect(found[entry.key] == entry.json) }

        let title = Array("title".utf8)
        var compared = 0
        for region in ["US", "JP", "RU"] {
            for entry in try parse("18.01.11_\(region)_videos.csv", .csv).entries {
                guard let json = entry.json, let other = found[entry.key] else { continue }
                let one = JSONCanonical.plainValue(of: title, in: json)
                #expect(one == JSONCanonical.plainValue(of: title, in: other))
                compared += 1
            }
        }
        // Every row of each CSV is in the other publication too.
        #expect(compared == 600)
    }
}
