/// What the core knows of its comparisons with peers and of its own disk.
package struct AuditGauges: Sendable {
    /// By peer, ascending.
    package var partitionsApart: [(String, Int)]
    package var batchesBehind: [(String, Int)]
    /// Epoch seconds; 0 before the first.
    package var lastCleanSeconds: Int
    package var comparisons: UInt64
    package var healed: UInt64
    package var incidents: UInt64
    package var divergences: UInt64
    package var damaged: UInt64
    package var unverified: UInt64
}

/// What is read from elsewhere at the moment of a scrape.
package struct MetricGauges: Sendable {
    package var isReady = false
    package var isVoting = false
    package var uptimeSeconds = 0
    package var inboxWaiting = 0
    package var requestsWaiting = 0
    package var foldsWaiting = 0
    package var storageJobsWaiting = 0
    package var catalogJobsWaiting = 0
    package var parkingJobsWaiting = 0
    package var queues: [QueueReading] = []
    package var bodiesBytes = 0
    package var logBacklogBytes = 0
    package var diskFreeBytes = 0
    /// nil where there is no cold disk.
    package var coldDiskFreeBytes: Int?
    /// nil where the system does not say.
    package var process: ProcessUse?
    /// Of files that are only read, by disk.
    package var openFiles: [(disk: String, reading: OpenFilesReading)] = []
    /// Names and whether they are up, ascending.
    package var peers: [(String, Bool)] = []
    /// The core's own gauges: name, help, value.
    package var core: [(name: String, help: String, value: Int)] = []
    package var audit: AuditGauges?
    package var attributes: AttributeGauges?
    /// Answered reads of more than one voter: round trips, reads.
    package var roundTrips: [(String, UInt64)] = []
    /// What takes memory, how much, and where it is bounded.
    package var memory: [MemoryPart] = []
    /// The core's own counters: name, help, value.
    package var counters: [(name: String, help: String, value: UInt64)] = []

    package init() {}
}

extension NodeMetrics {
    package func text(_ gauges: MetricGauges) -> String {
        var out = MetricText()
        traffic(&out)
        errors(&out)
        latency(&out)
        saturation(gauges, &out)
        state(gauges, &out)
        if let gauges = gauges.audit { audit(gauges, &out) }
        if let gauges = gauges.attributes { attributes(gauges, &out) }
        return out.text
    }

    private func attributes(_ gauges: AttributeGauges, _ out: inout MetricText) {
        out.gauge(
            "quipu_catalog_usable", "1 where the database of attributes is open.",
            gauges.isUsable ? 1 : 0)
        out.gauge(
            "quipu_catalog_filling",
            "1 where it stands in the place of a lost one and may lack attributes still.",
            gauges.isFilling ? 1 : 0)
        out.counter(
            "quipu_catalog_lost_total", "Databases of attributes that were damaged or gone.",
            catalogsLost.value)
        out.counter(
            "quipu_attributes_missed_total",
            "Lookups of attributes that neither the database nor the copy answered in time.",
            attributesMissed.value)
        out.gauge(
            "quipu_attribute_copy_rows", "Rows in the tables of attributes.",
            Int(clamping: gauges.copiedRows))
        out.gauge(
            "quipu_attribute_copy_bytes", "Bytes of the tables of attributes.",
            Int(clamping: gauges.copyBytes))
        out.gauge(
            "quipu_attribute_copy_damaged", "Tables of attributes that cannot be read.",
            gauges.damagedTables)
    }

