import Core
import Replication
import Storage

/// What the checkers remember between their looks.
package struct Checks {
    /// By partition: what a quorum read has shown, and every later one must show (S4).
    var floors: [ContentSet] = []
    /// The same for dead letters, over all homes.
    var letterFloor = ContentSet()
    /// The content that was seen bound or applied for an id, anywhere, ever (S6).
    var decided: [BatchID: Int] = [:]
    /// Finally not counted: their segments closed without them (S15).
    var closedOut = ContentSet()
    /// After convergence: what every answer must be the fold of (L3, L4).
    var final: ContentSet?
    var wipes = 0
    /// How often a node was left out by another.
    var absences = 0
    /// What was done to a replica after all else was checked.
    var lie: Lie?
    /// Nodes whose audit of the whole cluster was clean.
    var audited: Set<Int> = []
    /// How often each rare path was taken: a simulator that never reaches a path proves nothing of
    /// it.
    package var marks: [CoverageMark: Int] = [:]
    private var states: [Int: [PartitionID: StateDigest]] = [:]

    private let windowsPerDay: Int64

    init(window: WindowLength) {
        windowsPerDay = WorkloadWindows(window).perDay
    }

    mutating func hit(_ mark: CoverageMark) {
        marks[mark, default: 0] += 1
    }

    /// What an answer at a level must contain, if it is asked for now.
    func mustBeSeen(_ level: Consistency, _ ledger: Ledger) -> ContentSet {
        level == .one ? ContentSet() : ledger.acknowledged(at: .quorum)
    }

    func floor(_ partition: PartitionID) -> ContentSet {
        Int(partition.index) < floors.count ? floors[Int(partition.index)] : ContentSet()
    }

    mutating func raiseFloor(_ partition: PartitionID, _ seen: ContentSet) {
        while floors.count <= Int(partition.index) { floors.append(ContentSet()) }
        floors[Int(partition.index)].formUnion(seen)
    }

    /// The state digest of one content in one partition, recounted from the events as they were
    /// made.
    mutating func state(_ content: Content, _ partition: PartitionID) -> StateDigest {
        if let known = states[content.number] { return known[partition] ?? .zero }
        var digests: [PartitionID: StateDigest] = [:]
        for cell in content.cells {
            let terms = cell.name.key.withUnsafeBytes { key in
                cell.name.type.withUnsafeBytes { type in
                    SeriesTerms(key: key, type: type, digestKey: VirtualCluster.digestKey)
                }
            }
            let day = floorDivide(cell.name.window, windowsPerDay)
            digests[cell.partition, default: .zero].add(cell.measure, term: terms.term(day: day))
        }
        states[content.number] = digests
        return digests[partition] ?? .zero
    }

    /// S6: one content per id, for ever and everywhere.
    fileprivate mutating func decide(
        _ number: Int, as id: BatchID, _ where: String
    ) throws(Violation) {
        guard let first = decided[id] else {
            decided[id] = number
            return
        }
        guard first == number else {
            throw Violation("S6", "\(`where`) counts c\(number) of \(id), c\(first) was decided")
        }
    }
}

extension VirtualCluster {
    func decide(_ number: Int, _ where: String) throws(Violation) {
        try checks.decide(number, as: ledger.identity(of: number), `where`)
        try checkCountedOnce(number, `where`)
    }

    func isDecided(_ number: Int) -> Bool {
        checks.decided[ledger.identity(of: number)] == number
    }
}

