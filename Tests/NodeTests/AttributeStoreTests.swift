import Catalog
import Core
import Foundation
import GRDB
import Logging
import Node
import Storage
import Testing

/// The catalog and its copy on real files, in each state in which either may be.
@Suite("Attributes that survive their database")
struct AttributeStoreTests {
    private static let noon = WallTime(milliseconds: 1_700_000_000_000)

    private final class Fixture {
        let scratch: DirectoryFileSystemTests.Scratch
        let files: DirectoryFileSystem
        var store: AttributeStore
        var now = Instant.zero

        var file: String { scratch.path + "/catalog.sqlite" }

        init() throws {
            scratch = try DirectoryFileSystemTests.Scratch()
            files = DirectoryFileSystem(root: scratch.path)
            store = AttributeStore(
                file: scratch.path + "/catalog.sqlite", files: files, now: .zero
            ) { .random(in: 1 ... .max) }
        }

        /// Another life of the process.
        func restart() {
            store = AttributeStore(file: file, files: files, now: now) {
                .random(in: 1 ... .max)
            }
        }

        /// Ends, and what the file holds then.
        func end() throws -> Data {
            try store.close()
            return try Data(contentsOf: URL(fileURLWithPath: file))
        }

        /// Begins on what the file held before.
        func restart(with old: Data) throws {
            try store.close()
            try old.write(to: URL(fileURLWithPath: file))
            restart()
        }

        func put(_ count: Int, size: Int = 20, round: Int = 0) throws {
            let text = String(repeating: "x", count: size)
            _ = try #require(store.catalog).put(
                (0..<count).map { number in
                    AttributeEntry(
                        key: Array("k\(number)".utf8),
                        json: Array("{\"n\":\(number + round),\"t\":\"\(text)\"}".utf8))
                }, at: AttributeStoreTests.noon)
        }

        /// Looks after the store as its thread does, for so many seconds.
        func tend(_ seconds: Int, hasPeers: Bool = false) throws {
            for _ in 0..<seconds {
                now = now + .seconds(1)
                do {
                    guard let job = try store.tend(at: now, hasPeers: hasPeers) else { continue }
                    _ = try store.run(job, at: now)
                } catch let error as CatalogError {
                    guard case .damaged = error else { throw error }
                }
            }
        }

        func found(_ number: Int) throws -> (text: String?, isStale: Bool) {
            let key = Array("k\(number)".utf8)
            let known = try store.attributes(of: [key])
            return (known.rows[key].map { String(decoding: $0, as: UTF8.self) }, known.isStale)
        }

        /// Closes, so that all lies in the database's own file, and opens again.
        func settle() throws {
            try tend(5)
            try store.close()
            restart()
            #expect(store.losses.count == 0)
        }

        func overwrite(at offset: UInt64, _ bytes: [UInt8]) throws {
            let handle = try FileHandle(forUpdating: URL(fileURLWithPath: file))
            try handle.seek(toOffset: offset)
            try handle.write(contentsOf: Data(bytes))
            try handle.close()
        }