    private func audit(_ gauges: AuditGauges, _ out: inout MetricText) {
        out.counter(
            "quipu_audit_comparisons_total", "Comparisons of sets and sums with a peer.",
            gauges.comparisons)
        out.gauge(
            "quipu_audit_partitions_apart", "Shared partitions that differ now: lag, by peer.",
            by: "peer", gauges.partitionsApart)
        out.gauge(
            "quipu_audit_batches_behind", "What the peer holds and this node does not, at least.",
            by: "peer", gauges.batchesBehind)
        out.counter(
            "quipu_audit_healed_total", "Batches that comparisons brought here.", gauges.healed)
        out.counter(
            "quipu_audit_incidents_total", "Equal sets with different sums: damage somewhere.",
            gauges.incidents)
        out.counter(
            "quipu_audit_divergences_total", "Sets that catching up does not make equal.",
            gauges.divergences)
        out.counter(
            "quipu_audit_damaged_total", "Files and sums here that failed a recount.",
            gauges.damaged)
        out.counter(
            "quipu_audit_unverified_total",
            "Files that could not be opened or read to be verified; each is tried again.",
            gauges.unverified)
        out.gauge(
            "quipu_audit_last_clean_seconds",
            "When every peer was last found equal, epoch seconds; 0 before.",
            gauges.lastCleanSeconds)
    }

    private func traffic(_ out: inout MetricText) {
        out.counter("quipu_events_counted_total", "Events counted.", eventsCounted.value)
        out.counter("quipu_events_dead_total", "Events that became dead letters.", eventsDead.value)
        out.counter(
            "quipu_dead_letters_retired_total", "Dead letters that were purged or replayed here.",
            lettersRetired.value)
        out.counter(
            "quipu_batches_total", "Batches by outcome, on this coordinator.", by: "outcome",
            [
                ("counted", batchesCounted.value), ("duplicate", batchesDuplicate.value),
                ("not-counted", batchesNotCounted.value),
                ("not-attempted", batchesNotAttempted.value), ("unknown", batchesUnknown.value),
                ("parked", batchesParked.value),
            ])
        out.counter("quipu_body_bytes_total", "Bytes of event bodies as sent.", bytesReceived.value)
        out.counter("quipu_queries_total", "Queries asked of this node.", queries.value)
        out.counter(
            "quipu_http_answers_total", "HTTP answers by class of status.", by: "status",
            answers.enumerated().map { ("\($0.offset + 1)xx", $0.element.value) })
        out.gauge(
            "quipu_http_connections", "Open connections of clients.", by: "kind",
            OpenConnections.Kind.allCases.map { kind in
                let ended = connectionsEnded[kind.rawValue].value
                let opened = connectionsOpened[kind.rawValue].value
                return ("\(kind)", opened > ended ? Int(clamping: opened - ended) : 0)
            })
        out.counter(
            "quipu_http_connections_given_way_total",
            "Connections that waited for their client, closed for newer ones.",
            connectionsGivenWay.value)
        out.counter("quipu_peer_messages_in_total", "Messages of peers.", messagesIn.value)
        out.counter("quipu_peer_messages_out_total", "Messages to peers.", messagesOut.value)
    }

    private func errors(_ out: inout MetricText) {
        out.counter(
            "quipu_peer_messages_unreadable_total", "Messages of peers that could not be read.",
            messagesUnreadable.value)
        out.counter(
            "quipu_peer_messages_dropped_total", "Messages of peers dropped at the inbox's bound.",
            messagesDropped.value)
        out.counter(
            "quipu_peer_messages_expired_total",
            "Messages of peers that waited for longer than their senders do.",
            messagesExpired.value)
        out.counter(
            "quipu_peer_messages_unsent_total",
            "Messages for peers that were not connected or full.",
            messagesUnsent.value)
        out.counter(
            "quipu_requests_refused_total", "Requests refused because too many were under way.",
            requestsRefused.value)
        out.counter(
            "quipu_conflicts_total", "Batches whose id was bound to another content.",
            conflicts.value)
        out.counter(
            "quipu_incidents_total",
            "Contradictions between replicas that no fault within the budget explains.",
            incidents.value)
        out.counter(
            "quipu_disk_full_total", "Attempts to write the log to a full disk.", diskFull.value)
    }

    private func latency(_ out: inout MetricText) {
        out.histogram("quipu_write_seconds", "From a body's end to its answer.", write)
        out.histogram("quipu_read_seconds", "Queries, from question to answer.", read)
        out.histogram("quipu_fold_seconds", "Hashing and folding a batch.", fold)
        out.histogram("quipu_log_sync_seconds", "Writing and syncing a group of records.", logSync)
        out.histogram("quipu_storage_job_seconds", "Jobs on the file threads.", storageJob)
        out.histogram("quipu_core_turn_seconds", "One turn of the core over its inbox.", coreTurn)
    }

