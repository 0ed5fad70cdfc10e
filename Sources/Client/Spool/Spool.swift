package import Core

/// Keeps a producer's batches on disk from their sealing to their final outcome.
///
/// ```swift
/// let spool = try Spool(directory: "/var/spool/my-service")
/// let producer = Producer(client: client, spool: spool)
/// try await producer.append(event)
/// try await producer.flush()  // on disk now, whatever happens to this process
/// ```
///
/// **What it promises.** A batch is on disk, fsynced, before its first attempt, and leaves it only
/// after a final outcome. Whoever opens the directory again after a crash goes on with what is
/// left, under the same ids, so that every sealed event is counted exactly once. Events that were
/// appended and not sealed yet are lost with the process; `flush()` seals them.
///
/// **What it does not.** A directory must not be used twice: no copies, none put back from a
/// backup; its ids belong to one history. One process holds it at a time.
public actor Spool {
    /// Where it lies.
    public nonisolated let directory: String
    /// The identity under which its batches are known, for ever.
    nonisolated let producer: UInt128
    private var journal: SpoolJournal
    private let bytesMax: Int
    private let executor = ThreadExecutor()
    private var waiting: [CheckedContinuation<Void, Never>] = []
    /// Nothing is sent any more, so that nobody must wait for room.
    private var isHalted = false
    /// Held without an attempt to come in this process: refused, or given up.
    private var abandoned: Set<UInt64> = []

    /// fsync blocks: the spool has a thread of its own.
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// Makes a spool in a directory or finds what an earlier process left there.
    ///
    /// The directory is made where it is missing, its parent is not. It stays locked as long as
    /// this object lives.
    public init(
        directory: String, options: SpoolOptions = SpoolOptions()
    ) throws(SpoolError) {
        try self.init(
            SpoolDirectory(directory), directory: directory,
            producer: UInt128.random(in: .min ... .max), options: options)
    }

    package init(
        _ files: sending any SpoolFiles, directory: String, producer: UInt128,
        options: SpoolOptions = SpoolOptions(), bounds: SpoolJournal.Bounds? = nil
    ) throws(SpoolError) {
        self.directory = directory
        bytesMax = bounds == nil ? max(options.bytesMax, SpoolLimits.bytesMin) : options.bytesMax
        var sizes = bounds ?? SpoolJournal.Bounds()
        // Space is given back by segments: several must fit.
        sizes.segmentBytes = min(sizes.segmentBytes, bytesMax / 8)
        let journal = try SpoolJournal(files, producer: producer, bounds: sizes)
        self.producer = journal.state.producer
        self.journal = journal
    }

    deinit {
        executor.stop()
    }

    /// What it holds now.
    public var status: SpoolStatus {
        SpoolStatus(
            batches: journal.state.held.count, batchBytes: journal.state.heldBytes,
            bytes: journal.bytes,
            oldest: (journal.state.oldestHeld?.createdAt.milliseconds).map {
                Timestamp(milliseconds: $0)
            },
            totals: journal.state.totals)
    }

    /// The inputs and how far they are sealed.
    package var inputs: [InputProgress] { journal.state.inputs }

    /// The batches without a final outcome, oldest first.
    package var held: [UInt64] { journal.state.heldSequences }

    /// Writes a batch down, durably; waits while the spool is full.
    package func seal(
        _ draft: BatchDraft, target: String, createdAt: WallTime
    ) async throws(SpoolError) -> SealedBatch {
        while journal.bytes + draft.body.count > bytesMax {
            // What is left of ended batches goes before anybody waits.
            if journal.state.held.isEmpty {
                try journal.compact()
                break
            }
            // Nor does what ended beside a batch that never does.
            if try journal.carry() {
                // Outcomes are noted in between.
                await Task.yield()
                continue
            }
            // No outcome will come that gives room.
            if isHalted || journal.state.held.keys.allSatisfy(abandoned.contains) {
                throw .isFull(bytes: journal.bytes)
            }
            await withCheckedContinuation { waiting.append($0) }
        }
        return try journal.seal(draft, target: target, createdAt: createdAt)
    }

    /// A batch as it was sealed; nil where it has its outcome by now.
    package func load(_ sequence: UInt64) throws(SpoolError) -> SealedBatch? {
        journal.state.held[sequence] == nil ? nil : try journal.load(sequence)
    }

    package func settle(_ sequence: UInt64, _ outcome: SpoolOutcome) throws(SpoolError) {
        defer { wake() }
        abandoned.remove(sequence)
        try journal.settle(sequence, outcome)
    }

    package func reseal(
        _ sequence: UInt64, createdAt: WallTime
    ) throws(SpoolError) -> SealedBatch {
        try journal.reseal(sequence, createdAt: createdAt)
    }

    /// Makes outcomes durable and gives back what space can be.
    package func compact() throws(SpoolError) {
        try journal.compact()
    }

    /// Whoever waits for room hears that there will be none.
    package func halt() {
        isHalted = true
        wake()
    }

    /// A batch stays here, and is not sent again until `resume`.
    package func abandon(_ sequence: UInt64) {
        abandoned.insert(sequence)
        wake()
    }

    package func resume() {
        isHalted = false
        abandoned = []
    }

    private func wake() {
        let woken = waiting
        waiting = []
        for continuation in woken { continuation.resume() }
    }
}
