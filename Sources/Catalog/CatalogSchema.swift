import Core
import Foundation
import GRDB

/// The tables, and how a file is opened.
enum CatalogSchema {
    /// Rises with every change of the tables.
    static let version = 1

    /// Opens the file, makes its tables where it is new, and gives it a nonce.
    static func open(_ file: String, nonce: UInt64) throws -> DatabasePool {
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
        }
        let pool = try DatabasePool(path: file, configuration: configuration)
        let found = try pool.read { db in try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0 }
        guard found <= version else { throw LaterVersion(version: found) }
        if found == version { try check(pool, file) } else { try make(pool, nonce: nonce) }
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
        let word = try pool.read { db in
            try String.fetchOne(db, sql: "PRAGMA quick_check(1)") ?? "no answer"
        }
        if word != "ok" { throw Damage(reason: word) }
    }

    private static func make(_ pool: DatabasePool, nonce: UInt64) throws {
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
            try db.execute(sql: "PRAGMA user_version = \(version)")
        }
    }

    /// Damage, as against a full disk or a lock.
    static func damage(in error: any Error) -> String? {
        if let damage = error as? Damage { return damage.reason }
        guard let error = error as? DatabaseError else { return nil }
        switch error.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: return error.message ?? "\(error.resultCode)"
        default: return nil
        }
    }

    /// Moves the file and what belongs to it out of the way; returns its new name.
    static func setAside(_ file: String) throws -> String {
        let files = FileManager.default
        var number = 1
        while files.fileExists(atPath: "\(file).corrupt-\(number)") { number += 1 }
        let aside = "\(file).corrupt-\(number)"
        for suffix in ["-wal", "-shm", ""] where files.fileExists(atPath: file + suffix) {
            try files.moveItem(atPath: file + suffix, toPath: aside + suffix)
        }
        return aside
    }
}

/// Numbers and byte strings as SQLite's blobs, big-endian so that they sort as numbers do.
enum CatalogBytes {
    static func data(_ value: some FixedWidthInteger) -> Data {
        withUnsafeBytes(of: value.bigEndian) { Data($0) }
    }

    static func number(_ data: Data) -> UInt64? {
        guard data.count == 8 else { return nil }
        return data.reduce(0) { $0 << 8 | UInt64($1) }
    }

    static func wideNumber(_ data: Data) -> UInt128? {
        guard data.count == 16 else { return nil }
        return data.reduce(0) { $0 << 8 | UInt128($1) }
    }
}
