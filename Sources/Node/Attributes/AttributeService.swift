package import Catalog
package import Core
internal import Foundation
package import Logging

/// Runs the catalog, its copy and its spreading, each kind of call on a thread of its own, so that
/// neither HTTP nor the core ever waits for SQLite: a lookup not for a load, and for no lookup
/// longer than `AttributeLimits.lookupMax`.
package final class AttributeService: AttributeServing {
    /// Sends a message to a peer; it may be lost, false where that is known.
    package typealias Send = @Sendable (AttributeMessage, NodeID) -> Bool

    private enum Event: Sendable {
        case received(AttributeMessage, NodeID)
        case stop
    }

    /// The last failure of a lookup that the log has.
    private struct Told {
        var words = ""
        var until = Instant.zero
    }

    private struct Mailbox {
        var events: [Event] = []
        var hasEnded = false
    }

    private let store: AttributeStore
    private let peers: [NodeID]
    private let send: Send
    private let hasRoom: @Sendable () -> Bool
    private let metrics: NodeMetrics
    private let logger: Logger
    /// What answers wait for, and no other call.
    private let lookups: WorkerPool
    private let writes: WorkerPool
    /// Passes over all rows, which nothing else waits for.
    private let passes: WorkerPool
    /// Restoring, copying and checking.
    private let upkeep: WorkerPool
    private let mailbox = Monitor(Mailbox())
    private let told = Monitor(Told())
    /// A job of `upkeep` is under way.
    private let isBusy = Monitor(false)

    /// - Parameter hasRoom: false below the disk's reserve; asked before anything grows the disk by
    ///   this node's own choice.
    package init(
        store: AttributeStore, peers: [NodeID], metrics: NodeMetrics, logger: Logger,
        hasRoom: @escaping @Sendable () -> Bool = { true }, send: @escaping Send
    ) {
        self.hasRoom = hasRoom
        self.store = store
        self.peers = peers
        self.metrics = metrics
        self.logger = logger
        self.send = send
        let max = RuntimeLimits.catalogJobsMax
        lookups = WorkerPool(name: "catalog", threads: 1, queueMax: max)
        writes = WorkerPool(name: "catalog-put", threads: 1, queueMax: max)
        passes = WorkerPool(
            name: "catalog-pass", threads: 1, queueMax: RuntimeLimits.catalogPassesMax,
            standing: .bulk)
        upkeep = WorkerPool(
            name: "catalog-copy", threads: 1, queueMax: 1, standing: .bulk)
    }

    package var gauges: AttributeGauges { store.gauges }

    package var waiting: Int { lookups.waiting + writes.waiting + passes.waiting }

    package var queues: [QueueReading] {
        [lookups.meter, writes.meter, passes.meter, upkeep.meter].map(\.reading)
    }

    package func start() {
        NamedThread.start("attributes") { [self] in
            spread()
            mailbox.broadcast { $0.hasEnded = true }
        }
    }

    /// What has changed since the last copy is copied, if there is time.
    package func stop(by deadline: Instant) {
        mailbox.broadcast { $0.events.append(.stop) }
        let hasEnded: Bool? = mailbox.wait(until: deadline) { $0.hasEnded ? true : nil }
        store.stop()
        let pools = [lookups, writes, passes, upkeep]
        let areIdle = pools.map { $0.stop(by: deadline) }
        guard hasEnded == true, !areIdle.contains(false) else {
            logger.warning("the catalog is still busy and is left open")
            return
        }
        do throws(CatalogError) {
            try store.close()
        } catch {
            logger.warning("closing the catalog: \(error)")
        }
    }

    /// A message of a peer. At the bound it is dropped: the peer asks again.
    package func receive(_ message: AttributeMessage, from peer: NodeID) {
        mailbox.signal { mailbox in
            guard mailbox.events.count < RuntimeLimits.catalogJobsMax else { return }
            mailbox.events.append(.received(message, peer))
        }
    }

    // MARK: - For the API

    package func attributes(of keys: [[UInt8]]) async -> KnownAttributes? {
        if keys.isEmpty || store.isEmpty { return KnownAttributes([:]) }
        // Many keys are a pass: who asks for one waits for none.
        let areMany = keys.count > AttributeLimits.lookupKeysMax
        let result = await call(
            on: areMany ? passes : lookups,
            within: areMany ? AttributeLimits.passMax : AttributeLimits.lookupMax
        ) { store throws(CatalogError) in try store.attributes(of: keys) }
        return found(result, "an answer goes out without attributes")
    }

    package func values(of name: [UInt8], for keys: [[UInt8]]) async -> KnownValues? {
        let result = await call(on: passes, within: AttributeLimits.passMax) {
            store throws(CatalogError) in try store.values(of: name, for: keys)
        }
        return found(result, "groups by an attribute are refused")
    }

    package func keys(with value: [UInt8], of name: [UInt8], limit: Int) async -> KnownKeys? {
        let result = await call(on: passes, within: AttributeLimits.passMax) {
            store throws(CatalogError) in try store.keys(with: value, of: name, limit: limit)
        }
        return found(result, "a question by an attribute is refused")
    }

    private func found<Value>(
        _ result: Result<Value, AttributeFailure>, _ consequence: String
    ) -> Value? {
        switch result {
        case .success(let value):
            return value
        case .failure(let failure):
            metrics.attributesMissed.increment()
            let words = "\(consequence): \(failure.problem.detail)"
            let now = SystemClock.monotonic
            // Once for all answers of a while: there may be thousands a second.
            let isNews = told.withLock { told in
                if told.words == words, now < told.until { return false }
                told = Told(words: words, until: now + AttributeLimits.repeatAfter)
                return true
            }
            if isNews { logger.warning("\(words)") }
            return nil
        }
    }

    package func put(_ entries: [AttributeEntry]) async throws(AttributeFailure) -> AttributesPut {
        let now = SystemClock.wall
        let result = await call(on: writes) { store throws(CatalogError) in
            store.willWrite()
            return try store.opened().put(entries, at: now)
        }
        let put = try result.get()
        if !put.rows.isEmpty {
            for peer in peers { _ = send(.nudge, peer) }
        }
        return AttributesPut(written: put.rows.count, unchanged: put.unchanged)
    }

    package func delete(_ key: [UInt8]) async throws(AttributeFailure) -> CatalogDeletion {
        let now = SystemClock.wall
        let deletion = try await call(on: writes) { store throws(CatalogError) in
            store.willWrite()
            return try store.opened().delete(key, at: now)
        }.get()
        if deletion.isNews {
            for peer in peers { _ = send(.nudge, peer) }
        }
        return deletion
    }

    package func row(of key: [UInt8]) async throws(AttributeFailure) -> KnownRow {
        try await call(on: lookups, within: AttributeLimits.lookupMax) {
            store throws(CatalogError) in try store.row(of: key)
        }.get()
    }

    /// - Parameter within: after which the call has no answer; nil: as long as it takes.
    private func call<Value: Sendable>(
        on pool: WorkerPool, within: Duration? = nil,
        _ body: @escaping @Sendable (AttributeStore) throws(CatalogError) -> Value
    ) async -> Result<Value, AttributeFailure> {
        let store = store
        let result: Result<Value, CatalogError>? = await pool.run(within: within) {
            Result { () throws(CatalogError) in try body(store) }
        }
        guard let result else { return .failure(.busy) }
        return result.mapError { .catalog($0) }
    }

    // MARK: - The spreading thread

    private func spread() {
        var spread = AttributeSpread(peers: peers, now: SystemClock.monotonic)
        var watch = AttributeWatch()
        while true {
            let events: [Event]? = mailbox.wait(until: spread.nextDeadline) { mailbox in
                if mailbox.events.isEmpty { return nil }
                let events = mailbox.events
                mailbox.events = []
                return events
            }
            for event in events ?? [] {
                switch event {
                case .stop:
                    finish()
                    return
                case .received(let message, let peer):
                    do throws(CatalogError) {
                        try take(message, from: peer, &spread, &watch)
                    } catch {
                        watch.failed("attributes from \(peer)", error, logger)
                    }
                }
            }
            if watch.isDue(at: SystemClock.monotonic) { tend(&watch) }
            for peer in spread.due(at: SystemClock.monotonic) where !ask(peer, &watch) {
                spread.unsent(peer)
            }
        }
    }

    /// Looks after catalog and copy, about every second.
    private func tend(_ watch: inout AttributeWatch) {
        let now = SystemClock.monotonic
        do throws(CatalogError) {
            let isIdle = isBusy.withLock { !$0 }
            if let job = try store.tend(
                at: now, hasPeers: !peers.isEmpty, isIdle: isIdle, hasRoom: hasRoom())
            {
                begin(job)
            }
        } catch {
            watch.failed("the catalog", error, logger)
        }
        let lost = watch.report(store, logger)
        metrics.catalogsLost.increment(by: lost)
    }

    private func begin(_ job: AttributeStore.Job) {
        isBusy.withLock { $0 = true }
        let isTaken = upkeep.submit { [store, logger, isBusy] in
            do {
                let done = try store.run(job, at: SystemClock.monotonic)
                if let done { logger.notice("\(done)") }
            } catch {
                logger.warning("attributes, \(job): \(error)")
            }
            isBusy.broadcast { $0 = false }
        }
        if !isTaken { isBusy.withLock { $0 = false } }
    }

    /// The last copy before the end.
    private func finish() {
        let deadline = SystemClock.monotonic + AttributeLimits.lastCopyMax
        let isIdle: Bool? = isBusy.wait(until: deadline) { $0 ? nil : true }
        guard isIdle == true, hasRoom(), store.needsCopy else { return }
        begin(.copy)
        let isDone: Bool? = isBusy.wait(until: deadline) { $0 ? nil : true }
        if isDone == nil {
            logger.notice("the last changes of attributes are not in this node's copy yet")
        }
    }

    private func ask(_ peer: NodeID, _ watch: inout AttributeWatch) -> Bool {
        // What comes would take the room that flushes need: the next turns ask again.
        guard hasRoom() else { return false }
        do throws(CatalogError) {
            let catalog = try store.opened()
            let nonce = catalog.nonce
            let start = watch.reading.start(
                of: peer, try catalog.progress(of: peer), into: nonce, at: SystemClock.monotonic)
            guard let start else { return false }
            watch.asked[peer] = nonce
            return send(.ask(nonce: start.nonce, since: start.since), peer)
        } catch {
            watch.failed("asking \(peer) for attributes", error, logger)
            return false
        }
    }

    private func take(
        _ message: AttributeMessage, from peer: NodeID, _ spread: inout AttributeSpread,
        _ watch: inout AttributeWatch
    ) throws(CatalogError) {
        switch message {
        case .nudge:
            spread.nudge(peer)
        case .ask(let nonce, let since):
            let catalog = try store.opened()
            let own = catalog.nonce
            // A file that was put back to an older state goes on with numbers that peers saw on
            // other rows.
            let last = try catalog.sequence()
            let isOurs = nonce == own && since <= last
            let changes = try catalog.changes(
                since: isOurs ? since : 0, bytes: AttributeLimits.answerBytes)
            let answer = AttributeMessage.Changes(
                nonce: own, rows: changes.rows, next: changes.next,
                isComplete: changes.isComplete)
            _ = send(.changes(answer), peer)
        case .changes(let changes):
            guard hasRoom(), try take(changes, from: peer, &watch) else {
                return spread.unsent(peer)
            }
            spread.answered(peer, isComplete: changes.isComplete)
        }
    }

    /// False where this file did not ask for them.
    private func take(
        _ changes: AttributeMessage.Changes, from peer: NodeID, _ watch: inout AttributeWatch
    ) throws(CatalogError) -> Bool {
        let catalog = try store.opened()
        // What was asked for by a file that is lost says nothing of what the new one lacks.
        let own = catalog.nonce
        guard watch.asked[peer] == own else { return false }
        let known = try catalog.progress(of: peer)
        let mayAdvance = watch.reading.mayAdvance(peer, nonce: changes.nonce, into: own)
        let isNews = known?.nonce != changes.nonce || known?.sequence != changes.next
        let now = SystemClock.now
        var result = CatalogUpsert()
        if !changes.rows.isEmpty || (isNews && mayAdvance) {
            let progress = CatalogProgress(
                peer: peer, nonce: changes.nonce, sequence: changes.next)
            store.willWrite()
            result = try catalog.upsert(
                changes.rows, progress: mayAdvance ? progress : nil, into: own, at: now.wall)
            metrics.attributesReceived.increment(by: result.applied)
            // Rows that come back from where they were sent to are no news.
            if result.applied > 0, !changes.isComplete { store.fellBehind(peer) }
            if result.refused > 0 {
                logger.warning("\(result.refused) rows of attributes from \(peer) refused")
            }
        }
        let wait = watch.reading.took(
            peer, nonce: changes.nonce, into: own, next: changes.next, early: result.earliest,
            at: now)
        if let wait { watch.cameEarly(result, from: peer, againIn: wait, logger) }
        if changes.isComplete { store.heard(peer, into: own) }
        return true
    }
}

/// Where messages about attributes go: the service is made after those who receive for it.
package final class AttributeMailbox: Sendable {
    private let service = Monitor<AttributeService?>(nil)

    package init() {}

    package func connect(_ service: AttributeService) {
        self.service.withLock { $0 = service }
    }

    package func deliver(_ message: AttributeMessage, from peer: NodeID) {
        service.withLock(\.self)?.receive(message, from: peer)
    }
}
