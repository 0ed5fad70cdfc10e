import Core
import Foundation
import GRDB
import Synchronization

/// The embedded database of one node. Safe to call from any thread; every call blocks on the disk
/// and belongs on an I/O thread.
package final class AttributeCatalog: Sendable {
    private struct State {
        var pool: DatabasePool
        var nonce: UInt64
        /// The file stands in the place of a lost one, and may lack what that one held.
        var isFilling: Bool
        var identity: FileIdentity?
        var probe: FileProbe
        var incidents: [CatalogIncident]
        var losses: Int
    }

    private let file: String
    private let makeNonce: @Sendable () -> UInt64
    private let state: Mutex<State>

    /// Opens the file or makes it. A damaged one is set aside and reported by `incidents`.
    ///
    /// - Parameters:
    ///   - isFilling: a file that is made anew stands in the place of a lost one.
    ///   - makeNonce: draws the number of a file that is made anew.
    package init(
        file: String, isFilling: Bool = false, makeNonce: @escaping @Sendable () -> UInt64
    ) throws(CatalogError) {
        self.file = file
        self.makeNonce = makeNonce
        state = Mutex(
            try AttributeCatalog.open(file, makeNonce, isFilling: isFilling))
    }

    /// Files that were lost since the start, the last of them.
    package var incidents: [CatalogIncident] { state.withLock { $0.incidents } }

    /// How many they were.
    package var losses: Int { state.withLock { $0.losses } }

    /// Names this file: a file that was made anew has another.
    package var nonce: UInt64 { state.withLock { $0.nonce } }

    /// The file stands in the place of a lost one until `filled`: what it lacks may be known
    /// elsewhere.
    package var isFilling: Bool { state.withLock { $0.isFilling } }

    /// Nothing that is known elsewhere is lacking any more.
    ///
    /// - Parameter nonce: of the file that is meant; of another one nothing is said.
    package func filled(_ nonce: UInt64) throws(CatalogError) {
        try write { db in
            guard try Self.nonce(db) == nonce else { return }
            try db.execute(sql: "DELETE FROM meta WHERE name = 'filling'")
        }
        state.withLock { if $0.nonce == nonce { $0.isFilling = false } }
    }

    /// Gives the file another number, as if it had been made anew, so that its changes are other
    /// ones than those that were seen under the old one. Nothing where it has another one already.
    ///
    /// - Returns: the number that it has now.
    package func renumber(_ nonce: UInt64) throws(CatalogError) -> UInt64 {
        let drawn = makeNonce()
        let number = try write { db in
            let number = try Self.nonce(db)
            guard number == nonce else { return number }
            try db.execute(
                sql: "UPDATE meta SET value = ? WHERE name = 'nonce'",
                arguments: [CatalogBytes.data(drawn)])
            return drawn
        }
        state.withLock { if $0.nonce == nonce, number == drawn { $0.nonce = drawn } }
        return number
    }

    /// Looks at the file from outside, as SQLite does not while it has it open: it must still have
    /// its name, its header and its length. Else it is set aside, and the error says so.
    package func check() throws(CatalogError) {
        let (pool, known) = state.withLock { ($0.pool, $0.identity) }
        let found = FileIdentity(file)
        let reason: String
        switch found {
        case nil:
            reason = "it was removed while it was open"
        case known:
            let fault = state.withLock { state -> String? in
                guard state.pool === pool, let found else { return nil }
                return state.probe.fault(found)
            }
            guard let fault else { return }
            reason = fault
        default:
            reason = "another file was put in its place"
        }
        try replace(pool, reason: reason)
        throw .damaged(file: file, reason: reason)
    }

    /// Reads all pages of the file. Damage is set aside, and the error says so.
    package func verify() throws(CatalogError) {
        try read { db in try CatalogSchema.check(db) }
    }

    /// Ends all work on the file, which holds everything by itself then, without its log. Later
    /// calls fail.
    package func close() throws(CatalogError) {
        let pool = state.withLock { $0.pool }
        do {
            _ = try pool.writeWithoutTransaction { try $0.checkpoint(.truncate) }
            try pool.close()
            state.withLock { if $0.pool === pool { $0.probe.end() } }
        } catch {
            throw .failed(file: file, reason: "\(error)")
        }
    }

    /// Writes all that the file holds now to a new file, durably.
    package func copy(to target: String) throws(CatalogError) {
        try run { try $0.copy(to: target) }
    }

    func read<Value>(_ body: (Database) throws -> Value) throws(CatalogError) -> Value {
        try run { try $0.read(body) }
    }

    /// What was written to a file that has no name any more is not durable, and an error.
    func write<Value>(_ body: (Database) throws -> Value) throws(CatalogError) -> Value {
        let known = state.withLock { $0.identity }
        let value = try run { try $0.write(body) }
        guard FileIdentity(file) == known else {
            try check()
            throw .damaged(file: file, reason: "it was replaced during a write")
        }
        return value
    }

    private func run<Value>(_ body: (DatabasePool) throws -> Value) throws(CatalogError) -> Value {
        let pool = state.withLock { $0.pool }
        do {
            return try body(pool)
        } catch {
            if let reason = CatalogSchema.damage(in: error) {
                try replace(pool, reason: reason)
                throw .damaged(file: file, reason: reason)
            }
            throw AttributeCatalog.error(error, file)
        }
    }

    /// Sets the damaged file aside, once however many calls found the damage.
    private func replace(_ damaged: DatabasePool, reason: String) throws(CatalogError) {
        try state.withLock { state throws(CatalogError) in
            guard state.pool === damaged else { return }
            var reason = reason
            do {
                // Who reads it is told so: a pass over all rows would be waited for.
                damaged.interrupt()
                try damaged.close()
                state.probe.end()
            } catch {
                // Readers are still in it: they end on the renamed file, which no one else uses.
                reason += "; set aside while it was being read"
            }
            state = try AttributeCatalog.renew(file, makeNonce, reason, after: state)
        }
    }

    private static func open(
        _ file: String, _ makeNonce: () -> UInt64, isFilling: Bool
    ) throws(CatalogError) -> State {
        do {
            return try state(file, makeNonce, isFilling: isFilling)
        } catch {
            guard let reason = CatalogSchema.damage(in: error) else {
                throw Self.error(error, file, isOpening: true)
            }
            return try renew(file, makeNonce, reason, after: nil)
        }
    }

    private static func renew(
        _ file: String, _ makeNonce: () -> UInt64, _ reason: String, after lost: State?
    ) throws(CatalogError) -> State {
        do {
            let aside = try CatalogSchema.setAside(
                file, keptMax: CatalogLimits.corruptKeptMax)
            let incident = CatalogIncident(file: aside, reason: reason)
            let all = ((lost?.incidents ?? []) + [incident]).suffix(CatalogLimits.incidentsKept)
            var state = try state(file, makeNonce, isFilling: true)
            state.incidents = Array(all)
            state.losses = (lost?.losses ?? 0) + 1
            return state
        } catch {
            throw Self.error(error, file, isOpening: true)
        }
    }

    private static func state(
        _ file: String, _ makeNonce: () -> UInt64, isFilling: Bool
    ) throws -> State {
        let drawn = makeNonce()
        let pool = try CatalogSchema.open(file, nonce: drawn, isFilling: isFilling)
        let (stored, filling) = try pool.read { db in
            (
                try Data.fetchOne(db, sql: "SELECT value FROM meta WHERE name = 'nonce'"),
                try Data.fetchOne(db, sql: "SELECT value FROM meta WHERE name = 'filling'")
            )
        }
        guard let nonce = stored.flatMap(CatalogBytes.number) else {
            throw CatalogSchema.Damage(reason: "the file has no nonce")
        }
        let isLost = filling != nil && nonce == drawn
        return State(
            pool: pool, nonce: nonce, isFilling: filling != nil, identity: FileIdentity(file),
            probe: FileProbe(file),
            incidents: isLost ? [CatalogIncident(file: nil, reason: "it was missing")] : [],
            losses: isLost ? 1 : 0)
    }

    static func error(
        _ error: any Error, _ file: String, isOpening: Bool = false
    ) -> CatalogError {
        if let later = error as? CatalogSchema.LaterVersion {
            return .madeByLaterRelease(file: file, version: later.version)
        }
        guard let known = error as? DatabaseError else {
            let reason = error.localizedDescription
            return isOpening
                ? .cannotOpen(file: file, reason: reason)
                : .failed(file: file, reason: reason)
        }
        switch known.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED: return .locked(file: file)
        case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM:
            return .cannotOpen(file: file, reason: known.message ?? "\(known.resultCode)")
        default: return .failed(file: file, reason: known.message ?? "\(known.resultCode)")
        }
    }
}
