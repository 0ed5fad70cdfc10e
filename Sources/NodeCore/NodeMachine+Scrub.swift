import Core
import Gossip
import Replication
import Ring
import Storage

// A node against itself: memory against its sums, files against their footers, and, when a peer
// holds other sums of the same batches, the fold against the log.

extension NodeMachine {
    /// Once in `scrubInterval`: the memtable in one pass, and the next file.
    mutating func advanceScrub(_ now: Now, into effects: inout [Effect]) {
        if let at = audit.verification?.resumesAt, now.monotonic >= at {
            audit.verification?.resumesAt = nil
            verifyNext(into: &effects)
        }
        guard now.monotonic >= audit.scrubAt else { return }
        audit.scrubAt = now.monotonic + configuration.scrubInterval
        checkMemory(into: &effects)
        // One that waits for files that cannot be looked at may wait for long.
        guard !audit.isScrubbing, audit.verification.map({ $0.resumesAt != nil }) ?? true,
            !tables.isEmpty || !forgetting.files.isEmpty
        else { return }
        audit.isScrubbing = true
        audit.scrubsHistory.toggle()
        // Each kind has turns of its own: files that come of one must not keep one of the other
        // from being read.
        let file: DataFile
        if !forgetting.files.isEmpty, audit.scrubsHistory || tables.isEmpty {
            audit.historyTurn += 1
            file = .history(forgetting.files[audit.historyTurn % forgetting.files.count])
        } else {
            audit.scrubTurn += 1
            file = .table(tables[audit.scrubTurn % tables.count])
        }
        run(.verify([file]), .scrub(file), into: &effects)
    }

    private mutating func checkMemory(into effects: inout [Effect]) {
        for partition in memtable.recount() {
            reportDamage(.memory(partition), into: &effects)
        }
    }

    mutating func scrubbed(
        _ file: DataFile, _ damage: [Damage], into effects: inout [Effect]
    ) {
        audit.isScrubbing = false
        for found in damage { reportDamage(file, found.what, into: &effects) }
    }

    private mutating func reportDamage(
        _ file: DataFile, _ what: String, into effects: inout [Effect]
    ) {
        switch file {
        case .table(let table): reportDamage(.table(table.meta.id, what), into: &effects)
        case .history(let file):
            // A file that was replaced meanwhile is nobody's loss.
            guard forgetting.files.contains(file) else { return }
            reportDamage(.history(what), into: &effects)
        }
    }

    // MARK: - The whole disk

    /// How far the verification is that began at `need` or later; the next one begins where none
    /// is.
    mutating func verification(
        since need: Instant, _ now: Now, into effects: inout [Effect]
    ) -> VerificationState {
        if let done = audit.verified, done.began >= need { return done.state }
        if let running = audit.verification, running.began >= need || running.resumesAt == nil {
            // One that began too early is waited for: disks are not read twice at once. But not
            // one that itself waits, for files that cannot be looked at.
            return running.state
        }
        let files = forgetting.files.map { DataFile.history($0) } + tables.map { .table($0) }
        audit.verification = AuditState.Verification(
            began: now.monotonic, rest: files,
            state: VerificationState(
                tables: UInt64(tables.count), totalBytes: files.reduce(0) { $0 &+ $1.size }))
        checkMemory(into: &effects)
        verifyNext(into: &effects)
        // Without files it is done already.
        if let done = audit.verified, done.began >= need { return done.state }
        return audit.verification?.state ?? VerificationState()
    }

    private mutating func verifyNext(into effects: inout [Effect]) {
        guard var work = audit.verification else { return }
        guard let file = work.rest.popLast() else {
            work.state.isDone = true
            audit.verification = nil
            audit.verified = (began: work.began, state: work.state)
            return
        }
        audit.verification = work
        run(.verify([file]), .verify(file), into: &effects)
    }

    mutating func verified(
        _ file: DataFile, _ damage: [Damage], into effects: inout [Effect]
    ) {
        for found in damage { reportDamage(file, found.what, into: &effects) }
        audit.verification?.state.doneBytes += file.size
        verifyNext(into: &effects)
    }

    /// A verification that fails has not looked: there was no descriptor, no memory, or no right to
    /// read the file, which says nothing of what it holds. It is read later. Nor does a cold disk
    /// say anything that cannot be read.
    mutating func verificationFailed(
        _ purpose: JobPurpose, _ error: StorageError, into effects: inout [Effect]
    ) {
        switch purpose {
        case .scrub(let file):
            reportUnread(file, error, into: &effects)
            audit.isScrubbing = false
        case .verify(let file):
            reportUnread(file, error, into: &effects)
            if file.isCold || !isHeld(file) {
                verified(file, [], into: &effects)
            } else {
                // Nobody is told that it is whole before it was read; the others come first.
                audit.verification?.rest.insert(file, at: 0)
                audit.verification?.resumesAt = present + Self.verifyRetryAfter
            }
        case .recount(let partition):
            audit.recounts[partition] = nil
            cannotRecount(partition, "\(error)", into: &effects)
        default:
            preconditionFailure("no job of an audit")
        }
    }

    private static let verifyRetryAfter: Duration = .seconds(10)

    private mutating func reportUnread(
        _ file: DataFile, _ error: StorageError, into effects: inout [Effect]
    ) {
        if error.isFinding {
            reportDamage(file, "\(error)", into: &effects)
        } else if file.isCold {
            effects.append(.report(.coldDiskFailed("\(error)")))
        } else {
            counters.unverified += 1
            effects.append(.report(.unverified("\(error)")))
        }
    }

    /// Not replaced since it was named.
    private func isHeld(_ file: DataFile) -> Bool {
        switch file {
        case .table(let table): tables.contains(table)
        case .history(let file): forgetting.files.contains(file)
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
    private mutating func cannotRecount(
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
            .log where othersCanRestore, .outvoted where othersCanRestore,
            .fold where othersCanRestore && !tables.isEmpty:
            effects.append(.condemn(verdict))
        case .table, .history, .log, .outvoted, .compaction: break
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
