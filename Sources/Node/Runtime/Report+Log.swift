internal import Core
package import Logging
package import NodeCore
internal import Replication
internal import Storage

extension Report {
    private static let lossAccepted =
        "begins without all that it may lack, since --accept-loss says so: what was acknowledged "
        + "before may be missing for good"

    /// One line for the operator, at the level it deserves.
    package func log(to logger: Logger) {
        switch self {
        case .peerUp(let node):
            logger.notice("\(node) is up")
        case .peerDown(let node):
            logger.warning("\(node) is down")
        case .voting(let incarnation):
            logger.notice("voting, incarnation \(incarnation.number)")
        case .recovering(let reason):
            logger.warning("recovering, without a vote: \(reason)")
        case .acceptedLoss(let incarnation):
            logger.critical("incarnation \(incarnation.number): \(Self.lossAccepted)")
        case .waiting(let reason):
            logger.notice("waiting: \(reason)")
        case .inDoubt(let batches):
            logger.notice("settling \(batches) batches in doubt")
        case .caughtUp(let node, let batches):
            logger.info("caught up \(batches) batches from \(node)")
        case .flushed, .flushFailed, .compacted, .compactionFailed, .moved, .coldDiskFailed,
            .floorRisen, .tablesExpired, .diskFull, .unverified:
            logTables(to: logger)
        case .generationRefused(let node, let generation):
            logger.warning(
                "\(node) shows generation \(generation), far in the future: check its clock")
        case .clockDoubted(let ahead):
            logger.error(
                """
                most peers' clocks are \(ahead.components.seconds) s ahead of this node's: \
                it takes no new batches until they agree; correct this node's clock
                """)
        case .clockTrusted:
            logger.notice("the clocks of this node and its peers agree again")
        case .drivenOn(let id):
            logger.info("drove on batch \(id), whose coordinator is gone")
        case .conflict(let id):
            logger.warning("batch \(id) came with another content than the one that is bound")
        case .closed(let segment, _):
            logger.debug("closed all segments below \(segment)")
        case .sealed(let segment, _):
            logger.debug("sealed all segments below \(segment)")
        case .dropped(let id, isBound: false):
            logger.notice("dropped batch \(id): held here alone when its segment closed")
        case .dropped(let id, isBound: true):
            logger.error(
                "batch \(id) is bound here, but its home closed the segment without it")
        case .incident, .divergence, .recounted, .recountFailed, .damaged:
            logFinding(to: logger)
        case .leftOut, .gaveUp:
            logAbsence(to: logger)
        case .forgot, .released, .lookedUp, .copying, .copied, .copyInterrupted, .setAside:
            logHistory(to: logger)
        case .malformed(let node, let what):
            logger.warning("\(node) sent what cannot be read: \(what)")
        case .parking(let event):
            event.log(to: logger)
        }
    }
}

extension Report {
    /// What becomes of tables.
    private func logTables(to logger: Logger) {
        switch self {
        case .flushed(let cells, let tables):
            logger.info("flushed \(cells) cells to \(tables) tables")
        case .compacted(let tables, let read, let written):
            logger.info("compacted \(tables) tables, \(read) bytes, to one of \(written) bytes")
        case .moved(let tables, let read, let written):
            logger.notice(
                "moved \(tables) tables, \(read) bytes, to one of \(written) on the cold disk")
        case .coldDiskFailed(let reason):
            logger.error("the cold disk fails, nothing is lost by it: \(reason)")
        case .compactionFailed(let reason):
            logger.error("a compaction failed, its tables count as before: \(reason)")
        case .floorRisen(let floor, let window):
            logger.notice("\(Self.text(floor, window))")
        case .tablesExpired(let tables):
            logger.notice("dropped \(tables) tables whose windows have expired")
        case .flushFailed(let reason):
            logger.error("a flush failed and is tried again: \(reason)")
        case .unverified(let reason):
            logger.error("a file could not be verified and is read again later: \(reason)")
        case .diskFull(let what):
            logger.error("\(what)")
        default:
            preconditionFailure("no report of tables")
        }
    }

