package import Core
package import Gossip
package import Replication
package import Ring
package import Storage

/// What has happened since the start.
package struct Counters: Hashable, Sendable {
    package var writes: UInt64 = 0
    package var reads: UInt64 = 0
    /// Answered reads of more than one voter, by the round trips that they took.
    package var readsInOne: UInt64 = 0
    package var readsInTwo: UInt64 = 0
    package var readsInMore: UInt64 = 0
    package var readsMet: UInt64 = 0
    package var readsUnited: UInt64 = 0
    package var readsFellBack: UInt64 = 0
    /// A replica's tables were coarser than the coordinator knew.
    package var readsRestarted: UInt64 = 0
    package var readsSpeculated: UInt64 = 0
    package var readsWidened: UInt64 = 0
    /// Lists that had to wait for others.
    package var scansWaited: UInt64 = 0
    /// Records that were not taken because more came in than flushes wrote out.
    package var heldBack: UInt64 = 0
    /// Batches that this voter made part of itself, and gave the rows of, for reads.
    package var batchesEnsured: UInt64 = 0
    package var batchesContributed: UInt64 = 0
    package var recordsHeld: UInt64 = 0
    package var recordsFetched: UInt64 = 0
    package var slicesApplied: UInt64 = 0
    package var conflicts: UInt64 = 0
    package var drivenOn: UInt64 = 0
    package var syncs: UInt64 = 0
    package var healed: UInt64 = 0
    package var converged: UInt64 = 0
    package var flushes: UInt64 = 0
    package var flushedBytes: UInt64 = 0
    package var compactions: UInt64 = 0
    package var compactionsFailed: UInt64 = 0
    package var compactionBytesRead: UInt64 = 0
    package var compactionBytesWritten: UInt64 = 0
    /// Compactions that made hours or days of what was finer; tables that were dropped.
    package var rollups: UInt64 = 0
    package var tablesExpired: UInt64 = 0
    /// Compactions whose table came to the cold disk from beside the log; those that were to.
    package var coldMoves: UInt64 = 0
    package var coldMovesFailed: UInt64 = 0
    package var comparisons: UInt64 = 0
    package var incidents: UInt64 = 0
    package var divergences: UInt64 = 0
    package var damaged: UInt64 = 0
    /// Verifications of a file that could not look at it.
    package var unverified: UInt64 = 0
    /// Read by scrubs, and files that they have read to their end; read by verifications that
    /// somebody asked for.
    package var scrubbedBytes: UInt64 = 0
    package var scrubbedFiles: UInt64 = 0
    package var verifiedBytes: UInt64 = 0
    package var parked: UInt64 = 0
    package var parkedCounted: UInt64 = 0
    package var parkedRefused: UInt64 = 0
    package var parkedRenewed: UInt64 = 0
    package var forgotten: UInt64 = 0
    package var historyLookUps: UInt64 = 0
    package var copies: UInt64 = 0
    /// Of history files, by what was retired or has expired.
    package var letterBytesFreed: UInt64 = 0
    /// Batches whose payload left the log before they were forgotten, and files of the log.
    package var payloadsReleased: UInt64 = 0
    package var logFilesReleased: UInt64 = 0
    /// Of the log, that got an index.
    package var logFilesIndexed: UInt64 = 0

    package init() {}
}

/// A node as it sees itself and the others, at one instant: what status, readiness and metrics
/// show.
package struct NodeView: Sendable {
    package struct Member: Sendable {
        package var node: NodeID
        package var http: String
        package var peer: String
        package var dc: String
        package var rack: String
        package var isUp: Bool
        package var status: NodeStatus?
        package var hostID: String?
        package var generation: Int64?
        package var heartbeat: UInt64?
        /// In thousandths; nil for a node that is down, and for this one.
        package var phi: Int?
        package var isVoting: Bool
        package var owns: Double
        package var values: [(key: String, value: String)]
    }

    package var node: NodeID
    package var clusterName: String
    package var ring: RingView
    package var incarnation: Incarnation
    package var members: [Member]
    /// Empty where the node is ready.
    package var notReady: [String]
    /// By how much most peers' clocks differ, while that is too much to admit batches.
    package var clockDoubt: Duration?
    /// The same for people; nil where the clock is believed.
    package var clockReason: String? { clockDoubt.map { NodeMachine.clockReason($0) } }
    package var hasDiskRoom: Bool
    package var counters: Counters
    package var memtableBytes: Int
    /// Of the memtable that is being written to files.
    package var flushingBytes: Int
    /// What the memtable holds at most, but for what was on its way to it.
    package var memtableBytesMax: Int
    /// Held by scans whose files are read.
    package var scanBytes: Int
    /// Of the filters and indexes of history files.
    package var historyBytes: Int
    package var memtableCells: Int
    package var tables: Int
    package var tableBytes: UInt64
    /// Of those bytes, what may be stored twice.
    package var space: SpaceUse
    /// Of memory, for their indexes and filters.
    package var tableIndexBytes: Int
    /// Of those, what lies on the cold disk.
    package var coldTables: Int
    package var coldTableBytes: UInt64
    /// Bytes in files and in memory.
    package var load: UInt64
    package var tableCells: UInt64
    package var batches: Int
    package var indexMemory: IndexMemory
    package var inDoubt: Int
    package var unfinished: Int
    package var pendingBytes: Int
    package var sessions: Int
    package var parkedBatches: Int
    package var parkedBytes: Int
    /// Of dead letters in log and history.
    package var letterBytes: UInt64
    package var letterRoom: LetterRoom
    package var logLast: LSN
    package var logSynced: LSN
    package var logStart: UInt32
    package var logFile: UInt32
    package var logOffset: UInt64
    package var watermarks: Watermarks
    /// Members that are away for so long that segments close without them.
    package var leftOut: [NodeID]
    /// Every home of the cluster has decided the segments below.
    package var frontier: Segment
    /// Below which windows are shown by their hour or day, or not at all.
    package var floor: RetentionFloor
    package var audit: AuditView
}

