import Core
import NodeCore
import Replication
import Ring
import Storage
import Wire

/// A replica that lies: its sums are changed behind its back after everything was checked, and its
/// own audit, or that of its peers, must find it in a stated time and blame nobody else.
struct Lie: CustomStringConvertible {
    enum Kind {
        /// A batch is added once more to memory: sums and cells agree, and are wrong.
        case application
        /// A bit flips in a cell in memory: the sums beside it do not know.
        case cell
        /// A bit flips in a file.
        case file
    }

    let kind: Kind
    let node: Int
    let name: NodeID
    /// Of an application or a cell.
    let partition: PartitionID?
    var description: String { "\(name) lies (\(kind))" }

    /// The liar has found its own fault.
    var isConfessed = false
    /// Some pair has found that it differs.
    var isNoticed = false
    /// The liar has forgotten what it would have to recount.
    var isBeyondRecount = false
    /// A cluster-wide audit has shown it.
    var isInAudit = false

    init(_ kind: Kind, _ node: VirtualNode, partition: PartitionID?) {
        self.kind = kind
        self.node = node.index
        name = node.id
        self.partition = partition
    }

    /// An application is seen by a pair first, then confessed; the others by the liar alone.
    var isFound: Bool {
        (isConfessed || isBeyondRecount) && (kind != .application || isNoticed)
    }

    /// - Parameters:
    ///   - forgets: nodes forget what is sealed.
    ///   - canBeOutvoted: there are enough replicas to tell which one is wrong.
    mutating func note(
        _ report: Report, by node: VirtualNode, forgets: Bool, canBeOutvoted: Bool
    ) throws(Violation) {
        switch report {
        case .recountFailed(let found, _) where forgets && found == partition:
            if node.index == self.node, !canBeOutvoted { isBeyondRecount = true }
        case .incident(let peer, let found):
            guard found == partition, node.index == self.node || peer == name else {
                throw Violation("L6", "\(node.id) blames \(peer) in \(found), but \(self)")
            }
            isNoticed = true
        case .damaged:
            guard node.index == self.node else {
                throw Violation("L6", "\(node.id) finds itself damaged, but \(self)")
            }
            isConfessed = true
        case .recounted(let found):
            guard node.index != self.node || found != partition else {
                throw Violation("L6", "\(node.id) believes its own lie")
            }
        default:
            throw Violation("L6", "\(node.id) reports \(report), but \(self)")
        }
    }

    func explains(_ difference: AuditDifference) -> Bool {
        difference.nodes.isEmpty || difference.nodes.contains(name)
    }
}

extension VirtualCluster {
    /// The third phase, of seeds that drew it: one lie, and the time to find it.
    package func lie() throws(Violation) {
        guard swarm.has(.lies), swarm.budget != .beyond, outsider == nil,
            let lie = try makeLie()
        else { return }
        switch lie.kind {
        case .application: checks.hit(.lieApplication)
        case .cell: checks.hit(.lieCell)
        case .file: checks.hit(.lieFile)
        }
        log("\(lie)")
        checks.lie = lie
        trace.note(.nemesis, at: now, node: lie.node)
        let asker = (lie.node + 1) % nodes.count
        let end = now + timeToFind(lie)
        if nemesisRandom.chance(1, in: 2) {
            _ = call(.audit(age: .zero), .audit, SimulatorLimits.auditPatience, through: asker)
        }
        while checks.lie?.isFound != true {
            guard now < end else {
                throw Violation("L6", "\(lie), and nobody finds it in \(timeToFind(lie))")
            }
            try run(until: now + .milliseconds(50))
        }
        // What was wrong is set aside, or replayed; then all are equal again. Of two replicas that
        // cannot recount, nobody knows which.
        if checks.lie?.isConfessed == true { try settle() }
    }

