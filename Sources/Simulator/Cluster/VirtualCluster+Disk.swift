import Core
import NodeCore
import Storage

/// The threads of a node that block: the log's and those of the jobs.
extension VirtualCluster {
    func diskDelay() -> Duration {
        let latency = isHealed ? Duration.milliseconds(1) : swarm.diskLatency
        return .microseconds(50) + diskRandom.duration(below: latency)
    }

    func askSync(_ node: VirtualNode, _ process: VirtualProcess) {
        switch process.log.phase {
        case .idle:
            process.log.phase = .waiting
            put(.writeLog, to: node.index, process.instance, after: diskDelay())
        case .waiting:
            break
        case .written:
            process.log.isWanted = true
        }
    }

    func deliverDisk(
        _ event: ProcessEvent, to node: VirtualNode, _ process: VirtualProcess
    ) throws(Violation) {
        switch event {
        case .writeLog: try writeLog(node, process)
        case .syncLog: try syncLog(node, process)
        case .logSynced(let lsn):
            trace.note(.logSynced, at: now, node: node.index, lsn.number)
            try handle(.logSynced(through: lsn), node, process)
        case .runJob(let job, let work):
            try drawingApart(work) { () throws(Violation) in
                try run(job, work, node, process)
            }
        case .finishJob(let job, let result):
            trace.note(.jobDone, at: now, node: node.index, job.number)
            try handle(.completed(job, result), node, process)
        case .watchDisk, .tick, .message, .connect, .connected, .disconnected, .idle, .runParking,
            .request, .cancel, .overdue, .resume:
            preconditionFailure("no event of a disk")
        }
    }

    private func writeLog(
        _ node: VirtualNode, _ process: VirtualProcess
    ) throws(Violation) {
        let group = process.log.pending
        process.log.pending = []
        process.log.phase = .written(group)
        // Those that met a full disk come a second time.
        for record in group where record.lsn > node.shadow.last {
            guard record.lsn == node.shadow.last.next else {
                throw Violation(
                    "S10", "\(node.id)'s log goes from LSN \(node.shadow.last) to \(record.lsn)")
            }
            node.shadow.append(record)
        }
        let isTorn = tearsNext(node, 1, in: 60)
        if isTorn { failSoon(node, within: 3) }
        do throws(StorageError) {
            try process.log.writer.append(group)
        } catch {
            if case .diskFull = error, node.disk.isLimited, !isTorn {
                retryWrite(group, node, process)
                return
            }
            guard isTorn else { throw Violation("S10", "\(node.id)'s log: \(error)") }
        }
        trace.note(.logWritten, at: now, node: node.index, UInt64(group.count))
        if isTorn {
            crash(node, "in the middle of a log write", isPowerCut: true)
        } else {
            put(.syncLog, to: node.index, process.instance, after: diskDelay())
        }
    }

    private func syncLog(
        _ node: VirtualNode, _ process: VirtualProcess
    ) throws(Violation) {
        guard case .written(let group) = process.log.phase else {
            preconditionFailure("a sync follows a write")
        }
        maybeFailSync(node, 1, in: 50)
        do throws(StorageError) {
            try process.log.writer.sync()
        } catch {
            guard case .syncFailed = error, node.disk.failedSyncs > 0 else {
                throw Violation("S10", "\(node.id)'s log: \(error)")
            }
            die(node, "at a failed fsync of its log")
            return
        }
        node.disk.clearFaults()
        if let last = group.last {
            try node.shadow.sync(through: last.lsn, ledger)
            log("\(node.id)'s log is synced through \(last.lsn)")
            put(.logSynced(last.lsn), to: node.index, process.instance, after: .microseconds(20))
        }
        process.log.phase = .idle
        if process.log.isWanted {
            process.log.isWanted = false
            askSync(node, process)
        }
    }

    private func run(
        _ job: JobID, _ work: StorageJob, _ node: VirtualNode, _ process: VirtualProcess
    ) throws(Violation) {
        trace.note(.jobRun, at: now, node: node.index, job.number)
        let isTorn = tearsNext(node, 1, in: 30)
        if isTorn { failSoon(node, within: 16) }
        // Few of the steps of a move sync anything.
        maybeFailSync(node, 1, in: work.isOfColdDisk ? 3 : 20)
        if !isTorn { maybeMisread(node, work) }
        let result = process.runner.run(work)
        noteMisread(node, work)
        log("\(node.id) ran \(Describe.job(work)): \(Describe.result(result))")
        if isTorn {
            crash(node, "in the middle of a job", isPowerCut: true)
            return
        }
        if case .failure(.syncFailed) = result, node.disk.failedSyncs > 0, !work.isOfColdDisk {
            die(node, "at a failed fsync in a job")
            return
        }
        node.disk.clearFaults()
        if case .failure(.diskFull) = result, node.disk.isLimited {
            checks.hit(.diskFull)
        } else if work.isOfColdDisk, case .failure(let error) = result, mayFailMove(error, node) {
            log("\(node.id) goes on without the cold disk")
            // Files that were damaged on purpose may refuse.
        } else if case .failure(let error) = result, checks.lie?.node != node.index,
            !node.isRotten, node.droppedRot == nil || error.path != node.droppedRot
        {
            throw Violation("S4", "\(node.id): a job failed on a healthy disk: \(error)")
        }
        if case .success(.committed(let manifest)) = result {
            try noteForgotten(manifest, of: node)
        }
        put(.finishJob(job, result), to: node.index, process.instance, after: diskDelay())
    }

    /// A cold disk whose fsync fails; one that is another's, since with its manifest a node lost
    /// who it was.
    private func mayFailMove(_ error: StorageError, _ node: VirtualNode) -> Bool {
        switch error {
        case .syncFailed: node.disk.failedSyncs > 0
        case .coldTierMissing: swarm.has(.rot)
        case .failed, .notFound, .diskFull, .writerDead, .damaged, .newerFormat, .locked,
            .digestMismatch, .scanTooLarge:
            false
        }
    }

    func tearsNext(_ node: VirtualNode, _ chance: Int, in bound: Int) -> Bool {
        !isHealed && swarm.has(.tornJobs) && diskRandom.chance(chance, in: bound) && mayTouch(node)
    }

    /// One of the next operations fails, and all after it: the process is as good as dead.
    func failSoon(_ node: VirtualNode, within operations: Int) {
        node.disk.fail(
            at: node.disk.operations + diskRandom.below(operations), with: .inputOutput,
            onward: true)
    }
}

extension StorageJob {
    /// An error of it ends no process.
    fileprivate var isOfColdDisk: Bool {
        switch self {
        case .compact(let compaction, _), .abandonCompaction(let compaction):
            compaction.destination.location == .cold
        case .removeTables(let paths):
            paths.contains { FileNames.isCold($0) }
        case .writeTables, .commit, .series, .scan, .readLog, .keepAside, .indexLog, .removeLogs,
            .verify,
            .writeHistory, .sweepHistory, .lookUp, .letters, .copyCells, .copyHistory, .copySealed,
            .removeHistory, .recount:
            false
        }
    }
}
