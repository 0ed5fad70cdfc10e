package import Core
package import Logging
package import NodeCore
package import Replication
package import Storage

/// The way out to the other nodes, as the runtime sees it.
package protocol PeerSending: Sendable {
    /// False where the message was dropped: no connection, or too much waits for this peer.
    func send(_ message: PeerMessage, to node: NodeID) -> Bool
}

/// The owner of the core: one thread, which takes what the inbox holds, runs the machine over it
/// and carries the effects out in their order.
package final class NodeRuntime: Sendable {
    package let inbox: CoreInbox
    package let replies: ReplyBook
    package let log: LogThread
    /// Jobs that somebody waits for, and those of the background, on threads of their own.
    private let reads: WorkerPool
    private let files: WorkerPool
    /// The same of those that ask anything of the cold disk.
    private let coldReads: WorkerPool
    private let coldFiles: WorkerPool
    private let runner: StorageRunner
    private let peers: any PeerSending
    private let metrics: NodeMetrics
    private let logger: Logger
    private let parking: ParkingService?
    private let onReport: @Sendable (Report) -> Void
    private let onHalt: @Sendable (String) -> Void
    private let onCondemn: @Sendable (String) -> Void
    private let ended = Monitor(false)

    /// `onReport` gets what the core tells operators, on the core's thread; `onHalt` ends the
    /// process, `onCondemn` as well, after it has seen to it that the next one sets the data aside.
    /// Tests give others.
    package init(
        runner: StorageRunner, peers: any PeerSending, metrics: NodeMetrics, logger: Logger,
        inbox: CoreInbox = CoreInbox(), replies: ReplyBook = ReplyBook(),
        parking: ParkingService? = nil,
        onReport: @escaping @Sendable (Report) -> Void = { _ in },
        onHalt: @escaping @Sendable (String) -> Void,
        onCondemn: (@Sendable (String) -> Void)? = nil
    ) {
        self.runner = runner
        self.peers = peers
        self.metrics = metrics
        self.logger = logger
        self.inbox = inbox
        self.replies = replies
        self.parking = parking
        self.onReport = onReport
        self.onHalt = onHalt
        self.onCondemn = onCondemn ?? onHalt
        log = LogThread()
        reads = WorkerPool(
            name: "reads", threads: RuntimeLimits.readThreads,
            queueMax: RuntimeLimits.storageJobsMax, standing: .prompt)
        files = WorkerPool(
            name: "files", threads: RuntimeLimits.fileThreads,
            queueMax: RuntimeLimits.storageJobsMax, standing: .bulk)
        coldReads = WorkerPool(
            name: "cold-reads", threads: RuntimeLimits.coldReadThreads,
            queueMax: RuntimeLimits.coldReadsMax, standing: .prompt)
        coldFiles = WorkerPool(
            name: "cold-files", threads: RuntimeLimits.coldFileThreads,
            queueMax: RuntimeLimits.storageJobsMax, standing: .bulk)
    }

    /// Storage jobs that no thread has taken yet.
    package var storageJobsWaiting: Int { pools.reduce(0) { $0 + $1.waiting } }

    private var pools: [WorkerPool] { [reads, files, coldReads, coldFiles] }

    /// What is known of its queues.
    package var queues: [QueueReading] {
        (inbox.meters + pools.map(\.meter)).map(\.reading) + [replies.reading]
    }

    /// Starts the log and the core. `make` builds the machine on the thread that will own it.
    package func start<Machine: CoreMachine & ~Copyable>(
        writer: sending LogWriter, make: @escaping @Sendable (inout [Effect]) -> Machine
    ) {
        log.start(writer) { [self] event in logDid(event) }
        NamedThread.start("core", stackBytes: 8 << 20, standing: .prompt) { [self] in
            var effects: [Effect] = []
            var machine = make(&effects)
            carryOut(&effects)
            drive(&machine)
            ended.broadcast { $0 = true }
        }
    }

    /// Asks the core. Exactly one answer comes back, at the latest shortly after the deadline.
    package func request(_ request: ClientRequest, deadline: Instant) async -> ClientResponse {
        await withCheckedContinuation { continuation in
            let id = replies.open(deadline: deadline + RuntimeLimits.replyGrace) {
                continuation.resume(returning: $0)
            }
            guard let id else {
                continuation.resume(returning: overloaded(request))
                return
            }
            if !inbox.offer(.request(id, request, deadline: deadline)) {
                replies.answer(id, overloaded(request))
            }
        }
    }

    private func overloaded(_ request: ClientRequest) -> ClientResponse {
        // A 429, which is counted where it is answered.
        switch request {
        case .write, .writeOrPark:
            return .write(.notAttempted(.overloaded))
        case .status, .read, .audit, .flush, .compact, .verify, .parked, .discardParked:
            if inbox.isStopped { return .failed(.notReady("this node stops")) }
            return .failed(.overloaded("this node has too many requests under way"))
        }
    }

    /// A copy of what the core knows, for status pages and metrics; nil where the core has ended.
    package func view() async -> NodeView? {
        await withCheckedContinuation { continuation in
            let isPosted = inbox.ask { continuation.resume(returning: $0) }
            if !isPosted { continuation.resume(returning: nil) }
        }
    }

    /// Tells the peers that this node goes; returns when the words are on their way.
    package func leave() async {
        await withCheckedContinuation { continuation in
            let isPosted = inbox.leave { continuation.resume() }
            if !isPosted { continuation.resume() }
        }
    }

    /// Ends the core, then the log (all that was appended is written and synced), then the file
    /// threads.
    package func stop(by deadline: Instant) {
        inbox.post(.stop)
        let hasEnded: Bool? = ended.wait(until: deadline) { $0 ? true : nil }
        if hasEnded == nil { logger.warning("the core did not end in time") }
        if !log.stop(by: deadline) { logger.warning("the log was not closed in time") }
        var haveEnded = [reads.stop(by: deadline), files.stop(by: deadline)]
        // Those pass jobs on to these.
        let coldDeadline = min(deadline, SystemClock.monotonic + RuntimeLimits.coldStopMax)
        haveEnded += [coldReads.stop(by: coldDeadline), coldFiles.stop(by: coldDeadline)]
        if haveEnded.contains(false) { logger.warning("file jobs did not end in time") }
        replies.closeAll()
    }
}

