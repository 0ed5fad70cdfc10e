package import Core

/// What a start found on the disk.
package struct Recovered: Sendable {
    package let manifest: ManifestState
    /// The listed tables that could be opened, ascending by id.
    package let tables: [TableHandle]
    /// The listed history files that could be opened, ascending by id.
    package let history: [HistoryHandle]
    /// Where the log goes on. Everything before it is durable.
    package let cursor: LogCursor
    /// Empty after any crash; not empty after bit rot, lost files or another's hand.
    package let damage: [Damage]
    /// The files of the log that were read by their indexes, ascending.
    package let indexed: [UInt32]
    /// What an operator should know and no promise rests on.
    package let remarks: [String]
}

/// Reads a data directory before the core starts. Repeatable: a recovery that is interrupted, or
/// done again, finds and leaves the same. It changes nothing where the cold disk is not there.
package enum Recovery {
    /// - Parameter visit: gets every valid record of the log, ascending, with the manifest, whose
    ///   `coveredThrough` says which applications the tables hold already. Of some of these only
    ///   the heads of their batch records come, from an index.
    /// - Parameter mine: the partitions of this node, whose floors say which husks are forgotten;
    ///   nil: nobody wants them.
    /// - Parameter husk: gets the batches whose payload left the log, before any record.
    package static func open(
        _ fileSystem: any FileSystem, options: StorageOptions, mine: PartitionSet? = nil,
        husk: (_ husk: Husk, _ manifest: ManifestState) -> Void = { _, _ in },
        visit: (_ record: LogRecord, _ manifest: ManifestState) -> Void
    ) throws(StorageError) -> Recovered {
        try prepareDirectories(fileSystem)
        let manifest = try ManifestFile.open(fileSystem, isStart: !options.trustsPageCache) {
            manifest throws(StorageError) in
            try ColdTier.require(for: manifest, in: fileSystem, hasColdTier: options.hasColdTier)
        }.state
        let remarks = options.hasColdTier ? removeColdLeftovers(fileSystem, manifest) : []
        try removeUnlisted(
            fileSystem, FileNames.tableDirectory, FileNames.tableSuffix,
            listed: Set(manifest.tables.map(\.path)))
        try removeUnlisted(
            fileSystem, FileNames.historyDirectory, FileNames.historySuffix,
            listed: Set(manifest.history.map(\.path)))
        let (tables, tableDamage) = try openTables(fileSystem, manifest, options)
        let (history, unreadable) = try openHistory(fileSystem, manifest)
        var historyDamage = unreadable
        if let mine {
            historyDamage += try visitHusks(history, of: mine, manifest) { husk($0, manifest) }
        }
        var scan = LogScan(
            fileSystem: fileSystem, options: options, start: manifest.logStart,
            covered: manifest.coveredThrough, forgotten: manifest.base.through)
        let log = try scan.run { visit($0, manifest) }
        return Recovered(
            manifest: manifest, tables: tables, history: history, cursor: log.cursor,
            damage: log.damage + tableDamage + historyDamage, indexed: log.indexed,
            remarks: remarks + log.remarks)
    }

    /// Where the cold disk only reads, or not even that, they stay: what is not listed counts
    /// nowhere.
    private static func removeColdLeftovers(
        _ fileSystem: any FileSystem, _ manifest: ManifestState
    ) -> [String] {
        do throws(StorageError) {
            guard try ColdTier.isOwn(of: manifest.identity, in: fileSystem) else { return [] }
            try removeUnlisted(
                fileSystem, FileNames.coldDirectory, FileNames.tableSuffix,
                listed: Set(manifest.tables.map(\.path)))
            return []
        } catch {
            return ["what a crash left on the cold disk stays there: \(error)"]
        }
    }

    private static func prepareDirectories(
        _ fileSystem: any FileSystem
    ) throws(StorageError) {
        try fileSystem.createDirectory(FileNames.logDirectory)
        try fileSystem.createDirectory(FileNames.tableDirectory)
        try fileSystem.createDirectory(FileNames.historyDirectory)
        try fileSystem.syncDirectory(".")
        guard try !fileSystem.list(".").contains(FileNames.manifest) else { return }
        // A new directory gets its manifest before its first log file or table. Without a manifest
        // all tables would be taken for leftovers, and removed.
        let hasLog = try !fileSystem.list(FileNames.logDirectory).isEmpty
        let hasTables = try !fileSystem.list(FileNames.tableDirectory).isEmpty
        guard !hasLog, !hasTables else {
            throw .damaged(
                path: FileNames.manifest, offset: 0,
                what: "it is missing beside a log or tables; restore it, or empty the directory")
        }
    }

    /// Drafts, tables of a flush and history files that a crash kept from the manifest: the log
    /// still has what they hold.
    private static func removeUnlisted(
        _ fileSystem: any FileSystem, _ directory: String, _ suffix: String, listed: Set<String>
    ) throws(StorageError) {
        var removed = false
        for name in try fileSystem.list(directory) {
            let path = "\(directory)/\(name)"
            let isOurs = name.hasSuffix(suffix) || name.hasSuffix(suffix + FileNames.draftSuffix)
            guard isOurs, !listed.contains(path) else { continue }
            try fileSystem.remove(path)
            removed = true
        }
        if removed { try fileSystem.syncDirectory(directory) }
    }

    private static func openHistory(
        _ fileSystem: any FileSystem, _ manifest: ManifestState
    ) throws(StorageError) -> ([HistoryHandle], [Damage]) {
        var files: [HistoryHandle] = []
        var damage: [Damage] = []
        for meta in manifest.history {
            do throws(StorageError) {
                files.append(try HistoryHandle.open(meta, in: fileSystem))
            } catch {
                switch error {
                case .damaged, .notFound:
                    damage.append(.history(path: meta.path, what: error.description))
                case .failed, .diskFull, .syncFailed, .writerDead, .newerFormat, .locked,
                    .digestMismatch, .coldTierMissing, .scanTooLarge:
                    throw error
                }
            }
        }
        return (files, damage)
    }

    /// Files whose husks are all forgotten are not read.
    private static func visitHusks(
        _ files: [HistoryHandle], of mine: PartitionSet, _ manifest: ManifestState,
        _ visit: (Husk) -> Void
    ) throws(StorageError) -> [Damage] {
        let floor = mine.lazy.map { manifest.base[$0].floor }.min() ?? .first
        var damage: [Damage] = []
        for file in files where file.huskCount > 0 && file.lastHuskSegment >= floor {
            do throws(StorageError) {
                try file.forEachHusk(visit)
            } catch {
                guard case .damaged = error else { throw error }
                damage.append(.history(path: file.meta.path, what: error.description))
            }
        }
        return damage
    }

    private static func openTables(
        _ fileSystem: any FileSystem, _ manifest: ManifestState, _ options: StorageOptions
    ) throws(StorageError) -> ([TableHandle], [Damage]) {
        var tables: [TableHandle] = []
        var damage: [Damage] = []
        for meta in manifest.tables {
            do throws(StorageError) {
                tables.append(try TableHandle.open(meta, in: fileSystem, options: options))
            } catch {
                switch error {
                case .damaged, .notFound:
                    damage.append(.table(meta: meta, what: error.description))
                case .failed, .diskFull, .syncFailed, .writerDead, .newerFormat, .locked,
                    .digestMismatch, .coldTierMissing, .scanTooLarge:
                    throw error
                }
            }
        }
        return (tables, damage)
    }
}
