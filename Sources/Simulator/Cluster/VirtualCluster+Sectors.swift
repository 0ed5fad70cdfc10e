import Core
import NodeCore
import Storage

/// Sectors that cannot be read any more, and reads that find a flipped bit once. The first is found
/// and heals from the others as rot does; the second must have no effect at all: no answer, no file
/// and no later event differs from those of a run without it, but that a verification or an index
/// may come later. Planted bugs meet neither, so that
/// their recorded seeds stay the histories that they are.
extension VirtualCluster {
    // MARK: - Unreadable sectors

    /// In the place of rot, where all is such that a disk may lose something. False where it is
    /// rot's turn, or there is no file to strike.
    func loseSector(_ node: VirtualNode) throws(Violation) -> Bool {
        guard mutants.isEmpty, !swarm.without.contains(.unreadable),
            sectorRandom.chance(1, in: SimulatorLimits.unreadableOneIn)
        else { return false }
        let files = closedFiles(of: node)
        if files.isEmpty || sectorRandom.chance(1, in: 3), let place = try rememberedRecord(node) {
            // No running node reads all of its log: the next start does.
            crash(node, "and a sector of its log is lost", keepsCache: true)
            distrust(node)
            let offset = Int(place.offset) + sectorRandom.below(Int(place.length))
            lose(FileNames.log(place.file), at: offset, .log, of: node)
            return true
        }
        guard !files.isEmpty else { return false }
        let (path, rot) = sectorRandom.pick(files)
        let size = node.disk.contents[path]?.count ?? 0
        guard size > 0 else { return false }
        let offset = sectorRandom.below(size)
        let meetsItRunning = sectorRandom.chance(1, in: 2)
        // Until it is found nobody else may be missed: neither where clients are owed an answer,
        // nor where one who comes back needs both others.
        if !meetsItRunning || swarm.budget == .oneNode || swarm.absenceMax != nil {
            crash(node, "and a sector of its disk is lost", keepsCache: true)
            distrust(node)
        }
        lose(path, at: offset, rot, of: node)
        return true
    }

    /// What is never written again. What a cold disk cannot read stays an error until an operator
    /// looks at it, and nothing heals it.
    private func closedFiles(of node: VirtualNode) -> [(path: String, rot: Rot)] {
        guard let core = node.process?.core else { return [] }
        let tables = core.tablePaths.filter { !FileNames.isCold($0) }.sorted()
        let history = core.historyFiles.map(\.path).sorted()
        return tables.map { ($0, .table($0)) } + history.map { ($0, .history($0)) }
    }

    private func lose(_ path: String, at offset: Int, _ rot: Rot, of node: VirtualNode) {
        checks.hit(.sectorUnreadable)
        log("\(node.id): the sector of \(path) with byte \(offset) cannot be read")
        node.rot = rot
        node.disk.makeUnreadable(path, at: offset)
    }

    // MARK: - Misreads

    /// One read of the job or start that follows may go wrong. Not where something is wrong
    /// already: what is looked at twice must not be wrong twice.
    ///
    /// - Parameter work: the job; nil: a start.
    func maybeMisread(_ node: VirtualNode, _ work: StorageJob? = nil) {
        if work?.looksAgain == true, !misreadsThatDelay { return }
        // Of what was found once, the second look decides.
        if case .verify(let verification, _)? = work, verification.isSuspect { return }
        guard mutants.isEmpty, !swarm.without.contains(.misreads), !isHealed,
            misreadRandom.chance(1, in: SimulatorLimits.misreadOneIn)
        else { return }
        // Most jobs read little, a start reads everything.
        let reads = misreadRandom.below(
            misreadRandom.pick([1, 4, SimulatorLimits.misreadReadsMax]))
        let bit = misreadRandom.below(.max)
        guard !node.maySeeRot, !node.isCondemned else { return }
        node.disk.misreadOnce(after: reads, bit: bit)
    }

    /// Whether it did.
    func noteMisread(_ node: VirtualNode, _ work: StorageJob? = nil) {
        guard node.disk.takeMisread() else { return }
        checks.hit(work?.looksAgain == true ? .misreadVerifying : .misread)
        log("\(node.id) misread a bit")
    }
}

extension StorageJob {
    /// After a misread it is later with what it does: a verification takes more steps, and an index
    /// is written the next time.
    fileprivate var looksAgain: Bool {
        switch self {
        case .verify, .indexLog: true
        default: false
        }
    }
}