// MARK: - The thread

extension NodeRuntime {
    private func drive<Machine: CoreMachine & ~Copyable>(_ machine: inout Machine) {
        var effects: [Effect] = []
        var nextExpiry = SystemClock.monotonic
        while true {
            let entries = inbox.take(until: min(machine.nextDeadline, nextExpiry))
            var now = SystemClock.now
            let began = now.monotonic
            for entry in entries {
                if entry.overtakes {
                    now = SystemClock.now
                    serve(entry, at: now, &machine, &effects)
                    continue
                }
                serveReads(&machine, &effects)
                switch entry {
                case .input, .awaited:
                    now = SystemClock.now
                    handle(entry, at: now, &machine, &effects)
                case .view(let receive):
                    receive(machine.view(at: now))
                case .leave(let receive):
                    machine.leave(into: &effects)
                    carryOut(&effects)
                    receive()
                case .stop:
                    carryOut(&effects)
                    return
                }
                // Many entries must not hold back what the first of them want done.
                if effects.count >= Self.effectsPerTurn { goOn(&machine, at: now, &effects) }
            }
            goOn(&machine, at: now, &effects)
            if nextExpiry <= now.monotonic {
                nextExpiry = now.monotonic + .seconds(1)
                expire(at: now, &machine)
            }
            metrics.turn(inputs: entries.count, took: SystemClock.monotonic - began)
        }
    }

    private static let effectsPerTurn = 256

    /// What the inputs wanted is on its way before the machine does a part of what it has begun,
    /// which may take it half a millisecond.
    private func goOn<Machine: CoreMachine & ~Copyable>(
        _ machine: inout Machine, at now: Now, _ effects: inout [Effect]
    ) {
        carryOut(&effects)
        guard machine.nextDeadline <= now.monotonic else { return }
        machine.handle(.tick, at: now, into: &effects)
        carryOut(&effects)
    }

    /// Reads do not wait for the batches that were taken with them, nor do their answers.
    private func serveReads<Machine: CoreMachine & ~Copyable>(
        _ machine: inout Machine, _ effects: inout [Effect]
    ) {
        let urgent = inbox.takeUrgent()
        if urgent.isEmpty { return }
        for entry in urgent { serve(entry, at: SystemClock.now, &machine, &effects) }
        metrics.coreInputs.increment(by: urgent.count)
    }

