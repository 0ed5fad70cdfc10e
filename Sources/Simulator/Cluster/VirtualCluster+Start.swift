import Core
import Gossip
import NodeCore
import Replication
import Ring
import Storage

/// The start of a node through `NodeStart`, as the real shell does it, with a crash in the middle
/// now and then.
extension VirtualCluster {
    /// First of all events: every node starts, at nearly the same time.
    package func begin() {
        for node in nodes {
            put(
                .restart(node: node.index),
                after: startRandom.duration(below: .milliseconds(300)))
        }
        beginWorkload()
        put(.inspect, after: .milliseconds(400))
        put(.strike, after: swarm.faultInterval)
        if swarm.wipesLate {
            let half = swarm.chaos / 2
            put(.wipeLate, after: half + historyRandom.duration(below: half))
        }
        if swarm.faults.contains(.catastrophe) {
            let half = swarm.chaos / 2
            put(.catastrophe, after: half / 2 + catastropheRandom.duration(below: half))
        }
    }

    var storageOptions: StorageOptions {
        var options = StorageOptions(
            digestKey: Self.digestKey, window: swarm.window, logFileMax: swarm.logFileMax)
        options.hasColdTier = swarm.coldAfter != nil
        return options
    }

    func start(_ node: VirtualNode) throws(Violation) {
        guard !node.isUp, !node.isGone else { return }
        trace.note(.start, at: now, node: node.index)
        // Nothing from before reads any more, and its name may be given anew.
        node.droppedRot = nil
        let wasSetAside = try isSentenceCarriedOut(on: node)
        bendIndex(of: node)
        let isTorn = tearsNext(node, 1, in: 6)
        if isTorn { failSoon(node, within: 40) } else { maybeMisread(node) }
        maybeFailSync(node, 1, in: 10)
        let opened: NodeStart
        do throws(StorageError) {
            opened = try NodeStart(
                configuration(of: node), ring: ring, fileSystem: node.disk,
                options: storageOptions, hostID: UInt128(startRandom.next()),
                nonce: startRandom.next(), wall: wall + node.skew)
        } catch {
            noteMisread(node)
            if !isTorn, isExcused(error, node) {
                // The error is clean: the process is gone, and a later start finds the same.
                log("\(node.id) cannot start: \(error)")
                node.disk = node.disk.clone()
                node.disk.clearFaults()
                put(.restart(node: node.index), after: .milliseconds(50 + nemesisRandom.below(500)))
                return
            }
            guard isTorn else { throw Violation("S10", "\(node.id) cannot start: \(error)") }
            tearDown(node)
            return
        }
        noteMisread(node)
        node.disk.clearFaults()
        guard !isTorn else {
            tearDown(node)
            return
        }
        guard opened.damage.isEmpty else {
            throw Violation("S10", "\(node.id) finds damage: \(opened.damage)")
        }
        let unsaid = wasSetAside ? ["a start that crashed did so"] : []
        try checkQuarantine(opened.quarantined + unsaid, of: node)
        node.forgetRotOfUnlisted(opened.recovered.manifest)
        // Its last edit may be gone, and what it forgot with it be known again.
        if node.rot == .manifest { node.shadow.remembersAgain() }
        try noteForgotten(opened.recovered.manifest, of: node)
        try checkIndexes(opened, of: node)
        try checkRecovery(node)
        try checkUnmounted(opened.recovered.manifest, of: node)
        // What a start lets pass of a log or a manifest, it has cut; what it lacks, peers tell.
        if node.rot == .log || node.rot == .manifest { node.rot = nil }
        try checkGeneration(opened.identity.generation, of: node)
        try launch(node, opened)
    }

    /// A start set the condemned data aside, and crashed before it could say so.
    private func isSentenceCarriedOut(on node: VirtualNode) throws(Violation) -> Bool {
        guard node.isCondemned else { return false }
        do throws(StorageError) {
            return try Quarantine.sentence(in: node.disk) == nil
        } catch {
            throw Violation("S10", "what \(node.id) is condemned for cannot be read: \(error)")
        }
    }

    private func isExcused(_ error: StorageError, _ node: VirtualNode) -> Bool {
        switch error {
        case .diskFull: return node.disk.isLimited
        case .syncFailed:
            checks.hit(.failedSync)
            failPowerSoon(node)
            return node.disk.failedSyncs > 0
        case .failed, .notFound, .writerDead, .damaged, .newerFormat, .locked, .digestMismatch,
            .coldTierMissing, .scanTooLarge:
            return false
        }
    }

    /// The process dies while it starts.
    private func tearDown(_ node: VirtualNode) {
        log("\(node.id) crashes while it starts")
        checks.hit(.tornStart)
        loseDisk(node, isPowerCut: true)
        put(.restart(node: node.index), after: .milliseconds(20 + nemesisRandom.below(500)))
    }

    private func launch(
        _ node: VirtualNode, _ opened: consuming NodeStart
    ) throws(Violation) {
        nextInstance += 1
        var opened = opened
        let cursor = opened.recovered.cursor
        let runner = opened.runner
        let generation = opened.identity.generation
        let offset = Duration.seconds(Int64(startRandom.below(1_000_000)))
        let clocks = Now(monotonic: now + offset, wall: wall + node.skew)
        var effects: [Effect] = []
        let core = NodeMachine(
            configuration(of: node), start: &opened, seed: startRandom.next(), now: clocks,
            into: &effects)
        let writer = LogWriter(
            fileSystem: node.disk, cursor: cursor, retriesSync: mutants.contains(.fsyncRetried))
        let process = VirtualProcess(
            instance: nextInstance, core: core, log: VirtualLog(writer: writer), runner: runner,
            clockOffset: offset, nodes: nodes.count)
        node.process = process
        log("\(node.id) starts, generation \(generation)")
        connectAll(node, process)
        if swarm.has(.diskFull) {
            put(.watchDisk, to: node.index, process.instance, after: .milliseconds(5))
        }
        // What a node says before it has settled what its log left open is where mistakes would
        // show.
        for _ in 0..<6 {
            put(.probe(node: node.index), after: startRandom.duration(below: .milliseconds(600)))
        }
        try carryOut(effects, node, process)
    }

