internal import Core

/// Sends events in batches, each counted exactly once, several under way at once.
///
/// ```swift
/// let client = QuipuClient(nodes: [NodeAddress(host: "127.0.0.1", port: 8181)])
/// let producer = Producer(client: client)
/// await producer.append(#"{"type":"view","key":"abc","time":"2026-01-01T00:00:00Z"}"#)
/// let report = await producer.finish()
/// ```
///
/// `append` and `submit` wait while `inFlight` batches are under way: a producer never holds more.
public actor Producer {
    /// The 128 bits under which this producer's batches are known.
    public nonisolated let id: UInt128
    private let options: ProducerOptions
    private let nodes: [NodeAddress]
    private let transport: any Transport
    private let time: ClientTime
    private let target: String

    private var board: NodeBoard
    private var policy: RetryPolicy
    private var sequence: UInt64 = 0
    private var openLines: [UInt8] = []
    private var openEvents = 0
    private var active = 0
    private var waiting: [CheckedContinuation<Void, Never>] = []
    /// What ended so far.
    public private(set) var report = SendReport()

    /// A producer over the client's nodes.
    public init(client: QuipuClient, options: ProducerOptions = ProducerOptions()) {
        self.init(client: client, options: options, time: .real)
    }

    package init(client: QuipuClient, options: ProducerOptions, time: ClientTime) {
        precondition(options.inFlight > 0, "a producer has at least one batch under way")
        id = options.producer ?? time.identity
        policy = RetryPolicy(random: RandomSource(seed: time.seed))
        board = NodeBoard(count: client.nodes.count)
        nodes = client.nodes
        transport = client.transport
        target = options.target
        self.options = options
        self.time = time
    }

    /// Adds one event, a JSON object on one line. Sends when a batch is full, waiting for room.
    public func append(_ event: some StringProtocol & Sendable) async {
        openLines.append(contentsOf: event.utf8)
        openLines.append(UInt8(ascii: "\n"))
        openEvents += 1
        if openEvents >= options.batchEvents || openLines.count >= options.batchBytes {
            await flush()
        }
    }

    /// Seals and sends what was appended, without waiting for the outcome.
    public func flush() async {
        guard openEvents > 0 else { return }
        let body = openLines
        let events = openEvents
        openLines = []
        openEvents = 0
        await submit(body: body, contentType: EventFormat.ndjson.contentType, events: events)
    }

    /// Seals a binary batch as it is and sends it, after waiting for room, without waiting for the
    /// outcome. Events that were appended before go first.
    public func send(_ batch: BinaryBatch) async {
        await flush()
        guard batch.events > 0 else { return }
        await submit(
            body: batch.bytes, contentType: EventFormat.binary.contentType, events: batch.events)
    }

    /// Sends what is open, waits for every batch's outcome and says what came of them.
    public func finish() async -> SendReport {
        await flush()
        while active > 0 { await pause() }
        return report
    }

    /// Seals a body as the next batch and sends it, after waiting for one of the places under way.
    package func submit(body: [UInt8], contentType: String, events: Int) async {
        // Sealed before the wait: sequences follow the order of the calls.
        let number = sequence
        sequence += 1
        while active >= options.inFlight { await pause() }
        active += 1
        let created = options.createdAt.map { WallTime(milliseconds: $0.milliseconds) }
        let batch = SealedBatch(
            id: BatchID(producer: id, sequence: number), createdAt: created ?? time.now().wall,
            contentType: contentType, body: body, events: events)
        Task { await self.run(batch) }
    }

    private func run(_ batch: SealedBatch) async {
        let outcome = await deliver(batch)
        book(outcome, of: batch)
        active -= 1
        let woken = waiting
        waiting = []
        for continuation in woken { continuation.resume() }
    }

    private func pause() async {
        await withCheckedContinuation { waiting.append($0) }
    }

    /// Sends a batch until it has an outcome or its time is over.
    private func deliver(_ batch: SealedBatch) async -> BatchOutcome {
        let call = batch.call(target: target)
        var attempts = BatchAttempts(
            deadline: time.now().monotonic + options.timeout, nodes: nodes.count)
        var start = batch.id.sequence
        policy.firstAttempt()
        while true {
            let now = time.now().monotonic
            switch board.choose(from: start, at: now) {
            case .wait(let until):
                guard let wait = attempts.wait(until - now, at: now) else {
                    return attempts.gaveUp()
                }
                await time.sleep(wait)
            case .node(let index):
                let timeout = attempts.timeout(at: now, attemptMax: options.attemptTimeout)
                guard let timeout else {
                    // The board may count on this request as its probe: it was none.
                    board.failed(index, at: now)
                    return attempts.gaveUp()
                }
                if attempts.attempts > 0 { report.retries += 1 }
                let result = await attempt(call, at: index, timeout: timeout)
                if case .finished(let outcome) = attempts.record(result) { return outcome }
                let after = time.now().monotonic
                let delay = policy.delay(afterAttempts: attempts.attempts)
                guard let wait = attempts.wait(delay, at: after) else { return attempts.gaveUp() }
                await time.sleep(wait)
                start = UInt64(index) + 1
            }
        }
    }

    private func attempt(
        _ call: HTTPCall, at index: Int, timeout: Duration
    ) async -> AttemptResult {
        let start = time.now().monotonic
        do {
            let reply = try await transport.perform(call, at: nodes[index], timeout: timeout)
            let now = time.now().monotonic
            switch reply.status {
            case 429, 503, 504: board.refused(index, at: now, retryAfter: reply.retryAfter)
            case 500...: board.failed(index, at: now)
            default: board.succeeded(index)
            }
            return AttemptResult(reply: reply)
        } catch {
            let now = time.now().monotonic
            board.failed(index, at: now, taking: now - start)
            return AttemptResult(failure: error)
        }
    }

    private func book(_ outcome: BatchOutcome, of batch: SealedBatch) {
        switch outcome {
        case .counted(let counts, let duplicate):
            report.events += counts.events
            report.counted += counts.counted
            report.dead += counts.dead
            report.batches += 1
            if duplicate { report.duplicates += 1 }
            for error in counts.errors
            where report.deadLetters.count < Limits.errorsInAnswerMax {
                report.deadLetters.append(
                    SendReport.DeadLetterSample(sequence: batch.id.sequence, error: error))
            }
        case .parked(let events):
            report.events += events
            report.parked += events
            report.batches += 1
        case .notCounted, .notAttempted, .unknown:
            report.failures.append(
                SendReport.Failure(
                    sequence: batch.id.sequence,
                    createdAt: Timestamp(milliseconds: batch.createdAt.milliseconds),
                    outcome: outcome))
        }
    }
}
