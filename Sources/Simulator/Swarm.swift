package import Core
package import NodeCore
package import Replication
package import Ring
package import Storage

/// A class of faults. A third of all seeds has one or two of them only: all at once hide bugs.
/// `FaultAtlas` says what each may do.
package enum FaultClass: String, CaseIterable, Hashable, Comparable, Sendable {
    case loss
    case duplication
    case delay
    case cuts
    case crashes
    case killAll = "kill-all"
    case wipes
    case pauses
    case slowDisks = "slow-disks"
    /// Crashes in the middle of a job, of a log write or of a recovery.
    case tornJobs = "torn-jobs"
    /// Producers that send other bytes under a known id.
    case rogues
    case skew
    /// One node's wall clock jumps, by minutes to ten years, either way.
    case clockSteps = "clock-steps"
    /// A disk without room for a while.
    case diskFull = "disk-full"
    /// An fsync fails, and the process ends and starts again without a reboot.
    case failedSyncs = "failed-fsyncs"
    /// In the end the sums of one replica are changed behind its back.
    case lies
    /// Directed links between many pairs at once are dead for long.
    case partialCuts = "partial-cuts"
    /// Nodes fall silent one by one and come back one by one in another order; what was sent to
    /// them waits.
    case swizzles
    case slowLinks = "slow-links"
    /// Everything that happens to a node happens late.
    case slowNodes = "slow-nodes"
    /// Producers that come back long after, with the same bytes, through another node.
    case zombies
    /// Batches that were sealed about as long ago as may be admitted.
    case lateRetries = "late-retries"
    /// Many times more calls at once than a coordinator takes.
    case bursts
    /// A node comes back with the directory that it had some time ago.
    case oldDisks = "old-disks"
    /// A log, a table or a manifest changes while its node is down: a flipped bit, a hole, a file
    /// that is gone.
    case rot
    /// In the place of every other rot: a sector of a table, a history file or a log cannot be read
    /// any more.
    case unreadable
    /// In all seeds: a read of a file that is whole finds a bit flipped, once.
    case misreads
    /// Beyond the budget: several disks lost at once, or all nodes but one.
    case catastrophe

    package static func < (left: FaultClass, right: FaultClass) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// What one seed draws before it runs: the cluster, the faults and the sizes.
package struct Swarm: Sendable, CustomStringConvertible {
    package var nodes: Int
    package var replication: Int
    package var partitions: Int
    /// Ascending.
    package var faults: [FaultClass]
    /// Of those, what the schedule leaves out: drawn, so that all other draws stay the same, and
    /// without effect.
    package let without: Set<FaultClass>
    package var budget: FaultBudget
    /// Only a majority is healed in the end, and must do without the rest (L8).
    package var healsCore = false
    /// Of a thousand messages.
    package var lossPerMille = 0
    package var duplicatePerMille = 0
    package var delayMin: Duration = .microseconds(100)
    package var delaySpread: Duration = .milliseconds(2)
    package var diskLatency: Duration = .milliseconds(1)
    /// The mean time between two acts of the nemesis.
    package var faultInterval: Duration = .milliseconds(1500)
    package var chaos: Duration
    package var skewMax: Duration = .zero
    /// What nodes are told: twice `skewMax` covers any two of them.
    package var clockSkewMax: Duration = .milliseconds(500)
    package var pauseMax: Duration = .seconds(4)

    /// With no room in it, nothing is compacted.
    package var compaction = CompactionLimits()
    package var compactionStepBytes = 1
    package var compactionShare = 100
    package var compactionRestAge: Duration = .zero
    package var memtableBytesMax: Int
    package var memtableAgeMax: Duration
    package var logFileMax: UInt64
    package var gossipInterval: Duration
    package var catchUpInterval: Duration
    package var catchUpAge: Duration
    package var driveAfter: Duration
    package var requestTimeout: Duration
    package var placement = KeyPlacement.Rule.key
    package var window = WindowLength.minute
    package var horizon: Duration
    package var segmentLength: Duration
    package var closeInterval: Duration
    /// nil: nothing is forgotten.
    package var forgetSegmentsMin: Int64?
    /// nil: payloads wait in the log until they are forgotten.
    package var release: ReleasePolicy?
    /// nil: log files get no indexes.
    package var logIndex: LogIndexPolicy?
    package var retention = RetentionPolicy.forever
    /// Dead letters are purged.
    package var retires = false
    /// nil: their bytes stay.
    package var letterSweepInterval: Duration?
    /// nil: there is no cold disk.
    package var coldAfter: Duration?
    /// Who is away for longer is left out; nil waits for ever.
    package var absenceMax: Duration?
    /// A disk is lost after its history was forgotten, and once more after the heal; so many
    /// copies are cut short.
    package var wipesLate = false
    package var restores = false
    package var copyInterruptions = 0
    package var readAttemptTimeout: Duration
    /// Calls that a coordinator takes at once.
    package var sessionsMax = ReplicationLimits.sessionsMax

    package var contents: Int
    package var keys: Int
    package var producers: Int
    package var readers: Int
    /// Some producers write at ANY, and this much is parked for them.
    package var parks = false
    package var parking = ParkingOptions()
    /// The mean pause of a producer and of a reader between two calls.
    package var pace: Duration

    package init(_ random: inout RandomSource, without: Set<FaultClass> = []) {
        self.without = without
        switch random.below(20) {
        case 0:
            nodes = 1
            replication = 1
        case 1:
            nodes = 3
            replication = 1
        case 2:
            nodes = 3
            replication = 2
        case 3...12:
            nodes = 3
            replication = 3
        case 13...15:
            nodes = 4
            replication = 3
        default:
            nodes = 5
            replication = 3
        }
        partitions = max(random.pick([4, 8, 16]), nodes == 5 ? 8 : 4)
        chaos = .milliseconds(6000 + random.below(9000))
        memtableBytesMax = random.pick([2 << 10, 8 << 10, 64 << 10, 1 << 20])
        memtableAgeMax = .milliseconds(random.pick([500, 2000, 10_000, 600_000]))
        logFileMax = UInt64(random.pick([2 << 10, 16 << 10, 1 << 20]))
        gossipInterval = .milliseconds(random.pick([100, 200, 500]))
        catchUpInterval = .milliseconds(random.pick([200, 500, 1000, 4000]))
        catchUpAge = .milliseconds(random.pick([100, 500, 1000]))
        driveAfter = .milliseconds(random.pick([300, 1000, 3000]))
        requestTimeout = .milliseconds(random.pick([800, 2000, 5000]))
        horizon = .seconds(random.pick([4, 10, 3600]))
        segmentLength = .seconds(random.pick([2, 2, 10]))
        closeInterval = .milliseconds(random.pick([200, 500, 1000]))
        readAttemptTimeout = .milliseconds(random.pick([50, 250]))
        contents = 16 + random.below(56)
        keys = 2 + random.below(8)
        producers = 1 + random.below(4)
        readers = 1 + random.below(3)
        pace = .milliseconds(random.pick([20, 60, 200]))
        faults = Self.drawFaults(&random)
        budget = .anyNodes
        drawBudget(&random)
        strengthen(&random)
        if budget == .oneNode { soften(&random) }
    }

    private mutating func drawBudget(_ random: inout RandomSource) {
        let draw = random.below(10)
        let coreDraw = random.chance(1, in: 4)
        if draw == 0, nodes > 1 {
            budget = .beyond
            // The lost disks may hold the only proof of which content was decided.
            faults = (faults.filter { $0 != .rogues } + [.catastrophe]).sorted()
        } else if draw <= 3, replication == 3 {
            budget = .oneNode
            faults = faults.filter { FaultAtlas.entry(of: $0).isWithinBudget }
        }
        // Which of two contents of one id was decided may be known to the missing voter alone.
        healsCore =
            coreDraw && budget != .beyond && replication == 3 && !faults.contains(.rogues)
    }

    private static func drawFaults(_ random: inout RandomSource) -> [FaultClass] {
        var all = FaultAtlas.drawn
        random.shuffle(&all)
        let count =
            switch random.below(30) {
            case 0: 0
            case 1...10: 1 + random.below(2)
            default: 3 + random.below(all.count - 3)
            }
        var drawn = all.prefix(count).sorted()
        // Beyond the budget: of two contents of one id, the loss of a disk may take the only proof
        // which one was decided (docs/testing.md).
        let losses: Set<FaultClass> = [.wipes, .oldDisks, .rot]
        if drawn.contains(.rogues), drawn.contains(where: losses.contains) {
            let keepsRogues = random.chance(1, in: 2)
            drawn.removeAll { keepsRogues ? losses.contains($0) : $0 == .rogues }
        }
        return drawn
    }

    private mutating func strengthen(_ random: inout RandomSource) {
        for fault in faults {
            switch fault {
            case .loss:
                let strength = random.pick([10, 50, 150, 300])
                if has(fault) { lossPerMille = strength }
            case .duplication:
                let strength = random.pick([20, 200, 500])
                if has(fault) { duplicatePerMille = strength }
            case .delay:
                let strength = random.pick([10, 50, 300])
                if has(fault) { delaySpread = .milliseconds(strength) }
            case .slowDisks:
                let strength = random.pick([10, 50, 200])
                if has(fault) { diskLatency = .milliseconds(strength) }
            case .skew:
                guard has(fault) else { continue }
                skewMax = horizon < SimulatorLimits.horizonAwaited ? .seconds(2) : .seconds(20)
                clockSkewMax = skewMax * 2
            case .bursts:
                sessionsMax = random.pick([4, 8, 16])
            case .crashes, .killAll, .wipes, .oldDisks, .rot, .cuts, .partialCuts, .swizzles,
                .slowLinks,
                .slowNodes, .clockSteps, .diskFull, .catastrophe:
                faultInterval = .milliseconds(random.pick([400, 1000, 2500]))
            case .pauses:
                faultInterval = .milliseconds(random.pick([400, 1000, 2500]))
                guard random.chance(1, in: 6), has(fault) else { continue }
                // As long as a machine that swaps or is moved; the run must outlast it.
                pauseMax = .seconds(60)
                faultInterval = .seconds(5)
                chaos = .seconds(75)
            case .tornJobs, .rogues, .failedSyncs, .lies, .zombies, .lateRetries, .unreadable,
                .misreads:
                break
            }
        }
    }

    /// Drawn apart from the rest: with a short horizon history is forgotten while faults happen.
    package mutating func drawForgetting(_ random: inout RandomSource) {
        let segments: Int64 = random.pick([1, 1, 2, 4])
        let isLong = random.chance(2, in: 3)
        let rest = Duration.milliseconds(random.below(10_000))
        let losesLate = random.chance(1, in: 2)
        let restores = random.chance(1, in: 2)
        let interruptions = random.pick([0, 1, 3])
        guard horizon < SimulatorLimits.horizonAwaited else { return }
        forgetSegmentsMin = segments
        // What a copy needs: another voter of each partition, and no liar among the producers.
        if replication >= 2, !faults.contains(.rogues), budget != .beyond {
            self.restores = restores
            copyInterruptions = interruptions
            wipesLate = losesLate && isLong && !faults.isEmpty
        }
        guard isLong, budget != .oneNode else { return }
        // Long enough that disks are lost after their history was forgotten.
        chaos = max(chaos, horizon + requestTimeout + clockSkewMax * 2 + .seconds(12) + rest)
        pace = max(pace, chaos * 2 / (3 * contents / producers))
    }

    /// Drawn apart from the rest: where segments close, most often so soon that it happens while
    /// faults do.
    package mutating func drawAbsence(_ random: inout RandomSource) {
        let limit = Duration.milliseconds(random.pick([1000, 2000, 4000]))
        let isDrawn = random.chance(2, in: 3)
        // Which of two contents of one id was decided may be known to the missing voter alone.
        guard isDrawn, horizon < SimulatorLimits.horizonAwaited, replication == 3,
            budget != .beyond, !faults.contains(.rogues)
        else { return }
        // One that is left out needs both others: nobody else may stay away in the end.
        absenceMax = healsCore ? .seconds(20) : limit
    }

    /// Drawn apart from the rest: tables are merged in most seeds, a few bytes at a time.
    package mutating func drawCompaction(_ random: inout RandomSource) {
        compaction.fanInMax = random.pick([2, 3, 32])
        compaction.tierUnit = random.pick([64, 1 << 10, 16 << 10])
        compaction.bytesMax = random.pick([0, 4 << 10, 64 << 10, 16 << 30, 16 << 30, 16 << 30])
        compactionStepBytes = random.pick([1, 200, 2 << 10, 512 << 10])
        compactionShare = random.pick([1, 10, 100])
        compactionRestAge = random.pick([.zero, .milliseconds(500), .seconds(3)])
    }

    /// Drawn apart from the rest: in most seeds, and soon where log files are small.
    package mutating func drawRelease(_ random: inout RandomSource) {
        guard random.chance(3, in: 4) else { return }
        let filesMin: UInt32 = random.pick([1, 1, 2])
        release = ReleasePolicy(
            filesMin: filesMin, filesMax: filesMin + random.pick([0, 2]),
            batchesMax: random.pick([4, 1 << 18]), stepMax: random.pick([1, 10, 4096]),
            proofMax: .seconds(random.pick([3, 60])))
    }

    /// Drawn apart from the rest: in most seeds, and soon where log files are small.
    package mutating func drawLogIndexes(_ random: inout RandomSource) {
        guard random.chance(3, in: 4) else { return }
        logIndex = LogIndexPolicy(
            age: .milliseconds(random.pick([100, 500, 3000])), rest: random.pick([0, 3]))
    }

    /// Drawn apart from the rest: in a quarter of the seeds the windows of long ago become hours,
    /// days and nothing while faults happen, each as the frontier comes far enough.
    package mutating func drawRetention(_ random: inout RandomSource) {
        let isDrawn = random.chance(1, in: 4)
        let steps = [1, 1, 1].map { _ in Duration.milliseconds(random.below(8000)) }
        let count = random.pick([1, 2, 3, 3])
        guard isDrawn else { return }
        var keep = ageOfLongAgo
        var keeps: [Duration?] = []
        for step in steps.prefix(count) {
            keep += step
            keeps.append(keep)
        }
        retention = RetentionPolicy(
            base: keeps[0], hours: count > 1 ? keeps[1] : nil, days: count > 2 ? keeps[2] : nil)
        // As a configuration has it: the windows are the hours.
        if window.milliseconds == 3_600_000 { retention.base = retention.hours }
    }

    /// Two who retire one letter make two contents of one id: with them nothing may be lost that
    /// would tell which is decided, and all must come back, as with rogues.
    package var retiresTwice: Bool {
        let losses: Set<FaultClass> = [.wipes, .oldDisks, .rot]
        return retires && !healsCore && budget != .beyond && absenceMax == nil && !restores
            && copyInterruptions == 0 && !wipesLate && losses.isDisjoint(with: faults)
    }

    /// Drawn apart from the rest: in a third of the seeds dead letters are purged, and in half of
    /// these their bytes go.
    package mutating func drawRetirement(_ random: inout RandomSource) {
        retires = random.chance(1, in: 3)
        guard retires, random.chance(1, in: 2) else { return }
        letterSweepInterval = .milliseconds(random.below(3000))
    }

    /// Drawn apart from the rest: in a third of the seeds the tables of long ago move to the cold
    /// disk while faults happen.
    package mutating func drawCold(_ random: inout RandomSource) {
        let isDrawn = random.chance(1, in: 3)
        let delay = Duration.milliseconds(random.below(6000))
        guard isDrawn else { return }
        coldAfter = ageOfLongAgo + delay
    }

    /// How far the end of long ago is below the frontier when all begins.
    private var ageOfLongAgo: Duration {
        let buckets = TimeBuckets(window: window)
        let longAgo = WorkloadWindows(window).longAgo
        let bucket = buckets.windows(ofBucket: buckets.bucket(of: longAgo))
        let end = window.start(of: bucket.upperBound + 1)
        let age = horizon + requestTimeout + clockSkewMax * 2
        return .milliseconds((VirtualCluster.wallStart - age).milliseconds - end.milliseconds)
    }

    /// Drawn apart from the rest: in a sixth of the seeds windows are not minutes.
    package mutating func drawWindow(_ random: inout RandomSource) {
        guard random.chance(1, in: 6) else { return }
        window = WindowLength(milliseconds: random.pick([1000, 300_000, 3_600_000]))
    }

    /// Drawn apart from the rest: in a quarter of the seeds the days of a key lie apart.
    package mutating func drawPlacement(_ random: inout RandomSource) {
        placement = random.chance(1, in: 4) ? .keyAndDay : .key
    }

    /// Drawn apart from the rest: a third of the seeds, some with little room.
    package mutating func drawParking(_ random: inout RandomSource) {
        parks = random.chance(1, in: 3)
        guard parks else { return }
        parking.batchesMax = random.pick([2, 100])
        parking.bytesMax = random.pick([1 << 10, 1 << 20])
        parking.submissionsMax = random.pick([1, 4])
        parking.waitMin = .milliseconds(random.pick([50, 500]))
        parking.waitMax = .milliseconds(random.pick([500, 3000]))
    }

    /// One node at a time, for longer, and the network only as bad as retries can stand.
    private mutating func soften(_ random: inout RandomSource) {
        lossPerMille = min(lossPerMille, 50)
        delaySpread = min(delaySpread, .milliseconds(50))
        diskLatency = min(diskLatency, .milliseconds(50))
        faultInterval = .milliseconds(1000)
        horizon = .seconds(3600)
        requestTimeout = min(requestTimeout, .seconds(2))
        chaos = .milliseconds(20_000 + random.below(15_000))
        // Clients may hold on to a paused node for as long as they would to a slow one.
        pauseMax = .seconds(4)
        // So that there is always somebody who wants something.
        pace = max(pace, chaos * 2 / (3 * contents / producers))
    }

    package func has(_ fault: FaultClass) -> Bool {
        faults.contains(fault) && !without.contains(fault)
    }

    package var description: String {
        let names = faults.isEmpty ? "no faults" : faults.map(\.rawValue).joined(separator: " ")
        return "\(nodes) nodes, RF \(replication), \(partitions) partitions, \(budget.rawValue), "
            + names + (healsCore ? ", heals a core" : "") + (parks ? ", parking" : "")
            + (placement == .key ? "" : ", by key and day")
            + (window == .minute ? "" : ", windows of \(window.milliseconds / 1000) s")
            + (forgetSegmentsMin == nil ? "" : ", forgets")
            + (release.map { ", releases \($0.filesMin) files" } ?? "")
            + (logIndex == nil ? "" : ", indexes")
            + (retention == .forever ? "" : ", rolls up")
            + (coldAfter == nil ? "" : ", moves") + (retires ? ", purges" : "")
            + (letterSweepInterval == nil ? "" : ", sweeps")
            + (absenceMax.map { ", leaves out after \($0.milliseconds) ms" } ?? "")
    }
}
