package import Catalog
package import Core
internal import Storage
internal import Synchronization

/// When changes of the catalog go to the copy: when nothing has changed for a moment, or after some
/// time though it goes on. A value without a clock.
package struct CopyPace: Hashable, Sendable {
    private var sequence: Int64 = 0
    private var changedAt: Instant?
    private var quietSince: Instant?
    private var notBefore: Instant?

    package init() {}

    /// - Parameters:
    ///   - sequence: the number of the catalog's last change.
    ///   - copied: the number up to which the copy has them; nil: it has none.
    package mutating func isDue(sequence now: Int64, copied: Int64?, at instant: Instant) -> Bool {
        guard (copied ?? 0) < now else {
            changedAt = nil
            return false
        }
        if sequence != now || changedAt == nil { quietSince = instant }
        sequence = now
        let began = changedAt ?? instant
        changedAt = began
        if let notBefore, instant < notBefore { return false }
        return instant - (quietSince ?? instant) >= AttributeLimits.copyQuiet
            || instant - began >= AttributeLimits.copyAfter
    }

    package mutating func wrote() {
        changedAt = nil
        notBefore = nil
    }

    /// It is tried again, but not at once.
    package mutating func failed(at instant: Instant) {
        notBefore = instant + AttributeLimits.copyAfter
    }
}

/// Keeping catalog and copy: opening, watching, restoring, copying, checking.
extension AttributeStore {
    /// Work that takes long: one at a time, beside everything else.
    package enum Job: Hashable, Sendable {
        /// Puts what the copy has into a catalog that lacks it.
        case restore
        /// Writes to the copy what has changed since.
        case copy
        /// Reads catalog and copy whole.
        case check
    }

    /// To be called every second: opens what could not be opened, looks at the catalog's file, and
    /// says what is to be done, if anything.
    ///
    /// - Parameters:
    ///   - isIdle: false where a job is under way; then there is nothing to be done.
    ///   - hasRoom: false below the disk's reserve; then nothing is copied or restored.
    package func tend(
        at now: Instant, hasPeers: Bool, isIdle: Bool = true, hasRoom: Bool = true
    ) throws(CatalogError) -> Job? {
        if isStopping { return nil }
        let (needsCopy, needsCatalog, writes) = state.withLock { state in
            (
                state.copyProblem != nil && now >= state.nextOpening,
                state.catalog == nil && now >= state.nextOpening, state.writes
            )
        }
        if needsCopy { openCopy() }
        if needsCatalog || needsCopy { openCatalogIfNeeded(at: now) }
        guard let catalog else { return nil }
        try catalog.check()
        let sequence = try catalog.sequence()
        let nonce = catalog.nonce
        let isFilling = catalog.isFilling
        state.withLock { state in
            guard state.writes == writes else { return }
            state.isEmpty = sequence == 0 && !isFilling && state.hasNoTrace
        }
        if needsRestore(nonce, sequence) { return isIdle && hasRoom ? .restore : nil }
        if isFilling, !hasPeers || hasHeard(nonce) { try catalog.filled(nonce) }
        return state.withLock { state in
            guard isIdle, state.canCopy else { return nil }
            if state.pace.isDue(sequence: sequence, copied: state.copied(nonce), at: now) {
                if hasRoom { return .copy }
            }
            guard now >= state.nextCheck else { return nil }
            state.nextCheck = now + AttributeLimits.checkInterval
            return .check
        }
    }

    /// Something has changed that the copy does not have.
    package var needsCopy: Bool {
        do throws(CatalogError) {
            let catalog = try opened()
            let nonce = catalog.nonce
            let sequence = try catalog.sequence()
            if needsRestore(nonce, sequence) { return false }
            return state.withLock { $0.canCopy && $0.copied(nonce) ?? 0 < sequence }
        } catch {
            // A catalog that cannot be read has nothing to be copied.
            return false
        }
    }

    private func openCatalogIfNeeded(at now: Instant) {
        let isMissing = state.withLock { state in
            if state.catalog == nil { return true }
            state.nextOpening = now + AttributeLimits.openInterval
            return false
        }
        if isMissing { openCatalog(at: now) }
    }

    /// A peer was asked for everything and said that this is all.
    ///
    /// - Parameter nonce: of the catalog's file that took it.
    package func heard(_ peer: NodeID, into nonce: UInt64) {
        state.withLock { state in
            state.heard[peer] = nonce
            state.behind.remove(peer)
        }
    }

    /// A peer gave rows that were not here, and has more.
    package func fellBehind(_ peer: NodeID) {
        state.withLock { _ = $0.behind.insert(peer) }
    }

    private func hasHeard(_ nonce: UInt64) -> Bool {
        state.withLock { $0.heard.values.contains(nonce) }
    }

