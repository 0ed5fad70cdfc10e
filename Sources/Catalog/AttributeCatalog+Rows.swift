package import Core
import Foundation
import GRDB

/// What became of rows that came from a peer.
package struct CatalogUpsert: Hashable, Sendable {
    /// Stored, because they are newer than what was here.
    package var applied = 0
    /// Not newer than what is here.
    package var stale = 0
    /// Malformed, or of a version too far in the future.
    package var refused = 0

    package init(applied: Int = 0, stale: Int = 0, refused: Int = 0) {
        self.applied = applied
        self.stale = stale
        self.refused = refused
    }
}

/// What became of entries that a user handed in.
package struct CatalogPut: Hashable, Sendable {
    /// The rows that were written, to be spread.
    package var rows: [AttributeRow] = []
    /// Entries whose content was there already.
    package var unchanged = 0
    /// Entries that the parser would not have made: no key, no canonical JSON.
    package var refused = 0
}

/// Rows that changed after a point, in the order of their changes.
package struct CatalogChanges: Hashable, Sendable {
    package var rows: [AttributeRow]
    /// Where to go on.
    package var next: Int64
    /// Nothing waits behind these rows.
    package var isComplete: Bool
}

/// How far a node has read a peer's file.
package struct CatalogProgress: Hashable, Sendable {
    package var peer: NodeID
    package var nonce: UInt64
    package var sequence: Int64

    package init(peer: NodeID, nonce: UInt64, sequence: Int64) {
        self.peer = peer
        self.nonce = nonce
        self.sequence = sequence
    }
}

extension AttributeCatalog {
    /// Writes a user's entries, in order, in one transaction: all or nothing. Each gets a version
    /// of now, or just above the row that it replaces.
    package func put(
        _ entries: [AttributeEntry], at now: WallTime
    ) throws(CatalogError) -> CatalogPut {
        try write { db in
            var result = CatalogPut()
            var sequence = try Self.sequence(db)
            for entry in entries {
                let known = try Self.row(entry.key, db)
                if let known, known.json == entry.json {
                    result.unchanged += 1
                    continue
                }
                let version = max(now.milliseconds, known.map { $0.version + 1 } ?? 0)
                let row = AttributeRow(key: entry.key, version: version, json: entry.json)
                // What no peer would take must not be written here either.
                guard row.isValid else {
                    result.refused += 1
                    continue
                }
                if try Self.store(row, sequence + 1, db) {
                    sequence += 1
                    result.rows.append(row)
                }
            }
            return result
        }
    }

    /// Takes rows from a peer: of each key the greater (version, hash) stands. `progress` becomes
    /// durable together with the rows.
    package func upsert(
        _ rows: [AttributeRow], progress: CatalogProgress? = nil, at now: WallTime
    ) throws(CatalogError) -> CatalogUpsert {
        let versionMax = (now + CatalogLimits.versionAheadMax).milliseconds
        return try write { db in
            var result = CatalogUpsert()
            var sequence = try Self.sequence(db)
            for row in rows {
                if row.version > versionMax || !row.isValid {
                    result.refused += 1
                } else if try Self.store(row, sequence + 1, db) {
                    sequence += 1
                    result.applied += 1
                } else {
                    result.stale += 1
                }
            }
            if let progress { try Self.remember(progress, db) }
            return result
        }
    }

    /// The attributes of those keys that have any, all as of one moment.
    package func attributes(
        of keys: [[UInt8]]
    ) throws(CatalogError) -> [[UInt8]: [UInt8]] {
        try read { db in
            let statement = try db.cachedStatement(
                sql: "SELECT json FROM attributes WHERE key = ? AND deleted = 0")
            var found: [[UInt8]: [UInt8]] = [:]
            for key in keys {
                if let json = try String.fetchOne(statement, arguments: [Data(key)]) {
                    found[key] = Array(json.utf8)
                }
            }
            return found
        }
    }

    /// The keys whose attribute `name` has the plain value `value`, ascending, at most `limit`. A
    /// pass over all rows that hold the value's text anywhere.
    package func keys(
        with value: [UInt8], of name: [UInt8], limit: Int
    ) throws(CatalogError) -> [[UInt8]] {
        // In canonical JSON a string has one form; numbers, lists and the rest stand as they are.
        let quoted = Data(JSONCanonical.string(value).dropFirst().dropLast())
        return try read { db in
            let cursor = try Row.fetchCursor(
                db,
                sql: """
                    SELECT key, json FROM attributes
                    WHERE deleted = 0 AND instr(CAST(json AS BLOB), ?) > 0
                        AND (instr(CAST(json AS BLOB), ?) > 0 OR instr(CAST(json AS BLOB), ?) > 0)
                    ORDER BY key
                    """,
                arguments: [Data(JSONCanonical.string(name)), quoted, Data(value)])
            var keys: [[UInt8]] = []
            while keys.count < limit, let row = try cursor.next() {
                let key: Data = row[0]
                let json: String = row[1]
                if JSONCanonical.plainValue(of: name, in: Array(json.utf8)) == value {
                    keys.append(Array(key))
                }
            }
            return keys
        }
    }

