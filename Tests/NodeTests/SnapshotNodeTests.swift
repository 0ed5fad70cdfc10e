import Core
import Foundation
import Logging
import Node
import NodeCore
import Replication
import Storage
import Testing

/// Snapshots as a client asks for them, and as an operator puts them back, on real files.
@Suite struct SnapshotNodeTests {
    /// A data directory with some records, a service on it, and a cluster.conf beside it.
    private final class Fixture {
        let scratch: DirectoryFileSystemTests.Scratch
        let files: DirectoryFileSystem
        let service: SnapshotService
        let configuration: String
        let data: String

        init(databases: [SnapshotService.Database] = [], hasColdDisk: Bool = false) throws {
            scratch = try DirectoryFileSystemTests.Scratch()
            data = scratch.path + "/n1"
            configuration = scratch.path + "/cluster.conf"
            try """
            cluster_name: test
            data_directory: .
            \(hasColdDisk ? "cold_after: 1d\ncold_directory: ./cold" : "")
            nodes:
              n1: {http: 127.0.0.1:8181, peer: 127.0.0.1:7181, dc: dc1, rack: r1}
              n2: {http: 127.0.0.1:8182, peer: 127.0.0.1:7182, dc: dc1, rack: r2}
              n3: {http: 127.0.0.1:8183, peer: 127.0.0.1:7183, dc: dc1, rack: r3}
            """.write(toFile: configuration, atomically: true, encoding: .utf8)
            let parsed = try ClusterConfiguration.load(file: configuration, environment: [:])
            let options = StorageOptions(digestKey: parsed.digestKey, window: parsed.window)
            files = try DirectoryFileSystem.creating(root: data)
            let recovered = try Recovery.open(files, options: options) { _, _ in }
            var cursor = recovered.cursor
            var writer = LogWriter(fileSystem: files, cursor: cursor)
            try writer.append([cursor.append(kind: 1, payload: Array("a record".utf8))])
            try writer.sync()
            service = SnapshotService(
                files: files, runner: StorageRunner(fileSystem: files, options: options),
                root: data, databases: databases, logger: Logger(label: "test"))
        }

        func api() throws -> APIFixture { try APIFixture(keeper: service) }

        func restore(
            _ snapshot: String = "a", node: String = "n1", data: String? = nil,
            replaces: Bool = false
        ) throws -> SnapshotRestore.Report {
            try SnapshotRestore(
                from: "\(self.data)/snapshots/\(snapshot)", node: node, data: data,
                configurationPath: configuration, replaces: replaces, onProgress: { _ in }
            ).run()
        }

        func contents(of directory: String) throws -> [String: Data] {
            var contents: [String: Data] = [:]
            for name in try FileManager.default.subpathsOfDirectory(atPath: directory)
            where !name.hasPrefix("snapshots") {
                contents[name] = FileManager.default.contents(atPath: "\(directory)/\(name)")
            }
            return contents
        }
    }

    @Test("it is taken, listed and removed over HTTP")
    func http() async throws {
        let fixture = try Fixture()
        let api = try fixture.api()
        #expect(await api.get("/v1/snapshots").text == #"{"items":[],"next":null}"#)
        let taken = await api.call("POST", "/v1/snapshots?name=a")
        #expect(taken.status == 200)
        let start =
            #"{"name":"a","cluster":"test","node":"n1","created":"2026-01-01T00:00:00Z","#
            + #""version":"1","tables":0,"cold_tables":0,"files":2,"bytes":"#
        #expect(taken.text.hasPrefix(start), "\(taken.text)")
        // What was in memory is in it.
        let asked = try #require(api.core.requests.first)
        guard case .flush = asked else {
            Issue.record("the core was asked for \(asked), not to flush")
            return
        }
        let unnamed = await api.call("POST", "/v1/snapshots")
        #expect(unnamed.text.contains(#""name":"20260101T000000Z""#))
        let listed = await api.get("/v1/snapshots").text
        #expect(listed.contains(taken.text) && listed.contains(unnamed.text))
        #expect(await api.call("POST", "/v1/snapshots?name=a").status == 409)
        #expect(await api.call("DELETE", "/v1/snapshots/a").text == #"{"removed":"a"}"#)
        #expect(await api.call("DELETE", "/v1/snapshots/a").status == 404)
        #expect(await !api.get("/v1/snapshots").text.contains(taken.text))
    }

    @Test("a bad name, a method that is none, and a node without room are refused")
    func refusals() async throws {
        let fixture = try Fixture()
        let api = try fixture.api()
        for name in ["..", "a%2Fb", ".hidden", "%20"] {
            #expect(await api.call("POST", "/v1/snapshots?name=\(name)").status == 400, "\(name)")
        }
        #expect(await api.call("DELETE", "/v1/snapshots/..%2F..").status == 400)
        #expect(await api.call("PUT", "/v1/snapshots").status == 405)
        #expect(await api.call("GET", "/v1/snapshots/a").status == 405)
        api.state.setReadOnly("the disk is nearly full")
        let full = await api.call("POST", "/v1/snapshots?name=a")
        #expect(full.status == 503)
        #expect(full.text.contains("nearly full"))
        #expect(await api.get("/v1/snapshots").text == #"{"items":[],"next":null}"#)
    }

