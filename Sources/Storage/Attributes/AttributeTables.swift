package import Core

/// The tables of attributes that are a node's copy of its catalog: the newest whole one, and what
/// changed after it. A value: it stays readable whatever is written or removed meanwhile.
package struct AttributeTables: Hashable, Sendable {
    /// Ascending by id; the first is whole, where nothing is damaged.
    package private(set) var tables: [AttributeTable] = []
    /// What could not be opened, by path: it is left where it is until a whole table stands in its
    /// place.
    package private(set) var damage: [AttributeDamage] = []
    /// Of the next table.
    package private(set) var nextID: UInt64 = 1

    package init() {}

    package var isEmpty: Bool { tables.isEmpty }

    package var rows: UInt64 { tables.reduce(0) { $0 + $1.rows } }

    /// Of all files together, in bytes.
    package var size: UInt64 { tables.reduce(0) { $0 + $1.size } }

    /// What the copy holds, where it holds it without a gap.
    package var span: AttributeSpan? {
        guard var span = tables.first?.span, span.isWhole, damage.isEmpty else { return nil }
        for table in tables.dropFirst() {
            guard table.span.nonce == span.nonce, table.span.after == span.through else {
                return nil
            }
            span.through = table.span.through
        }
        return span
    }

    /// A later release wrote one of them: nothing may be written or removed here.
    package var isNewer: Bool { damage.contains(where: \.isNewer) }

    /// Opens what is there; removes drafts, and what a whole table stands in the place of. Makes
    /// the directory.
    package static func open(
        in fileSystem: any FileSystem
    ) throws(StorageError) -> AttributeTables {
        try fileSystem.createDirectory(FileNames.attributeDirectory)
        try fileSystem.syncDirectory(".")
        var found = AttributeTables()
        for name in try fileSystem.list(FileNames.attributeDirectory) {
            let path = "\(FileNames.attributeDirectory)/\(name)"
            if name.hasSuffix(FileNames.draftSuffix) {
                try fileSystem.remove(path)
                continue
            }
            guard let id = FileNames.attributesID(name) else { continue }
            found.nextID = max(found.nextID, id + 1)
            do throws(StorageError) {
                let file = try fileSystem.open(path, .read)
                found.tables.append(try AttributeTable(file, id: id, as: path))
            } catch {
                found.damage.append(try AttributeDamage(error, path: path))
            }
        }
        try found.dropReplaced(in: fileSystem)
        return found
    }

    /// The copy with one more table, from which on it counts; what a whole one replaces is removed.
    package func adding(
        _ table: AttributeTable, in fileSystem: any FileSystem
    ) throws(StorageError) -> AttributeTables {
        precondition(table.id >= nextID, "a table's id is above all others")
        var next = self
        next.tables.append(table)
        next.nextID = table.id + 1
        try next.dropReplaced(in: fileSystem)
        return next
    }

    /// What a later table holds as well is not needed. A crash leaves some of it: the next start
    /// goes on.
    private mutating func dropReplaced(in fileSystem: any FileSystem) throws(StorageError) {
        guard !isNewer else { return }
        let replaced = tables.indices.filter { place in
            tables[(place + 1)...].contains { $0.span.replaces(tables[place].span) }
        }
        let whole = tables.last { $0.span.isWhole }?.id ?? 0
        let paths =
            replaced.map { tables[$0].path }
            + damage.map(\.path).filter { FileNames.attributesID($0) ?? .max < whole }
        tables.removeAll { paths.contains($0.path) }
        damage.removeAll { paths.contains($0.path) }
        for path in paths {
            do throws(StorageError) {
                try fileSystem.remove(path)
            } catch {
                guard case .notFound = error else { throw error }
            }
        }
        if !paths.isEmpty { try fileSystem.syncDirectory(FileNames.attributeDirectory) }
    }

    // MARK: - Reading

    /// The newest row of a key, a deletion included.
    package func row(of key: [UInt8]) throws(StorageError) -> AttributeRow? {
        for table in tables.reversed() {
            if let row = try table.row(of: key) { return row }
        }
        return nil
    }

    /// Each key's newest row, ascending by key. A block that is damaged is passed over.
    ///
    /// - Parameter visit: false ends it.
    /// - Returns: what was damaged.
    package func forEach(
        _ visit: (AttributeRow) throws -> Bool
    ) throws -> [StorageError] {
        var cursors = tables.reversed().map { AttributeCursor($0) }
        var damage: [StorageError] = []
        while true {
            var lead: Int?
            for place in cursors.indices {
                guard let key = try cursors[place].key(&damage) else { continue }
                guard let best = lead, let least = try cursors[best].key(&damage) else {
                    lead = place
                    continue
                }
                // Of equal keys the first, since the newest table comes first.
                if ByteOrder.compare(key, least) < 0 { lead = place }
            }
            guard let lead, let row = cursors[lead].row else { return damage }
            for place in cursors.indices where try cursors[place].key(&damage) == row.key {
                cursors[place].skip()
            }
            guard try visit(row) else { return damage }
        }
    }

    /// Reads every file anew, and all of it.
    package func verify(in fileSystem: any FileSystem) throws(StorageError) -> [AttributeDamage] {
        var found = damage
        for table in tables {
            do throws(StorageError) {
                let file = try fileSystem.open(table.path, .read)
                try AttributeTable(file, id: table.id, as: table.path).verify()
            } catch {
                found.append(try AttributeDamage(error, path: table.path))
            }
        }
        return found
    }

    /// Says that a read found a table damaged, so that the copy is written anew.
    package mutating func note(_ error: StorageError) {
        guard let path = error.path, !damage.contains(where: { $0.path == path }) else { return }
        damage.append(AttributeDamage(path: path, what: error.description, isNewer: false))
    }
}

/// A table of attributes that cannot be read. Nothing depends on it: the database and the peers
/// have its rows.
package struct AttributeDamage: Hashable, Sendable, CustomStringConvertible {
    package var path: String
    package var what: String
    /// It is whole, but of a later release.
    package var isNewer: Bool

    package var description: String { what }

    init(path: String, what: String, isNewer: Bool) {
        self.path = path
        self.what = what
        self.isNewer = isNewer
    }

    /// What is wrong with the disk, and not with a file, is thrown.
    init(_ error: StorageError, path: String) throws(StorageError) {
        switch error {
        case .damaged, .notFound:
            self.init(path: path, what: error.description, isNewer: false)
        case .newerFormat:
            self.init(path: path, what: error.description, isNewer: true)
        case .failed, .diskFull, .syncFailed, .writerDead, .locked, .digestMismatch,
            .coldTierMissing, .scanTooLarge:
            throw error
        }
    }
}

/// Walks a table, a block at a time.
private struct AttributeCursor {
    private let table: AttributeTable
    private var nextBlock = 0
    private var rows: [AttributeRow] = []
    private var place = 0

    init(_ table: AttributeTable) {
        self.table = table
    }

    var row: AttributeRow? { place < rows.count ? rows[place] : nil }

    /// Of the row at which it stands; nil at the end.
    mutating func key(_ damage: inout [StorageError]) throws(StorageError) -> [UInt8]? {
        while place >= rows.count {
            guard nextBlock < table.blockCount else { return nil }
            do throws(StorageError) {
                rows = try table.rows(of: nextBlock)
            } catch {
                guard error.isDamage else { throw error }
                damage.append(error)
                rows = []
            }
            nextBlock += 1
            place = 0
        }
        return rows[place].key
    }

    mutating func skip() { place += 1 }
}
