import Foundation
import Node
import Storage
import Testing

@Suite("What a directory's cluster was made with")
struct FoundingTests {
    private struct Folder {
        let scratch: DirectoryFileSystemTests.Scratch
        let files: DirectoryFileSystem

        init() throws {
            scratch = try DirectoryFileSystemTests.Scratch()
            files = DirectoryFileSystem(root: scratch.path)
        }

        func verify(_ text: String) throws {
            try Founding.verify(ThreeNodes.configuration(text), "n1", files)
        }

        /// As if the node had been started.
        func begin() throws {
            try files.open("MANIFEST", .replace).write([[1]], at: 0)
        }
    }

    @Test(
        "Another value of what lasts for the cluster's life stops the start and says which",
        arguments: [
            ("partitions: 64", "partitions 256"), ("window: 1h", "window 60000 ms"),
            ("placement: key+day", "placement key, cluster.conf says key+day"),
            ("replication_factor: 2", "replication_factor 3"),
            ("digest_key: 00112233445566778899aabbccddeeff", "digest_key"),
        ])
    func refused(text: String, word: String) throws {
        let folder = try Folder()
        try folder.verify("")
        try folder.begin()
        try folder.verify("")
        let bytes = try folder.files.readAll("CLUSTER")
        let error = #expect(throws: NodeStartError.self) { try folder.verify(text) }
        #expect(error?.description.contains("was made with " + word) == true)
        // Nothing was changed: the former value starts as before.
        #expect(try folder.files.readAll("CLUSTER") == bytes)
        try folder.verify("")
    }

    @Test("A typo of the very first start is told whole, with its place and a remedy")
    func typo() throws {
        let folder = try Folder()
        try folder.verify("partitions: 64\nwindow: 1h")
        try folder.begin()
        let early = #expect(throws: NodeStartError.self) { try folder.verify("partitions: 128") }
        let said = try #require(early?.description)
        #expect(said.contains("partitions 64, cluster.conf says 128"))
        #expect(said.contains("window 3600000 ms, cluster.conf says 60000 ms"))
        #expect(said.contains("n1/CLUSTER remembers it"))
        #expect(said.contains("if no batch was ever sent to this cluster, empty the directories"))
        // With counts on the disk nobody is told to empty it.
        try FileManager.default.createDirectory(
            atPath: folder.scratch.path + "/sstables", withIntermediateDirectories: true)
        try folder.files.open(FileNames.table(1), .replace).write([[1]], at: 0)
        let late = #expect(throws: NodeStartError.self) { try folder.verify("partitions: 128") }
        #expect(late?.description.contains("this one holds counts") == true)
        #expect(late?.description.contains("empty the directories") == false)
    }

    @Test("Who reads a directory whole reads its file too, and hears first of another cluster.conf")
    func inspected() throws {
        let files = MemoryFileSystem()
        let made = try ThreeNodes.configuration("")
        let options = StorageOptions(digestKey: made.digestKey, window: made.window)
        _ = try Recovery.open(files, options: options) { _, _ in }
        func report(_ text: String) throws -> InspectReport {
            let beside = try Founding.inspect(
                ThreeNodes.configuration(text), "n1", files)
            var check = DirectoryCheck(files, options: options, beside: beside)
            return try check.run()
        }
        // An earlier release remembered nothing.
        #expect(try report("window: 1h").isSound)
        try Founding.store(made, in: files)
        let contents = files.contents
        let whole = try report("")
        let line = "CLUSTER: what the cluster was made with, "
        #expect(whole.isSound && whole.lines.contains { $0.hasPrefix(line) })
        let error = #expect(throws: NodeStartError.self) { try report("window: 1h") }
        #expect(error?.description.contains("window 60000 ms, cluster.conf says 3600000") == true)
        #expect(files.contents == contents)
        var bytes = try files.readAll("CLUSTER")
        bytes[20] ^= 1
        files.overwrite("CLUSTER", with: bytes)
        let found = try report("")
        #expect(!found.isSound && found.lines.contains { $0.hasPrefix("CLUSTER: DAMAGED, ") })
    }

    @Test("What may change does, and an empty directory takes any")
    func changes() throws {
        let folder = try Folder()
        try folder.verify("partitions: 64")
        try folder.verify("")
        try folder.begin()
        try folder.verify("retention: {1m: 30d}")
        try folder.verify("future_limit: 2d")
        try folder.verify("log_level: debug")
    }

    @Test("A directory of an earlier release was placed by key, and remembers once it has started")
    func earlier() throws {
        let folder = try Folder()
        try folder.begin()
        #expect(throws: NodeStartError.self) { try folder.verify("placement: key+day") }
        try folder.verify("")
        #expect(try !folder.files.list(".").contains("CLUSTER"))
        try Founding.keep(ThreeNodes.configuration(""), folder.files)
        #expect(throws: NodeStartError.self) { try folder.verify("partitions: 64") }
        // What stands there is not written over.
        let bytes = try folder.files.readAll("CLUSTER")
        try Founding.keep(ThreeNodes.configuration("partitions: 64"), folder.files)
        #expect(try folder.files.readAll("CLUSTER") == bytes)
    }

    @Test("A lost manifest beside a log does not make a directory empty")
    func lostManifest() throws {
        let folder = try Folder()
        try folder.verify("")
        try FileManager.default.createDirectory(
            atPath: folder.scratch.path + "/log", withIntermediateDirectories: true)
        try folder.verify("partitions: 64")
        try folder.verify("")
        try folder.files.open("log/0000000001.log", .replace).write([[1]], at: 0)
        #expect(throws: NodeStartError.self) { try folder.verify("partitions: 64") }
        try folder.verify("")
    }

    @Test("Whatever becomes of its bytes is found, and a copy is as good")
    func file() throws {
        let folder = try Folder()
        let other = try Folder()
        try folder.verify("")
        try folder.begin()
        try Founding.store(ThreeNodes.configuration(""), in: other.files)
        let bytes = try folder.files.readAll("CLUSTER")
        #expect(try other.files.readAll("CLUSTER") == bytes)
        for damaged in RuleMemoryTests.rot(bytes) {
            try folder.files.open("CLUSTER", .replace).write([damaged], at: 0)
            #expect(throws: StorageError.self) { try folder.verify("") }
        }
    }
}