    /// What an audit finds.
    private func logFinding(to logger: Logger) {
        switch self {
        case .incident(let node, let partition):
            logger.error(
                "audit: \(node) and this node hold other sums of the same batches in \(partition)")
        case .divergence(let node, let partition):
            logger.error(
                "audit: \(node) holds other batches in \(partition); catching up changes nothing")
        case .recounted(let partition):
            logger.notice("audit: the sums of \(partition) here are what the log says")
        case .recountFailed(let partition, let reason):
            logger.error("audit: \(partition) cannot be recounted: \(reason)")
        case .damaged(let what):
            logger.error("audit: this node is damaged: \(what)")
        default:
            break
        }
    }

    /// Who is away for long, and what it comes back with.
    private func logAbsence(to logger: Logger) {
        switch self {
        case .leftOut(let node, _):
            logger.warning(
                """
                \(node) has been away for too long: segments close without it from now on, and it \
                copies from the others before it votes again
                """)
        case .gaveUp(let id):
            logger.error(
                """
                batch \(id) was held by this node alone when the others decided its segment: it is \
                not counted; its record is kept in quarantine/
                """)
        default:
            break
        }
    }

    private static func text(_ floor: RetentionFloor, _ window: WindowLength) -> String {
        let parts = [
            (floor.hours, "are shown by the hour"), (floor.days, "are shown by the day"),
            (floor.expired, "have expired"),
        ].filter { $0.0 > .min }
        return "windows before "
            + parts.map { "\(TimeText.format(window.start(of: $0.0))) \($0.1)" }
            .joined(separator: ", before ")
    }

    /// What is forgotten and copied.
    private func logHistory(to logger: Logger) {
        switch self {
        case .forgot(let below, let batches, let logStart):
            logger.info(
                """
                \(batches) batches of the segments below \(below) left memory and the log\
                \(logStart.map { ", which begins with file \($0) now" } ?? "")
                """)
        case .released(let batches, let logStart):
            logger.info(
                "the payload of \(batches) batches left the log, which begins with file \(logStart)"
            )
        case .lookedUp(let id):
            logger.debug("batch \(id), forgotten, was looked up")
        case .copying(let nodes):
            logger.notice(
                """
                what this replica lacks is no longer in any log: it takes a whole copy from \
                \(nodes.map(\.name).joined(separator: " "))
                """)
        case .copied(let nodes, let batches):
            logger.notice(
                """
                copied whole from \(nodes.map(\.name).joined(separator: " ")), \
                with \(batches) younger batches
                """)
        case .copyInterrupted(let why):
            logger.warning("a whole copy was given up and begins anew: \(why)")
        case .setAside(let lsn):
            logger.warning(
                "what was on this disk through LSN \(lsn) counts no more: it is copied anew")
        default:
            break
        }
    }
}

extension ParkingLot.Event {
    fileprivate func log(to logger: Logger) {
        switch self {
        case .parked(let key):
            logger.info("parked batch \(key.id): its voters are away")
        case .counted(let key):
            logger.info("parked batch \(key.id) is counted")
        case .refused(let key):
            logger.warning(
                "parked batch \(key.id) is finally not counted: another content is, under its id")
        case .renewed(let key, let number):
            let id = Renewal.id(key.id, number)
            logger.notice(
                "parked batch \(key.id) came too late for its id and is sealed anew as \(id)")
        case .damaged(let key, let what):
            logger.error("parked batch \(key.id) cannot be read and is kept aside: \(what)")
        case .forgotten(let key):
            logger.error(
                """
                parked batch \(key.id) is kept, not submitted again: its outcome is forgotten; \
                compare what it holds with what is counted, then \
                'quipu dlq purge --parked \(key.id)'
                """)
        case .discarded(let key):
            logger.notice("parked batch \(key.id) is discarded by an operator's word")
        case .failed(let what):
            logger.error("parked batches: \(what)")
        }
    }
}
