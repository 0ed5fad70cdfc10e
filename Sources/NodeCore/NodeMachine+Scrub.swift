import Core
import Gossip
import Replication
import Ring
import Storage

// A node against itself: memory against its sums, files against their footers, and, when a peer
// holds other sums of the same batches, the fold against the log.

extension NodeMachine {
    /// Once in `scrubInterval`: the memtable in one pass, and the next file, which is read in steps
    /// that keep within `scrubBytesPerSecond` and `scrubShare`.
    mutating func advanceScrub(_ now: Now, into effects: inout [Effect]) {
        resumeVerification(now, into: &effects)
        continueScrub(now, into: &effects)
        guard now.monotonic >= audit.scrubAt else { return }
        audit.scrubAt = now.monotonic + configuration.scrubInterval
        checkMemory(into: &effects)
        guard audit.scrub == nil, !isVerifying else { return }
        let file = audit.scrubTurns.next(
            tables: tables, history: forgetting.files, logs: closedLogs, logFileMax: log.fileMax)
        audit.scrub = FileReading(file, at: now.monotonic)
        continueScrub(now, into: &effects)
    }

    mutating func checkMemory(into effects: inout [Effect]) {
        for partition in memtable.recount() {
            reportDamage(.memory(partition), into: &effects)
        }
    }

    /// Files of the log that are here, but for the one that is written to.
    var closedLogs: Range<UInt32> {
        // A planted bug drops what is damaged there without a word.
        guard !has(.damageCut) else { return logStart..<logStart }
        return logStart..<max(logStart, log.closedBefore)
    }

    private mutating func continueScrub(_ now: Now, into effects: inout [Effect]) {
        guard var reading = audit.scrub, !reading.isRunning else { return }
        guard isHeld(reading.file) else {
            audit.scrub = nil
            return
        }
        // Disks are not read twice at once; and what is written comes first.
        guard now.monotonic >= reading.nextAt, !isVerifying else { return }
        if case .writing = flush.phase { return }
        reading.steppedAt = now.monotonic
        let step = verifyStep(&reading)
        audit.scrub = reading
        run(step, .scrub(reading.file), into: &effects)
    }

    func verifyStep(_ reading: inout FileReading) -> StorageJob {
        reading.isRunning = true
        return .verify(reading.verification, bytes: configuration.verifyStepBytes)
    }

    mutating func scrubbed(
        _ file: DataFile, _ progress: FileVerification.Progress, into effects: inout [Effect]
    ) {
        guard var reading = audit.scrub, reading.isRunning else {
            preconditionFailure("a scrub went on that nobody began")
        }
        let read = reading.take(progress)
        counters.scrubbedBytes += read
        switch progress.outcome {
        case .reading:
            let rest = Int64(clamping: read) * 1000 / Int64(configuration.scrubBytesPerSecond)
            let share = configuration.scrubShare
            let pause = (present - reading.steppedAt) * (100 - share) / share
            reading.nextAt = max(
                reading.steppedAt + .milliseconds(rest), present + min(pause, Self.pauseMax))
            audit.scrub = reading
        case .sound:
            audit.scrub = nil
            counters.scrubbedFiles += 1
        case .damaged(let what):
            audit.scrub = nil
            counters.scrubbedFiles += 1
            reportDamage(file, what, into: &effects)
        }
    }

    mutating func reportDamage(
        _ file: DataFile, _ what: String, into effects: inout [Effect]
    ) {
        // A file that was replaced or let go of meanwhile is nobody's loss.
        guard isHeld(file) else { return }
        switch file {
        case .table(let table): reportDamage(.table(table.meta.id, what), into: &effects)
        case .history: reportDamage(.history(what), into: &effects)
        case .log: reportDamage(.log(what), into: &effects)
        case .manifest: reportDamage(.manifest(what), into: &effects)
        }
    }

    /// Neither replaced nor let go of since it was named.
    func isHeld(_ file: DataFile) -> Bool {
        switch file {
        case .table(let table): tables.contains(table)
        case .history(let file): forgetting.files.contains(file)
        case .log(let number, _): number >= logStart
        case .manifest: true
        }
    }

    // MARK: - One partition from the log

    /// Counts again what the log says this partition holds, and looks at memory and files on the
    /// way. What is compared was taken in this step: what is applied meanwhile does not matter.
    mutating func beginRecount(
        _ partition: PartitionID, _ now: Now, into effects: inout [Effect]
    ) {
        checkMemory(into: &effects)
        _ = verification(since: now.monotonic, now, into: &effects)
        guard audit.recounts[partition] == nil else { return }
        var positions: [LogPosition] = []
        for id in index.ids {
            guard let entry = index[id], entry.applied.contains(partition) else { continue }
            guard let position = entry.source(of: partition) else {
                return cannotRecount(
                    partition, "the log no longer holds batch \(id)", into: &effects)
            }
            positions.append(position)
        }
        let applied = index.digests.total(partition).count
        guard UInt64(positions.count) == applied else {
            cannotRecount(
                partition, "\(positions.count) of \(applied) batches are in the log",
                into: &effects)
            return
        }
        audit.recounts[partition] = AuditState.Recount(
            held: heldSum(of: partition), rest: positions)
        continueRecount(partition, into: &effects)
    }

