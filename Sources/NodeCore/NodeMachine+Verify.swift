import Core
import Replication
import Storage

/// Who waits until a node has read its own files.
struct VerifyRequest {
    var id: RequestID
    /// A verification that began earlier does not serve.
    var since: Instant
    var deadline: Instant
}

// `quipu verify` on a running node: its files against their own sums, and nobody else's. An audit
// of the cluster begins with the same on every node.

extension NodeMachine {
    mutating func beginVerify(
        _ request: RequestID, age: Duration, _ deadline: Instant, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard audit.verifyRequests.count < ReplicationLimits.surveysMax else {
            let why = "\(ReplicationLimits.surveysMax) verifications are waited for"
            effects.append(.reply(request, .failed(.overloaded(why))))
            return
        }
        audit.verifyRequests.append(
            VerifyRequest(
                id: request, since: now.monotonic - AuditState.bounded(age: age),
                deadline: deadline))
        advanceVerifyRequests(now, into: &effects)
    }

    mutating func advanceVerifyRequests(_ now: Now, into effects: inout [Effect]) {
        guard !audit.verifyRequests.isEmpty else { return }
        var open: [VerifyRequest] = []
        for request in audit.verifyRequests {
            let state = verification(since: request.since, now, into: &effects)
            guard state.isDone || request.deadline <= now.monotonic else {
                open.append(request)
                continue
            }
            let damage = audit.findings(tables: tables).filter { $0.kind == .damage }
            effects.append(
                .reply(request.id, .verified(VerifyReport(state: state, damage: damage))))
        }
        audit.verifyRequests = open
    }

    mutating func cancelVerifyRequests(of request: RequestID) {
        audit.verifyRequests.removeAll { $0.id == request }
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
        var files: [DataFile] = [.manifest]
        files += closedLogs.reversed().map { .log($0, sizeMax: log.fileMax) }
        files += forgetting.files.map { .history($0) } + tables.map { .table($0) }
        audit.verification = AuditState.Verification(
            began: now.monotonic, rest: files,
            state: VerificationState(
                tables: UInt64(tables.count), totalBytes: files.reduce(0) { $0 &+ $1.size }))
        checkMemory(into: &effects)
        verifyNext(into: &effects)
        // The manifest is always there to be read: it is never done at once.
        return audit.verification?.state ?? VerificationState()
    }

    /// Files are being read, and none is waited for that cannot be looked at.
    var isVerifying: Bool {
        audit.verification.map { $0.resumesAt == nil } ?? false
    }

    mutating func resumeVerification(_ now: Now, into effects: inout [Effect]) {
        guard let at = audit.verification?.resumesAt, now.monotonic >= at else { return }
        audit.verification?.resumesAt = nil
        verifyNext(into: &effects)
    }

    private mutating func verifyNext(into effects: inout [Effect]) {
        guard var work = audit.verification else { return }
        while let file = work.rest.popLast() {
            guard isHeld(file) else {
                work.state.totalBytes &-= file.size
                continue
            }
            work.reading = FileReading(file, at: present)
            audit.verification = work
            return continueVerification(into: &effects)
        }
        work.state.isDone = true
        audit.verification = nil
        audit.verified = (began: work.began, state: work.state)
    }

    /// Somebody waits for it: the next step comes at once, behind what waits for the file threads.
    private mutating func continueVerification(into effects: inout [Effect]) {
        guard var reading = audit.verification?.reading else { return }
        let step = verifyStep(&reading)
        audit.verification?.reading = reading
        run(step, .verify(reading.file), into: &effects)
    }

    mutating func verified(
        _ file: DataFile, _ progress: FileVerification.Progress, into effects: inout [Effect]
    ) {
        guard var work = audit.verification, var reading = work.reading else {
            preconditionFailure("a verification went on that nobody began")
        }
        // Only the file itself says how long it is.
        work.state.totalBytes &+= progress.size &- reading.progress.size
        let doneBefore = reading.doneBytes
        counters.verifiedBytes += reading.take(progress)
        let isOver = progress.outcome != .reading || !isHeld(file)
        let done = isOver ? progress.size : reading.doneBytes
        work.state.doneBytes &+= done &- doneBefore
        work.reading = isOver ? nil : reading
        audit.verification = work
        if case .damaged(let what) = progress.outcome {
            reportDamage(file, what, into: &effects)
        }
        if isOver { verifyNext(into: &effects) } else { continueVerification(into: &effects) }
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
            audit.scrub = nil
        case .verify(let file):
            reportUnread(file, error, into: &effects)
            guard var work = audit.verification, let reading = work.reading else {
                preconditionFailure("a verification failed that nobody began")
            }
            work.reading = nil
            work.state.doneBytes &-= reading.doneBytes
            work.state.totalBytes &+= file.size &- reading.progress.size
            guard file.isCold || !isHeld(file) else {
                // Nobody is told that it is whole before it was read; the others come first.
                work.rest.insert(file, at: 0)
                work.resumesAt = present + Self.verifyRetryAfter
                audit.verification = work
                return
            }
            work.state.doneBytes &+= file.size
            audit.verification = work
            verifyNext(into: &effects)
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
        if file.isCold {
            effects.append(.report(.coldDiskFailed("\(error)")))
        } else {
            counters.unverified += 1
            effects.append(.report(.unverified("\(error)")))
        }
    }
}
