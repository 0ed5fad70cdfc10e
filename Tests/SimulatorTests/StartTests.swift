import Core
import NodeCore
import Replication
import Ring
import Storage
import Testing

@Suite("A start on a disk that cannot read all of it")
struct StartTests {
    /// Why the start of a node, whose data two others hold too, set it aside.
    private static func start(on disk: MemoryFileSystem) throws -> [String] {
        let members = (1...3).map { number in
            CoreConfiguration.Member(
                node: NodeID("n\(number)"), http: "n\(number):80", peer: "n\(number):70",
                dc: "dc1", rack: "r1")
        }
        let configuration = CoreConfiguration(
            node: NodeID("n1"), clusterName: "solo", members: members, partitions: 4,
            replication: .everywhere(3), digestKey: SoloNode.key)
        let start = try NodeStart(
            configuration, ring: configuration.ring(), fileSystem: disk,
            options: StorageOptions(digestKey: SoloNode.key), hostID: 1, nonce: 7,
            wall: WallTime(milliseconds: 1_767_225_700_000))
        let damage = start.damage
        #expect(damage.isEmpty)
        return start.quarantined
    }

    /// With a log, a table and a manifest.
    private static func disk() throws -> (disk: MemoryFileSystem, table: String) {
        let node = try SoloNode()
        try node.send(1)
        try node.ask(.flush, 1, within: .seconds(5))
        try node.wait(.milliseconds(40))
        try node.send(2)
        let table = try #require(node.core.tablePaths.first)
        #expect(try start(on: node.disk.clone()).isEmpty)
        return (node.disk, table)
    }

    @Test("sets the data aside, whichever file it is, and goes on")
    func unreadable() throws {
        let (whole, table) = try Self.disk()
        for path in [FileNames.log(1), table] {
            let size = try #require(whole.contents[path]?.count)
            let disk = whole.clone()
            disk.makeUnreadable(path, at: size / 2)
            let reasons = try Self.start(on: disk)
            #expect(reasons.first?.contains(path) == true, "\(path): \(reasons)")
            #expect(try Self.start(on: disk).isEmpty)
        }
    }

    @Test("changes nothing where not even the manifest can be read")
    func unreadableManifest() throws {
        let (whole, _) = try Self.disk()
        let size = try #require(whole.contents[FileNames.manifest]?.count)
        let disk = whole.clone()
        disk.makeUnreadable(FileNames.manifest, at: size / 2)
        #expect {
            try Self.start(on: disk)
        } throws: {
            "\($0)".contains("nothing was changed")
        }
        #expect(disk.contents == whole.contents)
    }

    @Test("writes nothing over what it misread", arguments: [false, true])
    func misread(isLast: Bool) throws {
        let (whole, _) = try Self.disk()
        let log = try #require(whole.contents[FileNames.log(1)])
        for path in [FileNames.log(1), FileNames.manifest] {
            let disk = whole.clone()
            disk.misread(path, 1, isLast: isLast)
            #expect(try Self.start(on: disk).isEmpty, "\(path)")
            #expect(disk.contents[FileNames.log(1)] == log, "\(path)")
        }
    }

    @Test("looks twice before it believes that something is wrong")
    func twice() throws {
        let (whole, table) = try Self.disk()
        let disk = whole.clone()
        disk.misread(table, 1)
        #expect(try Self.start(on: disk).isEmpty)
        disk.misread(table, 2)
        #expect(try !Self.start(on: disk).isEmpty)
    }
}