    /// The log cannot tell who is wrong. Where a majority of the replicas agree on the same
    /// batches, and not with this one, it is this one.
    mutating func cannotRecount(
        _ partition: PartitionID, _ why: String, into effects: inout [Effect]
    ) {
        effects.append(.report(.recountFailed(partition, why)))
        let needed = Consistency.quorum.required(of: ring.replicas(of: partition).count)
        let suspects = audit.suspects[partition] ?? [:]
        for (_, sum) in suspects.sorted(by: { $0.key < $1.key }) {
            let peers = suspects.filter {
                $0.value.applied == sum.applied && $0.value.state == sum.state
            }.keys.sorted()
            guard peers.count >= needed else { continue }
            return reportDamage(.outvoted(partition, by: peers), into: &effects)
        }
    }

    private mutating func continueRecount(
        _ partition: PartitionID, into effects: inout [Effect]
    ) {
        guard var work = audit.recounts[partition] else { return }
        guard !work.rest.isEmpty else {
            audit.recounts[partition] = nil
            if work.found == work.held {
                effects.append(.report(.recounted(partition)))
            } else {
                reportDamage(
                    .fold(partition, held: work.held, logged: work.found), into: &effects)
            }
            return
        }
        let next = Array(work.rest.suffix(ReplicationLimits.recountMax))
        work.rest.removeLast(next.count)
        audit.recounts[partition] = work
        run(.recount(partition, next), .recount(partition), into: &effects)
    }

    mutating func recounted(
        _ partition: PartitionID, _ sum: PartitionSum, into effects: inout [Effect]
    ) {
        audit.recounts[partition]?.found.merge(sum)
        continueRecount(partition, into: &effects)
    }

    // MARK: - Damage

    /// A read met it before the scrubber did.
    mutating func noteDamage(_ error: StorageError, into effects: inout [Effect]) {
        guard case .damaged(let path, _, _) = error else { return }
        if let table = tables.first(where: { path.hasSuffix($0.path) }) {
            reportDamage(.table(table.meta.id, "\(error)"), into: &effects)
        } else if forgetting.files.contains(where: { path.hasSuffix($0.meta.path) }) {
            reportDamage(.history("\(error)"), into: &effects)
        } else if path.split(separator: "/").dropLast().last == FileNames.logDirectory[...] {
            reportDamage(.log("\(error)"), into: &effects)
        }
    }

    /// What this node holds is not what it must be. Memory that is wrong ends the process, which
    /// replays its log when it starts again. Where a file is wrong, all data here is condemned:
    /// set aside at the next start, and restored from the others. While these are not there, a
    /// damaged file answers by itself with errors instead of numbers, since its blocks have
    /// checksums; cells that passed their checksums and are wrong would be answered, so the process
    /// ends.
    mutating func reportDamage(_ damage: FoundDamage, into effects: inout [Effect]) {
        let finding = damage.finding
        var table: UInt64?
        if case .table(let id, _) = damage {
            // A file that was replaced meanwhile is nobody's loss.
            guard tables.contains(where: { $0.meta.id == id }) else { return }
            table = id
        }
        let place = finding.partition.map { "\($0): " } ?? ""
        if audit.keep(finding, table: table) {
            counters.damaged += 1
            effects.append(.report(.damaged(place + finding.detail)))
        }
        let verdict = "its audit failed: \(place)\(finding.detail)"
        switch damage {
        case .table where othersCanRestore, .history where othersCanRestore,
            .log where othersCanRestore, .manifest where othersCanRestore,
            .outvoted where othersCanRestore,
            .fold where othersCanRestore && !tables.isEmpty:
            effects.append(.condemn(verdict))
        case .table, .history, .log, .manifest, .outvoted, .compaction: break
        case .memory, .fold: effects.append(.halt(verdict))
        }
    }

    /// As many others vote, for each partition, as a recovery needs.
    private var othersCanRestore: Bool {
        guard isVotingOnReads else { return false }
        let ring = ring
        let voting = Set(
            peers.filter { isReachable($0) && gossip.state(of: $0)?.status == .normal })
        return mine.allSatisfy { partition in
            let voters = ring.replicas(of: partition)
            return voters.count > 1
                && voters.count(where: voting.contains) >= Self.sourcesNeeded(of: voters.count)
        }
    }
}
