package import Catalog
package import Core
internal import Foundation
package import Storage
internal import Synchronization

/// Attributes for an answer.
package struct KnownAttributes: Hashable, Sendable {
    /// Canonical JSON, of those keys that have any.
    package var rows: [[UInt8]: [UInt8]]
    /// They come from the node's copy, or from a catalog that is being filled or catches up: they
    /// may be old, and some may be missing.
    package var isStale: Bool

    package init(_ rows: [[UInt8]: [UInt8]], isStale: Bool = false) {
        self.rows = rows
        self.isStale = isStale
    }
}

/// The plain values of one attribute, for an answer that groups by it.
package struct KnownValues: Hashable, Sendable {
    /// In the order of the keys; nil: the key has no such attribute.
    package var values: [[UInt8]?]
    /// As in `KnownAttributes`.
    package var isStale: Bool

    package init(_ values: [[UInt8]?], isStale: Bool = false) {
        self.values = values
        self.isStale = isStale
    }
}

/// The row of one key.
package struct KnownRow: Hashable, Sendable {
    /// nil: the key has none, a deletion included.
    package var row: AttributeRow?
    /// As in `KnownAttributes`.
    package var isStale: Bool

    package init(_ row: AttributeRow?, isStale: Bool = false) {
        self.row = row
        self.isStale = isStale
    }
}

/// The keys of a group.
package struct KnownKeys: Hashable, Sendable {
    /// Ascending.
    package var keys: [[UInt8]]
    /// As in `KnownAttributes`.
    package var isStale: Bool

    package init(_ keys: [[UInt8]], isStale: Bool = false) {
        self.keys = keys
        self.isStale = isStale
    }
}

/// What a scrape shows of catalog and copy.
package struct AttributeGauges: Hashable, Sendable {
    package var isUsable: Bool
    package var isFilling: Bool
    /// Of all tables of the copy; a key that changed stands in several.
    package var copiedRows: UInt64
    package var copyBytes: UInt64
    package var damagedTables: Int
}