extension NodeMachine {
    package func view(at now: Now) -> NodeView {
        let cold = tables.filter { $0.meta.location == .cold }
        return NodeView(
            node: configuration.node, clusterName: configuration.clusterName, ring: ring,
            incarnation: identity.incarnation, members: configuration.members.map { view($0, now) },
            notReady: notReady, clockDoubt: clockDoubt, hasDiskRoom: hasDiskRoom,
            counters: counters,
            memtableBytes: memtable.bytes, flushingBytes: flush.frozen?.bytes ?? 0,
            memtableBytesMax: configuration.heldBytesMax, scanBytes: scanBytes,
            historyBytes: forgetting.files.reduce(0) { $0 + $1.memoryBytes },
            memtableCells: memtable.cells, tables: tables.count,
            tableBytes: tables.reduce(0) { $0 + $1.meta.size }, space: SpaceUse(tables.map(\.meta)),
            tableIndexBytes: tables.reduce(0) { $0 + $1.indexBytes }, coldTables: cold.count,
            coldTableBytes: cold.reduce(0) { $0 + $1.meta.size }, load: load,
            tableCells: tables.reduce(0) { $0 + $1.meta.cells }, batches: index.count,
            indexMemory: index.memory, inDoubt: doubt.count, unfinished: drives.count,
            pendingBytes: pending.byteCount,
            sessions: writes.count + reads.count + statuses.count + syncs.count,
            parkedBatches: parking.count, parkedBytes: parking.byteCount,
            letterBytes: letterBytes, letterRoom: letterRoom, logLast: log.last, logSynced: synced,
            logStart: logStart,
            logFile: log.file, logOffset: log.offset,
            watermarks: closing.durable, leftOut: leftOut.map(\.node), frontier: closing.frontier,
            floor: floor, audit: auditView(at: now))
    }

    private func view(_ member: CoreConfiguration.Member, _ now: Now) -> NodeView.Member {
        let node = member.node
        let isSelf = node == configuration.node
        let state = gossip.state(of: node)
        return NodeView.Member(
            node: node, http: member.http, peer: member.peer, dc: member.dc, rack: member.rack,
            isUp: isSelf || gossip.isUp(node), status: state?.status,
            hostID: state?.text(.hostID), generation: gossip.generation(of: node),
            heartbeat: gossip.heartbeat(of: node), phi: gossip.phi(of: node, at: now.monotonic),
            isVoting: isSelf ? isVoting : state?.status == .normal,
            owns: ring.effectiveShare(of: node),
            values: (state?.values ?? []).map { (key: "\($0.key)", value: $0.text) })
    }

    /// Why a balancer should not send requests here.
    package var notReady: [String] {
        var reasons: [String] = []
        switch life {
        case .asking(_, let heard):
            let silent = peers.filter { heard[$0] == nil }.map(\.name)
            reasons.append(
                identity.incarnation > .none
                    ? "starting: asking peers what they remember"
                    : "an empty directory: waiting for " + silent.joined(separator: ", ")
                        + " (a new cluster begins when all nodes can be reached)")
        case .recovering(let recovery):
            reasons.append(
                "recovering: copied from \(recovery.sources.count) of the peers that hold its "
                    + "partitions")
        case .promoting(_, let awaiting, _, _):
            reasons.append(
                "beginning a life: waiting for "
                    + awaiting.sorted().map(\.name).joined(separator: ", ") + " to remember it")
        case .voting:
            break
        }
        if let clockDoubt {
            reasons.append(
                "it takes no new batches: " + Self.clockReason(clockDoubt))
        }
        if !doubt.isEmpty { reasons.append("settling \(doubt.count) batches in doubt") }
        return reasons
    }

    /// Says farewell: peers route around this node at once.
    package mutating func leave(into effects: inout [Effect]) {
        var steps: [GossipEffect] = []
        gossip.leave(into: &steps)
        for case .send(let message, let peer) in steps {
            effects.append(.send(.gossip(message), to: peer))
        }
    }
}
