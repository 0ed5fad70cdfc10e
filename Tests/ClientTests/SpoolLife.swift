import Client
import Core

/// What a cluster does with batches, as far as a sender can tell: the first content of an id is
/// counted, the same content is a duplicate, another is refused; an id whose time has closed
/// without it is refused for ever.
struct ModelCluster {
    private(set) var counted: [UInt64: SealedBatch] = [:]
    private(set) var closed: Set<UInt64> = []
    /// Batches that were refused because another content holds their id.
    private(set) var conflicts: [SealedBatch] = []

    enum Answer {
        case counted
        case closedWithout
        case conflict
    }

    mutating func send(_ batch: SealedBatch, isTooOld: Bool) -> Answer {
        let sequence = batch.id.sequence
        if let known = counted[sequence] {
            if known == batch { return .counted }
            conflicts.append(batch)
            return .conflict
        }
        if isTooOld { closed.insert(sequence) }
        if closed.contains(sequence) { return .closedWithout }
        counted[sequence] = batch
        return .counted
    }

    /// How often each event of the input is counted.
    func counts(of events: Int) -> [Int] {
        var counts = Array(repeating: 0, count: events)
        for batch in counted.values {
            for event in batch.body { counts[Int(event)] += 1 }
        }
        return counts
    }
}

/// Runs of a sender over one spool and one input of `events` bytes, each of which is an event.
struct SpoolLife {
    let events: Int
    var cluster = ModelCluster()
    var random: RandomSource
    private var clock: Int64 = 1_767_225_600_000

    /// Segments of a few batches, so that all that segments do happens all the time.
    static let bounds = {
        var bounds = SpoolJournal.Bounds()
        bounds.segmentBytes = 500
        return bounds
    }()

    init(events: Int, seed: UInt64) {
        self.events = events
        random = RandomSource(seed: seed)
    }

    /// What a run of the command does; throws where the disk fails. A cluster that answers little
    /// leaves batches for the next run.
    mutating func run(on files: MemorySpool, answers: Bool) throws(SpoolError) {
        var journal = try SpoolJournal(files, producer: 42, bounds: SpoolLife.bounds)
        for sequence in journal.state.heldSequences {
            try send(sequence, &journal, answers: answers)
        }
        while let draft = nextDraft(journal) {
            clock += 1
            let sealed = try journal.seal(
                draft, target: "/v1/events", createdAt: WallTime(milliseconds: clock))
            if random.chance(3, in: 4) { try send(sealed.id.sequence, &journal, answers: answers) }
            // Late answers, in any order.
            if random.chance(1, in: 3), let late = journal.state.heldSequences.last {
                try send(late, &journal, answers: answers)
            }
        }
        if answers {
            for sequence in journal.state.heldSequences {
                try send(sequence, &journal, answers: answers)
            }
        }
        try journal.compact()
    }

    private mutating func nextDraft(_ journal: SpoolJournal) -> BatchDraft? {
        let offset = journal.state.inputs.first?.position.offset ?? 0
        guard offset < events else { return nil }
        let end = min(events, offset + 1 + random.below(4))
        let body = (offset..<end).map { UInt8($0) }
        let input = CutInput(
            number: 0, path: "/input", identity: CutInput.Identity(device: 1, inode: 2),
            format: .ndjson)
        let position = CutPosition(
            offset: end, checksum: UInt32(end), preamble: [UInt8](repeating: 7, count: 20))
        return BatchDraft(
            body: body, contentType: "t", events: body.count,
            mark: CutMark(input: input, end: position))
    }

    private mutating func send(
        _ sequence: UInt64, _ journal: inout SpoolJournal, answers: Bool
    ) throws(SpoolError) {
        let batch = try journal.load(sequence)
        switch cluster.send(batch, isTooOld: random.chance(1, in: 8)) {
        case .counted:
            // Counted, but nobody hears of it.
            guard answers || random.chance(1, in: 2) else { return }
            let counts = BatchCounts(
                events: batch.body.count, counted: batch.body.count - 1, dead: 1)
            try journal.settle(sequence, .counted(counts))
        case .closedWithout:
            clock += 1
            let anew = try journal.reseal(sequence, createdAt: WallTime(milliseconds: clock))
            try send(anew.id.sequence, &journal, answers: answers)
        case .conflict:
            return
        }
    }
}