    /// The row of a key, a tombstone included.
    package func row(of key: [UInt8]) throws(CatalogError) -> AttributeRow? {
        try read { db in try Self.row(key, db) }
    }

    /// What changed after change number `since`: about `bytes` of it, and at least one row.
    package func changes(
        since: Int64, bytes: Int
    ) throws(CatalogError) -> CatalogChanges {
        try read { db in
            let cursor = try Row.fetchCursor(
                db,
                sql: """
                    SELECT key, version, json, change_seq FROM attributes
                    WHERE change_seq > ? ORDER BY change_seq
                    """,
                arguments: [since])
            var changes = CatalogChanges(rows: [], next: since, isComplete: true)
            var size = 0
            while let row = try cursor.next() {
                if !changes.rows.isEmpty,
                    size >= bytes || changes.rows.count == CatalogLimits.changesMax
                {
                    changes.isComplete = false
                    break
                }
                let change = try Self.row(row)
                size += change.key.count + (change.json?.count ?? 0) + 16
                changes.rows.append(change)
                changes.next = row["change_seq"]
            }
            return changes
        }
    }

    /// The number of the last change.
    package func sequence() throws(CatalogError) -> Int64 {
        try read { db in try Self.sequence(db) }
    }

    /// Keys that have attributes.
    package func count() throws(CatalogError) -> Int {
        try read { db in
            try Int.fetchOne(db, sql: "SELECT count(*) FROM attributes WHERE deleted = 0") ?? 0
        }
    }

    package func remember(_ progress: CatalogProgress) throws(CatalogError) {
        try write { db in try Self.remember(progress, db) }
    }

    package func progress(of peer: NodeID) throws(CatalogError) -> CatalogProgress? {
        try read { db in
            let row = try Row.fetchOne(
                db, sql: "SELECT nonce, change_seq FROM progress WHERE peer = ?",
                arguments: [peer.name])
            guard let row, let nonce = CatalogBytes.number(row["nonce"]) else { return nil }
            return CatalogProgress(peer: peer, nonce: nonce, sequence: row["change_seq"])
        }
    }

    // MARK: Inside

    /// A row is replaced, never removed, so the greatest number is the last that was given.
    private static func sequence(_ db: Database) throws -> Int64 {
        try Int64.fetchOne(db, sql: "SELECT max(change_seq) FROM attributes") ?? 0
    }

    private static func row(_ key: [UInt8], _ db: Database) throws -> AttributeRow? {
        let statement = try db.cachedStatement(
            sql: "SELECT key, version, json FROM attributes WHERE key = ?")
        return try Row.fetchOne(statement, arguments: [Data(key)]).map(row)
    }

    private static func row(_ row: Row) throws -> AttributeRow {
        let key: Data = row["key"]
        let json: String? = row["json"]
        return AttributeRow(
            key: Array(key), version: row["version"], json: json.map { Array($0.utf8) })
    }

    /// True when the row is newer than what is there, and is there now.
    private static func store(
        _ row: AttributeRow, _ sequence: Int64, _ db: Database
    ) throws -> Bool {
        let statement = try db.cachedStatement(
            sql: """
                INSERT INTO attributes (key, version, hash, json, deleted, change_seq)
                VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT (key) DO UPDATE SET
                    version = excluded.version, hash = excluded.hash, json = excluded.json,
                    deleted = excluded.deleted, change_seq = excluded.change_seq
                WHERE (excluded.version, excluded.hash) > (attributes.version, attributes.hash)
                """)
        try statement.execute(arguments: [
            Data(row.key), row.version, CatalogBytes.data(row.hash.value),
            row.json.map { String(decoding: $0, as: UTF8.self) }, row.json == nil, sequence,
        ])
        return db.changesCount == 1
    }

    private static func remember(_ progress: CatalogProgress, _ db: Database) throws {
        try db.execute(
            sql: """
                INSERT INTO progress (peer, nonce, change_seq) VALUES (?, ?, ?)
                ON CONFLICT (peer) DO UPDATE SET
                    nonce = excluded.nonce, change_seq = excluded.change_seq
                """,
            arguments: [
                progress.peer.name, CatalogBytes.data(progress.nonce), progress.sequence,
            ])
    }
}