/// The catalog of a node and its copy in files, in whatever state either is. The catalog outranks
/// the copy; where it cannot be opened or read, or stands in the place of a lost one and is being
/// filled, the copy answers for it, and the answer says so.
///
/// Any thread may call; calls block on the disk.
package final class AttributeStore: Sendable {
    struct State: Sendable {
        var catalog: AttributeCatalog?
        /// Why there is no catalog.
        var problem: CatalogError?
        var nextOpening: Instant
        var tables = AttributeTables()
        /// Why there is no copy.
        var copyProblem: StorageError?
        /// The nonce of the catalog's file that has everything that the copy has.
        var restored: UInt64?
        /// Peers that were read whole, and into which file.
        var heard: [NodeID: UInt64] = [:]
        /// Peers that gave rows that were new, and have more: what is not here may exist.
        var behind: Set<NodeID> = []
        /// Nothing was ever written here, nor is known to exist elsewhere. Looked at each second,
        /// so that counts of those who use no attributes do not wait for a thread.
        var isEmpty = false
        /// Writes that were begun.
        var writes: UInt64 = 0
        var pace = CopyPace()
        var nextCheck: Instant
        var isClosed = false
    }

    /// Held for moments: nobody asks the catalog for anything while holding it, which may wait for
    /// those who read, who may ask for this.
    let state: Mutex<State>
    private let stopping = Atomic(false)
    let files: any FileSystem
    private let file: String
    private let makeNonce: @Sendable () -> UInt64

    /// Opens both; what cannot be opened is told by `problems` and tried again by `tend`.
    ///
    /// - Parameters:
    ///   - file: of the catalog, in the directory of `files`.
    ///   - makeNonce: draws the number of a catalog that is made anew.
    package init(
        file: String, files: any FileSystem, now: Instant,
        makeNonce: @escaping @Sendable () -> UInt64
    ) {
        self.file = file
        self.files = files
        self.makeNonce = makeNonce
        state = Mutex(
            State(nextOpening: now, nextCheck: now + AttributeLimits.firstCheckAfter))
        openCopy()
        openCatalog(at: now)
    }

    /// What is wrong now, for the log; empty where all is well.
    package var problems: [String] {
        state.withLock { state in
            [state.problem?.description, state.copyProblem?.description].compactMap { $0 }
                + state.tables.damage.map(\.description)
        }
    }

    /// How many files of the catalog were lost since the start, and the last of them.
    package var losses: (count: Int, incidents: [CatalogIncident]) {
        catalog.map { ($0.losses, $0.incidents) } ?? (0, [])
    }

    package var gauges: AttributeGauges {
        let (catalog, tables) = state.withLock { ($0.catalog, $0.tables) }
        return AttributeGauges(
            isUsable: catalog != nil, isFilling: catalog?.isFilling ?? false,
            copiedRows: tables.rows, copyBytes: tables.size, damagedTables: tables.damage.count)
    }

    package var catalog: AttributeCatalog? { state.withLock { $0.catalog } }

    /// Nothing more is begun; `close` follows when nobody calls any more.
    package func stop() {
        stopping.store(true, ordering: .relaxed)
    }

    var isStopping: Bool { stopping.load(ordering: .relaxed) }

    /// Nothing is known of any key, here or elsewhere.
    package var isEmpty: Bool { state.withLock { $0.isEmpty } }

    /// Rows may be there from now on.
    package func willWrite() {
        state.withLock { state in
            state.writes += 1
            state.isEmpty = false
        }
    }

    package func close() throws(CatalogError) {
        let catalog = state.withLock { state in
            state.isClosed = true
            return state.catalog.take()
        }
        try catalog?.close()
    }

    // MARK: - Opening

    func openCopy() {
        do throws(StorageError) {
            let tables = try AttributeTables.open(in: files)
            state.withLock {
                $0.tables = tables
                $0.copyProblem = nil
                $0.restored = nil
            }
        } catch {
            let error = error
            state.withLock { $0.copyProblem = error }
        }
    }

    /// A file that is missing where there is a copy was lost.
    func openCatalog(at now: Instant) {
        let hasCopy = state.withLock { !$0.tables.isEmpty || !$0.tables.damage.isEmpty }
        do throws(CatalogError) {
            let catalog = try AttributeCatalog(
                file: file, isFilling: hasCopy, makeNonce: makeNonce)
            state.withLock {
                $0.catalog = catalog
                $0.problem = nil
            }
        } catch {
            let error = error
            state.withLock {
                $0.problem = error
                $0.nextOpening = now + AttributeLimits.openInterval
            }
        }
    }

    /// The catalog, or why there is none.
    package func opened() throws(CatalogError) -> AttributeCatalog {
        let (catalog, problem, isClosed) = state.withLock {
            ($0.catalog, $0.problem, $0.isClosed)
        }
        if let catalog { return catalog }
        throw problem
            ?? .cannotOpen(file: file, reason: isClosed ? "the node stops" : "it is not open yet")
    }

    // MARK: - Answers

    package func attributes(of keys: [[UInt8]]) throws(CatalogError) -> KnownAttributes {
        try answer(
            catalog: { catalog throws(CatalogError) in
                KnownAttributes(try catalog.attributes(of: keys))
            },
            filling: { known, tables in
                var known = known ?? KnownAttributes([:])
                known.isStale = true
                for key in keys where known.rows[key] == nil {
                    do throws(StorageError) {
                        known.rows[key] = try tables.row(of: key)?.json
                    } catch {
                        self.note(error)
                    }
                }
                return known
            })
    }

    package func row(of key: [UInt8]) throws(CatalogError) -> KnownRow {
        try answer(
            catalog: { catalog throws(CatalogError) in KnownRow(try catalog.row(of: key)) },
            filling: { known, tables in
                if let row = known?.row { return KnownRow(row, isStale: true) }
                do throws(StorageError) {
                    return KnownRow(try tables.row(of: key), isStale: true)
                } catch {
                    self.note(error)
                    return KnownRow(nil, isStale: true)
                }
            })
    }

    package func values(
        of name: [UInt8], for keys: [[UInt8]]
    ) throws(CatalogError) -> KnownValues {
        try answer(
            catalog: { catalog throws(CatalogError) in
                KnownValues(try catalog.values(of: name, for: keys).values)
            },
            filling: { known, tables in
                var gathered = ValueGathering(name: name, keys: keys)
                self.pass(over: tables) { row in
                    if let json = row.json { gathered.take(row.key, json) }
                    return true
                }
                var values = gathered.values.values
                for (place, value) in (known?.values ?? []).enumerated() {
                    if let value { values[place] = value }
                }
                return KnownValues(values, isStale: true)
            })
    }

    package func keys(
        with value: [UInt8], of name: [UInt8], limit: Int
    ) throws(CatalogError) -> KnownKeys {
        try answer(
            catalog: { catalog throws(CatalogError) in
                KnownKeys(try catalog.keys(with: value, of: name, limit: limit))
            },
            filling: { known, tables in
                let quoted = JSONCanonical.string(name)
                var keys: [[UInt8]] = []
                self.pass(over: tables) { row in
                    if let json = row.json,
                        JSONCanonical.plainValue(quoted: quoted, in: json) == value
                    {
                        keys.append(row.key)
                    }
                    return keys.count < limit
                }
                let all = Set(keys).union(known?.keys ?? [])
                let sorted = all.sorted { $0.lexicographicallyPrecedes($1) }
                return KnownKeys(Array(sorted.prefix(limit)), isStale: true)
            })
    }

    /// From the catalog where it is whole, else with what the copy has.
    private func answer<Answer>(
        catalog read: (AttributeCatalog) throws(CatalogError) -> Answer,
        filling: (Answer?, AttributeTables) -> Answer
    ) throws(CatalogError) -> Answer {
        let (tables, isBehind) = state.withLock { ($0.tables, !$0.behind.isEmpty) }
        do throws(CatalogError) {
            let catalog = try opened()
            let answer = try read(catalog)
            return catalog.isFilling || isBehind ? filling(answer, tables) : answer
        } catch {
            guard !tables.isEmpty else { throw error }
            return filling(nil, tables)
        }
    }

    private func pass(over tables: AttributeTables, _ visit: (AttributeRow) -> Bool) {
        do {
            for error in try tables.forEach(visit) { note(error) }
        } catch let error as StorageError {
            note(error)
        } catch {
            preconditionFailure("\(error) is no error of a file")
        }
    }

    /// What a read found wrong with the copy: it is written anew.
    func note(_ error: StorageError) {
        state.withLock { $0.tables.note(error) }
    }
}