    /// A comparison with each peer in turn, or a turn of the scrubber over memory and every file;
    /// twice, since the first may have begun before; and the work of a recount.
    private func timeToFind(_ lie: Lie) -> Duration {
        let work = swarm.diskLatency * 64 + .seconds(3)
        switch lie.kind {
        case .application: return auditInterval * (2 * nodes.count) + work
        case .cell: return Self.scrubInterval * 2 + work
        case .file:
            // Every other turn is a file's of another kind. Long files are read in steps, each when
            // the node looks at what is to be done, with a pause of thrice what a step took; the
            // one that is damaged is read twice.
            let node = nodes[lie.node]
            let files = 2 * (node.process?.core.tablePaths.count ?? 0)
            let longest = node.disk.contents.values.map(\.count).max() ?? 0
            let steps = 2 + 2 * (longest / Self.verifyStepBytes)
            let turn = Self.scrubInterval + (.milliseconds(100) + swarm.diskLatency * 10) * steps
            return turn * (2 * files + 4) + work
        }
    }

    static var scrubInterval: Duration { .milliseconds(400) }
    static var verifyStepBytes: Int { 16 << 10 }

    private func makeLie() throws(Violation) -> Lie? {
        let node = nemesisRandom.pick(nodes)
        guard let process = node.process else { return nil }
        let start = nemesisRandom.below(3)
        for turn in 0..<3 {
            let made: Lie? =
                switch (start + turn) % 3 {
                case 0: addTwice(node, process)
                case 1: flipCell(node, process)
                default: flipByte(node, process)
                }
            if let made { return made }
        }
        return nil
    }

    private func addTwice(_ node: VirtualNode, _ process: VirtualProcess) -> Lie? {
        guard swarm.replication >= 2 else { return nil }
        let mine = ring.partitions(of: node.id)
        let counted = (checks.final?.members ?? []).filter { number in
            ledger.contents[number].record.slices.contains { mine.contains($0.partition) }
        }
        guard !counted.isEmpty else { return nil }
        let record = ledger.contents[nemesisRandom.pick(counted)].record
        let touched = record.slices.map(\.partition).filter { mine.contains($0) }
        let partition = nemesisRandom.pick(touched)
        guard process.core.applyBehindTheLog(record, in: partition) else { return nil }
        return Lie(.application, node, partition: partition)
    }

    private func flipCell(_ node: VirtualNode, _ process: VirtualProcess) -> Lie? {
        for partition in ring.partitions(of: node.id)
        where process.core.corruptCell(of: partition) {
            return Lie(.cell, node, partition: partition)
        }
        return nil
    }

    private func flipByte(_ node: VirtualNode, _ process: VirtualProcess) -> Lie? {
        let paths = areTablesAtRest(node, process) ? process.core.tablePaths.sorted() : []
        guard !paths.isEmpty else { return nil }
        let path = nemesisRandom.pick(paths)
        guard var bytes = node.disk.contents[path], !bytes.isEmpty else { return nil }
        bytes[nemesisRandom.below(bytes.count)] ^= 1 << UInt8(nemesisRandom.below(8))
        node.disk.overwrite(path, with: bytes)
        log("\(node.id): a bit of \(path) flips")
        return Lie(.file, node, partition: nil)
    }

    /// Neither a compaction nor a flush that asks for one is to come, and nothing expires. What has
    /// been read already, or is kept in memory of a file, would not be read again: the file would
    /// be gone before anyone looks.
    private func areTablesAtRest(_ node: VirtualNode, _ process: VirtualProcess) -> Bool {
        let view = process.core.view(at: clocks(of: node, process))
        let flushesLater = swarm.memtableAgeMax < .seconds(600) || swarm.release != nil
        return swarm.retention == .forever && swarm.coldAfter == nil
            && !process.core.hasCompactionAhead
            && (view.memtableCells == 0 || !flushesLater)
    }

    /// A node ends its process because it found itself wrong; true where it was made so.
    func isConfession(_ reason: String, of node: VirtualNode) -> Bool {
        guard checks.lie?.node == node.index else { return false }
        // A flush that compares its file with the sums finds a flipped cell as well.
        checks.lie?.isConfessed = true
        log("\(node.id) halts: \(reason)")
        return true
    }
}
