internal import Core
internal import Gossip
internal import Ingest
internal import NodeCore
internal import Replication
internal import Ring

/// What the node knows of itself, of the others and of the ring.
extension HTTPAPI {
    private func view() async throws(Problem) -> NodeView {
        guard let view = await core.view() else {
            throw RequestFailure.notReady("the node is shutting down").problem(consistency: nil)
        }
        return view
    }

    private func viewing(_ call: HTTPCall) async throws(Problem) -> NodeView {
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: [])
        return try await view()
    }

    func cluster(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        let view = try await viewing(call)
        return .json { json in
            json.field("cluster", view.clusterName)
            json.field("epoch", view.ring.epoch)
            json.field("as_seen_by", view.node.name)
            json.field(
                "nodes",
                array: { json in
                    for member in view.members {
                        json.object { HTTPAPI.write(member, of: view, to: &$0) }
                    }
                })
        }
    }

    private static func write(
        _ member: NodeView.Member, of view: NodeView, to json: inout JSONWriter
    ) {
        json.field("name", member.node.name)
        json.field("state", state(member))
        json.field("http", member.http)
        json.field("peer", member.peer)
        json.key("load")
        if let load = load(member, of: view) { json.number(load) } else { json.null() }
        json.key("owns")
        json.raw(DecimalValue.text(millionths: Int128((member.owns * 1_000_000).rounded())))
        json.field("host_id", member.hostID)
        json.field("dc", member.dc)
        json.field("rack", member.rack)
        json.key("generation")
        if let generation = member.generation { json.number(generation) } else { json.null() }
        json.key("phi")
        if let phi = member.phi {
            json.raw(DecimalValue.text(millionths: Int128(phi) * 1000))
        } else {
            json.null()
        }
        json.field("voting", member.isVoting)
    }

    /// nodetool's two letters: up or down; normal, recovering, joining, leaving.
    private static func state(_ member: NodeView.Member) -> String {
        let letter =
            switch member.status {
            case .normal?, .shutdown?, nil: "N"
            case .recovering?: "R"
            case .joining?: "J"
            case .leaving?, .left?: "L"
            }
        return (member.isUp ? "U" : "D") + letter
    }

    /// Bytes in files and memory: this node's own as it knows them, the others' as they told.
    private static func load(_ member: NodeView.Member, of view: NodeView) -> UInt64? {
        if member.node == view.node { return view.load }
        return member.values.first { $0.key == "LOAD" }.flatMap { UInt64($0.value) }
    }

    func gossip(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        let view = try await viewing(call)
        return .json { json in
            json.field("as_seen_by", view.node.name)
            json.field(
                "nodes",
                array: { json in
                    for member in view.members {
                        json.object { json in
                            json.field("name", member.node.name)
                            json.field("generation", "\(member.generation ?? 0)")
                            json.field("heartbeat", "\(member.heartbeat ?? 0)")
                            for value in member.values { json.field(value.key, value.value) }
                        }
                    }
                })
        }
    }

    func info(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        let view = try await viewing(call)
        let uptime = clock().monotonic - settings.startedAt.monotonic
        let own = view.members.first { $0.node == view.node }
        return .json { json in
            json.field("name", view.node.name)
            json.field("cluster", view.clusterName)
            json.field("version", settings.version)
            json.field("host_id", own?.hostID)
            json.field("incarnation", view.incarnation.number)
            json.field("generation", own?.generation ?? 0)
            json.field("voting", own?.isVoting ?? false)
            json.field("ready", view.notReady.isEmpty)
            json.field("reasons", strings: view.notReady)
            json.field("uptime_seconds", uptime.milliseconds / 1000)
            json.field("load", view.tableBytes)
            json.field("tables", view.tables)
            json.field("table_cells", view.tableCells)
            json.field("memtable_bytes", view.memtableBytes)
            json.field("memtable_cells", view.memtableCells)
            json.field("batches", view.batches)
            json.field("in_doubt", view.inDoubt)
            json.field("unfinished", view.unfinished)
            json.field("dead_letter_bytes", view.letterBytes)
            json.key("dead_letter_bytes_max")
            if let max = view.letterRoom.max { json.number(max) } else { json.null() }
            json.field("dead_letters_full", view.letterRoom.isFull)
            json.field("log_lsn", view.logLast.number)
            json.field("log_synced", view.logSynced.number)
            json.field("writes", view.counters.writes)
            json.field("reads", view.counters.reads)
            json.field("healed", view.counters.healed)
            json.field("compactions", view.counters.compactions)
            json.field("conflicts", view.counters.conflicts)
            json.field("window_ms", settings.window.milliseconds)
            json.field("horizon_ms", settings.horizon.milliseconds)
            let now = clock().wall
            json.field("rule_version", settings.rules.rules(at: now).version.number)
            json.field(
                "rules",
                array: { json in
                    for version in ruleVersions { json.object { write(version, at: now, to: &$0) } }
                })
        }
    }

    private typealias ShownVersion = (from: WallTime?, rules: FoldRules, standing: RuleStanding?)

    private var ruleVersions: [ShownVersion] {
        let notices = settings.ruleNotices()
        return settings.rules.versions.enumerated().map { index, version in
            (
                version.from, version.rules,
                notices.indices.contains(index - 1) ? notices[index - 1].standing : nil
            )
        }
    }

    private func write(_ shown: ShownVersion, at now: WallTime, to json: inout JSONWriter) {
        let holding = settings.rules.rules(at: now).version
        json.field("version", shown.rules.version.number)
        json.field("from", shown.from.map { TimeText.format($0) })
        json.field("future_limit_ms", shown.rules.futureLimit.milliseconds)
        json.key("lateness_ms")
        if let lateness = shown.rules.lateness {
            json.number(lateness.milliseconds)
        } else {
            json.null()
        }
        let version = shown.rules.version
        json.field("state", version == holding ? "holds" : version < holding ? "past" : "ahead")
        json.field("standing", shown.standing?.name)
    }

    func ring(_ call: HTTPCall) throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: [])
        return .json { json in
            json.field("partitions", partitioning.count)
            json.key("replication_factor")
            switch settings.replication {
            case .everywhere(let factor):
                json.number(factor)
            case .perDataCentre(let factors):
                json.object { json in
                    for (name, factor) in factors.sorted(by: { $0.key < $1.key }) {
                        json.field(name, factor)
                    }
                }
            }
            json.field("owners", strings: settings.ring.owners.map(\.name))
            json.field("placement", placement.rule.rawValue)
        }
    }

    func endpoints(_ call: HTTPCall, key: String) throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: ["at"])
        let now = clock().wall
        let time = try call.query.time("at", now: now)
        let isByDay = placement.rule == .keyAndDay
        guard isByDay || time == nil else {
            throw .badRequest(
                "at: leave it out; placement is key, so all days of a key have the same replicas")
        }
        let window = settings.window.window(of: time ?? now)
        let token = try self.key(key).withUnsafeBytes {
            placement.token(of: $0, window: window)
        }
        let partition = partitioning.partition(of: token)
        return .json { json in
            if isByDay { json.field("day", TimeText.day(settings.window.start(of: window))) }
            // A string: 64-bit tokens do not survive the numbers of JavaScript.
            json.field("token", "\(token.value)")
            json.field("partition", partition.index)
            json.field("replicas", strings: settings.ring.replicas(of: partition).map(\.name))
        }
    }

    func partitions(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        let view = try await viewing(call)
        return .json { json in
            json.field(
                "items",
                array: { json in
                    for partition in view.ring.partitioning.all {
                        let replicas = view.ring.replicas(of: partition)
                        json.object { json in
                            json.field("partition", partition.index)
                            json.field("owner", view.ring.owner(of: partition).name)
                            json.field("replicas", strings: replicas.map(\.name))
                            json.field("here", replicas.contains(view.node))
                            let end = view.ring.partitioning.end(of: partition)
                            json.field("end", "\(end.value)")
                        }
                    }
                })
            json.field("next", nil as String?)
        }
    }

    // MARK: - Maintenance

    func flush(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["POST"])
        try call.query.expect(only: [])
        try await flushed()
        return .json { $0.field("flushed", true) }
    }

    /// Returns when what was in memory is in files.
    func flushed() async throws(Problem) {
        switch await core.request(.flush, deadline: clock().monotonic + HTTPLimits.flushWaitMax) {
        case .flushed: return
        case .failed(let failure): throw failure.problem(consistency: nil)
        case .write, .status, .read, .compacted, .verified, .parked, .audit: throw .unexpectedAnswer
        }
    }

    /// What comes before a planned stop: no more batches from clients, and what is in memory goes
    /// to files, so that the next start has little to replay.
    func drain(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["POST"])
        try call.query.expect(only: [])
        state.setDrained()
        try await flushed()
        return .json { $0.field("drained", true) }
    }

    /// Answers when each time bucket has one table, or with 202 where that takes longer.
    func compact(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["POST"])
        try call.query.expect(only: [])
        let deadline = clock().monotonic + HTTPLimits.compactionWaitMax
        switch await core.request(.compact, deadline: deadline) {
        case .compacted(let isDone):
            let view = await core.view()
            return .json(status: isDone ? 200 : 202) { json in
                json.field("compacted", isDone)
                json.field("tables", view?.tables ?? 0)
                json.field("table_bytes", view?.tableBytes ?? 0)
                json.field("table_cells", view?.tableCells ?? 0)
            }
        case .failed(let failure): throw failure.problem(consistency: nil)
        case .write, .status, .read, .flushed, .verified, .parked, .audit: throw .unexpectedAnswer
        }
    }

    // MARK: - For balancers and Prometheus

    func ready(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        let reasons =
            (await core.view().map(\.notReady) ?? ["the node is shutting down"]) + state.reasons
        return .json(status: reasons.isEmpty ? 200 : 503) { json in
            json.field("ready", reasons.isEmpty)
            json.field("reasons", strings: reasons)
        }
    }

    func metricsText(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        var gauges = self.gauges()
        gauges.bodiesBytes = bodies.inUse
        gauges.foldsWaiting = folds.waiting
        gauges.queues += folds.meters.map(\.reading) + [admission.reading, bodies.reading]
        gauges.uptimeSeconds =
            Int((clock().monotonic - settings.startedAt.monotonic).milliseconds / 1000)
        if let view = await core.view() {
            gauges.isReady = view.notReady.isEmpty && state.reasons.isEmpty
            gauges.isVoting = view.members.first { $0.node == view.node }?.isVoting ?? false
            gauges.peers = view.members.map { ($0.node.name, $0.isUp) }
            gauges.core =
                HTTPAPI.coreGauges(view) + HTTPAPI.tableGauges(view) + HTTPAPI.logGauges(view)
            gauges.audit = HTTPAPI.auditGauges(view)
            gauges.addReads(view.counters)
            gauges.addCompactions(view.counters, view.space)
            gauges.addScrub(view)
            gauges.addLetters(view)
            gauges.addMemory(view)
        }
        return .text(metrics.text(gauges), type: "text/plain; version=0.0.4; charset=utf-8")
    }

    /// 0 while there is none.
    private static func mark(_ segment: Segment) -> Int {
        Int(max(0, segment.number))
    }

    private static func auditGauges(_ view: NodeView) -> AuditGauges {
        AuditGauges(
            partitionsApart: view.audit.peers.map { ($0.node.name, $0.partitionsApart) },
            batchesBehind: view.audit.peers.map {
                ($0.node.name, Int(clamping: $0.batchesBehind))
            },
            lastCleanSeconds: Int(clamping: (view.audit.lastClean?.milliseconds ?? 0) / 1000),
            comparisons: view.counters.comparisons, healed: view.counters.healed,
            incidents: view.counters.incidents, divergences: view.counters.divergences,
            damaged: view.counters.damaged, unverified: view.counters.unverified)
    }

    private static func coreGauges(
        _ view: NodeView
    ) -> [(name: String, help: String, value: Int)] {
        [
            ("quipu_memtable_bytes", "Bytes not yet in files.", view.memtableBytes),
            ("quipu_memtable_cells", "Cells not yet in files.", view.memtableCells),
            ("quipu_batches_known", "Ids in the applied index.", view.batches),
            (
                "quipu_index_bytes", "Memory of the applied index and its digests.",
                view.indexMemory.total
            ),
            ("quipu_batches_in_doubt", "Held and not known to be bound.", view.inDoubt),
            ("quipu_batches_unfinished", "Bound and not applied everywhere.", view.unfinished),
            ("quipu_pending_bytes", "Records between bind and apply.", view.pendingBytes),
            (
                "quipu_read_only", "1 where the disk is nearly full and nothing new is taken.",
                view.hasDiskRoom ? 0 : 1
            ),
            (
                "quipu_clock_trusted", "1 where most peers' clocks agree with this node's.",
                view.clockDoubt == nil ? 1 : 0
            ),
            ("quipu_sessions", "Writes, reads and syncs under way.", view.sessions),
            (
                "quipu_frozen_segment", "No new batch is taken before it.",
                mark(view.watermarks.frozen)
            ),
            (
                "quipu_closed_segment", "This node's homes decided all before it.",
                mark(view.watermarks.closed)
            ),
            (
                "quipu_sealed_segment", "All replicas hold the same before it.",
                mark(view.watermarks.sealed)
            ),
            ("quipu_left_out_members", "Members that segments close without.", view.leftOut.count),
            ("quipu_frontier_segment", "All homes decided all before it.", mark(view.frontier)),
            ("quipu_parked_batches", "Batches parked here.", view.parkedBatches),
            ("quipu_parked_bytes", "Bytes of batches parked here.", view.parkedBytes),
            (
                "quipu_parked_counted", "Parked batches counted since the start.",
                Int(clamping: view.counters.parkedCounted)
            ),
            (
                "quipu_parked_refused",
                "Parked batches finally not counted, for another content of their id.",
                Int(clamping: view.counters.parkedRefused)
            ),
            (
                "quipu_parked_renewed", "Parked batches sealed anew since the start.",
                Int(clamping: view.counters.parkedRenewed)
            ),
            (
                "quipu_syncs", "Comparisons with peers since the start.",
                Int(clamping: view.counters.syncs)
            ),
            (
                "quipu_healed", "Batches that a comparison brought here since the start.",
                Int(clamping: view.counters.healed)
            ),
        ]
    }

    private static func tableGauges(
        _ view: NodeView
    ) -> [(name: String, help: String, value: Int)] {
        [
            ("quipu_tables", "Table files.", view.tables),
            ("quipu_table_bytes", "Bytes of table files.", Int(clamping: view.tableBytes)),
            ("quipu_cold_tables", "Of quipu_tables, on the cold disk.", view.coldTables),
            (
                "quipu_cold_table_bytes", "Of quipu_table_bytes, on the cold disk.",
                Int(clamping: view.coldTableBytes)
            ),
            (
                "quipu_table_index_bytes", "Memory of the indexes and filters of table files.",
                view.tableIndexBytes
            ),
            ("quipu_table_cells", "Cells in table files.", Int(clamping: view.tableCells)),
        ]
    }

    private static func logGauges(
        _ view: NodeView
    ) -> [(name: String, help: String, value: Int)] {
        [
            (
                "quipu_log_unsynced_records", "Records that wait for an fsync.",
                Int(clamping: view.logLast.number - min(view.logSynced.number, view.logLast.number))
            ),
            (
                "quipu_log_files", "Files of the log that are kept, of 64 MiB each.",
                Int(view.logFile - min(view.logStart, view.logFile)) + 1
            ),
            (
                "quipu_log_files_released",
                "Log files whose payloads all replicas held, let go of since the start.",
                Int(clamping: view.counters.logFilesReleased)
            ),
            (
                "quipu_log_files_indexed",
                "Log files that got an index, which a start reads in their place.",
                Int(clamping: view.counters.logFilesIndexed)
            ),
        ]
    }
}
