package import Core
package import NodeCore
package import Replication
package import Ring
package import Storage

/// A whole cluster in virtual time: the queue of what is to happen, the nodes, the network, the
/// workload and the account of it. `Run` drives it through its two phases.
package final class VirtualCluster {
    package let swarm: Swarm
    let schedule: FaultSchedule
    let mutants: Set<Mutant>
    package let ring: RingView
    let placement: KeyPlacement
    /// By partition, the nodes that replicate it.
    let replicas: [[Int]]
    package internal(set) var nodes: [VirtualNode] = []
    package internal(set) var now = Instant.zero
    package internal(set) var trace = Trace()
    package var journal: Journal?
    var queue = EventQueue<VirtualEvent>()
    var network: VirtualNetwork
    let ledger: Ledger
    let windows: WorkloadWindows
    var workload: Workload
    var checks: Checks
    /// No more faults: the second phase.
    package internal(set) var isHealed = false
    var nextInstance: UInt64 = 0

    // The nemesis and its budget.
    package internal(set) var acts: [FaultAct] = []
    var strikes = 0
    /// The node that may be faulty, where only one may.
    var victim: Int?
    /// Since when nothing at all is wrong; nil while something is.
    var wellSince: Instant?
    /// When the whole cluster was well for the first time.
    var readySince: Instant?
    /// The node that is not healed in the end.
    var outsider: Int?

    // One generator per concern, so that a draw added to one does not shift the others.
    var diskRandom: RandomSource
    /// When the nemesis strikes, how and whom.
    var scheduleRandom: RandomSource
    /// What the act under way draws: a fork per act.
    var nemesisRandom: RandomSource
    var catastropheRandom: RandomSource
    var clientRandom: RandomSource
    var linkRandom: RandomSource
    var startRandom: RandomSource
    var snapshotRandom: RandomSource
    var snapshotsTaken = 0
    /// Of parking alone, and seeded apart: it shifts no draw of the others.
    var parkingRandom: RandomSource
    /// Of disks that are lost after they forgot, likewise.
    var historyRandom: RandomSource
    /// Of dead letters that are retired, likewise.
    var letterRandom: RandomSource
    /// Of sectors that cannot be read, and of what is misread, likewise.
    var sectorRandom: RandomSource
    var misreadRandom: RandomSource
    /// Jobs that are later for it misread as well: in half of the seeds, and not in those that must
    /// be what they are without misreads.
    let misreadsThatDelay: Bool
    /// Of indexes of log files, likewise.
    var indexRandom: RandomSource
    /// Copies that were cut short on purpose.
    var interruptions = 0
    /// Batches that were made because of a copy, and those that are about to be.
    var extras = 0
    var extrasOpen = 0

    /// 2026-01-01T00:00:00Z.
    static let wallStart = WallTime(milliseconds: 1_767_225_600_000)
    static let digestKey = SipKey(low: 0x7175_6970, high: 0x7369_6d75)

    package init(
        seed: UInt64, swarm: Swarm, schedule: FaultSchedule = .all, mutants: Set<Mutant>
    ) throws(Violation) {
        var random = RandomSource(seed: seed ^ 0x5851_f42d_4c95_7f2d)
        self.swarm = swarm
        self.schedule = schedule
        self.mutants = mutants
        network = VirtualNetwork(swarm, random: random.fork())
        diskRandom = random.fork()
        scheduleRandom = random.fork()
        nemesisRandom = scheduleRandom.fork()
        catastropheRandom = random.fork()
        clientRandom = random.fork()
        linkRandom = random.fork()
        startRandom = random.fork()
        snapshotRandom = random.fork()
        parkingRandom = RandomSource(seed: seed ^ 0x7061_726b)
        historyRandom = RandomSource(seed: seed ^ 0x666f_7267)
        letterRandom = RandomSource(seed: seed ^ 0x6c65_7474)
        sectorRandom = RandomSource(seed: seed ^ 0x7365_6374)
        misreadRandom = RandomSource(seed: seed ^ 0x6d69_7372)
        misreadsThatDelay = misreadRandom.chance(1, in: 2)
        indexRandom = RandomSource(seed: seed ^ 0x696e_6465)
        ring = try Self.makeRing(swarm)
        let members = (0..<swarm.nodes).map(Self.name)
        replicas = ring.partitioning.all.map { [ring] partition in
            ring.replicas(of: partition).compactMap(members.firstIndex)
        }
        placement = KeyPlacement(swarm.placement, ring.partitioning, window: swarm.window)
        ledger = Ledger(window: swarm.window)
        windows = WorkloadWindows(swarm.window)
        checks = Checks(window: swarm.window)
        workload = Workload(swarm, placement: placement, random: random.fork())
        for index in 0..<swarm.nodes {
            let skew = Duration.milliseconds(
                Int64(random.below(2 * Int(swarm.skewMax.milliseconds) + 1))
                    - swarm.skewMax.milliseconds)
            nodes.append(VirtualNode(id: Self.name(index), index: index, skew: skew))
        }
    }

    static func name(_ index: Int) -> NodeID { NodeID("n\(index + 1)") }

    func index(of id: NodeID) -> Int {
        guard let index = nodes.firstIndex(where: { $0.id == id }) else {
            preconditionFailure("\(id) is no node of this run")
        }
        return index
    }

    private static func makeRing(_ swarm: Swarm) throws(Violation) -> RingView {
        let members = (0..<swarm.nodes).map {
            RingMember(node: name($0), dc: "dc1", rack: "r\($0 + 1)")
        }
        let replication = ReplicationFactor.everywhere(swarm.replication)
        do throws(RingError) {
            let partitioning = try Partitioning(partitions: swarm.partitions)
            let ownership = try Ownership.plan(
                partitioning, previous: nil, members: members, replication: replication)
            return try RingView(
                epoch: 1, ownership: ownership, members: members, replication: replication)
        } catch {
            throw Violation("setup", "no ring for \(swarm): \(error)")
        }
    }

    // MARK: - Clocks

    /// The true wall time, which nobody in the cluster knows.
    var wall: WallTime { Self.wallStart + (now - Instant.zero) }

    package func clocks(of node: VirtualNode, _ process: VirtualProcess) -> Now {
        Now(monotonic: process.local(now), wall: wall + node.skew)
    }

    // MARK: - Events

    func put(_ event: VirtualEvent, after delay: Duration) {
        queue.put(event, at: now + delay)
    }

    func put(_ event: ProcessEvent, to node: Int, _ instance: UInt64, after delay: Duration) {
        queue.put(
            .process(node: node, instance: instance, event), at: now + delay)
    }

    /// Delivers the next event; false when nothing is left.
    package func step() throws(Violation) -> Bool {
        guard let (time, event) = queue.take() else { return false }
        now = max(now, time)
        guard trace.events < SimulatorLimits.eventsMax else {
            throw Violation("L2", "\(trace.events) events and no end: a livelock")
        }
        try deliver(event)
        return true
    }

    /// Delivers events until `end`.
    package func run(until end: Instant) throws(Violation) {
        while let next = queue.nextTime, next <= end { _ = try step() }
        now = max(now, end)
    }

    func log(_ line: @autoclosure () -> String) {
        guard journal != nil else { return }
        let micros = String((now - Instant.zero).nanoseconds / 1000)
        let padded = String(repeating: " ", count: max(0, 10 - micros.utf8.count)) + micros
        journal?.note("\(padded) µs  \(line())")
    }
}

