import Catalog
import Core
import Foundation
import GRDB
import Testing

private let noon = WallTime(milliseconds: 1_700_000_000_000)

private func entry(_ key: String, _ json: String?) -> AttributeEntry {
    AttributeEntry(key: Array(key.utf8), json: json.map { Array($0.utf8) })
}

private func row(_ key: String, _ version: Int64, _ json: String?) -> AttributeRow {
    AttributeRow(key: Array(key.utf8), version: version, json: json.map { Array($0.utf8) })
}

private func open(_ folder: TemporaryFolder, nonce: UInt64 = 1) throws -> AttributeCatalog {
    try AttributeCatalog(file: folder.file("catalog.sqlite")) { nonce }
}

@Suite struct AttributeCatalogTests {
    @Test("What is put is found, also after the file was closed and opened")
    func putAndGet() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder, nonce: 77)
        let result = try catalog.put(
            [entry("a", #"{"t":"1"}"#), entry("é", #"{"t":"2"}"#), entry("e\u{301}", "{}")],
            at: noon)
        #expect(result.rows.count == 3)
        #expect(result.rows.allSatisfy { $0.version == noon.milliseconds })
        try catalog.close()

        let again = try open(folder, nonce: 78)
        #expect(again.nonce == 77)
        #expect(again.incidents.isEmpty)
        let keys = ["a", "é", "e\u{301}", "missing"].map { Array($0.utf8) }
        let found = try again.attributes(of: keys)
        #expect(found.count == 3)
        #expect(found[keys[1]] == Array(#"{"t":"2"}"#.utf8))
        #expect(found[keys[2]] == Array("{}".utf8))
        #expect(try again.count() == 3)
    }

    @Test("Putting the same content again changes nothing, other content gets a higher version")
    func versions() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder)
        _ = try catalog.put([entry("a", #"{"t":"1"}"#)], at: noon)
        let again = try catalog.put([entry("a", #"{"t":"1"}"#)], at: noon + .seconds(5))
        #expect(again.rows.isEmpty && again.unchanged == 1)
        // A clock that runs behind still overwrites what it has seen.
        let behind = try catalog.put([entry("a", #"{"t":"2"}"#)], at: noon - .seconds(60))
        #expect(behind.rows.map(\.version) == [noon.milliseconds + 1])
        // Of a key that stands twice in one load the last stands.
        let twice = try catalog.put(
            [entry("b", #"{"t":"1"}"#), entry("b", #"{"t":"2"}"#)], at: noon)
        #expect(twice.rows.count == 2)
        #expect(try catalog.row(of: Array("b".utf8))?.json == Array(#"{"t":"2"}"#.utf8))
    }

    @Test("A deletion is a tombstone: not found, and spread like any row")
    func deletions() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder)
        _ = try catalog.put([entry("a", "{}")], at: noon)
        _ = try catalog.put([entry("a", nil)], at: noon)
        #expect(try catalog.attributes(of: [Array("a".utf8)]).isEmpty)
        #expect(try catalog.count() == 0)
        let changes = try catalog.changes(since: 0, bytes: 1 << 20)
        #expect(changes.rows == [row("a", noon.milliseconds + 1, nil)])
    }

    @Test("In whatever order rows come, the greatest (version, hash) stands everywhere")
    func convergence() throws {
        var random = RandomSource(seed: 11)
        let versions: [Int64] = [10, 11, 11, 12]
        var rows: [AttributeRow] = []
        for index in 0..<40 {
            let json = random.chance(1, in: 5) ? nil : "{\"n\":\(index)}"
            rows.append(row("k\(random.below(6))", random.pick(versions), json))
        }
        var winners: [[UInt8]: AttributeRow] = [:]
        for row in rows {
            if let other = winners[row.key], (other.version, other.hash) >= (row.version, row.hash)
            {
                continue
            }
            winners[row.key] = row
        }
        for _ in 0..<8 {
            random.shuffle(&rows)
            let folder = try TemporaryFolder()
            let catalog = try open(folder)
            let result = try catalog.upsert(rows, at: noon)
            #expect(result.applied + result.stale == rows.count)
            for winner in winners.values { #expect(try catalog.row(of: winner.key) == winner) }
            #expect(try catalog.upsert(rows, at: noon).applied == 0)
        }
    }

    @Test("Versions above versionAheadMax and malformed rows are refused, the others go in")
    func refusals() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder)
        let ahead = CatalogLimits.versionAheadMax.milliseconds
        let long = "{\"a\":\"" + String(repeating: "x", count: CatalogLimits.rowMax) + "\"}"
        let result = try catalog.upsert(
            [
                row("ok", noon.milliseconds + ahead, "{}"),
                row("future", noon.milliseconds + ahead + 1, "{}"),
                row("", 1, "{}"), row("key", 1, "{ }"), row("key", 1, "[]"), row("key", 1, long),
                row("key", -1, "{}"),
                row(String(repeating: "k", count: Limits.keyMax + 1), 1, "{}"),
                AttributeRow(key: [0xff], version: 1, json: nil),
            ], at: noon)
        let early = WallTime(milliseconds: noon.milliseconds + ahead + 1)
        #expect(
            result
                == CatalogUpsert(applied: 1, stale: 0, refused: 7, early: 1, earliest: early))
        #expect(try catalog.changes(since: 0, bytes: .max).rows.count == 1)
        let put = try catalog.put([entry("", nil), entry("a", "{ }"), entry("b", "{}")], at: noon)
        #expect(put.refused == 2 && put.rows.count == 1)
    }

    @Test("A row that comes too early holds the progress back, and goes in when its time has come")
    func early() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder)
        let peer = NodeID("n1")
        let behind = noon - CatalogLimits.versionAheadMax - .seconds(60)
        let progress = CatalogProgress(peer: peer, nonce: 5, sequence: 2)
        let rows = [row("a", noon.milliseconds, "{}"), row("b", 1, "{}")]
        let first = try catalog.upsert(rows, progress: progress, at: behind)
        #expect(first.applied == 1 && first.early == 1 && first.earliest == noon)
        #expect(try catalog.progress(of: peer) == nil)
        let later = try catalog.upsert(rows, progress: progress, at: behind + .seconds(60))
        #expect(later == CatalogUpsert(applied: 1, stale: 1))
        #expect(try catalog.progress(of: peer) == progress)
        // What will never be taken holds nothing back.
        let next = CatalogProgress(peer: peer, nonce: 5, sequence: 3)
        #expect(try catalog.upsert([row("c", 1, "[]")], progress: next, at: noon).refused == 1)
        #expect(try catalog.progress(of: peer) == next)
    }

    @Test("A key is deleted once: its tombstone outranks what it replaces, and what is on its way")
    func deletes() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder)
        let key = Array("a".utf8)
        _ = try catalog.put([entry("a", "{}")], at: noon)
        let version = noon.milliseconds + 1
        let first = try catalog.delete(key, at: noon - .seconds(60))
        #expect(first == CatalogDeletion(version: version, hadContent: true, isNews: true))
        let again = try catalog.delete(key, at: noon + .seconds(60))
        #expect(again == CatalogDeletion(version: version, hadContent: false, isNews: false))
        #expect(try catalog.row(of: key) == row("a", version, nil))
        // Nobody has told this node of the key yet.
        let other = try catalog.delete(Array("b".utf8), at: noon)
        #expect(
            other
                == CatalogDeletion(version: noon.milliseconds, hadContent: false, isNews: true))
        #expect(try catalog.upsert([row("b", noon.milliseconds - 5, "{}")], at: noon).stale == 1)
        #expect(try catalog.attributes(of: [key, Array("b".utf8)]).isEmpty)
        let back = try catalog.put([entry("a", "{}")], at: noon)
        #expect(back.rows == [row("a", version + 1, "{}")])
    }

    @Test("Changes come once, in order, in pieces of the asked size, and make another file equal")
    func changes() throws {
        let folder = try TemporaryFolder()
        let source = try open(folder)
        for round in 0..<3 {
            let entries = (0..<200).map {
                entry("k\($0)", "{\"n\":\($0 % (round + 2)),\"r\":\(round)}")
            }
            _ = try source.put(entries, at: noon)
        }
        let other = try TemporaryFolder()
        let sink = try open(other, nonce: 2)
        var since: Int64 = 0
        var pieces = 0
        var rows = 0
        while true {
            let changes = try source.changes(since: since, bytes: 1000)
            let progress = CatalogProgress(
                peer: NodeID("n1"), nonce: source.nonce, sequence: changes.next)
            let result = try sink.upsert(changes.rows, progress: progress, at: noon)
            #expect(result.applied == changes.rows.count)
            #expect(changes.next > since)
            pieces += 1
            rows += changes.rows.count
            since = changes.next
            if changes.isComplete { break }
        }
        #expect(rows == 200 && pieces > 3)
        #expect(since == (try source.sequence()))
        #expect(try source.changes(since: since, bytes: 1000).rows.isEmpty)
        #expect(try sink.progress(of: NodeID("n1"))?.sequence == since)
        #expect(try sink.progress(of: NodeID("n1"))?.nonce == 1)
        #expect(try sink.progress(of: NodeID("n2")) == nil)
        for index in 0..<200 {
            let key = Array("k\(index)".utf8)
            #expect(try sink.row(of: key) == source.row(of: key))
        }
    }

    @Test("One row is given even when it is above the asked size, and at most changesMax rows")
    func changeBounds() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder)
        let entries = (0...CatalogLimits.changesMax).map { entry("k\($0)", "{}") }
        _ = try catalog.put(entries, at: noon)
        #expect(try catalog.changes(since: 0, bytes: 0).rows.count == 1)
        let most = try catalog.changes(since: 0, bytes: .max)
        #expect(most.rows.count == CatalogLimits.changesMax)
        #expect(!most.isComplete)
        #expect(try catalog.changes(since: most.next, bytes: .max).isComplete)
    }

    @Test("A key with a zero byte and content in all scripts keep their bytes on disk")
    func bytes() throws {
        let folder = try TemporaryFolder()
        let catalog = try open(folder)
        let key: [UInt8] = [0x61, 0x00, 0x62]
        let json = Array("{\"t\":\"வி ハロ Маша 👩‍👩‍👧‍👦 e\u{301} \u{e9} \\u0000\"}".utf8)
        _ = try catalog.put([AttributeEntry(key: key, json: json)], at: noon)
        #expect(try catalog.attributes(of: [key, [0x61]]) == [key: json])
        #expect(try catalog.row(of: key)?.key == key)
    }
}

