import Core
import NodeCore
import Replication
import Storage

/// A node's directory as it was some time ago, and what was known of it then.
struct DiskSnapshot {
    let disk: MemoryFileSystem
    let shadow: DurableShadow
    /// As if all that was written had been synced: the copy shows that as well.
    let image: DurableShadow
    let closed: Segment
    let sealed: Segment
    /// Of the life that was running; its manifest may be one behind.
    let incarnation: Incarnation
}

/// Which file of a disk has changed while nobody looked.
enum Rot: Equatable {
    /// A start sees it, or peers do.
    case log, manifest
    /// Perhaps seen only when it is read.
    case table(String), history(String)

    /// Of a file that a compaction or a merge may replace before anyone sees it.
    var path: String? {
        switch self {
        case .log, .manifest: nil
        case .table(let path), .history(let path): path
        }
    }
}

extension VirtualNode {
    /// A table may have been replaced by a compaction whose edit was on the disk, and whose
    /// completion was not heard of any more: then a start removes it.
    func forgetRotOfUnlisted(_ manifest: ManifestState) {
        forgetRot(unlessListed: manifest.tables.map(\.path) + manifest.history.map(\.path))
    }

    /// - Parameter paths: of the tables and history files that count.
    func forgetRot(unlessListed paths: @autoclosure () -> [String]) {
        guard let path = rot?.path, !paths().contains(path) else { return }
        rot = nil
        droppedRot = path
    }
}

/// Disks that come back as they were long ago, and disks that rot while their node is down.
extension VirtualCluster {
    /// A node keeps its last copies, the oldest first.
    private static var snapshotsMax: Int { 3 }

    /// Copies directories of running nodes now and then, by turns as a careless operator does, and
    /// as the node's own snapshots.
    func takeSnapshots() throws(Violation) {
        guard swarm.has(.oldDisks), !isHealed else { return }
        for node in nodes where !node.isRotten {
            guard let process = node.process, snapshotRandom.chance(1, in: 4) else { continue }
            if node.snapshots.count == Self.snapshotsMax { node.snapshots.removeFirst() }
            var image = node.shadow
            try image.syncAll(ledger)
            snapshotsTaken += 1
            let disk = node.disk.clone()
            node.snapshots.append(
                DiskSnapshot(
                    disk: snapshotsTaken % 2 == 0 ? disk : try ownSnapshot(of: disk),
                    shadow: node.shadow, image: image, closed: node.closed,
                    sealed: node.sealed,
                    incarnation: process.core.view(at: clocks(of: node, process)).incarnation))
        }
    }

    /// What the node itself would have taken, at this moment of its disk.
    private func ownSnapshot(of disk: MemoryFileSystem) throws(Violation) -> MemoryFileSystem {
        disk.clearFaults()
        disk.setCapacity(.max)
        let name = "copy"
        do throws(StorageError) {
            let runner = StorageRunner(fileSystem: disk, options: storageOptions)
            _ = try runner.snapshot(name)
        } catch {
            throw Violation("S10", "no snapshot of a healthy disk: \(error)")
        }
        return disk.image(ofSnapshot: name)
    }

    /// In the budget a disk may lose something only while everybody votes: the union of the others
    /// restores it (design §8).
    var mayLoseData: Bool {
        // One that is left out needs all others.
        let isSomebodyAway = nodes.contains { $0.process?.core.mayBeLeavingOut == true }
        return swarm.replication >= 2 && (swarm.absenceMax == nil || !isSomebodyAway)
            && nodes.allSatisfy {
                $0.isUp && $0.isVoting && !$0.isWiped && !$0.isRotten && !$0.isLeftOut
            }
    }

    /// Puts an earlier directory in the place of the present one.
    func setBack(_ node: VirtualNode) {
        guard mayLoseData,
            let snapshot = node.snapshots.first(where: { isOlder($0, node) })
        else { return }
        crash(node, "and its directory is set back to an earlier copy")
        checks.hit(.oldDisk)
        trace.note(.wipe, at: now, node: node.index)
        node.disk = snapshot.disk.clone()
        node.disk.clearFaults()
        node.disk.setCapacity(.max)
        node.shadow = snapshot.shadow
        node.closed = snapshot.closed
        node.sealed = snapshot.sealed
        distrust(node)
        node.mustRecover = true
    }

    /// Every other disk remembers more of this node than the copy shows: whoever it meets first
    /// notices. (Who heard less would notice nothing, design §13.)
    private func isOlder(_ snapshot: DiskSnapshot, _ node: VirtualNode) -> Bool {
        nodes.allSatisfy { other in
            let standing = other.shadow.standing(of: node.id)
            return other.index == node.index
                || !snapshot.image.reaches(standing, in: snapshot.incarnation)
        }
    }

    /// From now on nothing is expected of this disk until the node votes again.
    func distrust(_ node: VirtualNode) {
        node.isWiped = true
        node.wipedAt = now
        node.isVoting = false
        node.generation = nil
        checks.wipes += 1
    }

    // MARK: - Rot

