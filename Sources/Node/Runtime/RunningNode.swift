internal import Catalog
internal import Core
internal import Foundation
internal import Ingest
internal import Logging
internal import NIOCore
internal import NodeCore
internal import Replication
internal import Ring
internal import Storage

/// All parts of a node but HTTP, started and connected; and how they are ended.
struct RunningNode: Sendable {
    let runtime: NodeRuntime
    let api: HTTPAPI
    let state: ServingState
    private let transport: PeerTransport
    private let attributes: AttributeService
    private let parking: ParkingService
    private let snapshots: SnapshotService
    private let folds: FoldPool
    /// Held until the last file is closed.
    private let lock: DirectoryLock
    private let diskWatch: OneShot<RepeatedTask>
    private let coldWatch: ColdWatch?
    private let logger: Logger

    /// Starts in the order in which things depend on each other. Nothing is said to anybody before
    /// the new generation is on disk.
    static func open(
        _ configuration: ClusterConfiguration, entry: ClusterConfiguration.NodeEntry,
        directory: String, acceptsLoss: Bool = false, openFiles: FileBounds,
        group: any EventLoopGroup, logger: Logger
    ) async throws -> RunningNode {
        let cold = configuration.coldDirectory(of: entry.node)
        let files = try DirectoryFileSystem.creating(
            root: directory, cold: cold, bounds: openFiles)
        let lock = try DirectoryLock(root: directory)
        try Founding.verify(configuration, directory, files)
        let rules = try rules(
            configuration, files, acceptsLoss: acceptsLoss, at: SystemClock.wall, logger)
        var core = configuration.core(for: entry.node)
        core.acceptsLoss = acceptsLoss
        let ring = try core.ring()
        let options = StorageOptions(
            digestKey: configuration.digestKey, window: configuration.window)
        let began = SystemClock.now
        let start: NodeStart
        do throws(StorageError) {
            start = try NodeStart(
                core, ring: ring, fileSystem: files, options: options, hostID: drawHostID(),
                nonce: .random(in: 1 ... .max), wall: began.wall,
                pause: { Thread.sleep(forTimeInterval: RuntimeLimits.secondLookAfter) })
        } catch {
            guard case .coldTierMissing(let what) = error else { throw error }
            throw NodeStartError.coldDisk(directory: directory, cold: cold, what)
        }
        let damage = start.damage
        guard damage.isEmpty else {
            throw NodeStartError.damaged(directory: directory, damage)
        }
        if let reason = start.quarantined.first {
            let more = start.quarantined.count - 1
            logger.critical(
                """
                the data was set aside in \(directory)/quarantine, the peers restore it: \
                \(reason)\(more > 0 ? " (and \(more) more)" : "")
                """)
        }
        try Founding.keep(configuration, files)
        for remark in start.recovered.remarks { logger.warning("\(remark)") }
        let identity = start.identity
        let recovery = SystemClock.monotonic - began.monotonic
        logger.notice(
            "\(directory) recovered in \(recovery.milliseconds) ms",
            metadata: [
                "generation": "\(identity.generation)",
                "by_index": "\(start.recovered.indexed.count)",
            ])
        return try await assemble(
            configuration, entry, core, consume start, identity, rules, files, lock, directory,
            group, logger)
    }

