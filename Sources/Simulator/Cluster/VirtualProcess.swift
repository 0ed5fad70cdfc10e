package import Core
package import NodeCore
package import Storage

/// One life of a node: the core with all that a crash takes with it.
package final class VirtualProcess {
    /// Unique over the whole run: events of an earlier life find nobody.
    package let instance: UInt64
    package var core: NodeMachine
    package var log: VirtualLog
    package let runner: StorageRunner
    /// What the monotonic clock of this process showed at the beginning of the run.
    let clockOffset: Duration
    /// The tick that is on its way; earlier ones that were overtaken are ignored.
    var tickAt: Instant?
    /// Of the core, after its last step. The deadline is by its own clock.
    var posture: NodeMachine.Posture
    /// Paused as by SIGSTOP until then: what arrives waits.
    var pausedUntil = Instant.zero
    /// What the core was told of its disk.
    var hasDiskRoom = true
    var diskSpare = UInt64.max
    /// Outgoing links that the core was told are up: by node, to which of its lives.
    var links: [UInt64?]
    /// The core's counters at the last look.
    var counted = Counters()
    /// The newest gossip of each member that this life has shown (S12).
    var versions: [GossipVersion?]

    init(
        instance: UInt64, core: consuming NodeMachine, log: VirtualLog, runner: StorageRunner,
        clockOffset: Duration, nodes: Int
    ) {
        self.instance = instance
        posture = core.posture
        self.core = core
        self.log = log
        self.runner = runner
        self.clockOffset = clockOffset
        links = Array(repeating: nil, count: nodes)
        versions = Array(repeating: nil, count: nodes)
    }

    func local(_ time: Instant) -> Instant { time + clockOffset }

    func global(_ time: Instant) -> Instant { time - clockOffset }
}

/// The log thread of a node: takes what waits, writes it, syncs it, says so. Between the write and
/// the sync the bytes are at the mercy of a crash.
package struct VirtualLog {
    enum Phase {
        /// Nothing to do until a `sync` is asked for.
        case idle
        /// A write is about to happen; what arrives before joins it.
        case waiting
        /// Written through here, not yet synced.
        case written([LogAppend])
    }

    var writer: LogWriter
    var phase = Phase.idle
    var pending: [LogAppend] = []
    /// A `sync` came while the last one was under way.
    var isWanted = false

    package init(writer: LogWriter) {
        self.writer = writer
    }
}

/// A node of the cluster: what survives a crash.
package final class VirtualNode {
    package let id: NodeID
    package let index: Int
    package var disk: MemoryFileSystem
    package var process: VirtualProcess?
    /// How far its wall clock is from the truth.
    package var skew: Duration
    /// The same without the steps of the nemesis.
    let skewAtRest: Duration
    /// What its disk certainly holds, kept by reading its log as it is synced.
    package var shadow: DurableShadow
    /// Its parked batches.
    package var parking = VirtualParking()
    /// As it last said of itself; a node that is down keeps its disk's vote.
    package var isVoting = false
    /// Its disk was lost and it has not voted since.
    var isWiped = false
    var wipedAt: Instant?
    /// The others decide without it, until it votes in this life.
    var mustBegin: Incarnation?
    var isLeftOut: Bool { mustBegin != nil }
    /// When a flush or a compaction last changed its tables.
    var tablesChangedAt = Instant.zero
    /// When it last agreed to each node's comparison of segments.
    var agreedAt: [Int: Instant] = [:]
    /// A whole copy is on its way to it.
    var isCopying = false
    /// As it said last.
    var closed = Segment.first
    var sealed = Segment.first
    /// It has voted with this disk or an earlier one.
    var hasVoted = false
    /// It never starts again.
    var isGone = false
    /// Until then all its events are so late.
    var slowUntil = Instant.zero
    var lateness = Duration.zero
    /// Earlier copies of its directory.
    var snapshots: [DiskSnapshot] = []
    /// What on its disk was changed behind its back and has not been found yet.
    var rot: Rot?
    var isRotten: Bool { rot != nil }
    /// A table or history file that rotted, and is listed no more: what began to read it before may
    /// still fail.
    var droppedRot: String?
    /// It may find something wrong, and be right.
    var maySeeRot: Bool { isRotten || droppedRot != nil }
    /// Its directory was set back, and it has not noticed yet.
    var mustRecover = false
    /// Its process said that its data is wrong.
    var isCondemned = false
    /// Its last generation: none comes twice, unless the disk was lost.
    var generation: Int64?

    init(id: NodeID, index: Int, skew: Duration) {
        self.id = id
        self.index = index
        self.skew = skew
        skewAtRest = skew
        disk = MemoryFileSystem()
        shadow = DurableShadow()
    }

    var isUp: Bool { process != nil }
}