    @Test("a database that is not open is left out, and the snapshot is taken all the same")
    func databaseLeftOut() async throws {
        struct Broken: Error {}
        let fixture = try Fixture(
            databases: [.init("catalog.sqlite", isLeftOut: { true }) { _ in throw Broken() }])
        let api = try fixture.api()
        let taken = await api.call("POST", "/v1/snapshots?name=a")
        #expect(taken.status == 200 && taken.text.contains(#""databases":[]"#), "\(taken.text)")
        #expect(fixture.service.queue.name == "snapshots")
        #expect((fixture.service.queue.wait?.taken ?? 0) > 0)
        #expect(try fixture.restore(data: fixture.scratch.path + "/other").label.databases == [])
    }

    @Test("a database that cannot be copied leaves no snapshot, and the name free")
    func databaseFails() async throws {
        struct Broken: Error {}
        let fixture = try Fixture(databases: [.init("catalog.sqlite") { _ in throw Broken() }])
        let api = try fixture.api()
        #expect(await api.call("POST", "/v1/snapshots?name=a").status == 500)
        #expect(await api.get("/v1/snapshots").text == #"{"items":[],"next":null}"#)
        #expect(try fixture.files.list(Snapshots.directory).isEmpty)
    }

    @Test("the copy of attributes goes along, and serves where the database was left out")
    func attributes() async throws {
        let fixture = try Fixture()
        let row = AttributeRow(key: Array("k".utf8), version: 5, json: Array(#"{"t":"x"}"#.utf8))
        let tables = try AttributeTables.open(in: fixture.files)
        var writer = try AttributeTableWriter(id: tables.nextID, in: fixture.files)
        try writer.add(row)
        let table = try writer.publish(AttributeSpan(nonce: 7, after: 0, through: 1))
        let api = try fixture.api()
        let taken = await api.call("POST", "/v1/snapshots?name=a")
        #expect(taken.text.contains(#""files":3,"#), "\(taken.text)")
        let path = "\(fixture.data)/snapshots/a/\(table.path)"
        // What comes later goes on without the snapshot.
        try fixture.files.remove(table.path)

        let target = fixture.scratch.path + "/new"
        _ = try fixture.restore(data: target)
        let store = AttributeStore(
            file: target + "/catalog.sqlite", files: DirectoryFileSystem(root: target), now: .zero
        ) { 9 }
        #expect(try store.row(of: row.key) == KnownRow(row, isStale: true))
        try store.close()

        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes[10] ^= 1
        try bytes.write(to: URL(fileURLWithPath: path))
        let other = fixture.scratch.path + "/other"
        _ = try fixture.restore(data: other)
        #expect(try DirectoryFileSystem(root: other).list(FileNames.attributeDirectory).isEmpty)

        #expect(await api.call("DELETE", "/v1/snapshots/a").status == 200)
        #expect(try fixture.files.list(Snapshots.directory).isEmpty)
    }

    @Test("it is put in the place of the data, which is set aside and never deleted")
    func restored() async throws {
        let fixture = try Fixture(databases: [
            .init("catalog.sqlite") { try Data("rows".utf8).write(to: URL(fileURLWithPath: $0)) }
        ])
        let before = try fixture.contents(of: fixture.data)
        #expect(await (try fixture.api()).call("POST", "/v1/snapshots?name=a").status == 200)
        #expect(throws: RestoreError.self) { try fixture.restore() }
        try Data("lost".utf8).write(to: URL(fileURLWithPath: fixture.data + "/MANIFEST"))
        let report = try fixture.restore(replaces: true)
        var after = try fixture.contents(of: fixture.data)
        #expect(after.removeValue(forKey: "catalog.sqlite") == Data("rows".utf8))
        #expect(after == before)
        let aside = try #require(report.setAside)
        #expect(
            FileManager.default.contents(atPath: aside + "/MANIFEST") == Data("lost".utf8))
        // The snapshot went with the data that it lay in, and can be restored once more.
        let again = try SnapshotRestore(
            from: aside + "/snapshots/a/", node: "n1", data: fixture.scratch.path + "/new/",
            configurationPath: fixture.configuration, replaces: false, onProgress: { _ in }
        ).run()
        #expect(again.setAside == nil)
        #expect(
            try fixture.contents(of: fixture.scratch.path + "/new")
                == after.merging(
                    ["catalog.sqlite": Data("rows".utf8)]) { $1 })
    }

