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
        var incidents: [CatalogIncident]
    }

    private let file: String
    private let makeNonce: @Sendable () -> UInt64
    private let state: Mutex<State>

    /// Opens the file or makes it. A damaged one is set aside and reported by `incidents`.
    /// `makeNonce` draws the number of a file that is made anew.
    package init(
        file: String, makeNonce: @escaping @Sendable () -> UInt64
    ) throws(CatalogError) {
        self.file = file
        self.makeNonce = makeNonce
        state = Mutex(try AttributeCatalog.open(file, makeNonce, incidents: []))
    }

    /// Files that were set aside since the start.
    package var incidents: [CatalogIncident] { state.withLock { $0.incidents } }

    /// Names this file: a file that was made anew has another.
    package var nonce: UInt64 { state.withLock { $0.nonce } }

    /// Ends all work on the file, which holds everything by itself then, without its log. Later
    /// calls fail.
    package func close() throws(CatalogError) {
        let pool = state.withLock { $0.pool }
        do {
            _ = try pool.writeWithoutTransaction { try $0.checkpoint(.truncate) }
            try pool.close()
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

    func write<Value>(_ body: (Database) throws -> Value) throws(CatalogError) -> Value {
        try run { try $0.write(body) }
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
                try damaged.close()
            } catch {
                // Readers are still in it: they end on the renamed file, which no one else uses.
                reason += "; set aside while it was being read"
            }
            state = try AttributeCatalog.renew(
                file, makeNonce, reason, incidents: state.incidents)
        }
    }

    private static func open(
        _ file: String, _ makeNonce: () -> UInt64, incidents: [CatalogIncident]
    ) throws(CatalogError) -> State {
        do {
            return try state(file, makeNonce, incidents: incidents)
        } catch {
            guard let reason = CatalogSchema.damage(in: error) else {
                throw Self.error(error, file, isOpening: true)
            }
            return try renew(file, makeNonce, reason, incidents: incidents)
        }
    }

    private static func renew(
        _ file: String, _ makeNonce: () -> UInt64, _ reason: String, incidents: [CatalogIncident]
    ) throws(CatalogError) -> State {
        do {
            let aside = try CatalogSchema.setAside(file)
            let incident = CatalogIncident(file: aside, reason: reason)
            return try state(file, makeNonce, incidents: incidents + [incident])
        } catch {
            throw Self.error(error, file, isOpening: true)
        }
    }

    private static func state(
        _ file: String, _ makeNonce: () -> UInt64, incidents: [CatalogIncident]
    ) throws -> State {
        let pool = try CatalogSchema.open(file, nonce: makeNonce())
        let stored = try pool.read { db in
            try Data.fetchOne(db, sql: "SELECT value FROM meta WHERE name = 'nonce'")
        }
        guard let nonce = stored.flatMap(CatalogBytes.number) else {
            throw CatalogSchema.Damage(reason: "the file has no nonce")
        }
        return State(pool: pool, nonce: nonce, incidents: incidents)
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