    /// The process ends, and before it starts again something on its disk changes.
    func rot(_ node: VirtualNode) throws(Violation) {
        guard mayLoseData, try !loseSector(node) else { return }
        let choice = nemesisRandom.below(4)
        let position = choice < 2 ? try rememberedRecord(node) : nil
        let tables = (node.process?.core.tablePaths ?? []).sorted()
        guard choice >= 2 || position != nil else { return }
        guard choice != 2 || !tables.isEmpty else { return }
        guard choice != 3 || isManifestRemembered(node) else { return }
        crash(node, "and its disk rots", keepsCache: true)
        checks.hit(.rot)
        let path = choice == 2 ? nemesisRandom.pick(tables) : FileNames.manifest
        node.rot = choice < 2 ? .log : choice == 2 ? .table(path) : .manifest
        distrust(node)
        switch (choice, position) {
        case (0, let position?):
            let offset = Int(position.offset) + nemesisRandom.below(Int(position.length))
            flip(FileNames.log(position.file), at: offset, of: node)
        case (1, let position?):
            cutOut(position, of: node)
        case (2, _):
            let size = node.disk.contents[path]?.count ?? 0
            if size > 0 { flip(path, at: nemesisRandom.below(size), of: node) }
        default:
            let size = node.disk.contents[path]?.count ?? 0
            if size > 0 { flip(path, at: nemesisRandom.below(size), of: node) }
        }
    }

    /// Every other disk knows of all edits of the manifest on this one: the last would be cut as if
    /// it were torn.
    private func isManifestRemembered(_ node: VirtualNode) -> Bool {
        guard let own = node.process?.core.standing else { return false }
        return nodes.allSatisfy { other in
            let standing = other.shadow.standing(of: node.id)
            return other.index == node.index
                || standing.incarnation == own.incarnation && standing.run == own.run
                    && standing.edits >= own.edits
        }
    }

    /// A record that every other disk knows to be on this one.
    func rememberedRecord(_ node: VirtualNode) throws(Violation) -> LogPosition? {
        var last = LSN(.max)
        for other in nodes where other.index != node.index {
            let standing = other.shadow.standing(of: node.id)
            guard standing.incarnation == node.shadow.incarnation(of: node.id),
                standing.run != 0,
                node.shadow.reaches(standing, in: standing.incarnation)
            else { return nil }
            last = min(last, standing.lsn)
        }
        let copy = node.disk.clone()
        copy.setCapacity(.max)
        var positions: [LogPosition] = []
        do throws(StorageError) {
            _ = try Recovery.open(copy, options: storageOptions) { (record, _) in
                if record.lsn <= last { positions.append(record.position) }
            }
        } catch {
            throw Violation("S10", "\(node.id)'s disk cannot be read before it rots: \(error)")
        }
        // A start does not look at a file in whose place it reads an index.
        let indexed = node.disk.contents.keys.filter { $0.hasSuffix(FileNames.logIndexSuffix) }
        positions.removeAll { indexed.contains(FileNames.logIndex($0.file)) }
        return positions.isEmpty ? nil : nemesisRandom.pick(positions)
    }

    private func flip(_ path: String, at offset: Int, of node: VirtualNode) {
        guard var bytes = node.disk.contents[path], offset < bytes.count else { return }
        bytes[offset] ^= 1 << UInt8(nemesisRandom.below(8))
        log("\(node.id): a bit of \(path) flips at byte \(offset)")
        node.disk.overwrite(path, with: bytes)
    }

    /// A hole: the sectors of a record read as zeroes, or the whole file is gone.
    private func cutOut(_ position: LogPosition, of node: VirtualNode) {
        let path = FileNames.log(position.file)
        guard var bytes = node.disk.contents[path] else { return }
        if nemesisRandom.chance(1, in: 3) {
            log("\(node.id): \(path) is gone")
            node.disk.forget(path)
            return
        }
        let start = Int(position.offset)
        for place in start..<min(bytes.count, start + Int(position.length)) { bytes[place] = 0 }
        log("\(node.id): \(path) has a hole at byte \(start)")
        node.disk.overwrite(path, with: bytes)
    }

    /// A start has set the data aside: only where something was wrong with it.
    func checkQuarantine(
        _ reasons: [String], of node: VirtualNode
    ) throws(Violation) {
        guard !reasons.isEmpty else { return }
        guard node.isRotten || node.isCondemned else {
            throw Violation("S10", "\(node.id) sets healthy data aside: \(reasons)")
        }
        log("\(node.id) sets its data aside: \(reasons[0])")
        checks.hit(.quarantined)
        node.rot = nil
        node.isCondemned = false
        node.mustRecover = false
        node.shadow.wipe()
        node.closed = .first
        node.sealed = .first
        distrust(node)
    }

    /// A node found its data wrong while it ran.
    func condemn(_ reason: String, _ node: VirtualNode) throws(Violation) {
        let confesses = isConfession(reason, of: node)
        guard node.maySeeRot || confesses else {
            throw Violation("L6", "\(node.id) condemns healthy data: \(reason)")
        }
        checks.hit(.condemned)
        crash(node, "since its data is condemned", keepsCache: true)
        do throws(StorageError) {
            try Quarantine.condemn(reason, in: node.disk)
        } catch {
            throw Violation("S10", "\(node.id) cannot be condemned: \(error)")
        }
        node.isCondemned = true
        distrust(node)
    }
}