/// Rare paths, by name: a long run fails where one was reached too seldom.
package enum CoverageMark: String, CaseIterable, Hashable, Comparable, Sendable {
    case acknowledged
    case acknowledgedDuplicate = "acknowledged-duplicate"
    case conflict
    case letterRetired = "letter-retired"
    case letterHidden = "letter-hidden"
    case letterSwept = "letter-swept"
    case expired
    case notAttempted = "not-attempted"
    case unknown
    /// A client waited no longer for a node that was paused.
    case clientLeft = "client-left"
    case readFailed = "read-failed"
    case quorumRead = "quorum-read"
    case readMet = "read-met"
    case readUnited = "read-united"
    case readFellBack = "read-fell-back"
    case readSpeculated = "read-speculated"
    case readWidened = "read-widened"
    case heldBack = "held-back"
    case scanWaited = "scan-waited"
    case readEnsured = "read-ensured"
    case readContributed = "read-contributed"
    case crash
    case wipe
    /// The same, with nobody in reach but a node that lacks what was counted last.
    case wipeBehindLag = "wipe-behind-lag"
    case recovered
    case inDoubt = "in-doubt"
    case drivenOn = "driven-on"
    case caughtUp = "caught-up"
    case flushed
    case compacted
    /// A node crashed with a compaction under way.
    case compactionInterrupted = "compaction-interrupted"
    /// Old windows became hours, days or nothing; a coordinator heard of it from a replica.
    case floorRisen = "floor-risen"
    case tablesExpired = "tables-expired"
    case rolledUp = "rolled-up"
    case readRestarted = "read-restarted"
    /// Tables came to the cold disk; something there failed.
    case movedCold = "moved-cold"
    case moveGivenUp = "move-given-up"
    case tornStart = "torn-start"
    case closed
    case sealed
    case finallyNotCounted = "finally-not-counted"
    case clockStep = "clock-step"
    case diskLow = "disk-low"
    case diskFull = "disk-full"
    case failedSync = "failed-fsync"
    case clockDoubted = "clock-doubted"
    case lieApplication = "lie-application"
    case lieCell = "lie-cell"
    case lieFile = "lie-file"
    case parked
    case parkedCounted = "parked-counted"
    case parkedRenewed = "parked-renewed"
    /// A producer sealed the events of a batch anew that was finally not counted.
    case sealedAnew = "sealed-anew"
    case overloaded
    /// A quorum read that was refused after more was lost than can be borne.
    case refusedBeyondBudget = "refused-beyond-budget"
    case killAll = "kill-all"
    case pause
    case cut
    case partialCut = "partial-cut"
    case swizzle
    case slowLink = "slow-link"
    case slowNode = "slow-node"
    case burst
    case zombie
    case catastrophe
    case coreHealed = "core-healed"
    case recovering
    case oldDisk = "old-disk"
    case rot
    case sectorUnreadable = "sector-unreadable"
    /// A bit of a read was flipped, and nobody noticed.
    case misread
    /// One that a verification met, or who writes an index: they look again.
    case misreadVerifying = "misread-verifying"
    case quarantined
    case condemned
    /// History left memory and the log.
    case forgot
    /// A replica got all of its partitions as whole copies; one that was cut short; what was on
    /// the disk before was set aside.
    case copied
    case copyInterrupted = "copy-interrupted"
    case setAside = "set-aside"
    case logReclaimed = "log-reclaimed"
    /// The payload of a batch left the log before the batch was sealed; a whole copy with such.
    case payloadReleased = "payload-released"
    case copiedWithHusks = "copied-with-husks"
    /// A start read an index of a log file in its place.
    case indexRead = "index-read"
    /// A forgotten batch was asked for, and known.
    case historyLookup = "history-lookup"
    case peerDown = "peer-down"
    /// All others found a member away for long, and segments closed without it; it came back.
    case leftOut = "left-out"
    case closedWithout = "closed-without"
    case cameBack = "came-back"

    package static func < (left: CoverageMark, right: CoverageMark) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// A read under way: what its answer will be held against.
package struct ReadCheck {
    var query: ReadQuery
    var level: Consistency
    /// Acknowledged at QUORUM before the read began; empty at level ONE.
    var acknowledged: ContentSet
    var floors: [ContentSet]
    var letterFloor: ContentSet
    /// Asked after convergence: the answer must be exact.
    var isFinal: Bool
    /// A disk was rotten when it began. Its node may be on a new one before the client hears.
    var mayMeetRot: Bool

    func floor(_ partition: PartitionID) -> ContentSet {
        guard level != .one, Int(partition.index) < floors.count else { return ContentSet() }
        return floors[Int(partition.index)]
    }
}
