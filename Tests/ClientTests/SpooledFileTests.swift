import Client
import Core
import Foundation
import Storage
import Testing

/// Files sent by runs that end early, over one spool.
@Suite("Sending files with a spool")
struct SpooledFileTests {
    /// Bodies that a run sends; it ends after `batches` of them, as if it was killed: the rest is
    /// not sealed, and the last one is not answered.
    private func run(
        _ disk: MemoryFileSystem, _ files: [URL], format: EventFormat? = nil, events: Int = 2,
        killedAfter batches: Int = .max
    ) async throws -> (bodies: [String], result: FileSender.Result) {
        let cluster = ScriptedCluster { request, number in
            number + 1 < batches
                ? ScriptedCluster.counted(1) : ScriptedCluster.problem(400)
        }
        let spool = try Spool(
            MemorySpool(disk: disk), directory: "d", producer: 42,
            bounds: SpoolJournal.Bounds())
        var options = ProducerOptions()
        options.inFlight = 1
        options.failureRule = .stop
        let producer = Producer(
            client: cluster.client(), options: options, spool: spool, time: ScriptedTime().time)
        let sender = FileSender(
            producer: producer, files: files.map(\.path), format: format,
            limits: CutLimits(events: events, bytes: 1 << 22), spool: spool,
            book: InputBook(await spool.inputs), time: ScriptedTime().time)
        let result = await sender.run()
        let bodies = await cluster.requests.prefix(batches - (batches == .max ? 0 : 1)).map {
            String(decoding: $0.call.body ?? [], as: UTF8.self)
        }
        return (bodies, result)
    }

