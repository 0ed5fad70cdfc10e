package import Catalog
package import Core
internal import Foundation
package import Logging

/// Runs the catalog and its spreading: calls of the API on one thread, questions and answers of
/// peers on another, so that neither HTTP nor the core ever waits for SQLite.
package final class AttributeService: AttributeServing {
    /// Sends a message to a peer; it may be lost, false where that is known.
    package typealias Send = @Sendable (AttributeMessage, NodeID) -> Bool

    private enum Event: Sendable {
        case received(AttributeMessage, NodeID)
        case stop
    }

    private struct Mailbox {
        var events: [Event] = []
        var hasEnded = false
    }

    private let catalog: AttributeCatalog
    private let peers: [NodeID]
    private let send: Send
    private let metrics: NodeMetrics
    private let logger: Logger
    private let calls: WorkerPool
    /// Passes over all rows, which nothing else waits for.
    private let passes: WorkerPool
    private let mailbox = Monitor(Mailbox())

    package init(
        catalog: AttributeCatalog, peers: [NodeID], metrics: NodeMetrics, logger: Logger,
        send: @escaping Send
    ) {
        self.catalog = catalog
        self.peers = peers
        self.metrics = metrics
        self.logger = logger
        self.send = send
        calls = WorkerPool(name: "catalog", threads: 1, queueMax: RuntimeLimits.catalogJobsMax)
        passes = WorkerPool(
            name: "catalog-pass", threads: 1, queueMax: RuntimeLimits.catalogPassesMax,
            nice: RuntimeLimits.fileNice)
    }

    package var waiting: Int { calls.waiting }

    package func start() {
        NamedThread.start("attributes") { [self] in
            spread()
            mailbox.broadcast { $0.hasEnded = true }
        }
    }

    package func stop(by deadline: Instant) {
        mailbox.broadcast { $0.events.append(.stop) }
        let hasEnded: Bool? = mailbox.wait(until: deadline) { $0.hasEnded ? true : nil }
        let areIdle = [calls.stop(by: deadline), passes.stop(by: deadline)]
        guard hasEnded == true, !areIdle.contains(false) else {
            logger.warning("the catalog is still busy and is left open")
            return
        }
        do throws(CatalogError) {
            try catalog.close()
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

    package func attributes(of keys: [[UInt8]]) async -> [[UInt8]: [UInt8]]? {
        if keys.isEmpty { return [:] }
        let result = await call { catalog throws(CatalogError) in
            try catalog.attributes(of: keys)
        }
        return found(result, "an answer goes out without attributes")
    }

    package func keys(with value: [UInt8], of name: [UInt8], limit: Int) async -> [[UInt8]]? {
        let result = await call(on: passes) { catalog throws(CatalogError) in
            try catalog.keys(with: value, of: name, limit: limit)
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
            logger.warning("\(consequence): \(failure.problem.detail)")
            return nil
        }
    }

    package func put(_ entries: [AttributeEntry]) async throws(AttributeFailure) -> AttributesPut {
        let now = SystemClock.wall
        let result = await call { catalog throws(CatalogError) in
            try catalog.put(entries, at: now)
        }
        let put = try result.get()
        if !put.rows.isEmpty {
            for peer in peers { _ = send(.nudge, peer) }
        }
        return AttributesPut(written: put.rows.count, unchanged: put.unchanged)
    }

    package func row(of key: [UInt8]) async throws(AttributeFailure) -> AttributeRow? {
        try await call { catalog throws(CatalogError) in try catalog.row(of: key) }.get()
    }

    private func call<Value: Sendable>(
        on pool: WorkerPool? = nil,
        _ body: @escaping @Sendable (AttributeCatalog) throws(CatalogError) -> Value
    ) async -> Result<Value, AttributeFailure> {
        let catalog = catalog
        let result: Result<Value, CatalogError>? = await (pool ?? calls).run {
            Result { () throws(CatalogError) in try body(catalog) }
        }
        guard let result else { return .failure(.busy) }
        return result.mapError { .catalog($0) }
    }

    // MARK: - The spreading thread

    private func spread() {
        var spread = AttributeSpread(peers: peers, now: SystemClock.monotonic)
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
                    return
                case .received(let message, let peer):
                    do throws(CatalogError) {
                        try take(message, from: peer, &spread)
                    } catch {
                        logger.warning("attributes from \(peer): \(error)")
                    }
                }
            }
            for peer in spread.due(at: SystemClock.monotonic) where !ask(peer) {
                spread.unsent(peer)
            }
        }
    }

    private func ask(_ peer: NodeID) -> Bool {
        do throws(CatalogError) {
            let progress = try catalog.progress(of: peer)
            return send(.ask(nonce: progress?.nonce ?? 0, since: progress?.sequence ?? 0), peer)
        } catch {
            logger.warning("asking \(peer) for attributes: \(error)")
            return false
        }
    }

    private func take(
        _ message: AttributeMessage, from peer: NodeID, _ spread: inout AttributeSpread
    ) throws(CatalogError) {
        switch message {
        case .nudge:
            spread.nudge(peer)
        case .ask(let nonce, let since):
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
            let known = try catalog.progress(of: peer)
            let isNews = known?.nonce != changes.nonce || known?.sequence != changes.next
            if !changes.rows.isEmpty || isNews {
                let progress = CatalogProgress(
                    peer: peer, nonce: changes.nonce, sequence: changes.next)
                let result = try catalog.upsert(
                    changes.rows, progress: progress, at: SystemClock.wall)
                metrics.attributesReceived.increment(by: result.applied)
                if result.refused > 0 {
                    logger.warning("\(result.refused) rows of attributes from \(peer) refused")
                }
            }
            spread.answered(peer, isComplete: changes.isComplete)
        }
    }
}

/// Stands in where the catalog cannot be opened: everything is counted and answered, without
/// attributes.
package struct NoCatalog: AttributeServing {
    package init() {}

    package func attributes(of keys: [[UInt8]]) async -> [[UInt8]: [UInt8]]? {
        keys.isEmpty ? [:] : nil
    }

    package func keys(with value: [UInt8], of name: [UInt8], limit: Int) async -> [[UInt8]]? {
        nil
    }

    package func put(_ entries: [AttributeEntry]) async throws(AttributeFailure) -> AttributesPut {
        throw .catalog(NoCatalog.failure)
    }

    package func row(of key: [UInt8]) async throws(AttributeFailure) -> AttributeRow? {
        throw .catalog(NoCatalog.failure)
    }

    private static let failure = CatalogError.cannotOpen(
        file: "catalog.sqlite", reason: "see this node's log at its start")
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