    /// The copy has what the catalog's file may lack: it is of another file, or of more changes of
    /// this one than it shows.
    private func needsRestore(_ nonce: UInt64, _ sequence: Int64) -> Bool {
        state.withLock { state in
            if state.restored == nonce { return false }
            let isInCatalog = state.tables.tables.allSatisfy {
                $0.span.nonce == nonce && $0.span.through <= sequence
            }
            if isInCatalog { state.restored = nonce }
            return !isInCatalog
        }
    }

    /// - Returns: what was done, for the log; nil where nothing was to be done.
    package func run(_ job: Job, at now: Instant) throws -> String? {
        switch job {
        case .restore:
            return try restore()
        case .copy:
            do {
                let done = try writeCopy()
                state.withLock { $0.pace.wrote() }
                return done
            } catch {
                state.withLock { $0.pace.failed(at: now) }
                throw error
            }
        case .check:
            return try check()
        }
    }

    private func restore() throws -> String? {
        let catalog = try opened()
        var nonce = catalog.nonce
        let tables = state.withLock { $0.tables }
        // The file was put back to an older state: it would give the numbers of changes that the
        // copy has to other ones.
        if tables.tables.contains(where: { $0.span.nonce == nonce }) {
            nonce = try catalog.renumber(nonce)
        }
        var rows: [AttributeRow] = []
        var restored = 0
        // Their versions were looked at when they came here first.
        let ever = WallTime(milliseconds: .max / 2)
        let damage = try tables.forEach { row in
            rows.append(row)
            if rows.count < AttributeLimits.restoredAtOnce { return true }
            restored += try catalog.upsert(rows, at: ever).applied
            rows.removeAll(keepingCapacity: true)
            return !isStopping
        }
        if isStopping { return nil }
        restored += try catalog.upsert(rows, at: ever).applied
        for error in damage { note(error) }
        if catalog.nonce == nonce { state.withLock { $0.restored = nonce } }
        return "\(restored) attribute rows were restored from this node's copy"
            + (damage.isEmpty ? "" : ", of which \(damage.count) blocks are damaged")
    }

    /// What has changed since the last table; all of it where there is none, or where the changes
    /// are as many as the rest.
    private func writeCopy() throws -> String? {
        let catalog = try opened()
        let own = catalog.nonce
        let (tables, restored) = state.withLock { ($0.tables, $0.restored) }
        // The file may have become another one since this was asked for, which lacks what the copy
        // has: all of that one would be less than the copy.
        guard restored == own else { return nil }
        let after = tables.start(of: own)
        var writer = try AttributeTableWriter(id: tables.nextID, in: files)
        do {
            var failure: StorageError?
            let (nonce, through) = try catalog.export(after: after) { row in
                do throws(StorageError) {
                    try writer.add(row)
                    return !isStopping
                } catch {
                    failure = error
                    return false
                }
            }
            if let failure { throw failure }
            // Or since then.
            guard !isStopping, nonce == own, through > after else {
                try writer.abandon()
                return nil
            }
            let table = try writer.publish(
                AttributeSpan(nonce: nonce, after: after, through: through))
            let next = try tables.adding(table, in: files)
            state.withLock { $0.tables = next }
            return nil
        } catch {
            // The first error is the one to tell; a start removes what is left.
            let first = error
            do throws(StorageError) { try writer.abandon() } catch { throw first }
            throw first
        }
    }

    private func check() throws -> String? {
        try catalog?.verify()
        let tables = state.withLock { $0.tables }
        let damage = try tables.verify(in: files)
        for fault in damage {
            note(.damaged(path: fault.path, offset: 0, what: fault.what))
        }
        return damage.isEmpty
            ? nil : "\(damage.count) tables of attributes are damaged and are written anew"
    }
}

extension AttributeStore.State {
    var canCopy: Bool { copyProblem == nil && !tables.isNewer }

    /// Neither the copy nor a peer knows of any row.
    var hasNoTrace: Bool {
        copyProblem == nil && tables.isEmpty && tables.damage.isEmpty && behind.isEmpty
    }

    /// The change of the catalog's file up to which the copy has all; nil: it is of another file.
    func copied(_ nonce: UInt64) -> Int64? {
        tables.span.flatMap { $0.nonce == nonce ? $0.through : nil }
    }
}

extension AttributeTables {
    /// After which change the next table begins.
    fileprivate func start(of nonce: UInt64) -> Int64 {
        guard let span, span.nonce == nonce, let whole = tables.first else { return 0 }
        let changes = tables.dropFirst()
        if changes.reduce(0, { $0 + $1.size }) >= whole.size { return 0 }
        return tables.count < AttributeLimits.tablesMax ? span.through : whole.span.through
    }
}
