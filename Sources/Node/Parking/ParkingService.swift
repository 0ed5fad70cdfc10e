internal import Catalog
package import Core
internal import Foundation
package import Logging
package import Replication

/// Carries out what the core asks of the file of parked batches, on a thread of its own: neither
/// the core nor HTTP ever waits for SQLite.
package final class ParkingService: Sendable {
    package typealias Receiver = @Sendable (ParkingResult) -> Void

    private let catalog: ParkedCatalog?
    private let reason: String
    private let jobs = WorkerPool(
        name: "parking", threads: 1, queueMax: RuntimeLimits.parkingJobsMax)
    private let logger: Logger

    /// Opens the file in a node's directory. Where it cannot be opened, the node counts and answers
    /// as ever; it parks nothing, and says why.
    ///
    /// It is made before the file of attributes: where only that is there, this one was lost.
    package init(directory: String, logger: Logger) {
        self.logger = logger
        do throws(CatalogError) {
            let catalog = try ParkedCatalog(
                file: "\(directory)/\(NodeFiles.parked)",
                isFilling: FileManager.default.fileExists(
                    atPath: "\(directory)/\(NodeFiles.catalog)"),
                now: SystemClock.now.wall)
            if let incident = catalog.incident { logger.error("\(incident)") }
            self.catalog = catalog
            reason = ""
        } catch {
            logger.error("nothing can be parked: \(error)")
            catalog = nil
            reason = "\(error)"
        }
    }

    package var waiting: Int { jobs.waiting }

    package var queue: QueueReading { jobs.meter.reading }

    /// `receive` gets exactly one result, on the service's thread or at once.
    package func run(_ job: ParkingJob, _ receive: @escaping Receiver) {
        guard let catalog else { return receive(Self.failed(job, reason)) }
        let isTaken = jobs.submit { receive(Self.carryOut(job, catalog)) }
        if !isTaken {
            receive(Self.failed(job, "\(RuntimeLimits.parkingJobsMax) batches wait to be parked"))
        }
    }

    /// nil where the file could not be opened.
    package var database: SnapshotService.Database? {
        catalog.map { catalog in
            SnapshotService.Database(NodeFiles.parked) { try catalog.copy(to: $0) }
        }
    }

    package func stop(by deadline: Instant) {
        guard jobs.stop(by: deadline) else {
            logger.warning("the file of parked batches is still busy and is left open")
            return
        }
        do throws(CatalogError) {
            try catalog?.close()
        } catch {
            logger.warning("closing the file of parked batches: \(error)")
        }
    }

    private static func carryOut(_ job: ParkingJob, _ catalog: ParkedCatalog) -> ParkingResult {
        do throws(CatalogError) {
            switch job {
            case .list:
                return .listed(try catalog.notes(), renewed: try catalog.renewed())
            case .store(let note, let record):
                try catalog.store(note, record: record)
                return .stored(note.key)
            case .load(let key):
                return .loaded(key, try catalog.record(of: key))
            case .remove(let key):
                try catalog.remove(key)
                return .removed(key)
            case .settle(let batch, let forgotten):
                try catalog.settle(batch, forgetting: forgotten)
                return .removed(batch.key)
            case .discard(let key, let createdAt):
                try catalog.discard(key, createdAt: createdAt)
                return .removed(key)
            }
        } catch {
            return failed(job, "\(error)")
        }
    }

    private static func failed(_ job: ParkingJob, _ reason: String) -> ParkingResult {
        switch job {
        case .list: .listFailed(reason)
        case .store(let note, _): .storeFailed(note.key, reason)
        case .load(let key): .loadFailed(key, reason)
        case .remove(let key), .discard(let key, _): .removeFailed(key, reason)
        case .settle(let batch, _): .removeFailed(batch.key, reason)
        }
    }
}
