package import Core
import Foundation
import GRDB

/// What became of rows that came from a peer.
package struct CatalogUpsert: Hashable, Sendable {
    /// Stored, because they are newer than what was here.
    package var applied = 0
    /// Not newer than what is here.
    package var stale = 0
    /// Malformed: they will never be taken.
    package var refused = 0
    /// Of a version too far in the future: they may be taken later.
    package var early = 0
    /// The least version of those.
    package var earliest: WallTime?

    package init(
        applied: Int = 0, stale: Int = 0, refused: Int = 0, early: Int = 0,
        earliest: WallTime? = nil
    ) {
        self.applied = applied
        self.stale = stale
        self.refused = refused
        self.early = early
        self.earliest = earliest
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

/// What became of a deletion.
package struct CatalogDeletion: Hashable, Sendable {
    /// Of the tombstone.
    package var version: Int64
    /// The key had attributes here.
    package var hadContent: Bool
    /// The tombstone was written just now, to be spread.
    package var isNews: Bool

    package init(version: Int64, hadContent: Bool, isNews: Bool) {
        self.version = version
        self.hadContent = hadContent
        self.isNews = isNews
    }
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
    /// durable together with the rows, unless one of them came too early: it must come again.
    ///
    /// - Parameter nonce: of the file that asked for them; nil: any. In another file, which may
    ///   lack what came before, the progress is not kept.
    package func upsert(
        _ rows: [AttributeRow], progress: CatalogProgress? = nil, into nonce: UInt64? = nil,
        at now: WallTime
    ) throws(CatalogError) -> CatalogUpsert {
        let versionMax = (now + CatalogLimits.versionAheadMax).milliseconds
        return try write { db in
            var result = CatalogUpsert()
            var sequence = try Self.sequence(db)
            for row in rows {
                // Every peer sends every row: what is here already must cost little.
                if try Self.isKnown(row, db) {
                    result.stale += 1
                } else if !row.isValid {
                    result.refused += 1
                } else if row.version > versionMax {
                    result.early += 1
                    let version = WallTime(milliseconds: row.version)
                    result.earliest = min(result.earliest ?? version, version)
                } else if try Self.store(row, sequence + 1, db) {
                    sequence += 1
                    result.applied += 1
                } else {
                    result.stale += 1
                }
            }
            if let progress, result.early == 0 {
                let own = try Self.nonce(db)
                if nonce ?? own == own { try Self.remember(progress, db) }
            }
            return result
        }
    }

    /// Writes a tombstone in place of a row, or of nothing: what a peer has of the key and has not
    /// sent yet goes as well. Of a key that is deleted already nothing changes.
    package func delete(
        _ key: [UInt8], at now: WallTime
    ) throws(CatalogError) -> CatalogDeletion {
        try write { db in
            let known = try Self.row(key, db)
            if let known, known.json == nil {
                return CatalogDeletion(version: known.version, hadContent: false, isNews: false)
            }
            let version = max(now.milliseconds, known.map { $0.version + 1 } ?? 0)
            let row = AttributeRow(key: key, version: version, json: nil)
            let isNews = try Self.store(row, try Self.sequence(db) + 1, db)
            return CatalogDeletion(version: version, hadContent: known != nil, isNews: isNews)
        }
    }

    /// The attributes of those keys that have any, all as of one moment.
    package func attributes(
        of keys: [[UInt8]]
    ) throws(CatalogError) -> [[UInt8]: [UInt8]] {
        try read { db in
            var found: [[UInt8]: [UInt8]] = [:]
            for key in keys {
                if let json = try Self.row(key, db)?.json { found[key] = json }
            }
            return found
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
                    SELECT \(Self.columns), change_seq FROM attributes
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
                guard let number = CatalogBytes.integer(row[4]) else {
                    throw CatalogSchema.Damage(reason: "a row has no number")
                }
                size += change.key.count + (change.json?.count ?? 0) + 16
                changes.rows.append(change)
                changes.next = number
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
            guard let row else { return nil }
            guard let nonce = CatalogBytes.bytes(row[0]).flatMap({ CatalogBytes.number(Data($0)) }),
                let sequence = CatalogBytes.integer(row[1])
            else { throw CatalogSchema.Damage(reason: "what is known of \(peer) is malformed") }
            return CatalogProgress(peer: peer, nonce: nonce, sequence: sequence)
        }
    }

    // MARK: Inside

    static func nonce(_ db: Database) throws -> UInt64 {
        let stored = try Data.fetchOne(db, sql: "SELECT value FROM meta WHERE name = 'nonce'")
        guard let nonce = stored.flatMap(CatalogBytes.number) else {
            throw CatalogSchema.Damage(reason: "the file has no nonce")
        }
        return nonce
    }

    /// A row is replaced, never removed, so the greatest number is the last that was given.
    static func sequence(_ db: Database) throws -> Int64 {
        try Int64.fetchOne(db, sql: "SELECT max(change_seq) FROM attributes") ?? 0
    }

    static func row(_ key: [UInt8], _ db: Database) throws -> AttributeRow? {
        let statement = try db.cachedStatement(
            sql: "SELECT \(columns) FROM attributes WHERE key = ?")
        guard let row = try Row.fetchOne(statement, arguments: [Data(key)]).map(row) else {
            return nil
        }
        guard row.key == key else {
            throw CatalogSchema.Damage(reason: "another row stands under a key")
        }
        return row
    }

    /// True where what is here is as new as the row. A row that does not fit its hash is found when
    /// it is read.
    private static func isKnown(_ row: AttributeRow, _ db: Database) throws -> Bool {
        let statement = try db.cachedStatement(
            sql: "SELECT version, hash FROM attributes WHERE key = ?")
        guard let found = try Row.fetchOne(statement, arguments: [Data(row.key)]),
            let version = CatalogBytes.integer(found[0])
        else { return false }
        if version != row.version { return version > row.version }
        return CatalogBytes.wideNumber(found[1] as DatabaseValue).map { $0 >= row.hash.value }
            ?? false
    }

    /// In the order in which `row` reads them.
    static let columns = "key, version, hash, json"

    /// Reads a row, and holds it against its hash: SQLite's pages have no checksums, and a byte
    /// that changed in a title is no damage to it.
    static func row(_ row: Row) throws -> AttributeRow {
        guard let key = CatalogBytes.bytes(row[0]), let version = CatalogBytes.integer(row[1]),
            let hash = CatalogBytes.wideNumber(row[2] as DatabaseValue)
        else { throw CatalogSchema.Damage(reason: "a row is malformed") }
        let found = AttributeRow(key: key, version: version, json: CatalogBytes.bytes(row[3]))
        guard hash == found.hash.value else {
            throw CatalogSchema.Damage(reason: "a row does not fit its hash")
        }
        return found
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
