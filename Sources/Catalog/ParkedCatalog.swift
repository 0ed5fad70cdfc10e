package import Core
import Foundation
import GRDB

/// The parked batches of one node, in a file of their own: unlike attributes no peer has them, so
/// nothing that happens to the attributes' file may touch them. Only storing; `ParkingLot` decides.
///
/// Every call blocks on the disk and belongs on an I/O thread. What a call has changed is durable
/// when it returns. The table is laid out in docs/formats/parked.md.
package final class ParkedCatalog: Sendable {
    private let file: String
    private let queue: DatabaseQueue
    /// A damaged file that was set aside when this one was opened.
    package let incident: ParkedIncident?

    /// Rises with every change of the table.
    package static let version = 1

    /// Opens the file or makes it.
    ///
    /// - Parameters:
    ///   - isFilling: where there is none: it stands in the place of a lost one.
    ///   - now: by this node's clock. Where what was counted under renewals until now may be lost,
    ///     of nothing that was sealed by then is that denied.
    package init(
        file: String, isFilling: Bool = false, now: WallTime
    ) throws(CatalogError) {
        self.file = file
        do {
            let (queue, incident) = try ParkedCatalog.open(file, isFilling, now)
            self.queue = queue
            self.incident = incident
        } catch {
            throw AttributeCatalog.error(error, file, isOpening: true)
        }
    }

    package func close() throws(CatalogError) {
        do {
            _ = try queue.writeWithoutTransaction { try $0.checkpoint(.truncate) }
            try queue.close()
        } catch {
            throw .failed(file: file, reason: "\(error)")
        }
    }

    /// Writes all that the file holds now to a new file, durably.
    package func copy(to target: String) throws(CatalogError) {
        try run { try $0.copy(to: target) }
    }

    // MARK: - Batches

    /// What is parked, ascending by key.
    package func notes() throws(CatalogError) -> [ParkedNote] {
        try run { queue in
            try queue.read { db in
                try Row.fetchAll(
                    db,
                    sql: """
                        SELECT producer, sequence, content_hash, created_at, parked_at, events,
                            bytes, checksum
                        FROM parked ORDER BY producer, sequence, content_hash
                        """
                ).map(ParkedCatalog.note)
            }
        }
    }

    package func store(_ note: ParkedNote, record: [UInt8]) throws(CatalogError) {
        try run { queue in
            try queue.write { db in
                try db.execute(
                    sql: """
                        INSERT OR REPLACE INTO parked (producer, sequence, content_hash,
                            created_at, parked_at, events, bytes, checksum, record)
                        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                        """,
                    arguments: [
                        CatalogBytes.data(note.key.id.producer),
                        CatalogBytes.data(note.key.id.sequence),
                        CatalogBytes.data(note.key.contentHash.value), note.createdAt.milliseconds,
                        note.parkedAt.milliseconds, Int64(note.events), Int64(note.byteCount),
                        Int64(note.checksum), Data(record),
                    ])
            }
        }
    }

    /// nil where there is no such batch.
    package func record(of key: ParkedKey) throws(CatalogError) -> [UInt8]? {
        try run { queue in
            try queue.read { db in
                try Data.fetchOne(
                    db, sql: "SELECT record FROM parked WHERE \(ParkedCatalog.isKey)",
                    arguments: ParkedCatalog.arguments(key)
                ).map { Array($0) }
            }
        }
    }

    package func remove(_ key: ParkedKey) throws(CatalogError) {
        try run { queue in
            try queue.write { db in try ParkedCatalog.remove(key, db) }
        }
    }

    private static func remove(_ key: ParkedKey, _ db: Database) throws {
        try db.execute(sql: "DELETE FROM parked WHERE \(isKey)", arguments: arguments(key))
    }

    // MARK: - What was counted under renewals

    package func renewed() throws(CatalogError) -> RenewalMemory {
        try run { queue in
            try queue.read { db in
                let batches = try Row.fetchAll(
                    db,
                    sql: """
                        SELECT producer, sequence, content_hash, created_at, number, counted, dead
                        FROM renewed
                        """
                ).map(ParkedCatalog.renewed)
                let forgotten = try Int64.fetchOne(
                    db, sql: "SELECT created_at FROM renewed_forgotten")
                return RenewalMemory(
                    batches, forgotten: forgotten.map { WallTime(milliseconds: $0) })
            }
        }
    }

    /// In one commit: a parked batch goes, as counted under a renewal, and another one that was
    /// remembered is forgotten.
    package func settle(
        _ batch: RenewedBatch, forgetting forgotten: RenewedBatch?
    ) throws(CatalogError) {
        try run { queue in
            try queue.write { db in
                try ParkedCatalog.remove(batch.key, db)
                try db.execute(
                    sql: """
                        INSERT OR REPLACE INTO renewed (producer, sequence, content_hash,
                            created_at, number, counted, dead)
                        VALUES (?, ?, ?, ?, ?, ?, ?)
                        """,
                    arguments: ParkedCatalog.arguments(batch.key) + [
                        batch.createdAt.milliseconds, Int64(batch.number),
                        Int64(batch.totals.counted), Int64(batch.totals.dead),
                    ])
                guard let forgotten else { return }
                try db.execute(
                    sql: "DELETE FROM renewed WHERE \(ParkedCatalog.isKey)",
                    arguments: ParkedCatalog.arguments(forgotten.key))
                try ParkedCatalog.forget(db, until: forgotten.createdAt)
            }
        }
    }

    /// In one commit: a parked batch goes, and of what was sealed no later than it, it is not known
    /// any more whether it was counted.
    package func discard(_ key: ParkedKey, createdAt: WallTime) throws(CatalogError) {
        try run { queue in
            try queue.write { db in
                try ParkedCatalog.remove(key, db)
                try ParkedCatalog.forget(db, until: createdAt)
            }
        }
    }

    private static func renewed(_ row: Row) throws -> RenewedBatch {
        let key = try key(row)
        guard let number = Int(exactly: row["number"] as Int64), number > 0,
            let counted = UInt32(exactly: row["counted"] as Int64),
            let dead = UInt32(exactly: row["dead"] as Int64),
            !counted.addingReportingOverflow(dead).overflow
        else { throw CatalogSchema.Damage(reason: "a renewed batch has a malformed row") }
        return RenewedBatch(
            key: key, createdAt: WallTime(milliseconds: row["created_at"]), number: number,
            totals: BatchTotals(events: counted + dead, counted: counted, dead: dead))
    }

    private static func key(_ row: Row) throws -> ParkedKey {
        let producer: Data = row["producer"]
        let sequence: Data = row["sequence"]
        let hash: Data = row["content_hash"]
        guard let producer = CatalogBytes.wideNumber(producer),
            let sequence = CatalogBytes.number(sequence),
            let hash = CatalogBytes.wideNumber(hash)
        else { throw CatalogSchema.Damage(reason: "a parked batch has a malformed row") }
        return ParkedKey(
            id: BatchID(producer: producer, sequence: sequence), contentHash: Hash128(hash))
    }

    private static let isKey = "producer = ? AND sequence = ? AND content_hash = ?"

    private static func arguments(_ key: ParkedKey) -> StatementArguments {
        [
            CatalogBytes.data(key.id.producer), CatalogBytes.data(key.id.sequence),
            CatalogBytes.data(key.contentHash.value),
        ]
    }

    private static func note(_ row: Row) throws -> ParkedNote {
        let key = try key(row)
        guard let events = UInt32(exactly: row["events"] as Int64),
            let bytes = Int(exactly: row["bytes"] as Int64), bytes >= 0,
            let checksum = UInt32(exactly: row["checksum"] as Int64)
        else { throw CatalogSchema.Damage(reason: "a parked batch has a malformed row") }
        return ParkedNote(
            key: key, createdAt: WallTime(milliseconds: row["created_at"]),
            parkedAt: WallTime(milliseconds: row["parked_at"]), events: events, byteCount: bytes,
            checksum: checksum)
    }

    // MARK: - The file

    private func run<Value>(_ body: (DatabaseQueue) throws -> Value) throws(CatalogError) -> Value {
        do {
            return try body(queue)
        } catch {
            throw AttributeCatalog.error(error, file)
        }
    }

    private static func open(
        _ file: String, _ isFilling: Bool, _ now: WallTime
    ) throws -> (DatabaseQueue, ParkedIncident?) {
        do {
            return (try openWhole(file, isFilling, now), nil)
        } catch {
            guard let reason = CatalogSchema.damage(in: error) else { throw error }
            let aside = try CatalogSchema.setAside(file) ?? file
            return (try openWhole(file, true, now), ParkedIncident(file: aside, reason: reason))
        }
    }

    /// Nothing is known for sure of what was sealed until now, also by clocks that are ahead.
    private static func forgetAll(_ db: Database, _ now: WallTime) throws {
        try forget(db, until: now + Limits.admissionAheadMax)
    }

    private static func forget(_ db: Database, until createdAt: WallTime) throws {
        try db.execute(
            sql: """
                INSERT INTO renewed_forgotten (id, created_at) VALUES (1, ?)
                ON CONFLICT (id) DO UPDATE
                SET created_at = max(created_at, excluded.created_at)
                """,
            arguments: [createdAt.milliseconds])
    }

    private static func openWhole(
        _ file: String, _ isFilling: Bool, _ now: WallTime
    ) throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.label = "parked"
        configuration.journalMode = .wal
        configuration.busyMode = .timeout(
            Double(CatalogLimits.busyTimeout.milliseconds) / 1000)
        configuration.prepareDatabase { db in
            // What is answered as parked is durable, also through a power cut.
            try db.execute(sql: "PRAGMA synchronous = FULL")
            try db.execute(sql: "PRAGMA trusted_schema = OFF")
            try db.execute(sql: "PRAGMA auto_vacuum = FULL")
            try db.execute(sql: "PRAGMA journal_size_limit = 67108864")
        }
        let queue = try DatabaseQueue(path: file, configuration: configuration)
        let found = try queue.read { db in
            try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        }
        guard found <= version else { throw CatalogSchema.LaterVersion(version: found) }
        if found == version { try check(queue, file) }
        try queue.write { db in
            if found < version { try make(db) }
            guard try !db.tableExists("renewed") else { return }
            try makeMemory(db)
            // An older program counted renewals as well, and wrote none of them down; what a lost
            // file remembered is not known either.
            if found == version || isFilling { try forgetAll(db, now) }
        }
        return queue
    }

    private static func check(_ queue: DatabaseQueue, _ file: String) throws {
        let size = try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int ?? 0
        guard size <= CatalogLimits.checkedAtOpenMax else { return }
        let word = try queue.read { db in
            try String.fetchOne(db, sql: "PRAGMA quick_check(1)") ?? "no answer"
        }
        if word != "ok" { throw CatalogSchema.Damage(reason: word) }
    }

    /// The record is the last column, so that notes are read without it.
    private static func make(_ db: Database) throws {
        try db.execute(
            sql: """
                CREATE TABLE parked (
                    producer BLOB NOT NULL,
                    sequence BLOB NOT NULL,
                    content_hash BLOB NOT NULL,
                    created_at INTEGER NOT NULL,
                    parked_at INTEGER NOT NULL,
                    events INTEGER NOT NULL,
                    bytes INTEGER NOT NULL,
                    checksum INTEGER NOT NULL,
                    record BLOB NOT NULL,
                    PRIMARY KEY (producer, sequence, content_hash)
                );
                """)
        try db.execute(sql: "PRAGMA user_version = \(version)")
    }

    /// Beside the table, and younger than it: a program that knows nothing of them leaves them
    /// alone, so that the version is as it was.
    private static func makeMemory(_ db: Database) throws {
        try db.execute(
            sql: """
                CREATE TABLE renewed (
                    producer BLOB NOT NULL,
                    sequence BLOB NOT NULL,
                    content_hash BLOB NOT NULL,
                    created_at INTEGER NOT NULL,
                    number INTEGER NOT NULL,
                    counted INTEGER NOT NULL,
                    dead INTEGER NOT NULL,
                    PRIMARY KEY (producer, sequence)
                ) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS renewed_forgotten (
                    id INTEGER PRIMARY KEY CHECK (id = 1),
                    created_at INTEGER NOT NULL
                );
                """)
    }
}

/// A damaged file of parked batches that was set aside. What it held may not be counted: whoever
/// sent it can be asked for it again, and the same ids count once.
package struct ParkedIncident: Hashable, Sendable, CustomStringConvertible {
    package var file: String
    package var reason: String

    package var description: String {
        "the file of parked batches was damaged (\(reason)) and is kept as \(file): "
            + "what was parked in it is not counted from here; its producers may send it again "
            + "under the same ids"
    }
}