@Suite struct CatalogDamageTests {
    @Test("A file that is no database is set aside, reported, and a new one begins")
    func garbage() throws {
        let folder = try TemporaryFolder()
        let file = folder.file("catalog.sqlite")
        for round in 1...2 {
            try Data(repeating: 0x5a, count: 8192).write(to: URL(fileURLWithPath: file))
            let catalog = try AttributeCatalog(file: file) { UInt64(round) + 100 }
            #expect(catalog.incidents.map(\.file) == ["\(file).corrupt-\(round)"])
            #expect(catalog.nonce == UInt64(round) + 100)
            #expect(try catalog.put([entry("a", "{}")], at: noon).rows.count == 1)
            try catalog.close()
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: "\(file).corrupt-1")).count == 8192)
    }

    @Test("A damaged page is found at the next start")
    func damagedPage() throws {
        let folder = try TemporaryFolder()
        let file = folder.file("catalog.sqlite")
        try fill(file)
        try overwrite(file)
        let catalog = try AttributeCatalog(file: file) { 9 }
        #expect(catalog.incidents.count == 1)
        #expect(catalog.nonce == 9)
        #expect(try catalog.count() == 0)
    }

    @Test("Damage that shows while running costs one call; the next one meets a new file")
    func damageWhileOpen() throws {
        let folder = try TemporaryFolder()
        let file = folder.file("catalog.sqlite")
        // More than the page cache holds: what is cached hides the damage.
        try fill(file, rows: 4000)
        let catalog = try AttributeCatalog(file: file) { 10 }
        #expect(catalog.incidents.isEmpty)
        try overwrite(file)
        var failures = 0
        for index in 0..<4000 {
            do throws(CatalogError) {
                _ = try catalog.row(of: Array("k\(index)".utf8))
            } catch {
                failures += 1
                guard case .damaged = error else {
                    Issue.record("\(error)")
                    continue
                }
            }
        }
        #expect(failures == 1)
        #expect(catalog.incidents.count == 1)
        #expect(catalog.nonce == 10)
        #expect(try catalog.put([entry("a", "{}")], at: noon).rows.count == 1)
        #expect(try catalog.count() == 1)
    }

    @Test("A file that another process holds, a later layout and a missing folder are told apart")
    func openErrors() throws {
        let folder = try TemporaryFolder()
        let file = folder.file("catalog.sqlite")
        #expect(throws: CatalogError.self) {
            try AttributeCatalog(file: folder.file("none/catalog.sqlite")) { 1 }
        }
        try fill(file)
        let queue = try DatabaseQueue(path: file)
        try queue.write { try $0.execute(sql: "PRAGMA user_version = 99") }
        try queue.close()
        #expect(throws: CatalogError.madeByLaterRelease(file: file, version: 99)) {
            try AttributeCatalog(file: file) { 1 }
        }
    }

    @Test("The keys of a group are those whose attribute is the value, not those that contain it")
    func keysOfGroup() throws {
        let folder = try TemporaryFolder()
        let catalog = try AttributeCatalog(file: folder.file("catalog.sqlite")) { 1 }
        _ = try catalog.put(
            [
                entry("d", #"{"c":"Rock & \"Roll\"","t":"x"}"#), entry("b", #"{"c":"Rock"}"#),
                entry("a", #"{"c":"Rock","n":12}"#), entry("c", #"{"c":"Rocky","t":"Rock"}"#),
                entry("e", #"{"n":12.0}"#), entry("f", #"{"c":"Ελλάς"}"#), entry("g", "{}"),
                entry("h", #"{"c":["Rock",{"a":1}]}"#), entry("i", #"{"c":true}"#),
            ], at: noon)
        func keys(_ value: String, _ name: String, limit: Int = 9) throws -> [String] {
            try catalog.keys(with: Array(value.utf8), of: Array(name.utf8), limit: limit)
                .map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(try keys("Rock", "c") == ["a", "b"])
        #expect(try keys("Rock", "c", limit: 1) == ["a"])
        #expect(try keys(#"Rock & "Roll""#, "c") == ["d"])
        #expect(try keys("Ελλάς", "c") == ["f"])
        #expect(try keys("12", "n") == ["a"])
        #expect(try keys("", "c") == [])
        #expect(try keys(#"["Rock",{"a":1}]"#, "c") == ["h"])
        #expect(try keys("true", "c") == ["i"])
        #expect(try keys("Rock", "absent") == [])
        // Of more than are kept at once the least.
        _ = try catalog.put(
            (0..<5000).reversed().map { entry("m\(10_000 + $0)", #"{"c":"many"}"#) }, at: noon)
        #expect(try keys("many", "c", limit: 3) == ["m10000", "m10001", "m10002"])
        #expect(try keys("many", "c", limit: 9000).count == 5000)
    }

    @Test("A byte that changes in a title is found by the row's hash, and the file set aside")
    func hashes() throws {
        let folder = try TemporaryFolder()
        let file = folder.file("catalog.sqlite")
        for column in ["json = '{\"t\":\"y\"}'", "hash = x'00'", "version = 'x'", "key = 7"] {
            let catalog = try AttributeCatalog(file: file) { .random(in: 1 ... .max) }
            _ = try catalog.put([entry("a", "{\"t\":\"x\"}")], at: noon)
            let nonce = catalog.nonce
            try catalog.close()
            let queue = try DatabaseQueue(path: file)
            try queue.write { try $0.execute(sql: "UPDATE attributes SET \(column)") }
            try queue.close()
            let again = try AttributeCatalog(file: file) { nonce &+ 1 }
            #expect(again.losses == 0)
            #expect(throws: CatalogError.self, "\(column)") {
                try again.changes(since: 0, bytes: 1 << 20)
            }
            #expect(again.losses == 1 && again.isFilling && again.nonce != nonce)
            #expect(try again.count() == 0)
            try again.close()
            try FileManager.default.removeItem(atPath: file)
        }
        // More than corruptKeptMax were set aside.
        let kept = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { $0.contains(".corrupt-") && !$0.hasSuffix("wal") && !$0.hasSuffix("shm") }
        #expect(kept.count == CatalogLimits.corruptKeptMax)
    }

    @Test("What is written to a file that has lost its name is no success")
    func removedFile() throws {
        let folder = try TemporaryFolder()
        let file = folder.file("catalog.sqlite")
        let catalog = try AttributeCatalog(file: file) { .random(in: 1 ... .max) }
        _ = try catalog.put([entry("a", "{}")], at: noon)
        try catalog.check()
        for number in 1...CatalogLimits.incidentsKept + 2 {
            try FileManager.default.removeItem(atPath: file)
            #expect(throws: CatalogError.self) { try catalog.put([entry("b", "{}")], at: noon) }
            #expect(catalog.losses == number && catalog.isFilling)
            #expect(catalog.incidents.last?.reason == "it was removed while it was open")
        }
        #expect(catalog.incidents.count == CatalogLimits.incidentsKept)
        #expect(try catalog.put([entry("c", "{}")], at: noon).rows.count == 1)
        // What another file asked for says nothing of this one.
        let progress = CatalogProgress(peer: NodeID("n1"), nonce: 3, sequence: 9)
        _ = try catalog.upsert([], progress: progress, into: catalog.nonce &+ 1, at: noon)
        #expect(try catalog.progress(of: NodeID("n1")) == nil)
        _ = try catalog.upsert([], progress: progress, into: catalog.nonce, at: noon)
        #expect(try catalog.progress(of: NodeID("n1")) == progress)
        try catalog.filled(catalog.nonce &+ 1)
        #expect(catalog.isFilling)
        try catalog.filled(catalog.nonce)
        #expect(!catalog.isFilling)
        try catalog.verify()
    }

    @Test("Values of an attribute are the same by lookups and by a pass, from passShare on")
    func values() throws {
        let folder = try TemporaryFolder()
        let catalog = try AttributeCatalog(file: folder.file("catalog.sqlite")) { 1 }
        let count = 400
        _ = try catalog.put(
            (0..<count).map { number in
                entry("k\(number)", number % 5 == 0 ? nil : "{\"a\":\(number % 3),\"b\":\"é\\\"\"}")
            }, at: noon)
        let few = (0..<count / CatalogLimits.passShare - 1).map { Array("k\($0)".utf8) }
        let all = (0..<count + 50).map { Array("k\($0)".utf8) }
        for keys in [few, all, []] {
            let values = try catalog.values(of: Array("a".utf8), for: keys).values
            let expected = keys.indices.map { number in
                number % 5 == 0 || number >= count ? nil : Array("\(number % 3)".utf8)
            }
            #expect(values == expected)
        }
        #expect(
            try catalog.values(of: Array("b".utf8), for: all).values[1] == Array("é\"".utf8))
        #expect(try catalog.values(of: Array("c".utf8), for: all).values.allSatisfy { $0 == nil })
    }

    @Test("SQLite's log is written to its file from checkpointPages on, and grows no further")
    func checkpoints() throws {
        let folder = try TemporaryFolder()
        let file = folder.file("catalog.sqlite")
        let catalog = try AttributeCatalog(file: file) { 1 }
        let text = String(repeating: "x", count: 900)
        var most = 0
        for round in 0..<30 {
            _ = try catalog.put(
                (0..<2000).map { entry("k\($0)", "{\"n\":\(round),\"t\":\"\(text)\"}") }, at: noon)
            let log = try FileManager.default.attributesOfItem(atPath: file + "-wal")
            most = max(most, log[.size] as? Int ?? 0)
        }
        let bytes = CatalogLimits.checkpointPages * 4096
        #expect(most > bytes / 2 && most < bytes + 16 << 20, "\(most)")
        // What the writer keeps in memory is what it may write anew.
        #expect(CatalogLimits.writerCache <= bytes)
    }

    @Test("An export has each row after a change, by key, as of one moment, and ends when told")
    func export() throws {
        let folder = try TemporaryFolder()
        let catalog = try AttributeCatalog(file: folder.file("catalog.sqlite")) { 5 }
        _ = try catalog.put(["c", "a", "b"].map { entry($0, "{}") }, at: noon)
        _ = try catalog.put([entry("a", nil), entry("d", "{}")], at: noon)
        func keys(after: Int64, limit: Int = 9) throws -> ([String], Int64) {
            var keys: [String] = []
            let (nonce, through) = try catalog.export(after: after) { row in
                keys.append(String(decoding: row.key, as: UTF8.self))
                return keys.count < limit
            }
            #expect(nonce == 5)
            return (keys, through)
        }
        #expect(try keys(after: 0) == (["a", "b", "c", "d"], 5))
        #expect(try keys(after: 3) == (["a", "d"], 5))
        #expect(try keys(after: 5) == ([], 5))
        #expect(try keys(after: 0, limit: 2) == (["a", "b"], 5))
    }

    @Test("A plain value is found whatever stands before it, and only at the top")
    func plainValues() {
        let json = Array(
            #"{"a":"x\\\"},","b":{"c":[1,{"d":"}"}],"e":2},"c":[1,"]"],"d\"":null,"e":-1.5e3}"#.utf8
        )
        func value(_ name: String) -> String? {
            JSONCanonical.plainValue(of: Array(name.utf8), in: json)
                .map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(value("a") == #"x\"},"#)
        #expect(value("b") == #"{"c":[1,{"d":"}"}],"e":2}"#)
        #expect(value("c") == #"[1,"]"]"#)
        #expect(value(#"d""#) == "null")
        #expect(value("e") == "-1.5e3")
        for absent in ["d", "", "f", "x"] { #expect(value(absent) == nil) }
        // Not canonical: nothing, and no trap.
        for text in ["", "{", #"{"a""#, #"{"a":"#, #"{"a":"\"#, "[]", #"{"a":1"#, "nonsense"] {
            #expect(JSONCanonical.plainValue(of: [0x61], in: Array(text.utf8)) == nil)
        }
    }

    @Test("A write that meets another process's lock is an error with that name, and passes later")
    func locked() throws {
        let folder = try TemporaryFolder()
        let file = folder.file("catalog.sqlite")
        let catalog = try AttributeCatalog(file: file) { 1 }
        let queue = try DatabaseQueue(path: file)
        try queue.inDatabase { db in
            try db.execute(sql: "BEGIN IMMEDIATE")
            #expect(throws: CatalogError.locked(file: file)) {
                try catalog.put([entry("a", "{}")], at: noon)
            }
            #expect(try catalog.count() == 0)
            try db.execute(sql: "ROLLBACK")
        }
        #expect(try catalog.put([entry("a", "{}")], at: noon).rows.count == 1)
    }

    private func fill(_ file: String, rows: Int = 500) throws {
        let catalog = try AttributeCatalog(file: file) { 1 }
        let long = String(repeating: "x", count: 1500)
        _ = try catalog.put((0..<rows).map { entry("k\($0)", "{\"t\":\"\(long)\"}") }, at: noon)
        try catalog.close()
    }

    /// Spoils all pages but the first, which holds the header and the schema.
    private func overwrite(_ file: String) throws {
        let handle = try FileHandle(forUpdating: URL(fileURLWithPath: file))
        let size = try handle.seekToEnd()
        try handle.seek(toOffset: 4096)
        try handle.write(contentsOf: Data(repeating: 0xa5, count: Int(size) - 4096))
        try handle.close()
    }
}