/// Everything that can be in the queue.
package enum VirtualEvent {
    /// For one life of a node; dropped when it is over, late when it is paused.
    case process(node: Int, instance: UInt64, ProcessEvent)
    /// The same, once a slow node has come to it.
    case late(node: Int, instance: UInt64, ProcessEvent)
    case restart(node: Int)
    case powerCut(node: Int)
    case freeDisk(node: Int)
    /// A cut ends.
    case mend(from: Int, to: Int)
    /// A node's wires fall silent.
    case clog(node: Int, until: Instant)
    /// The nemesis strikes.
    case strike
    case catastrophe
    /// A disk is lost while the only node in reach lacks what was counted last.
    case wipeBehindLag(node: Int, behind: Int, apart: Duration)
    /// A disk is lost whose history was forgotten; a side of a whole copy dies.
    case wipeLate
    case interruptCopy(node: Int)
    case produceExtra
    /// nil: the connection was lost.
    indirect case answer(RequestID, ClientResponse?)
    /// A client looks at its clock: the answer is late.
    case leave(RequestID)
    case produce(Int)
    case submit(effort: Int)
    case ask(reader: Int)
    /// A quorum read through a node that has just started.
    case probe(node: Int)
    /// The checkers look at everything.
    case inspect
}

package enum ProcessEvent {
    /// Asked for at this time; a paused process gets it later.
    case tick(Instant)
    case message([UInt8], from: Int)
    /// The transport tries to connect to a peer.
    case connect(Int)
    case connected(Int, UInt64)
    case disconnected(Int, refused: Bool)
    /// The transport hears nothing from a peer any more.
    case idle(Int)
    case watchDisk
    case writeLog
    case syncLog
    case logSynced(LSN)
    indirect case runJob(JobID, StorageJob)
    indirect case finishJob(JobID, Result<StorageResult, StorageError>)
    indirect case runParking(ParkingJob)
    indirect case request(RequestID, ClientRequest, patience: Duration)
    case cancel(RequestID)
    /// By now the call must have been answered.
    case overdue(RequestID)
    case resume
}
