import Client
import Core
import Foundation
import Testing

@Suite("Reading files")
struct FileCutterTests {
    /// `{"a":1}`, `{"a":2}`, `{"a":3}`, one a line, by gzip.
    private static let compressed: [UInt8] = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xab, 0x56,
        0x4a, 0x54, 0xb2, 0x32, 0xac, 0xe5, 0xaa, 0x06, 0xd1, 0x46, 0x50, 0xda,
        0xb8, 0x96, 0x0b, 0x00, 0xfd, 0x9f, 0x10, 0x6d, 0x18, 0x00, 0x00, 0x00,
    ]

    private func withFiles<Result>(
        _ files: [(name: String, bytes: [UInt8])], _ body: ([String]) throws -> Result
    ) throws -> Result {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("quipu-client-tests-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer {
            do {
                try FileManager.default.removeItem(at: folder)
            } catch {
                Issue.record("\(error)")
            }
        }
        let paths = try files.map { file in
            let url = folder.appendingPathComponent(file.name)
            try Data(file.bytes).write(to: url)
            return url.path
        }
        return try body(paths)
    }

    private func batches(
        _ paths: [String], format: EventFormat? = nil, events: Int = 2
    ) throws -> [CutBatch] {
        let cutter = FileCutter(
            files: paths, format: format, limits: CutLimits(events: events, bytes: 1 << 22))
        var batches: [CutBatch] = []
        while let batch = try cutter.next() { batches.append(batch) }
        return batches
    }

    private func text(_ batches: [CutBatch]) -> [String] {
        batches.map { String(decoding: $0.body, as: UTF8.self) }
    }

    @Test("files are cut in their order and no batch spans two")
    func order() throws {
        let files: [(String, [UInt8])] = [
            ("a.ndjson", Array("{1}\n{2}\n{3}\n".utf8)), ("empty.log", []),
            ("b.csv", Array("k\n1\n".utf8)), ("c.json", Array("[1,2,3]".utf8)),
        ]
        try withFiles(files) { paths in
            let batches = try batches(paths)
            #expect(text(batches) == ["{1}\n{2}\n", "{3}\n", "k\n1\n", "[1,2]", "[3]"])
            #expect(
                batches.map(\.contentType) == [
                    "application/x-ndjson", "application/x-ndjson", "text/csv", "application/json",
                    "application/json",
                ])
        }
    }

    @Test("gzip is undone whatever the name says, member after member")
    func gzip() throws {
        let twice = FileCutterTests.compressed + FileCutterTests.compressed
        try withFiles([("a.json.gz", FileCutterTests.compressed), ("b.jsonl", twice)]) { paths in
            let line = "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n"
            let bodies = try text(batches(paths, events: 9))
            #expect(bodies == [line, line + line])
        }
    }

    /// `{"a":1}`, `{"a":2}`, `{"a":3}`, one a line, by lz4: a block as it is, and a sum of it all.
    private static let framed: [UInt8] =
        [0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7, 0x18, 0, 0, 0x80]
        + Array("{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n".utf8) + [0, 0, 0, 0]
        + [0x49, 0xdf, 0x15, 0x0a]

    @Test("LZ4 frames are undone whatever the name says, frame after frame")
    func lz4() throws {
        let twice = FileCutterTests.framed + FileCutterTests.framed
        try withFiles([("a.csv.lz4", FileCutterTests.framed), ("b.jsonl", twice)]) { paths in
            let line = "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n"
            let bodies = try batches(paths, events: 9)
            #expect(text(bodies) == [line, line + line])
            #expect(bodies.map(\.contentType) == ["text/csv", "application/x-ndjson"])
        }
    }

    @Test("LZ4 that breaks off or is damaged is an error that names the file")
    func brokenLZ4() throws {
        let whole = FileCutterTests.framed
        var damaged = whole
        damaged[14] ^= 0xff
        for bytes in [Array(whole.dropLast(5)), Array(whole.prefix(12)), damaged, whole + [1]] {
            try withFiles([("a.json.lz4", bytes)]) { paths in
                let failure = #expect(throws: FileFailure.self) { try batches(paths) }
                #expect(failure?.reason.contains("lz4") == true)
            }
        }
    }

    @Test("CloudEvents come as one event, as an array, or one a line, and go as arrays")
    func cloudEvents() throws {
        let files = [
            ("one.json", "{\n  \"id\": \"1\"\n}\n"), ("array.json", "[{\"id\":\"1\"},\n{}, {}]"),
            ("lines.ndjson", "{\"id\":\"1\"}\n\n{}\r\n{}"),
        ]
        let bytes = files.map { ($0.0, Array($0.1.utf8)) }
        try withFiles(bytes) { paths in
            let bodies = try batches(paths, format: .cloudevents)
            #expect(
                text(bodies) == [
                    "[{\n  \"id\": \"1\"\n}]", "[{\"id\":\"1\"},{}]", "[{}]", "[{\"id\":\"1\"},{}]",
                    "[{}]",
                ])
            #expect(
                Set(bodies.map(\.contentType)) == ["application/cloudevents-batch+json"])
            #expect(try batches(paths, format: .cloudevents) == bodies)
        }
        // A line that is cut takes its end from the next: the file is mended, not guessed at.
        try withFiles([("cut.ndjson", Array("{\"id\":\"1\"}\n{\"id\":\n{}\n".utf8))]) { paths in
            let failure = #expect(throws: FileFailure.self) {
                try batches(paths, format: .cloudevents)
            }
            #expect(failure?.reason.contains("byte") == true)
        }
    }

    @Test("gzip that breaks off or is damaged is an error that names the file")
    func brokenGzip() throws {
        let whole = FileCutterTests.compressed
        var damaged = whole
        damaged[14] ^= 0xff
        for bytes in [Array(whole.dropLast(5)), Array(whole.prefix(12)), damaged] {
            try withFiles([("a.json.gz", bytes)]) { paths in
                #expect(throws: FileFailure.self) { try batches(paths) }
                #expect(ByteSource.size(ofFile: paths[0]) == bytes.count)
            }
        }
    }

    @Test("a byte order mark is dropped")
    func byteOrderMark() throws {
        try withFiles([("a.csv", [0xef, 0xbb, 0xbf] + Array("k\n1\n".utf8))]) { paths in
            let bodies = try text(batches(paths))
            #expect(bodies == ["k\n1\n"])
        }
    }

    @Test("missing files, folders and unknown formats are named")
    func failures() throws {
        #expect(throws: FileFailure.self) { try batches(["/nonexistent/a.json"]) }
        #expect(throws: FileFailure.self) { try batches(["/"]) }
        #expect(ByteSource.reasonNotToOpen("/nonexistent/a.json") != nil)
        try withFiles([("data.bin", Array("hello\n".utf8))]) { paths in
            #expect(throws: FileFailure.self) { try batches(paths) }
            let lines = try batches(paths, format: .clf)
            #expect(lines.count == 1)
            #expect(ByteSource.reasonNotToOpen(paths[0]) == nil)
            #expect(ByteSource.size(ofFile: paths[0]) == 6)
        }
    }

    @Test("formats are found by name, and by the first byte between the shapes of JSON")
    func formats() {
        let cases: [(String, String, EventFormat?)] = [
            ("a.json", "[", .json), ("a.json.gz", "{", .ndjson), ("a.JSONL", " \n{", .ndjson),
            ("x/a.csv.gz", "a", .csv), ("a.tsv", "[", .tsv), ("a.log", "1.2.3.4 ", .clf),
            ("a.log.gz", "{", .ndjson), ("-", "{", .ndjson), ("-", "[", .json), ("-", "x", nil),
            ("a.csv.lz4", "a", .csv),
            ("noending", "x", nil), (".gz", "x", nil), ("", "", nil),
        ]
        for (path, head, format) in cases {
            #expect(EventFormat.detect(path: path, head: head.utf8) == format, "\(path)")
        }
    }

    @Test("the real files give as many records as are known of them")
    func realFiles() throws {
        let data = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../shared/data").standardized.path
        guard FileManager.default.fileExists(atPath: data) else {
            print("skipped: no real data at ../shared/data")
            return
        }
        let known = [
            ("gharchive-min-2015-02-22-21.json.gz", 29_963), ("git_file_changes.tsv.gz", 137_899),
            ("semicomplete_apache_access_10k.log.gz", 10_000),
            ("nycflights13_flights.csv.gz", 336_776), ("youtube/18.01.11_JP_videos.csv", 200),
            ("youtube/18.01.11_US_videos.csv", 200), ("youtube/videos_merged.jsonl", 1672),
        ]
        for (name, records) in known {
            let batches = try batches(["\(data)/\(name)"], events: 997)
            #expect(batches.reduce(0) { $0 + $1.events } == records, "\(name)")
            #expect(batches.dropLast().allSatisfy { $0.events == 997 }, "\(name)")
        }
    }
}
