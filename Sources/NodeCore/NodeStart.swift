package import Core
import Gossip
import Replication
package import Ring
package import Storage

/// What must have happened on disk before a node's first word: recovery, replay of what no file
/// covers, and a new generation. Blocking; the shell and the simulator call it before they make a
/// `NodeMachine`.
package struct NodeStart: ~Copyable {
    package let ring: RingView
    package let recovered: Recovered
    package let identity: NodeIdentity
    package let runner: StorageRunner
    var replay: RecoveredLog

    /// Damage that recovery found: the node must not serve from this directory.
    package var damage: [String] {
        recovered.damage.map(\.description) + replay.malformed
    }

    /// - Parameters:
    ///   - hostID: drawn by the caller; kept from the first start on.
    ///   - nonce: drawn by the caller for this start.
    package init(
        _ configuration: CoreConfiguration, ring: RingView, fileSystem: any FileSystem,
        options: StorageOptions, hostID: UInt128, nonce: UInt64, wall: WallTime
    ) throws(StorageError) {
        var replay = RecoveredLog(
            partitions: configuration.partitions, mine: ring.partitions(of: configuration.node),
            digestKey: configuration.digestKey, window: configuration.window,
            segmentLength: configuration.segmentLength,
            replaysCovered: configuration.mutants.contains(.replayIgnoresCoverage),
            combinesByXor: configuration.mutants.contains(.xorDigest))
        var options = options
        options.trustsPageCache = configuration.mutants.contains(.pageCacheTrusted)
        var hasBegun = false
        let recovered = try Recovery.open(fileSystem, options: options) { record, manifest in
            if !hasBegun { replay.begin(manifest) }
            hasBegun = true
            replay.visit(
                kind: record.kind, lsn: record.lsn, position: record.position,
                payload: record.payload)
        }
        if !hasBegun { replay.begin(recovered.manifest) }
        try replay.replay(after: recovered.manifest.coveredThrough) {
            (position, lsn) throws(StorageError) in
            try LogReader.read(position, expecting: lsn, from: fileSystem).payload
        }
        let stored = recovered.manifest.identity
        let identity = NodeIdentity(
            hostID: stored?.hostID ?? hostID, incarnation: stored?.incarnation ?? .none,
            generation: Generation.next(stored: stored?.generation, now: wall), startNonce: nonce)
        let runner = StorageRunner(fileSystem: fileSystem, options: options)
        _ = try runner.run(.commit(ManifestEdit(identity: identity))).get()
        self.ring = ring
        self.recovered = recovered
        self.identity = identity
        self.runner = runner
        self.replay = replay
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