    private static func assemble(
        _ configuration: ClusterConfiguration, _ entry: ClusterConfiguration.NodeEntry,
        _ core: CoreConfiguration, _ start: consuming sending NodeStart, _ identity: NodeIdentity,
        _ rules: RuleMemory, _ files: DirectoryFileSystem, _ lock: DirectoryLock,
        _ directory: String,
        _ group: any EventLoopGroup, _ logger: Logger
    ) async throws -> RunningNode {
        let ring = start.ring
        let metrics = NodeMetrics()
        let inbox = CoreInbox()
        let mailbox = AttributeMailbox()
        let bridge = PeerBridge(
            inbox: inbox, metrics: metrics, logger: logger,
            onAttributes: { mailbox.deliver($0, from: $1) },
            onTwin: { NodeService.halt("this process must stop: \($0)") })
        let state = ServingState()
        let rules = ruleService(rules, configuration, files, state, logger)
        let transport = PeerTransport(
            identity: PeerIdentity(
                node: entry.node, incarnation: identity.incarnation,
                startNonce: identity.startNonce),
            fingerprint: configuration.fingerprint, rules: rules, group: group,
            seed: .random(in: .min ... .max), logger: logger,
            onFrame: { bridge.received($1, from: $0) },
            onState: { bridge.changed($0, $1) })
        bridge.attach(transport)
        let parking = ParkingService(directory: directory, logger: logger)
        let runtime = NodeRuntime(
            runner: start.runner, peers: bridge, metrics: metrics, logger: logger, inbox: inbox,
            parking: parking,
            onReport: { report in
                if case .voting(let incarnation) = report { transport.setIncarnation(incarnation) }
            },
            onHalt: NodeService.halt,
            onCondemn: { NodeService.condemn($0, files) })
        let store = attributeStore(directory, files)
        let attributes = AttributeService(store, core, bridge, state, metrics, logger)
        mailbox.connect(attributes)
        let snapshots = SnapshotService(
            files: files, runner: start.runner, root: directory,
            databases: databases(store, parking, rules, configuration), logger: logger)
        snapshots.start()
        let folds = foldPool(configuration, core.keyPlacement(ring.partitioning), metrics)
        let free = FreeDisk()
        let disk = DiskWatch(path: directory, reserve: configuration.diskReserve)
        let watch = watchDisk(disk, state, free, inbox, group, logger)
        let coldWatch = coldWatch(configuration, inbox)
        let api = HTTPAPI(
            settings: settings(configuration, core, ring, rules), core: runtime, folds: folds,
            sealer: BatchSealer(producer: drawHostID()),
            attributes: attributes, metrics: metrics, keeper: snapshots,
            state: state,
            gauges: { gauges(runtime, attributes, parking, snapshots, free, coldWatch, files) })
        let writer = LogWriter(fileSystem: files, cursor: start.recovered.cursor)
        let handed = OneShot(start)
        let seed = UInt64.random(in: .min ... .max)
        runtime.start(writer: writer) { effects in
            var start = handed.take()
            return NodeMachine(
                core, start: &start, seed: seed, now: SystemClock.now, into: &effects)
        }
        let port = try await transport.bind(to: entry.peer)
        logger.notice("peers are listened to on \(entry.peer.host):\(port)")
        transport.connect(to: configuration.peers(of: entry.node))
        attributes.start()
        return RunningNode(
            runtime: runtime, api: api, state: state, transport: transport,
            attributes: attributes, parking: parking, snapshots: snapshots, folds: folds,
            lock: lock, diskWatch: OneShot(watch), coldWatch: coldWatch, logger: logger)
    }

    /// Ends what `open` started. `flush`: there is time to write the memtable to files, so that the
    /// next start has little to replay.
    func close(flush: Bool) async {
        if flush {
            let deadline = SystemClock.monotonic + NodeService.flushMax
            if case .failed(let failure) = await runtime.request(.flush, deadline: deadline) {
                logger.warning("not flushed, the next start replays the log: \(failure)")
            }
        }
        diskWatch.take().cancel()
        coldWatch?.stop()
        await runtime.leave()
        let deadline = SystemClock.monotonic + NodeService.closeMax
        await withCheckedContinuation { continuation in
            NamedThread.start("stop") { [self] in
                folds.stop(by: deadline)
                snapshots.stop(by: deadline)
                runtime.stop(by: deadline)
                parking.stop(by: deadline)
                // Last, since it may take longest: what is counted is closed by now.
                attributes.stop(by: deadline)
                continuation.resume()
            }
        }
        await transport.shutDown()
        withExtendedLifetime(lock) {}
    }

    // MARK: - Parts

    private static func foldPool(
        _ configuration: ClusterConfiguration, _ placement: KeyPlacement, _ metrics: NodeMetrics
    ) -> FoldPool {
        FoldPool(
            threads: max(1, System.coreCount),
            rules: configuration.ruleTable, placement: placement, metrics: metrics)
    }

    private static func settings(
        _ configuration: ClusterConfiguration, _ core: CoreConfiguration, _ ring: RingView,
        _ rules: RuleService
    ) -> HTTPSettings {
        var settings = HTTPSettings(
            node: core.node, clusterName: configuration.clusterName, version: Release.version,
            window: configuration.window, requestTimeout: configuration.requestTimeout,
            horizon: configuration.horizon, rules: configuration.ruleTable, ring: ring,
            placement: core.keyPlacement(ring.partitioning), replication: core.replication,
            members: core.members, startedAt: SystemClock.now)
        settings.ruleNotices = { rules.notices }
        settings.parksAny = core.parking.bytesMax > 0
        return settings
    }

    private static func gauges(
        _ runtime: NodeRuntime, _ attributes: AttributeService, _ parking: ParkingService,
        _ snapshots: SnapshotService, _ free: FreeDisk, _ cold: ColdWatch?,
        _ files: DirectoryFileSystem
    ) -> MetricGauges {
        var gauges = MetricGauges()
        gauges.inboxWaiting = runtime.inbox.waiting
        gauges.requestsWaiting = runtime.replies.count
        gauges.storageJobsWaiting = runtime.storageJobsWaiting
        gauges.catalogJobsWaiting = attributes.waiting
        gauges.attributes = attributes.gauges
        gauges.parkingJobsWaiting = parking.waiting
        gauges.queues = runtime.queues + attributes.queues + [parking.queue, snapshots.queue]
        gauges.logBacklogBytes = runtime.log.backlog
        gauges.diskFreeBytes = free.bytes
        gauges.process = ProcessUse.now
        gauges.coldDiskFreeBytes = cold?.free.bytes
        gauges.openFiles = files.openFiles
        return gauges
    }

