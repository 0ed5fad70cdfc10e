internal import Core

/// Sends events in batches, each counted exactly once, several under way at once.
///
/// ```swift
/// let client = QuipuClient(nodes: [NodeAddress(host: "127.0.0.1", port: 8181)])
/// let producer = Producer(client: client)
/// try await producer.append(#"{"type":"view","key":"abc","time":"2026-01-01T00:00:00Z"}"#)
/// let report = try await producer.finish()
/// ```
///
/// A batch is sealed when it has `batchEvents` events or `batchBytes` bytes, when its first event
/// is `batchAge` old, or by `flush`. It then never changes, and is sent under its id until its
/// outcome is certain.
///
/// **Without a spool** what this object holds is in memory: whoever needs an event to survive a
/// crash of this process keeps it until `finish` reported it. `append` waits while `inFlight`
/// batches are under way, so that never more is held.
///
/// **With a spool** a batch is on disk before its first attempt and until its outcome is final.
/// When `flush` returns, every event that was appended before it is on disk: it will be counted
/// exactly once by this process or by the next one that opens the same spool, as long as the disk
/// keeps what it synced. Events that were appended and not sealed when the process dies are lost.
/// `append` waits only while the spool is full. A batch that gets no outcome within `timeout` is
/// tried again after the others, until `finish` is called.
public actor Producer {
    /// The 128 bits under which this producer's batches are known; a spool's own where there is
    /// one.
    public nonisolated let id: UInt128
    let options: ProducerOptions
    let nodes: [NodeAddress]
    let transport: any Transport
    let time: ClientTime
    let spool: Spool?
    private let target: String

    var board: NodeBoard
    var policy: RetryPolicy
    var pace = UploadPace()
    private var sequence: UInt64 = 0

    private var openLines: [UInt8] = []
    private var openEvents = 0
    /// Batches that are full, or were to be flushed, and could not be written down yet; each stays
    /// what it is, since together they may be more than a batch can be. No event is taken while
    /// there are any: so each call under way leaves one at most.
    private var unsealed: ArraySlice<BatchDraft> = []
    /// Ends the open batch when it is old enough.
    private var ageTimer: Task<Void, Never>?
    private var openBatches = 0

    /// Sealed and on disk, to be sent in this order.
    var queue: ArraySlice<UInt64> = []
    /// Of the spool's batches those that wait in `queue` or are being sent.
    var claimed: Set<UInt64> = []
    /// Of those, sent before with an outcome that is not known: by an earlier process, perhaps.
    var doubtful: Set<UInt64> = []
    var active = 0
    /// Batches that wait to be on disk, or for one of the places under way.
    private var sealing = 0
    private var hasClaimed = false
    /// Nothing of the queue is sent any more.
    private(set) var isHalted = false
    var isFinishing = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    var requests = 0
    var bytesSent = 0
    var timeouts = 0
    /// What ended so far.
    public internal(set) var report = SendReport()

    /// A producer over the client's nodes. With a `spool` it goes on with what an earlier process
    /// left there.
    public init(
        client: QuipuClient, options: ProducerOptions = ProducerOptions(), spool: Spool? = nil
    ) {
        self.init(client: client, options: options, spool: spool, time: .real)
    }

    package init(
        client: QuipuClient, options: ProducerOptions, spool: Spool? = nil, time: ClientTime
    ) {
        precondition(options.inFlight > 0, "a producer has at least one batch under way")
        precondition(
            spool == nil || (options.producer == nil && options.createdAt == nil),
            "a spool keeps its own producer and times")
        id = spool?.producer ?? options.producer ?? time.identity
        policy = RetryPolicy(random: RandomSource(seed: time.seed))
        board = NodeBoard(count: client.nodes.count)
        nodes = client.nodes
        transport = client.transport
        target = options.target
        self.options = options
        self.spool = spool
        self.time = time
    }

    /// Adds one event, a JSON object on one line. Seals the batch when it is full. The line may
    /// have its end.
    ///
    /// Where this throws, the event was **not** taken, and may be appended again; where it returns,
    /// it was, and must not be. A batch that this event made full and that cannot be written down
    /// stays here with it: the next `append`, `flush` or `finish` tries again, and tells.
    ///
    /// - Throws: `SpoolError.notOneLine` where text follows a line feed: events are told apart by
    ///   these, so that it would be several. All else only with a spool, when batches that were
    ///   full before cannot be written down.
    public func append(_ event: some StringProtocol & Sendable) async throws(SpoolError) {
        let end = event.utf8.firstIndex(of: UInt8(ascii: "\n")) ?? event.utf8.endIndex
        let line = event.utf8[..<end]
        let bytes = line.count + 1
        guard event.utf8[end...].allSatisfy({ $0 == 0x0a || $0 == 0x0d }) else {
            throw .notOneLine(offset: bytes - 1)
        }
        if spool != nil {
            let limit = SpoolLimits.batchMax
            guard bytes <= limit else { throw .batchTooLarge(bytes: bytes, limit: limit) }
            // Others append while one waits.
            while !unsealed.isEmpty || openLines.count + bytes > limit { try await sealOpen() }
        }
        openLines.append(contentsOf: line)
        openLines.append(UInt8(ascii: "\n"))
        openEvents += 1
        if openEvents >= options.batchEvents || openLines.count >= options.batchBytes {
            do {
                try await flush()
            } catch {
                // The event is taken: whoever heard of an error now would append it once more.
                return
            }
        } else if openEvents == 1 {
            startTimer()
        }
    }

    private func startTimer() {
        guard let age = options.batchAge else { return }
        let number = openBatches
        ageTimer?.cancel()
        ageTimer = Task { await self.end(number, after: age) }
    }

    /// Seals what was appended, without waiting for its outcome. With a spool it is on disk when
    /// this returns; where it throws, what could not be written down stays here, to be flushed
    /// again.
    public func flush() async throws(SpoolError) {
        await claimHeld()
        try await sealOpen()
        // What another call is sealing was appended before as well.
        while sealing > 0 { await pause() }
        if !unsealed.isEmpty { try await sealOpen() }
    }

    private func sealOpen() async throws(SpoolError) {
        if openEvents > 0 {
            unsealed.append(
                BatchDraft(
                    body: openLines, contentType: EventFormat.ndjson.contentType,
                    events: openEvents))
            openLines = []
            openEvents = 0
            openBatches += 1
            ageTimer?.cancel()
            ageTimer = nil
        }
        while let draft = unsealed.popFirst() {
            do {
                try await submit(draft)
            } catch {
                unsealed.insert(draft, at: unsealed.startIndex)
                startTimer()
                throw error
            }
        }
    }

    /// Seals a binary batch as it is, behind events that were appended before, without waiting for
    /// its outcome. With a spool it is on disk when this returns; where it throws, it was not
    /// taken.
    public func send(_ batch: BinaryBatch) async throws(SpoolError) {
        try await flush()
        guard batch.events > 0 else { return }
        try await submit(
            BatchDraft(
                body: batch.bytes, contentType: EventFormat.binary.contentType,
                events: batch.events))
    }

    /// Seals and sends what is left, waits for every batch's outcome and says what came of them.
    /// What is without one at its timeout stays in the spool.
    public func finish() async throws(SpoolError) -> SendReport {
        isFinishing = true
        defer { isFinishing = false }
        var failure: SpoolError?
        do {
            try await flush()
        } catch {
            failure = error
        }
        pump()
        while active > 0 || sealing > 0 || (!queue.isEmpty && !isHalted) { await pause() }
        if let failure { throw failure }
        try await spool?.compact()
        if isHalted, options.failureRule == .goOn, report.spoolFailure == nil {
            // Whoever goes on appending goes on sending.
            isHalted = false
            await spool?.resume()
        }
        return report
    }

    /// Tries again what the spool holds without an outcome and is not under way, such as batches
    /// that were refused.
    public func resume() async {
        isHalted = false
        await spool?.resume()
        hasClaimed = false
        await claimHeld()
    }

    /// What it is doing.
    public func metrics() async -> ProducerMetrics {
        let status = await spool?.status
        return ProducerMetrics(
            report: report, requests: requests, bytesSent: bytesSent, inFlight: active,
            queued: queue.count, timeouts: timeouts, spool: status,
            nodes: zip(board.nodes, nodes).map { ProducerMetrics.Node($0, at: $1) })
    }

    /// Seals a body as the next batch and sends it. With a spool it returns when the batch is on
    /// disk, without one when it has one of the places under way.
    package func submit(_ draft: BatchDraft) async throws(SpoolError) {
        sealing += 1
        defer {
            sealing -= 1
            wake()
        }
        guard let spool else { return await send(draft) }
        await claimHeld()
        let batch = try await spool.seal(draft, target: target, createdAt: time.now().wall)
        // A `resume` in between has found it in the spool.
        guard claimed.insert(batch.id.sequence).inserted else { return }
        if active < options.inFlight, queue.isEmpty, !isHalted {
            active += 1
            Task { await self.run(batch) }
        } else {
            queue.append(batch.id.sequence)
            pump()
        }
    }

    private func send(_ draft: BatchDraft) async {
        // Sealed before the wait: sequences follow the order of the calls.
        let number = sequence
        sequence += 1
        while active >= options.inFlight { await pause() }
        active += 1
        let created = options.createdAt.map { WallTime(milliseconds: $0.milliseconds) }
        let batch = SealedBatch(
            id: BatchID(producer: id, sequence: number), createdAt: created ?? time.now().wall,
            contentType: draft.contentType, target: target, body: draft.body, events: draft.events)
        Task { await self.run(batch) }
    }

    /// Waits until a batch that is submitted next would be sent at once: there is nothing to be
    /// gained by sealing a file sooner.
    package func waitForPlace() async {
        await claimHeld()
        while active + queue.count >= options.inFlight, !isHalted { await pause() }
    }

    /// Whether there is any use in submitting more.
    package var takesMore: Bool {
        spool == nil ? report.failures.isEmpty : !isHalted && report.spoolFailure == nil
    }

    // MARK: - The queue

    /// Takes up, once, what the spool holds from before.
    package func claimHeld() async {
        guard let spool, !hasClaimed else { return }
        hasClaimed = true
        for sequence in await spool.held where claimed.insert(sequence).inserted {
            doubtful.insert(sequence)
            queue.append(sequence)
        }
        pump()
    }

    func pump() {
        while active < options.inFlight, !isHalted, let next = queue.popFirst() {
            active += 1
            Task { await self.run(next) }
        }
    }

    /// One place is free again.
    func ended() {
        active -= 1
        pump()
        wake()
    }

    /// Sends no more of the queue; whoever waits for that hears of it.
    func halt() async {
        isHalted = true
        await spool?.halt()
        wake()
    }

    private func wake() {
        let woken = waiting
        waiting = []
        for continuation in woken { continuation.resume() }
    }

    private func pause() async {
        await withCheckedContinuation { waiting.append($0) }
    }

    private func end(_ number: Int, after age: Duration) async {
        await time.sleep(age)
        guard openBatches == number else { return }
        do {
            try await flush()
        } catch {
            // The events are still here, and are sealed when there is room again.
            if case .isFull = error { return }
            // The next call of `append` or `flush` throws the same.
            report.spoolFailure = error
        }
    }
}
