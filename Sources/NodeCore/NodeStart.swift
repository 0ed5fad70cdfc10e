package import Core
import Gossip
package import Replication
package import Ring
package import Storage

/// What must have happened on disk before a node's first word: recovery, replay of what no file
/// covers, and a new generation. Blocking; the shell and the simulator call it before they make a
/// `NodeMachine`.
///
/// A directory that is damaged, or that a running node condemned, is set aside whole where the
/// other replicas hold what it held: the node starts empty then, and they restore it. A cold disk
/// that is not there is no damage: the start is refused.
package struct NodeStart: ~Copyable {
    package let ring: RingView
    package let recovered: Recovered
    package let identity: NodeIdentity
    package let runner: StorageRunner
    /// Why the data that was here was set aside; empty where it was not.
    package let quarantined: [String]
    var replay: RecoveredLog

    /// What log and history files say of batches.
    package var batches: BatchIndex { replay.index }

    /// In what another start on the same directory came to something else, by name.
    package borrowing func differences(from other: borrowing NodeStart) -> [String] {
        var found = replay.differences(from: other.replay)
        if recovered.cursor != other.recovered.cursor { found.append("end of the log") }
        if quarantined != other.quarantined { found.append("what was set aside") }
        if damage != other.damage { found.append("damage") }
        return found
    }

    /// Damage that recovery found: the node must not serve from this directory, and has no other
    /// replicas to be restored from.
    package var damage: [String] {
        recovered.damage.map(\.description) + replay.malformed
    }

    /// - Parameters:
    ///   - hostID: drawn by the caller; kept from the first start on.
    ///   - nonce: drawn by the caller for this start.
    ///   - pause: waits a little before what seems to be damaged is looked at once more.
    package init(
        _ configuration: CoreConfiguration, ring: RingView, fileSystem: any FileSystem,
        options: StorageOptions, hostID: UInt128, nonce: UInt64, wall: WallTime,
        pause: () -> Void = {}
    ) throws(StorageError) {
        var options = options
        options.trustsPageCache = configuration.mutants.contains(.pageCacheTrusted)
        options.cutsDamage = configuration.mutants.contains(.damageCut)
        options.hasColdTier = configuration.cold != nil
        let directory = try Self.open(
            configuration, ring, fileSystem, options, pause: pause)
        let stored = directory.recovered.manifest.identity
        var identity = NodeIdentity(
            hostID: stored?.hostID ?? hostID, incarnation: stored?.incarnation ?? .none,
            generation: Generation.next(stored: stored?.generation, now: wall), startNonce: nonce)
        identity.mustRecover = stored?.mustRecover ?? false || !directory.reasons.isEmpty
        let runner = StorageRunner(fileSystem: fileSystem, options: options)
        _ = try runner.run(.commit(ManifestEdit(identity: identity))).get()
        self.ring = ring
        recovered = directory.recovered
        self.identity = identity
        self.runner = runner
        quarantined = directory.reasons
        replay = directory.replay
    }

    /// Opens the directory; sets its data aside first where it cannot be served from.
    private static func open(
        _ configuration: CoreConfiguration, _ ring: RingView, _ fileSystem: any FileSystem,
        _ options: StorageOptions, pause: () -> Void
    ) throws(StorageError) -> Directory {
        let canBeRestored = configuration.canBeRestored(ring)
        var reasons: [String] = []
        if canBeRestored, let sentence = try Quarantine.sentence(in: fileSystem) {
            reasons = [sentence]
        } else {
            do throws(StorageError) {
                let directory = try Directory(configuration, ring, fileSystem, options)
                if directory.damage.isEmpty { return directory }
            } catch {
                guard error.isDamage else { throw error }
            }
            // What is wrong must be so twice: a fault may lie on the way from the disk.
            pause()
            try forgetReads(of: fileSystem)
            do throws(StorageError) {
                // Nor does data go because an index says so.
                var options = options
                options.readsLogIndexes = false
                let directory = try Directory(configuration, ring, fileSystem, options)
                reasons = directory.damage
                if reasons.isEmpty || !canBeRestored { return directory }
            } catch {
                guard error.isDamage, canBeRestored else { throw error }
                reasons = [error.description]
            }
        }
        try requireReadableManifest(fileSystem)
        let remark = try Quarantine.setAside(
            fileSystem, because: reasons.joined(separator: "; "), hasColdTier: options.hasColdTier)
        if let remark { reasons.append(remark) }
        var directory = try Directory(configuration, ring, fileSystem, options)
        directory.reasons = reasons
        return directory
    }

    /// The next reading is from the disk.
    private static func forgetReads(of fileSystem: any FileSystem) throws(StorageError) {
        let directories = [
            FileNames.logDirectory, FileNames.tableDirectory, FileNames.historyDirectory,
        ]
        fileSystem.dropCached(FileNames.manifest)
        let names = try fileSystem.list(".")
        for directory in directories where names.contains(directory) {
            for name in try fileSystem.list(directory) {
                fileSystem.dropCached("\(directory)/\(name)")
            }
        }
    }

    /// A disk that cannot even read the manifest may be on its way out, or back, with all that it
    /// holds: nothing is changed on it. What is wrong with what it does read, it says itself.
    private static func requireReadableManifest(
        _ fileSystem: any FileSystem
    ) throws(StorageError) {
        guard try fileSystem.list(".").contains(FileNames.manifest) else { return }
        do throws(StorageError) {
            _ = try fileSystem.readAll(FileNames.manifest)
        } catch {
            throw .failed(
                operation: "read", path: FileNames.manifest,
                detail: "\(error); nothing was changed: start again once the disk can be read, or "
                    + "with an empty directory, which the other replicas fill")
        }
    }

    /// What one directory holds.
    private struct Directory: ~Copyable {
        let recovered: Recovered
        let replay: RecoveredLog
        /// Why what was here before was set aside.
        var reasons: [String] = []

        var damage: [String] { recovered.damage.map(\.description) + replay.malformed }

        init(
            _ configuration: CoreConfiguration, _ ring: RingView, _ fileSystem: any FileSystem,
            _ options: StorageOptions
        ) throws(StorageError) {
            var replay = RecoveredLog(
                partitions: configuration.partitions,
                mine: ring.partitions(of: configuration.node),
                digestKey: configuration.digestKey, window: configuration.window,
                segmentLength: configuration.segmentLength,
                memtableBytesMax: configuration.memtableBytesMax,
                replaysCovered: configuration.mutants.contains(.replayIgnoresCoverage),
                forgetsCovered: configuration.mutants.contains(.indexLost),
                combinesByXor: configuration.mutants.contains(.xorDigest))
            var hasBegun = false
            let recovered = try Recovery.open(
                fileSystem, options: options, mine: ring.partitions(of: configuration.node)
            ) { husk, manifest in
                if !hasBegun { replay.begin(manifest) }
                hasBegun = true
                replay.take(husk)
            } visit: { record, manifest in
                if !hasBegun { replay.begin(manifest) }
                hasBegun = true
                replay.visit(
                    kind: record.kind, lsn: record.lsn, position: record.position,
                    payload: record.payload, isHead: record.isHead)
            }
            if !hasBegun { replay.begin(recovered.manifest) }
            try replay.replay(after: recovered.manifest.coveredThrough) {
                (position, lsn) throws(StorageError) in
                try LogReader.read(position, expecting: lsn, from: fileSystem).payload
            }
            if let kind = replay.unknownKind {
                throw .newerFormat(
                    path: FileNames.logDirectory, version: UInt16(kind),
                    known: UInt16(LogKind.newest.rawValue))
            }
            self.recovered = recovered
            self.replay = replay
        }
    }
}

extension CoreConfiguration {
    /// Other replicas hold all that this node holds; or an operator said that it may be lost.
    func canBeRestored(_ ring: RingView) -> Bool {
        acceptsLoss || ring.partitions(of: node).allSatisfy { ring.replicas(of: $0).count > 1 }
    }
}

extension CoreConfiguration {
    /// The ring of the first epoch: a pure function of the members, the same on every node.
    package func ring() throws(RingError) -> RingView {
        let members = members.map { RingMember(node: $0.node, dc: $0.dc, rack: $0.rack) }
        return try RingView(
            epoch: 1,
            ownership: Ownership.plan(
                Partitioning(partitions: partitions), previous: nil, members: members,
                replication: replication),
            members: members, replication: replication)
    }
}