    @Test("what is restored grows by itself: the snapshot stays as it was")
    func standsAlone() async throws {
        let fixture = try Fixture()
        #expect(await (try fixture.api()).call("POST", "/v1/snapshots?name=a").status == 200)
        let snapshot = fixture.data + "/snapshots/a"
        let before = try fixture.contents(of: snapshot)
        let target = fixture.scratch.path + "/new"
        _ = try fixture.restore(data: target)
        for name in ["MANIFEST", "log/0000000001.log"] {
            let handle = try FileHandle(forUpdating: URL(fileURLWithPath: "\(target)/\(name)"))
            try handle.seekToEnd()
            try handle.write(contentsOf: Data("more".utf8))
            try handle.close()
        }
        #expect(try fixture.contents(of: snapshot) == before)
    }

    @Test(
        "nothing is touched where the node runs, or the snapshot is another's, unfinished, damaged")
    func keptAsItWas() async throws {
        let fixture = try Fixture()
        #expect(await (try fixture.api()).call("POST", "/v1/snapshots?name=a").status == 200)
        let before = try fixture.contents(of: fixture.data)
        do {
            let lock = try DirectoryLock(root: fixture.data)
            defer { withExtendedLifetime(lock) {} }
            #expect(throws: RestoreError.self) { try fixture.restore(replaces: true) }
        }
        #expect(throws: RestoreError.self) {
            try fixture.restore(node: "n2", data: fixture.data, replaces: true)
        }
        #expect(throws: RestoreError.self) { try fixture.restore("none", replaces: true) }
        let manifest = URL(fileURLWithPath: fixture.data + "/snapshots/a/MANIFEST")
        var bytes = try Data(contentsOf: manifest)
        bytes[bytes.count - 3] ^= 1
        try bytes.write(to: manifest)
        #expect(throws: (any Error).self) { try fixture.restore(replaces: true) }
        var after = try fixture.contents(of: fixture.data)
        after["LOCK"] = before["LOCK"]
        #expect(after == before)
        #expect(!FileManager.default.fileExists(atPath: fixture.data + ".restoring"))
    }

    /// A snapshot, and a table that moved to the cold disk afterwards.
    private static func withColdData() async throws -> (fixture: Fixture, cold: String) {
        let fixture = try Fixture(hasColdDisk: true)
        #expect(await (try fixture.api()).call("POST", "/v1/snapshots?name=a").status == 200)
        let cold = fixture.scratch.path + "/cold/n1"
        try FileManager.default.createDirectory(
            atPath: cold, withIntermediateDirectories: true)
        try Data("later".utf8).write(to: URL(fileURLWithPath: cold + "/1.sst"))
        return (fixture, cold)
    }

    @Test("what the cold disk holds goes with the data that lists it")
    func coldDiskGoesAlong() async throws {
        let (fixture, cold) = try await Self.withColdData()
        // Elsewhere it is nobody's: the node may be running.
        _ = try fixture.restore(data: fixture.scratch.path + "/new")
        #expect(try fixture.contents(of: cold).keys.sorted() == ["1.sst"])
        let report = try fixture.restore(replaces: true)
        let aside = try #require(report.coldSetAside)
        #expect(try fixture.contents(of: aside) == ["1.sst": Data("later".utf8)])
        #expect(!FileManager.default.fileExists(atPath: cold))
    }

    @Test("cold data is not replaced without a word, nor is a snapshot's cold part guessed")
    func coldDiskIsKept() async throws {
        let (fixture, cold) = try await Self.withColdData()
        let moved = fixture.scratch.path + "/backup"
        try FileManager.default.moveItem(atPath: fixture.data + "/snapshots/a", toPath: moved)
        try FileManager.default.removeItem(atPath: fixture.data)
        func restore() throws -> SnapshotRestore.Report {
            try SnapshotRestore(
                from: moved, node: "n1", data: nil, configurationPath: fixture.configuration,
                replaces: false, onProgress: { _ in }
            ).run()
        }
        #expect(throws: RestoreError.self) { try restore() }
        #expect(try fixture.contents(of: cold) == ["1.sst": Data("later".utf8)])
        try FileManager.default.removeItem(atPath: cold)
        let path = URL(fileURLWithPath: moved + "/SNAPSHOT")
        let label = try #require(String(data: try Data(contentsOf: path), encoding: .utf8))
        for (old, new) in [
            (#""cold_tables":0"#, #""cold_tables":1"#),
            (#""databases":[]"#, #""databases":["../../cluster.conf"]"#),
            (#""name":"a""#, #""name":"../a""#),
        ] {
            #expect(label.contains(old))
            let other = label.replacingOccurrences(of: old, with: new)
            try Data(other.utf8).write(to: path)
            #expect(throws: RestoreError.self, "\(new)") { try restore() }
        }
        try Data(label.utf8).write(to: path)
        #expect(try restore().setAside == nil)
    }
}
