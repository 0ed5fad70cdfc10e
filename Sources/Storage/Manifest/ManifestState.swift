package import Core

/// Which life of which node a data directory holds.
package struct NodeIdentity: Hashable, Sendable {
    package var hostID: UInt128
    package var incarnation: Incarnation
    /// Of the gossip: rises with every start.
    package var generation: Int64
    /// Drawn at every start, so that two live processes of one name can be told apart.
    package var startNonce: UInt64
    /// The disk lost data: whatever the peers remember, the node has no vote before it has
    /// recovered.
    package var mustRecover = false

    package init(
        hostID: UInt128, incarnation: Incarnation, generation: Int64, startNonce: UInt64
    ) {
        self.hostID = hostID
        self.incarnation = incarnation
        self.generation = generation
        self.startNonce = startNonce
    }
}

/// One change of the manifest: all of it happens or none.
package struct ManifestEdit: Hashable, Sendable {
    package var addTables: [TableMeta]
    package var removeTables: [UInt64]
    /// Replay applies only what lies beyond; never goes back.
    package var coveredThrough: LSN?
    package var identity: NodeIdentity?
    /// Log files before this one may be removed; never goes back.
    package var logStart: UInt32?
    package var addHistory: [HistoryMeta] = []
    package var removeHistory: [UInt64] = []
    /// What is forgotten from now on, whole.
    package var base: HistoryBase?
    /// Records of batches up to here count no more: this disk's data was set aside.
    package var voidThrough: LSN?
    /// Whole; its floor never goes back.
    package var retention: Retention?

    package init(
        addTables: [TableMeta] = [], removeTables: [UInt64] = [], coveredThrough: LSN? = nil,
        identity: NodeIdentity? = nil, logStart: UInt32? = nil
    ) {
        self.addTables = addTables
        self.removeTables = removeTables
        self.coveredThrough = coveredThrough
        self.identity = identity
        self.logStart = logStart
    }
}

/// What all edits so far amount to.
package struct ManifestState: Hashable, Sendable {
    /// Ascending by id.
    package private(set) var tables: [TableMeta] = []
    package private(set) var coveredThrough = LSN.zero
    package private(set) var identity: NodeIdentity?
    /// The first log file that must be there.
    package private(set) var logStart: UInt32 = 1
    /// No table had this id or a greater one.
    package private(set) var nextTableID: UInt64 = 1
    /// How many edits of its life stand in the file: what a lost one shows by.
    package var edits: UInt64 = 0
    /// Ascending by id.
    package private(set) var history: [HistoryMeta] = []
    package private(set) var base = HistoryBase.none
    package private(set) var voidThrough = LSN.zero
    package private(set) var nextHistoryID: UInt64 = 1
    package private(set) var retention = Retention.none

    package init() {}

    var coldTables: [TableMeta] { tables.filter { $0.location == .cold } }

    /// Why an edit does not follow this state; nil where it does.
    package func objection(to edit: ManifestEdit) -> String? {
        let removed = Set(edit.removeTables)
        let present = Set(tables.map(\.id))
        if let missing = edit.removeTables.first(where: { !present.contains($0) }) {
            return "table \(missing) is removed but not there"
        }
        if removed.count != edit.removeTables.count { return "a table is removed twice" }
        if Set(edit.addTables.map(\.id)).count != edit.addTables.count {
            return "a table is added twice"
        }
        // A flush may take ids and count while a compaction is still being written. What replaces
        // tables cannot count twice, since these would be missing the second time.
        let least = min(nextTableID, edit.removeTables.max().map { $0 + 1 } ?? nextTableID)
        for added in edit.addTables
        where added.id < least || added.id > Self.idMax || present.contains(added.id) {
            return "table \(added.id) is not new"
        }
        if let covered = edit.coveredThrough, covered < coveredThrough {
            return "coverage goes back from \(coveredThrough) to \(covered)"
        }
        if let start = edit.logStart, start < logStart {
            return "the log's start goes back from file \(logStart) to \(start)"
        }
        if let retention = edit.retention, !retention.floor.covers(self.retention.floor) {
            return "the floor of retention goes back"
        }
        return historyObjection(to: edit)
    }

    private func historyObjection(to edit: ManifestEdit) -> String? {
        let present = Set(history.map(\.id))
        if let missing = edit.removeHistory.first(where: { !present.contains($0) }) {
            return "history \(missing) is removed but not there"
        }
        if Set(edit.removeHistory).count != edit.removeHistory.count {
            return "a history file is removed twice"
        }
        if Set(edit.addHistory.map(\.id)).count != edit.addHistory.count {
            return "a history file is added twice"
        }
        if let old = edit.addHistory.first(where: { $0.id < nextHistoryID || $0.id > Self.idMax }) {
            return "history \(old.id) is not new"
        }
        if let void = edit.voidThrough, void < voidThrough {
            return "what is void goes back from \(voidThrough) to \(void)"
        }
        // A directory that is set aside begins anew; else nothing is remembered again.
        if let base = edit.base, edit.voidThrough == nil,
            base.through < self.base.through || base.outcomesFrom < self.base.outcomesFrom
        {
            return "what is forgotten goes back"
        }
        return nil
    }

    /// The edit has no `objection`.
    mutating func apply(_ edit: ManifestEdit) {
        let removed = Set(edit.removeTables)
        tables.removeAll { removed.contains($0.id) }
        tables.append(contentsOf: edit.addTables)
        tables.sort { $0.id < $1.id }
        for added in edit.addTables { nextTableID = max(nextTableID, added.id + 1) }
        coveredThrough = edit.coveredThrough ?? coveredThrough
        identity = edit.identity ?? identity
        logStart = edit.logStart ?? logStart
        let removedHistory = Set(edit.removeHistory)
        history.removeAll { removedHistory.contains($0.id) }
        history.append(contentsOf: edit.addHistory)
        history.sort { $0.id < $1.id }
        for added in edit.addHistory { nextHistoryID = max(nextHistoryID, added.id + 1) }
        base = edit.base ?? base
        voidThrough = edit.voidThrough ?? voidThrough
        retention = edit.retention ?? retention
    }

    /// Beyond any id that is ever given, and far enough from the end of the integers to count on.
    private static let idMax = UInt64(1) << 62
}

extension ManifestState {
    init(
        tables: [TableMeta], coveredThrough: LSN, identity: NodeIdentity?, logStart: UInt32,
        nextTableID: UInt64
    ) {
        self.tables = tables
        self.coveredThrough = coveredThrough
        self.identity = identity
        self.logStart = logStart
        self.nextTableID = nextTableID
    }

    /// What a snapshot says behind the rest.
    mutating func take(
        history: [HistoryMeta], base: HistoryBase, voidThrough: LSN, nextHistoryID: UInt64
    ) {
        self.history = history
        self.base = base
        self.voidThrough = voidThrough
        self.nextHistoryID = nextHistoryID
    }

    mutating func take(_ retention: Retention) { self.retention = retention }
}