    private static func drawHostID() -> UInt128 {
        UInt128(UInt64.random(in: .min ... .max)) << 64 | UInt128(UInt64.random(in: .min ... .max))
    }

    private static func attributeStore(
        _ directory: String, _ files: DirectoryFileSystem
    ) -> AttributeStore {
        AttributeStore(
            file: "\(directory)/\(NodeFiles.catalog)", files: files, now: SystemClock.monotonic
        ) { .random(in: 1 ... .max) }
    }

    private static func databases(
        _ store: AttributeStore, _ parking: ParkingService, _ rules: RuleService,
        _ configuration: ClusterConfiguration
    ) -> [SnapshotService.Database] {
        // Where it cannot be read the copy and the peers have it: a snapshot of the counts is worth
        // more than none.
        let attributes = SnapshotService.Database(
            NodeFiles.catalog, isLeftOut: { store.catalog == nil }
        ) { try store.opened().copy(to: $0) }
        // Without later versions there is nothing that a node could not know again.
        let remembered = SnapshotService.Database(file: NodeFiles.rules) {
            try rules.memory.store(in: $0)
        }
        let founding = SnapshotService.Database(file: NodeFiles.cluster) {
            try Founding.store(configuration, in: $0)
        }
        return [
            attributes, parking.database, rules.notices.isEmpty ? nil : remembered, founding,
        ].compactMap { $0 }
    }

    private static func coldWatch(
        _ configuration: ClusterConfiguration, _ inbox: CoreInbox
    ) -> ColdWatch? {
        configuration.coldDirectory.map { path in
            ColdWatch(DiskWatch(path: path, reserve: configuration.diskReserve)) { spare in
                inbox.post(.input(.coldDisk(spare: spare)))
            }
        }
    }

    private static func watchDisk(
        _ disk: DiskWatch, _ state: ServingState, _ free: FreeDisk, _ inbox: CoreInbox,
        _ group: any EventLoopGroup, _ logger: Logger
    ) -> RepeatedTask {
        let watch = Monitor(disk)
        return group.next().scheduleRepeatedTask(
            initialDelay: .zero, delay: .milliseconds(500)
        ) { _ in
            let reason = watch.withLock { watch in
                watch.free.map { bytes in
                    free.bytes = Int(clamping: bytes)
                    return watch.judge(free: bytes)
                }
            }
            guard let reason else { return }
            if reason != nil, state.readOnlyReason == nil {
                logger.error("read-only: \(reason ?? "")")
            }
            if reason == nil, state.readOnlyReason != nil {
                logger.notice("writes are taken again")
            }
            // Repeated, since compactions are as large as there is room.
            let spare = watch.withLock { $0.spare(of: UInt64(free.bytes)) }
            inbox.post(.input(.disk(hasRoom: reason == nil, spare: spare)))
            state.setReadOnly(reason)
        }
    }
}

extension AttributeService {
    fileprivate convenience init(
        _ store: AttributeStore, _ core: CoreConfiguration, _ bridge: PeerBridge,
        _ state: ServingState, _ metrics: NodeMetrics, _ logger: Logger
    ) {
        self.init(
            store: store, peers: core.members.map(\.node).filter { $0 != core.node },
            metrics: metrics, logger: logger, hasRoom: { state.readOnlyReason == nil },
            send: { bridge.send($0, to: $1) })
    }
}

extension ClusterConfiguration {
    /// What the core is told of this file.
    func core(for node: NodeID) -> CoreConfiguration {
        var core = CoreConfiguration(
            node: node, clusterName: clusterName,
            members: nodes.map { entry in
                CoreConfiguration.Member(
                    node: entry.node, http: entry.http.description,
                    peer: entry.peer.description, dc: entry.dc, rack: entry.rack)
            },
            partitions: partitions, replication: replicationFactor, digestKey: digestKey)
        core.window = window
        core.placement = placement
        core.gossipInterval = gossipInterval
        core.requestTimeout = requestTimeout
        core.horizon = horizon
        core.retention = retentionPolicy
        core.cold = coldDirectory.map { _ in ColdPolicy(after: coldAfter) }
        core.outcomeRetention = batchStatusRetention
        core.absenceMax = absenceLimit
        core.memtableBytesMax = memtableSize
        core.memtableAgeMax = memtableFlushAge
        core.compactionShare = compactionShare
        core.parking.bytesMax = parkedSizeMax
        core.letterBytesMax = deadLettersSizeMax.map { UInt64($0) }
        return core
    }
}