    func configuration(of node: VirtualNode) -> CoreConfiguration {
        let members = nodes.map {
            CoreConfiguration.Member(
                node: $0.id, http: "\($0.id):80", peer: "\($0.id):70", dc: "dc1",
                rack: "r\($0.index + 1)")
        }
        var configuration = CoreConfiguration(
            node: node.id, clusterName: "simulation", members: members,
            partitions: swarm.partitions, replication: .everywhere(swarm.replication),
            digestKey: Self.digestKey)
        configuration.gossipInterval = swarm.gossipInterval
        configuration.placement = swarm.placement
        configuration.window = swarm.window
        configuration.requestTimeout = swarm.requestTimeout
        configuration.horizon = swarm.horizon
        configuration.segmentLength = swarm.segmentLength
        configuration.clockSkewMax = swarm.clockSkewMax
        configuration.closeInterval = swarm.closeInterval
        configuration.memtableBytesMax = swarm.memtableBytesMax
        configuration.memtableAgeMax = swarm.memtableAgeMax
        configuration.compaction = swarm.compaction
        configuration.compactionStepBytes = swarm.compactionStepBytes
        configuration.compactionShare = swarm.compactionShare
        configuration.compactionRestAge = swarm.compactionRestAge
        // Small flushes and small portions: everything is done in pieces.
        configuration.applyCellsMax = swarm.memtableBytesMax <= 8 << 10 ? 1 : 1024
        if swarm.memtableBytesMax <= 8 << 10 { configuration.settleBytesMax = 1 }
        if swarm.memtableBytesMax <= 8 << 10 { configuration.scanBytesMax = 1 }
        // Some files are read in one step, some in several.
        if swarm.memtableBytesMax <= 8 << 10 {
            configuration.verifyStepBytes = Self.verifyStepBytes
        }
        // A flush takes so little time here that hardly a batch comes in meanwhile.
        if swarm.memtableBytesMax <= 2 << 10 { configuration.memtablesBehindMax = 0 }
        configuration.driveAfter = swarm.driveAfter
        configuration.catchUpInterval = swarm.catchUpInterval
        configuration.catchUpAge = swarm.catchUpAge
        configuration.vouchInterval = swarm.catchUpInterval / 2
        configuration.readAttemptTimeout = swarm.readAttemptTimeout
        configuration.auditInterval = auditInterval
        configuration.scrubInterval = Self.scrubInterval
        configuration.forgetSegmentsMin = swarm.forgetSegmentsMin
        configuration.release = swarm.release
        configuration.logIndex = swarm.logIndex
        configuration.letterSweepInterval = swarm.letterSweepInterval
        configuration.letterSweepPartMin = .max
        configuration.retention = swarm.retention
        configuration.cold = swarm.coldAfter.map { ColdPolicy(after: $0) }
        configuration.absenceMax = swarm.absenceMax
        configuration.parking = swarm.parking
        configuration.sessionsMax = swarm.sessionsMax
        configuration.mutants = mutants
        return configuration
    }

    /// S10: without its cold disk the start would have been refused, and all be as it was.
    private func checkUnmounted(
        _ manifest: ManifestState, of node: VirtualNode
    ) throws(Violation) {
        guard manifest.tables.contains(where: { $0.location == .cold }) else { return }
        let bare = node.disk.clone()
        for path in bare.contents.keys where FileNames.isCold(path) { bare.forget(path) }
        let before = bare.contents
        do throws(StorageError) {
            _ = try Recovery.open(bare, options: storageOptions) { (_, _) in }
        } catch {
            guard case .coldTierMissing = error, bare.contents == before else {
                throw Violation("S10", "\(node.id) without its cold disk: \(error)")
            }
            return
        }
        throw Violation("S10", "\(node.id) starts without its cold disk")
    }

    /// S10: what the disk held is still there, and recovering twice leaves the same bytes.
    private func checkRecovery(_ node: VirtualNode) throws(Violation) {
        let copy = node.disk.clone()
        // That a start needs room is not the question here.
        copy.setCapacity(.max)
        var records: [DurableShadow.Record] = []
        // What the log itself says.
        var options = storageOptions
        options.readsLogIndexes = false
        do throws(StorageError) {
            _ = try Recovery.open(copy, options: options) { (record, _) in
                records.append(
                    .init(kind: record.kind, lsn: record.lsn, payload: record.payload))
            }
        } catch {
            throw Violation("S10", "\(node.id) cannot recover a second time: \(error)")
        }
        let before = node.disk.contents.sorted { $0.key < $1.key }
        let after = copy.contents.sorted { $0.key < $1.key }
        guard before.map(\.key) == after.map(\.key), before.map(\.value) == after.map(\.value)
        else { throw Violation("S10", "\(node.id) recovers to other bytes the second time") }
        try node.shadow.restart(records, ledger, mayLack: node.isRotten)
    }
}