    private func saturation(_ gauges: MetricGauges, _ out: inout MetricText) {
        out.gauge(
            "quipu_queue_length", "What waits, by queue.", by: "queue",
            [
                ("core", gauges.inboxWaiting), ("requests", gauges.requestsWaiting),
                ("folds", gauges.foldsWaiting), ("storage", gauges.storageJobsWaiting),
                ("catalog", gauges.catalogJobsWaiting),
                ("parking", gauges.parkingJobsWaiting),
            ])
        out.gauge(
            "quipu_memory_bytes", "Memory by what holds it.", by: "part",
            gauges.memory.map { ($0.name, $0.bytes) })
        out.gauge(
            "quipu_memory_max_bytes",
            "Of quipu_memory_bytes, from where on nothing more is taken.", by: "part",
            gauges.memory.compactMap { part in part.max.map { (part.name, $0) } })
        queues(gauges.queues, &out)
        out.gauge("quipu_bodies_bytes", "Bytes of bodies held by requests.", gauges.bodiesBytes)
        out.gauge("quipu_log_backlog_bytes", "Log bytes not yet written.", gauges.logBacklogBytes)
        out.gauge(
            "quipu_disk_free_bytes", "Free on the data directory's disk.", gauges.diskFreeBytes)
        if let bytes = gauges.coldDiskFreeBytes {
            out.gauge("quipu_cold_disk_free_bytes", "Free on the cold disk.", bytes)
        }
        openFiles(gauges.openFiles, &out)
        if let process = gauges.process {
            out.gauge("process_open_fds", "Files and sockets that are open.", process.openFiles)
            out.gauge("process_max_fds", "How many may be open.", process.openFilesMax)
            out.gauge(
                "process_resident_memory_bytes", "Memory of this process.", process.residentBytes)
        }
    }

    private func state(_ gauges: MetricGauges, _ out: inout MetricText) {
        out.gauge("quipu_ready", "1 where /readyz answers 200.", gauges.isReady ? 1 : 0)
        out.gauge("quipu_voting", "1 where this node may be counted.", gauges.isVoting ? 1 : 0)
        out.gauge("quipu_uptime_seconds", "Since the start.", gauges.uptimeSeconds)
        out.gauge(
            "quipu_node_up", "1 where this node sees that one up.", by: "node",
            gauges.peers.map { ($0.0, $0.1 ? 1 : 0) })
        for gauge in gauges.core { out.gauge(gauge.name, gauge.help, gauge.value) }
        out.counter(
            "quipu_reads_total", "Answered reads of more than one voter, by round trips.",
            by: "round_trips", gauges.roundTrips)
        for counter in gauges.counters { out.counter(counter.name, counter.help, counter.value) }
        out.counter("quipu_log_groups_total", "Groups of records synced together.", logGroups.value)
        out.counter("quipu_log_records_total", "Records written to the log.", logRecords.value)
        out.counter("quipu_log_bytes_total", "Bytes written to the log.", logBytes.value)
        out.counter("quipu_core_inputs_total", "Inputs that the core took.", coreInputs.value)
        out.counter("quipu_flushes_total", "Memtables written to files.", flushes.value)
        out.counter("quipu_flushes_failed_total", "Flushes that failed.", flushesFailed.value)
        out.counter(
            "quipu_forgotten_batches_total", "Sealed batches that left memory and the log.",
            forgotten.value)
        out.counter(
            "quipu_given_up_batches_total",
            "Batches that this node alone held when the others decided their segments without it.",
            givenUp.value)
        out.counter(
            "quipu_copies_total", "Times that this node was copied whole.", copies.value)
        out.counter(
            "quipu_caught_up_batches_total", "Batches learnt from peers afterwards.", caughtUp.value
        )
        out.counter(
            "quipu_driven_on_batches_total", "Batches finished for a coordinator that was gone.",
            drivenOn.value)
        out.counter(
            "quipu_attributes_received_total", "Attribute rows learnt from peers.",
            attributesReceived.value)
    }
}