        func reads(_ count: Int) -> Int {
            (0..<count).count { number in
                do {
                    return try found(number).text?.hasPrefix("{\"n\":\(number),") == true
                } catch {
                    return false
                }
            }
        }
    }

    @Test("below the disk's reserve nothing is copied; with room again it is, at once")
    func reserve() throws {
        let fixture = try Fixture()
        try fixture.put(10)
        for _ in 0..<20 {
            fixture.now = fixture.now + .seconds(1)
            let job = try fixture.store.tend(at: fixture.now, hasPeers: false, hasRoom: false)
            #expect(job == nil)
        }
        #expect(fixture.store.gauges.copiedRows == 0)
        #expect(try fixture.store.tend(at: fixture.now, hasPeers: false) == .copy)
        _ = try fixture.store.run(.copy, at: fixture.now)
        #expect(fixture.store.gauges.copiedRows == 10)
    }

    enum Harm: CaseIterable {
        case header, page, text, cut, empty, removed, replaced
    }

    private static func harm(_ harm: Harm, _ fixture: Fixture) throws {
        let size = try fixture.files.open("catalog.sqlite", .read).size()
        switch harm {
        case .header:
            try fixture.overwrite(at: 0, Array(repeating: 0x5a, count: 100))
        case .page:
            let page = size / 4096 / 2 * 4096
            try fixture.overwrite(at: page, Array(repeating: 0xa5, count: 4096))
        case .text:
            // Somewhere in the texts, which SQLite does not check.
            var bytes = try fixture.files.readAll("catalog.sqlite")
            let run = Array(repeating: UInt8(ascii: "x"), count: 64)
            for place in stride(from: bytes.count / 2, to: bytes.count - 64, by: 64)
            where Array(bytes[place..<place + 64]) == run {
                bytes[place + 5] = UInt8(ascii: "y")
            }
            try fixture.overwrite(at: 0, bytes)
        case .cut:
            let handle = try FileHandle(forUpdating: URL(fileURLWithPath: fixture.file))
            try handle.truncate(atOffset: size / 2 + 100)
            try handle.close()
        case .empty:
            let handle = try FileHandle(forUpdating: URL(fileURLWithPath: fixture.file))
            try handle.truncate(atOffset: 0)
            try handle.close()
        case .removed:
            for suffix in ["", "-wal", "-shm"] {
                let path = fixture.file + suffix
                if FileManager.default.fileExists(atPath: path) {
                    try FileManager.default.removeItem(atPath: path)
                }
            }
        case .replaced:
            let other = fixture.scratch.path + "/other"
            try Data(repeating: 7, count: 5000).write(to: URL(fileURLWithPath: other))
            try fixture.files.rename("other", to: "catalog.sqlite")
        }
    }

    @Test(
        "a file harmed under a running node is set aside and filled again, with no peer up",
        arguments: Harm.allCases)
    func whileRunning(_ harm: Harm) throws {
        let fixture = try Fixture()
        try fixture.put(3000, size: 1500)
        try fixture.settle()
        try fixture.tend(2)
        #expect(try fixture.found(7).isStale == false)
        try Self.harm(harm, fixture)
        // Questions go on; none is answered wrongly, however far the watch is.
        for number in stride(from: 0, to: 3000, by: 3) {
            let text = try fixture.found(number).text
            #expect(text?.hasPrefix("{\"n\":\(number),\"t\":\"xxx") ?? true)
            #expect(text?.contains("y") != true)
        }
        try fixture.tend(70)
        _ = fixture.reads(3000)
        try fixture.tend(10)
        #expect(fixture.store.losses.count == 1, "\(harm)")
        #expect(fixture.reads(3000) == 3000)
        #expect(try fixture.found(0).isStale == false)
        #expect(fixture.store.catalog?.isFilling == false)
        #expect(fixture.store.gauges.copiedRows == 3000)
        try fixture.store.close()
    }

    @Test(
        "a file harmed while the node was down is told at the start; the copy answers at once",
        arguments: Harm.allCases)
    func whileDown(_ harm: Harm) throws {
        let fixture = try Fixture()
        try fixture.put(3000, size: 1500)
        try fixture.tend(5)
        try fixture.store.close()
        try Self.harm(harm, fixture)
        fixture.restart()
        if harm == .text {
            // What SQLite cannot see costs one answer.
            _ = fixture.reads(3000)
        }
        #expect(fixture.store.losses.count == 1, "\(harm)")
        let incident = try #require(fixture.store.losses.incidents.first)
        #expect((incident.file == nil) == (harm == .removed || harm == .empty), "\(incident)")
        #expect(try fixture.found(7).isStale)
        #expect(fixture.reads(3000) == 3000)
        // More than go in at once, over restoredAtOnce.
        #expect(AttributeLimits.restoredAtOnce < 3000)
        // A peer that has not been read may know more: it is said as long as that is so.
        try fixture.tend(5, hasPeers: true)
        #expect(fixture.reads(3000) == 3000)
        #expect(try fixture.found(7).isStale)
        // Another life goes on with it.
        try fixture.store.close()
        fixture.restart()
        #expect(try fixture.found(7).isStale)
        try fixture.tend(1, hasPeers: true)
        fixture.store.heard(NodeID("n2"), into: try #require(fixture.store.catalog).nonce)
        try fixture.tend(1, hasPeers: true)
        #expect(try fixture.found(7).isStale == false)
        try fixture.store.close()
    }

    @Test("while another process holds the file the copy answers; afterwards it is used by itself")
    func locked() throws {
        let fixture = try Fixture()
        try fixture.put(10)
        try fixture.tend(5)
        try fixture.store.close()
        var configuration = Configuration()
        configuration.prepareDatabase { try $0.execute(sql: "PRAGMA locking_mode = EXCLUSIVE") }
        let other = try DatabaseQueue(path: fixture.file, configuration: configuration)
        try other.write { try $0.execute(sql: "DELETE FROM progress") }
        fixture.restart()
        #expect(fixture.store.catalog == nil && fixture.store.gauges.isUsable == false)
        #expect(fixture.store.problems.first?.contains("locked by another process") == true)
        #expect(try fixture.found(3).isStale && fixture.reads(10) == 10)
        let values = try fixture.store.values(
            of: Array("n".utf8), for: [Array("k4".utf8), Array("none".utf8)])
        #expect(values == KnownValues([Array("4".utf8), nil], isStale: true))
        let keys = try fixture.store.keys(
            with: Array("4".utf8), of: Array("n".utf8), limit: 5)
        #expect(keys == KnownKeys([Array("k4".utf8)], isStale: true))
        #expect(throws: CatalogError.locked(file: fixture.file)) {
            try fixture.store.opened()
        }
        try other.close()
        // Tried again every openInterval.
        try fixture.tend(Int(AttributeLimits.openInterval.milliseconds / 1000) + 1)
        #expect(try fixture.found(3).isStale == false)
        #expect(fixture.store.problems.isEmpty && fixture.store.losses.count == 0)
        try fixture.store.close()
    }

    @Test("what cannot be opened at all is tried again; without a copy nothing is invented")
    func unopenable() throws {
        let fixture = try Fixture()
        try fixture.store.close()
        for suffix in ["", "-wal", "-shm"] {
            let path = fixture.file + suffix
            if FileManager.default.fileExists(atPath: path) {
                try FileManager.default.removeItem(atPath: path)
            }
        }
        try fixture.files.createDirectory("catalog.sqlite")
        fixture.restart()
        #expect(throws: CatalogError.self) { try fixture.found(1) }
        try fixture.tend(7)
        #expect(throws: CatalogError.self) { try fixture.found(1) }
        try fixture.files.removeDirectory("catalog.sqlite")
        try fixture.tend(7)
        #expect(try fixture.found(1) == (nil, false))
        try fixture.put(2)
        #expect(fixture.reads(2) == 2)
        try fixture.store.close()
    }

    @Test("a copy that was begun for a file that is lost since then is not written from a new one")
    func lostBeforeCopy() throws {
        let fixture = try Fixture()
        try fixture.put(20)
        try fixture.tend(5)
        try fixture.put(20, round: 1)
        // The copy is due, and a lookup or a write finds the file gone before it begins.
        try Self.harm(.removed, fixture)
        #expect(throws: CatalogError.self) { try fixture.put(1) }
        try fixture.put(1)
        #expect(try fixture.store.run(.copy, at: fixture.now) == nil)
        #expect(fixture.store.gauges.copiedRows == 20)
        try fixture.tend(5)
        #expect(try fixture.store.catalog?.count() == 20)
        #expect(fixture.store.gauges.copiedRows == 20)
        try fixture.store.close()
    }

    @Test("a database that was put back to an older state gets what the copy has")
    func setBack() throws {
        let fixture = try Fixture()
        try fixture.put(10)
        try fixture.tend(5)
        let old = try fixture.end()
        fixture.restart()
        try fixture.put(20)
        try fixture.tend(5)
        try fixture.restart(with: old)
        #expect(fixture.reads(20) == 10)
        try fixture.tend(5)
        #expect(fixture.reads(20) == 20)
        #expect(try fixture.store.catalog?.count() == 20)
        try fixture.store.close()
    }

    @Test("changes of a file that was put back reach the copy, whatever numbers they have")
    func setBackAndChanged() throws {
        let fixture = try Fixture()
        try fixture.put(10)
        try fixture.tend(5)
        let old = try fixture.end()
        fixture.restart()
        for size in [30, 40, 50] { try fixture.put(10, size: size) }
        try fixture.tend(5)
        try fixture.restart(with: old)
        try fixture.tend(5)
        // Their numbers are below those that the copy has seen of the file's later state.
        try fixture.put(14, size: 50)
        try fixture.tend(5)
        try fixture.store.close()
        try FileManager.default.removeItem(atPath: fixture.file)
        fixture.restart()
        #expect(fixture.reads(14) == 14)
        try fixture.store.close()
    }

    @Test("a file that is lost while it is passed over and looked at holds up nobody")
    func lostDuringPass() throws {
        let fixture = try Fixture()
        try fixture.put(2000)
        let store = fixture.store
        let catalog = try #require(store.catalog)
        let file = fixture.file
        let group = DispatchGroup()
        let hasBegun = DispatchSemaphore(value: 0)
        DispatchQueue.global().async(group: group) {
            do {
                _ = try catalog.export(after: 0) { _ in
                    hasBegun.signal()
                    usleep(1000)
                    return !store.isEmpty
                }
            } catch { #expect("\(error)".contains("catalog")) }
        }
        hasBegun.wait()
        try FileManager.default.removeItem(atPath: file)
        DispatchQueue.global().async(group: group) {
            #expect(throws: CatalogError.self) { try catalog.check() }
        }
        DispatchQueue.global().async(group: group) {
            for _ in 0..<1000 { #expect(store.gauges.damagedTables == 0) }
        }
        #expect(group.wait(timeout: .now() + 60) == .success)
        #expect(store.gauges.isFilling)
        try store.close()
    }

    @Test("who uses no attributes waits for no thread; a write ends that before it is done")
    func empty() throws {
        let fixture = try Fixture()
        #expect(!fixture.store.isEmpty, "nobody has looked yet")
        try fixture.tend(1)
        #expect(fixture.store.isEmpty)
        fixture.store.willWrite()
        #expect(!fixture.store.isEmpty)
        try fixture.put(1)
        try fixture.tend(1)
        #expect(!fixture.store.isEmpty)
        try fixture.store.close()
    }

    @Test("a copy that is damaged is written anew; while it is read, what is left of it serves")
    func damagedCopy() throws {
        let fixture = try Fixture()
        try fixture.put(3000, size: 100)
        try fixture.tend(5)
        let path = FileNames.attributes(1)
        try fixture.files.open(path, .write).write([[1, 2, 3]], at: 50)
        // The first check finds it, the next copy mends it.
        let toFirst = AttributeLimits.firstCheckAfter.milliseconds / 1000
        #expect(AttributeLimits.firstCheckAfter < AttributeLimits.checkInterval)
        try fixture.tend(Int(toFirst) + 10)
        #expect(fixture.store.gauges.damagedTables == 0)
        #expect(
            try fixture.files.list(FileNames.attributeDirectory) == ["00000000000000000002.att"])
        // Both lost at once: the blocks that can be read are not lost.
        try fixture.store.close()
        try fixture.files.open(FileNames.attributes(2), .write).write([[1, 2, 3]], at: 50)
        try Self.harm(.removed, fixture)
        fixture.restart()
        try fixture.tend(1)
        let left = fixture.reads(3000)
        #expect(left > 2000 && left < 3000)
        try fixture.store.close()
    }

    @Test("a copy of a later release is read by nobody, and neither removed nor written to")
    func laterCopy() throws {
        let fixture = try Fixture()
        try fixture.put(3)
        try fixture.tend(5)
        let file = try fixture.files.open(FileNames.attributes(1), .write)
        try file.write([[6]], at: try file.size() - 12)
        try fixture.store.close()
        fixture.restart()
        try fixture.put(3, round: 5)
        try fixture.tend(200)
        #expect(
            try fixture.files.list(FileNames.attributeDirectory) == ["00000000000000000001.att"])
        #expect(fixture.store.problems.first?.contains("format version 6") == true)
        #expect(try fixture.found(1).isStale == false)
        try fixture.store.close()
    }

    @Test(
        "a disk that is full or fails at any operation costs the copy a minute, and nothing else",
        arguments: [MemoryFileSystem.Fault.diskFull, .inputOutput, .shortWrite])
    func failingDisk(_ fault: MemoryFileSystem.Fault) throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let files = MemoryFileSystem()
        let store = AttributeStore(
            file: scratch.path + "/catalog.sqlite", files: files, now: .zero
        ) { 1 }
        var now = Instant.zero
        var failures = 0
        /// The seconds until a copy was written.
        func copy(_ sequence: Int64) throws -> Int {
            for second in 1...200 {
                now = now + .seconds(1)
                guard let job = try store.tend(at: now, hasPeers: false) else { continue }
                do {
                    _ = try store.run(job, at: now)
                } catch is StorageError {
                    failures += 1
                    files.clearFaults()
                }
                // A start at this moment, on a disk that works.
                let disk = files.clone()
                disk.clearFaults()
                let tables = try AttributeTables.open(in: disk)
                #expect(tables.damage.isEmpty)
                if tables.span?.through == sequence { return second }
            }
            return .max
        }
        for operation in 0..<14 {
            files.fail(at: files.operations + operation, with: fault)
            let entries = (0..<50).map { number in
                AttributeEntry(
                    key: Array("k\(number)".utf8), json: Array("{\"n\":\(operation)}".utf8))
            }
            _ = try store.opened().put(entries, at: Self.noon)
            let seconds = try copy(try store.opened().sequence())
            #expect(seconds <= Int(AttributeLimits.copyAfter.milliseconds / 1000) + 5)
            files.clearFaults()
            #expect(try store.attributes(of: [Array("k7".utf8)]).isStale == false)
        }
        #expect(failures > 5)
        // Nothing is left of what failed.
        let names = try files.list(FileNames.attributeDirectory)
        #expect(names.count <= AttributeLimits.tablesMax)
        #expect(names.allSatisfy { $0.hasSuffix(FileNames.attributeSuffix) })
        try store.close()
    }

    @Test("a directory of the copy that cannot be made is said, and tried again")
    func noDirectory() throws {
        let fixture = try Fixture()
        try fixture.store.close()
        try fixture.files.removeDirectory(FileNames.attributeDirectory)
        try Data([1]).write(to: URL(fileURLWithPath: fixture.scratch.path + "/attributes"))
        fixture.restart()
        try fixture.put(3)
        try fixture.tend(20)
        #expect(fixture.store.problems.count == 1 && fixture.reads(3) == 3)
        try fixture.files.remove(FileNames.attributeDirectory)
        try fixture.tend(20)
        #expect(fixture.store.problems.isEmpty)
        #expect(fixture.store.gauges.copiedRows == 3)
        try fixture.store.close()
    }

    @Test("many small changes stay within tablesMax tables, and as many bytes as the whole one")
    func manyChanges() throws {
        let fixture = try Fixture()
        try fixture.put(2000, size: 200)
        try fixture.tend(5)
        let whole = fixture.store.gauges.copyBytes
        var names: Set<String> = []
        for round in 1...60 {
            try fixture.put(30, size: 200, round: round)
            try fixture.tend(5)
            let now = try fixture.files.list(FileNames.attributeDirectory)
            names.formUnion(now)
            #expect(now.count <= AttributeLimits.tablesMax)
            #expect(fixture.store.gauges.copyBytes < 3 * whole)
        }
        #expect(names.count == 61)
        try fixture.store.close()
        try Self.harm(.removed, fixture)
        fixture.restart()
        #expect(try fixture.found(29).text?.hasPrefix("{\"n\":89,") == true)
        #expect(try fixture.found(1999).text?.hasPrefix("{\"n\":1999,") == true)
        try fixture.store.close()
    }

    @Test("changes are copied after copyQuiet, or copyAfter the first; a failure waits as long")
    func pace() {
        var pace = CopyPace()
        func at(_ seconds: Int64) -> Instant { .zero + .seconds(seconds) }
        func isDue(_ sequence: Int64, _ copied: Int64?, _ now: Instant) -> Bool {
            pace.isDue(sequence: sequence, copied: copied, at: now)
        }
        #expect(!isDue(0, nil, at(0)))
        #expect(!isDue(5, nil, at(1)))
        #expect(!isDue(5, nil, at(3)))
        #expect(isDue(5, nil, at(1) + AttributeLimits.copyQuiet))
        pace.wrote()
        #expect(!isDue(5, 5, at(100)))
        var now = at(101)
        var sequence: Int64 = 5
        repeat {
            sequence += 1
            now = now + .seconds(1)
        } while !isDue(sequence, 5, now)
        #expect(now - at(102) == AttributeLimits.copyAfter)
        pace.failed(at: now)
        #expect(!isDue(sequence, 5, now + .seconds(59)))
        #expect(isDue(sequence, 5, now + AttributeLimits.copyAfter))
    }

    @Test("a node that stops copies what has changed; no longer than lastCopyMax is waited for it")
    func lastCopy() async throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let files = DirectoryFileSystem(root: scratch.path)
        let service = AttributeService(
            store: AttributeStore(
                file: scratch.path + "/catalog.sqlite", files: files, now: .zero
            ) { 1 }, peers: [], metrics: NodeMetrics(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
            send: { _, _ in true })
        service.start()
        let entry = AttributeEntry(key: [0x61], json: Array("{}".utf8))
        #expect(try await service.put([entry]).written == 1)
        let began = SystemClock.monotonic
        service.stop(by: began + .seconds(60))
        #expect(try files.list(FileNames.attributeDirectory).count == 1)
        #expect(SystemClock.monotonic - began < AttributeLimits.lastCopyMax + .seconds(30))
    }

    @Test("more keys than lookupKeysMax are looked up apart from those of one answer")
    func manyKeys() async throws {
        let scratch = try DirectoryFileSystemTests.Scratch()
        let service = AttributeService(
            store: AttributeStore(
                file: scratch.path + "/catalog.sqlite",
                files: DirectoryFileSystem(root: scratch.path), now: .zero
            ) { 1 }, peers: [], metrics: NodeMetrics(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
            send: { _, _ in true })
        let keys = (0...AttributeLimits.lookupKeysMax).map { Array("k\($0)".utf8) }
        _ = try await service.put(
            keys.map { AttributeEntry(key: $0, json: Array("{}".utf8)) })
        #expect(await service.attributes(of: keys)?.rows.count == keys.count)
        #expect(await service.attributes(of: Array(keys.prefix(3)))?.rows.count == 3)
        #expect(AttributeLimits.lookupMax < AttributeLimits.passMax)
        service.start()
        service.stop(by: SystemClock.monotonic + .seconds(60))
    }

    @Test("a job that does not end in time has no answer; the next ones do not wait for its thread")
    func deadlines() async {
        let pool = WorkerPool(name: "slow", threads: 1, queueMax: 2)
        let gate = Monitor(false)
        let late: Int? = await pool.run(within: .milliseconds(20)) {
            let _: Bool? = gate.wait { $0 ? true : nil }
            return 1
        }
        #expect(late == nil)
        let waiting: Int? = await pool.run(within: .milliseconds(20)) { 2 }
        #expect(waiting == nil)
        gate.broadcast { $0 = true }
        let third: Int? = await pool.run(within: .seconds(60)) { 3 }
        #expect(third == 3)
        pool.stop(by: Instant(nanoseconds: .max))
        let refused: Int? = await pool.run(within: .seconds(60)) { 4 }
        #expect(refused == nil)
    }
}
