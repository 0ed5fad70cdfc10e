package import Core
import Foundation
import GRDB

/// Plain values of one attribute, for many keys.
package struct AttributeValues: Hashable, Sendable {
    /// In the order of the keys; nil: the key has no such attribute. Equal ones share their bytes.
    package var values: [[UInt8]?]

    package init(count: Int) {
        values = Array(repeating: nil, count: count)
    }
}

/// What goes over many rows at once.
extension AttributeCatalog {
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
                    SELECT \(Self.columns) FROM attributes
                    WHERE deleted = 0 AND instr(CAST(json AS BLOB), ?) > 0
                        AND (instr(CAST(json AS BLOB), ?) > 0 OR instr(CAST(json AS BLOB), ?) > 0)
                    """,
                arguments: [Data(JSONCanonical.string(name)), quoted, Data(value)])
            // Rows come as they lie: in the order of keys each would be read from elsewhere.
            var keys: [[UInt8]] = []
            while let found = try cursor.next() {
                let row = try Self.row(found)
                if row.json.flatMap({ JSONCanonical.plainValue(of: name, in: $0) }) == value {
                    keys.append(row.key)
                }
                if keys.count > 2 * max(limit, 1000) { keys = Self.least(limit, of: keys) }
            }
            return Self.least(limit, of: keys)
        }
    }

    private static func least(_ limit: Int, of keys: [[UInt8]]) -> [[UInt8]] {
        Array(keys.sorted { $0.lexicographicallyPrecedes($1) }.prefix(limit))
    }

    /// The plain value of attribute `name` of each key. Few keys are looked up one by one; for many
    /// all rows are passed over, of which nothing but the values is kept.
    package func values(
        of name: [UInt8], for keys: [[UInt8]]
    ) throws(CatalogError) -> AttributeValues {
        try read { db in
            var gathered = ValueGathering(name: name, keys: keys)
            // The number of the last change is never below that of the rows.
            let rows = try Int.fetchOne(db, sql: "SELECT max(change_seq) FROM attributes") ?? 0
            if keys.count < rows / CatalogLimits.passShare {
                for key in keys {
                    if let json = try Self.row(key, db)?.json { gathered.take(key, json) }
                }
                return gathered.values
            }
            let cursor = try Row.fetchCursor(
                db, sql: "SELECT \(Self.columns) FROM attributes WHERE deleted = 0")
            while let found = try cursor.next() {
                let row = try Self.row(found)
                if let json = row.json { gathered.take(row.key, json) }
            }
            return gathered.values
        }
    }

    /// Each row that changed after change `after`, ascending by key, tombstones included, all as of
    /// one moment.
    ///
    /// - Parameter visit: false ends it.
    /// - Returns: the nonce of the file and the number of its last change at that moment.
    package func export(
        after: Int64, _ visit: (AttributeRow) -> Bool
    ) throws(CatalogError) -> (nonce: UInt64, through: Int64) {
        try read { db in
            let nonce = try Self.nonce(db)
            let through = try Self.sequence(db)
            // All rows lie in the order of the index; some are sorted, for which `+key` keeps
            // SQLite from walking through all.
            let cursor =
                after == 0
                ? try Row.fetchCursor(
                    db, sql: "SELECT \(Self.columns) FROM attributes ORDER BY key")
                : try Row.fetchCursor(
                    db,
                    sql: """
                        SELECT \(Self.columns) FROM attributes WHERE change_seq > ? ORDER BY +key
                        """, arguments: [after])
            var last: [UInt8]?
            while let found = try cursor.next() {
                let row = try Self.row(found)
                // A damaged index gives a row twice, or another one, and both have fitting hashes.
                let isNext = last.map { $0.lexicographicallyPrecedes(row.key) } ?? true
                guard isNext, row.key.count <= Limits.keyMax else {
                    throw CatalogSchema.Damage(reason: "rows do not come in the order of keys")
                }
                last = row.key
                guard visit(row) else { break }
            }
            return (nonce, through)
        }
    }
}

/// Gathers the values of one attribute, whoever has the rows.
package struct ValueGathering: Sendable {
    /// As it stands in canonical JSON.
    private let name: [UInt8]
    private var places: [[UInt8]: Int] = [:]
    private var shared: [[UInt8]: [UInt8]] = [:]
    package private(set) var values: AttributeValues

    /// - Parameter keys: each once.
    package init(name: [UInt8], keys: [[UInt8]]) {
        self.name = JSONCanonical.string(name)
        values = AttributeValues(count: keys.count)
        places.reserveCapacity(keys.count)
        for (place, key) in keys.enumerated() { places[key] = place }
    }

    /// - Parameter json: canonical.
    package mutating func take(_ key: [UInt8], _ json: [UInt8]) {
        guard let place = places[key],
            let value = JSONCanonical.plainValue(quoted: name, in: json)
        else { return }
        if let known = shared[value] {
            values.values[place] = known
        } else {
            shared[value] = value
            values.values[place] = value
        }
    }
}