    private let compressed: [UInt8] = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xab, 0x56,
        0x4a, 0x54, 0xb2, 0x32, 0xac, 0xe5, 0xaa, 0x06, 0xd1, 0x46, 0x50, 0xda,
        0xb8, 0x96, 0x0b, 0x00, 0xfd, 0x9f, 0x10, 0x6d, 0x18, 0x00, 0x00, 0x00,
    ]

    /// A binary batch of one event.
    private func one(_ key: String) -> [UInt8] {
        var writer = BinaryBatchWriter()
        writer.append(type: "t", key: key, time: Timestamp(milliseconds: 0))
        return writer.finish().bytes
    }

    @Test("a run that was cut short goes on behind the last batch, in every format")
    func formats() async throws {
        let mark: [UInt8] = [0xef, 0xbb, 0xbf]
        let cases: [(String, [UInt8], [String])] = [
            (
                "a.ndjson", Array("{1}\n{2}\n\n{3}\n{4}\n{5}".utf8),
                ["{1}\n{2}\n", "\n{3}\n{4}\n", "{5}"]
            ),
            (
                "a.csv", mark + Array("k,t\n1,\"a\nb\"\n2,2\n3,3\n4,4\n5,5\n".utf8),
                ["k,t\n1,\"a\nb\"\n2,2\n", "k,t\n3,3\n4,4\n", "k,t\n5,5\n"]
            ),
            (
                "a.tsv", Array("\nk\tt\n1\t1\n2\t2\n3\t3\n".utf8),
                ["k\tt\n1\t1\n2\t2\n", "k\tt\n3\t3\n"]
            ),
            (
                "a.json", Array("[{\"a\":1}, {\"a\":2} ,[3],4,\n5 ]\n".utf8),
                ["[{\"a\":1},{\"a\":2}]", "[[3],4]", "[5]"]
            ),
            (
                "b.json", Array("[1,2,3]\n[4][5,6]".utf8), ["[1,2]", "[3,4]", "[5,6]"]
            ),
            (
                "a.qb", one("a") + one("b") + one("c"),
                [one("a") + one("b"), one("c")].map { String(decoding: $0, as: UTF8.self) }
            ),
            ("a.json.gz", compressed, ["{\"a\":1}\n{\"a\":2}\n", "{\"a\":3}\n"]),
        ]
        for (name, bytes, expected) in cases {
            for killedAfter in 1...(expected.count + 1) {
                try await withFolder { folder in
                    let file = folder.appendingPathComponent(name)
                    try Data(bytes).write(to: file)
                    let disk = MemoryFileSystem()
                    let first = try await run(disk, [file], killedAfter: killedAfter)
                    let second = try await run(disk, [file])
                    #expect(first.bodies + second.bodies == expected, "\(name), \(killedAfter)")
                    #expect(second.result.fileFailure == nil)
                    let third = try await run(disk, [file])
                    #expect(third.bodies.isEmpty)
                    #expect(third.result.finishedBefore == [file.path])
                    #expect(third.result.spool?.totals.batches == expected.count)
                }
            }
        }
    }

    @Test("files that give no batch are no inputs, wherever they stand")
    func emptyFiles() async throws {
        try await withFolder { folder in
            var files: [URL] = []
            for (name, text) in [
                ("a.ndjson", ""), ("b.csv", "k,t\n"), ("c.ndjson", "{1}\n"), ("d.ndjson", "\n\n"),
                ("e.ndjson", "{2}\n"), ("f.ndjson", ""),
            ] {
                files.append(folder.appendingPathComponent(name))
                try Data(text.utf8).write(to: files[files.count - 1])
            }
            let disk = MemoryFileSystem()
            let first = try await run(disk, files)
            #expect(
                first.bodies == ["{1}\n", "\n\n", "{2}\n"] || first.bodies == ["{1}\n", "{2}\n"])
            // They were read again from a spool that is whole; one that was empty may grow.
            try Data("{3}\n".utf8).write(to: files[0])
            let second = try await run(disk, files)
            #expect(second.bodies == ["{3}\n"])
            #expect(second.result.fileFailure == nil)
        }
    }

    @Test("a file that grew goes on where it ended")
    func growing() async throws {
        try await withFolder { folder in
            let file = folder.appendingPathComponent("a.csv")
            let disk = MemoryFileSystem()
            try Data("k\n1\n2\n3\n".utf8).write(to: file)
            #expect(try await run(disk, [file]).bodies == ["k\n1\n2\n", "k\n3\n"])
            try Data("k\n1\n2\n3\n4\n5\n6\n".utf8).write(to: file)
            let grown = try await run(disk, [file])
            #expect(grown.bodies == ["k\n4\n5\n", "k\n6\n"])
            #expect(grown.result.finishedBefore.isEmpty)
            // The last line without its end is an event; a new line may follow it.
            try Data("k\n1\n2\n3\n4\n5\n6\n7".utf8).write(to: file)
            #expect(try await run(disk, [file]).bodies == ["k\n7"])
            try Data("k\n1\n2\n3\n4\n5\n6\n7\n8\n".utf8).write(to: file)
            #expect(try await run(disk, [file]).bodies == ["k\n\n8\n"])
        }
    }

    @Test("a line that grew after it was sent, a changed, a shorter and a foreign file are refused")
    func changed() async throws {
        try await withFolder { folder in
            let file = folder.appendingPathComponent("a.log")
            let disk = MemoryFileSystem()
            try Data("one\ntwo\nthr".utf8).write(to: file)
            #expect(try await run(disk, [file]).bodies == ["one\ntwo\n", "thr"])
            for other in [
                "one\ntwo\nthree\n", "One\ntwo\nthr", "one\ntwo\n", "", "x",
                "one\ntwO\nthr\nfour\n",
            ] {
                try Data(other.utf8).write(to: file)
                let (bodies, result) = try await run(disk, [file])
                #expect(bodies.isEmpty, "\(other)")
                let failure = try #require(result.fileFailure, "\(other)")
                #expect(failure.path == file.path)
                let grew = other == "one\ntwo\nthree\n"
                #expect(failure.reason.contains(grew ? "within its last line" : "other bytes"))
            }
            try Data("one\ntwo\nthr\nfour\n".utf8).write(to: file)
            let named = try await run(disk, [file], format: .csv)
            #expect(named.result.fileFailure?.reason.contains("begun as clf") == true)
            #expect(try await run(disk, [file]).bodies == ["\nfour\n"])
        }
    }

    @Test("a log that was renamed is the same log, and its successor a new one")
    func rotated() async throws {
        try await withFolder { folder in
            let log = folder.appendingPathComponent("a.log")
            let old = folder.appendingPathComponent("a.log.1")
            let disk = MemoryFileSystem()
            try Data("1\n2\n3\n".utf8).write(to: log)
            _ = try await run(disk, [log], format: .clf)
            let handle = try FileHandle(forWritingTo: log)
            try handle.seekToEnd()
            try handle.write(contentsOf: Data("4\n".utf8))
            try handle.close()
            try FileManager.default.moveItem(at: log, to: old)
            try Data("5\n6\n7\n8\n9\n".utf8).write(to: log)
            let (bodies, result) = try await run(disk, [old, log], format: .clf)
            #expect(bodies == ["4\n", "5\n6\n", "7\n8\n", "9\n"])
            #expect(result.fileFailure == nil)
            let again = try await run(disk, [old, log, old], format: .clf)
            #expect(again.bodies.isEmpty)
            #expect(again.result.finishedBefore == [old.path, log.path, old.path])
        }
    }

    @Test("a directory is held by one process, kept private, and must be a spool's own")
    func directory() async throws {
        try await withFolder { folder in
            let path = folder.appendingPathComponent("spool").path
            do {
                let spool = try Spool(directory: path)
                #expect(throws: SpoolError.inUse(directory: path)) {
                    try Spool(directory: path)
                }
                _ = await spool.status
            }
            let files = try FileManager.default.contentsOfDirectory(atPath: path).sorted()
            #expect(files == ["0000000000000001.spool", "LOCK"])
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            #expect(attributes[.posixPermissions] as? Int == 0o700)
            try Data().write(to: folder.appendingPathComponent("other"))
            #expect(throws: SpoolError.foreign(directory: folder.path)) {
                try Spool(directory: folder.path)
            }
            let missing = folder.appendingPathComponent("a/b").path
            #expect(throws: SpoolError.self) { try Spool(directory: missing) }
        }
    }

    @Test("real files: what two processes wrote and read is what one would have")
    func realDirectory() async throws {
        try await withFolder { folder in
            let path = folder.appendingPathComponent("spool").path
            do {
                var journal = try SpoolJournal(SpoolDirectory(path), producer: 1)
                let draft = BatchDraft(body: Array("abc".utf8), contentType: "t", events: 1)
                _ = try journal.seal(draft, target: "x", createdAt: WallTime(milliseconds: 5))
            }
            let name = path + "/" + SpoolJournal.name(1)
            let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: name))
            try handle.seekToEnd()
            try handle.write(contentsOf: Data([1, 2, 3]))
            try handle.close()
            let size = try Data(contentsOf: URL(fileURLWithPath: name)).count
            var journal = try SpoolJournal(SpoolDirectory(path), producer: 2)
            #expect(journal.bytes == size - 3, "a torn tail was not cut")
            #expect(try journal.load(0).body == Array("abc".utf8))
            #expect(journal.state.producer == 1)
            try journal.settle(0, .counted(BatchCounts(events: 1, counted: 1, dead: 0)))
            try journal.compact()
            let names = try FileManager.default.contentsOfDirectory(atPath: path)
            #expect(names.sorted() == [SpoolJournal.name(1), "LOCK"])
        }
    }
}
