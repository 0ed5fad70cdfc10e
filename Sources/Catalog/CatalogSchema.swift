import Core
import Foundation
import GRDB

/// The tables, and how a file is opened.
enum CatalogSchema {
    /// Rises with every change of the tables.
    static let version = 1

    /// Opens the file, makes its tables where it is new, and gives it a nonce.
    ///
    /// - Parameter isFilling: of a new file: it stands in the place of a lost one.
    static func open(
        _ file: String, nonce: UInt64, isFilling: Bool
    ) throws -> DatabasePool {
        var configuration = Configuration()
        configuration.label = "catalog"
        configuration.busyMode = .timeout(
            Double(CatalogLimits.busyTimeout.milliseconds) / 1000)
        configuration.maximumReaderCount = 4
        configuration.prepareDatabase { db in
            // An answered load is durable, also through a power cut.
            try db.execute(sql: "PRAGMA synchronous = FULL")
            try db.execute(sql: "PRAGMA trusted_schema = OFF")
            try db.execute(sql: "PRAGMA journal_size_limit = 67108864")
            // Keys come in no order: a load touches every page of their index each time. It stays
            // in memory, and pages that change again and again go to the file once.
            if !db.configuration.readonly {
                try db.execute(sql: "PRAGMA cache_size = -\(CatalogLimits.writerCache >> 10)")
                try db.execute(
                    sql: "PRAGMA wal_autocheckpoint = \(CatalogLimits.checkpointPages)")
            }
        }
        let pool = try DatabasePool(path: file, configuration: configuration)
        let found = try pool.read { db in try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0 }
        guard found <= version else { throw LaterVersion(version: found) }
        if found == version {
            try check(pool, file)
        } else {
            try make(pool, nonce: nonce, isFilling: isFilling)
        }
        return pool
    }

    struct LaterVersion: Error {
        let version: Int
    }

    /// Damage that a page-by-page check found.
    struct Damage: Error {
        let reason: String
    }

    private static func check(_ pool: DatabasePool, _ file: String) throws {
        let size = try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int ?? 0
        guard size <= CatalogLimits.checkedAtOpenMax else { return }
        try pool.read { db in try check(db) }
    }

    /// Reads all pages; not what is in the rows.
    static func check(_ db: Database) throws {
        let word = try String.fetchOne(db, sql: "PRAGMA quick_check(1)") ?? "no answer"
        if word != "ok" { throw Damage(reason: word) }
    }

    private static func make(_ pool: DatabasePool, nonce: UInt64, isFilling: Bool) throws {
        try pool.write { db in
            try db.execute(
                sql: """
                    CREATE TABLE attributes (
                        key BLOB NOT NULL PRIMARY KEY,
                        version INTEGER NOT NULL,
                        hash BLOB NOT NULL,
                        json TEXT,
                        deleted INTEGER NOT NULL,
                        change_seq INTEGER NOT NULL
                    );
                    CREATE UNIQUE INDEX attributes_by_change ON attributes (change_seq);
                    CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL);
                    CREATE TABLE progress (
                        peer TEXT NOT NULL PRIMARY KEY,
                        nonce BLOB NOT NULL,
                        change_seq INTEGER NOT NULL
                    );
                    """)
            try db.execute(
                sql: "INSERT INTO meta (name, value) VALUES ('nonce', ?)",
                arguments: [CatalogBytes.data(nonce)])
            if isFilling {
                try db.execute(sql: "INSERT INTO meta (name, value) VALUES ('filling', x'01')")
            }
            try db.execute(sql: "PRAGMA user_version = \(version)")
        }
    }

    /// Damage, as against a full disk or a lock.
    static func damage(in error: any Error) -> String? {
        if let damage = error as? Damage { return damage.reason }
        guard let error = error as? DatabaseError else { return nil }
        switch error.resultCode {
        // No statement of ours breaks a constraint of a sound file.
        case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_CONSTRAINT:
            return error.message ?? "\(error.resultCode)"
        default: return nil
        }
    }

    private static let corruptSuffix = ".corrupt-"

    /// Moves the file and what belongs to it out of the way; returns its new name, nil where there
    /// was no file any more.
    ///
    /// - Parameter keptMax: of several that were set aside only the newest are kept; nil: all.
    static func setAside(_ file: String, keptMax: Int? = nil) throws -> String? {
        let files = FileManager.default
        let kept = try setAsideBefore(file)
        let aside = file + corruptSuffix + "\((kept.last ?? 0) + 1)"
        var isThere = false
        // What a full disk left of a new file is nothing to keep, least of all in place of others.
        if try isEmpty(file), try isEmpty(file + "-wal") {
            for suffix in ["-wal", "-shm", ""] where files.fileExists(atPath: file + suffix) {
                try files.removeItem(atPath: file + suffix)
            }
            return nil
        }
        for suffix in ["-wal", "-shm", ""] where files.fileExists(atPath: file + suffix) {
            try files.moveItem(atPath: file + suffix, toPath: aside + suffix)
            isThere = true
        }
        let tooMany = isThere ? kept.count + 1 - (keptMax ?? .max) : 0
        for number in kept.prefix(max(0, tooMany)) {
            for suffix in ["-wal", "-shm", ""] {
                let path = file + corruptSuffix + "\(number)" + suffix
                if files.fileExists(atPath: path) { try files.removeItem(atPath: path) }
            }
        }
        return isThere ? aside : nil
    }

    /// Of no bytes, or not there.
    private static func isEmpty(_ path: String) throws -> Bool {
        guard FileManager.default.fileExists(atPath: path) else { return true }
        return try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int == 0
    }

    /// The numbers of files that were set aside, ascending.
    private static func setAsideBefore(_ file: String) throws -> [Int] {
        let url = URL(fileURLWithPath: file)
        let folder = url.deletingLastPathComponent().path
        let start = url.lastPathComponent + corruptSuffix
        let numbers = try FileManager.default.contentsOfDirectory(atPath: folder).compactMap {
            name -> Int? in
            guard name.hasPrefix(start) else { return nil }
            // Of the file or of its log alone.
            return Int(name.dropFirst(start.count).prefix { $0 != "-" })
        }
        return Set(numbers).sorted()
    }
}

/// Numbers and byte strings as SQLite's blobs, big-endian so that they sort as numbers do.
enum CatalogBytes {
    static func data(_ value: some FixedWidthInteger) -> Data {
        withUnsafeBytes(of: value.bigEndian) { Data($0) }
    }

    /// The bytes of a blob or of a text; nil for all else, as it may stand in a damaged file.
    static func bytes(_ value: DatabaseValue) -> [UInt8]? {
        switch value.storage {
        case .blob(let data): Array(data)
        case .string(let text): Array(text.utf8)
        case .null, .int64, .double: nil
        }
    }

    static func integer(_ value: DatabaseValue) -> Int64? {
        switch value.storage {
        case .int64(let number): number
        case .blob, .string, .null, .double: nil
        }
    }

    static func number(_ data: Data) -> UInt64? {
        guard data.count == 8 else { return nil }
        return data.reduce(0) { $0 << 8 | UInt64($1) }
    }

    static func wideNumber(_ data: Data) -> UInt128? {
        guard data.count == 16 else { return nil }
        // As many bytes as are read, wherever they lie.
        return data.withUnsafeBytes { UInt128(bigEndian: $0.loadUnaligned(as: UInt128.self)) }
    }

    static func wideNumber(_ value: DatabaseValue) -> UInt128? {
        switch value.storage {
        case .blob(let data): wideNumber(data)
        case .string, .null, .int64, .double: nil
        }
    }
}