    private func serve<Machine: CoreMachine & ~Copyable>(
        _ entry: CoreInbox.Entry, at now: Now, _ machine: inout Machine, _ effects: inout [Effect]
    ) {
        handle(entry, at: now, &machine, &effects)
        carryOut(&effects)
    }

    /// Work that nobody waits for any more is dropped, not done.
    private func handle<Machine: CoreMachine & ~Copyable>(
        _ entry: CoreInbox.Entry, at now: Now, _ machine: inout Machine,
        _ effects: inout [Effect]
    ) {
        switch entry {
        case .awaited(_, let until) where now.monotonic >= until:
            metrics.messagesExpired.increment()
        case .input(let input), .awaited(let input, _):
            machine.handle(input, at: now, into: &effects)
        case .view, .leave, .stop:
            preconditionFailure("no input of the machine")
        }
    }

    private func expire<Machine: CoreMachine & ~Copyable>(
        at now: Now, _ machine: inout Machine
    ) {
        var effects: [Effect] = []
        for id in replies.expire(at: now.monotonic) {
            logger.warning("request \(id.number) had no answer long after its deadline")
            machine.handle(.cancel(id), at: now, into: &effects)
        }
        carryOut(&effects)
    }

    /// Carries effects out in their order; appends in a row go to the log together.
    private func carryOut(_ effects: inout [Effect]) {
        if effects.isEmpty { return }
        var appends: [LogAppend] = []
        for effect in effects {
            switch effect {
            case .append(let append):
                appends.append(append)
            case .sync:
                log.append(appends, sync: true)
                appends.removeAll()
            case .send(let message, let node):
                metrics.sent(peers.send(message, to: node))
            case .run(let id, let job):
                run(id, job)
            case .park(let job):
                park(job)
            case .reply(let id, let response):
                replies.answer(id, response)
            case .report(let report):
                metrics.count(report)
                report.log(to: logger)
                onReport(report)
            case .halt(let reason):
                onHalt(reason)
            case .condemn(let reason):
                onCondemn(reason)
            }
        }
        log.append(appends, sync: false)
        effects.removeAll(keepingCapacity: true)
    }

    private func park(_ job: ParkingJob) {
        guard let parking else { return }
        parking.run(job) { [inbox] result in inbox.post(.input(.parked(result))) }
    }

    private func run(_ id: JobID, _ job: StorageJob) {
        let isTaken = (job.isAwaited ? reads : files).submit { [self] in
            // Asked here, since to ask takes longer than the core has.
            if job.touchesCold { passOn(id, job) } else { perform(id, job) }
        }
        precondition(isTaken, "more than \(RuntimeLimits.storageJobsMax) storage jobs wait")
    }

    /// Commits, flushes and reads of what is hot go on while the cold disk hangs.
    private func passOn(_ id: JobID, _ job: StorageJob) {
        let isTaken = (job.isAwaited ? coldReads : coldFiles).submit { [self] in
            perform(id, job)
        }
        guard !isTaken else { return }
        complete(
            id,
            .failure(
                .failed(
                    operation: "read", path: FileNames.coldDirectory,
                    detail: "\(RuntimeLimits.coldReadsMax) reads of the cold disk wait already")))
    }

    private func perform(_ id: JobID, _ job: StorageJob) {
        let began = SystemClock.monotonic
        let result = runner.run(job)
        metrics.storageJob.observe(SystemClock.monotonic - began)
        complete(id, result)
    }

    /// Whether the process can go on after an error the core knows: not every disk that fails is
    /// the one that its promises rest on.
    private func complete(_ id: JobID, _ result: Result<StorageResult, StorageError>) {
        if case .failure(let error) = result { logger.error("storage: \(error)") }
        inbox.post(.input(.completed(id, result)))
    }

    private func logDid(_ event: LogThread.Event) {
        switch event {
        case .synced(let last, let records, let bytes, let took):
            metrics.logGroup(records: records, bytes: bytes, took: took)
            inbox.post(.input(.logSynced(through: last)))
        case .full(let error):
            metrics.diskFull.increment()
            logger.error("log: \(error); writes wait until there is room")
        case .failed(let error):
            onHalt("log: \(error)")
        }
    }
}

extension NodeRuntime: CoreAsking {}
