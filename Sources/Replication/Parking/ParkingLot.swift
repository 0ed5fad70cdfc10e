package import Core
package import Wire

/// Decides what is parked, what is submitted when, and what becomes of it.
///
/// It sees every write at ANY from its beginning: the first attempt is submitted under a request
/// of its own (`RequestID.isOfParking`), like every later one, and its outcome comes back through
/// `receive`.
package struct ParkingLot: Sendable {
    package enum Effect: Sendable {
        case job(ParkingJob)
        case answer(RequestID, ClientResponse)
        case report(Event)
    }

    /// What an operator wants to read.
    package enum Event: Hashable, Sendable {
        case parked(ParkedKey)
        case counted(ParkedKey)
        /// Another content of its id was counted: this one never will be.
        case refused(ParkedKey)
        /// Finally not counted, it is submitted as its n-th renewal from now on.
        case renewed(ParkedKey, Int)
        case damaged(ParkedKey, String)
        /// Its home knows no more whether it was counted.
        case forgotten(ParkedKey)
        /// By an operator's word.
        case discarded(ParkedKey)
        case failed(String)
    }

    /// What came of a parked batch's load.
    package enum Loaded: Sendable {
        /// Submit this record at QUORUM under this request.
        case submit(RequestID, BatchRecord)
        case nothing
    }

    struct Waiter {
        var request: RequestID
        var deadline: Instant
    }

    /// A batch that is being stored goes to `waiting`; from there to `loading` and `submitting` and
    /// back, until it has an outcome: then to `removing`, and it is gone. `damaged` is the end of
    /// one whose record is no longer what was stored, `forgotten` of one whose outcome nobody
    /// remembers; they are kept and shown, and go to `removing` where an operator discards them.
    enum Phase {
        case storing([Waiter])
        case waiting
        case loading
        case submitting
        case removing
        case damaged
        case forgotten
    }

    struct Entry {
        var note: ParkedNote
        var phase: Phase
        var attempts = 0
        var renewals = 0
        /// Of the record as it was loaded last.
        var totals: BatchTotals?
        /// It has its outcome, and is only to be removed: how.
        var removal: ParkingJob?
        var isSettled: Bool { removal != nil }
        /// Storing it failed, so it may be on disk or not; nobody was told that it is parked.
        var isInDoubt = false

        var canBeReliedUpon: Bool { !isSettled && !isInDoubt }
        var reason: String

        /// Of the renewal that is submitted now.
        var createdAt: WallTime { note.createdAt + Renewal.step * renewals }
    }

    enum Attempt {
        case first(client: RequestID, BatchRecord, deadline: Instant)
        case again(ParkedKey)
    }

    package let options: ParkingOptions
    private var random: RandomSource
    var entries: [ParkedKey: Entry] = [:]
    var memory = RenewalMemory()
    /// What goes by an operator's word.
    var discarding: [ParkedKey: Discarding] = [:]
    private var queue = DueQueue<ParkedKey>()
    private var storing: Set<ParkedKey> = []
    private(set) var attempts: [RequestID: Attempt] = [:]
    private var nextRequest: UInt64 = 0
    /// Batches that are loaded or submitted.
    package private(set) var active = 0
    package private(set) var byteCount = 0
    /// What the start found. It is kept, though it may be more than is taken anew: a commit that
    /// failed and could not be found may be there after all.
    package private(set) var listedCount = 0
    package private(set) var listedBytes = 0
    /// What was parked before the start is known; before that nothing more is taken.
    package private(set) var isListed = false
    private var listAt: Instant?

    package init(_ options: ParkingOptions, seed: UInt64) {
        self.options = options
        random = RandomSource(seed: seed)
    }

    package var count: Int { entries.count }
    package var rememberedCount: Int { memory.batches.count }

    package mutating func start(into effects: inout [Effect]) {
        effects.append(.job(.list))
    }

    // MARK: - A client's write at ANY

    /// The request under which the first attempt runs.
    package mutating func begin(
        _ client: RequestID, _ record: BatchRecord, deadline: Instant
    ) -> RequestID {
        let request = newRequest()
        attempts[request] = .first(client: client, record, deadline: deadline)
        return request
    }

    private mutating func newRequest() -> RequestID {
        nextRequest += 1
        return .parking(nextRequest)
    }

    /// The outcome of an attempt; `isBeyondMemory` says of a time for which homes cannot tell any
    /// more what became of batches that were sealed then.
    package mutating func receive(
        _ response: ClientResponse, for request: RequestID, _ now: Now,
        isBeyondMemory: (WallTime) -> Bool = { _ in false }, into effects: inout [Effect]
    ) {
        guard let attempt = attempts.removeValue(forKey: request) else { return }
        switch attempt {
        case .again(let key):
            conclude(key, judge(response, of: key, isBeyondMemory), now, into: &effects)
        case .first(let client, let record, let deadline):
            switch response {
            case .write(.notAttempted(.tooFewReplicas)), .write(.unknown):
                park(
                    record, Waiter(request: client, deadline: deadline), response, now,
                    into: &effects)
            default:
                effects.append(.answer(client, word(response, on: record.header)))
            }
        }
    }

    private mutating func park(
        _ record: BatchRecord, _ waiter: Waiter, _ response: ClientResponse, _ now: Now,
        into effects: inout [Effect]
    ) {
        let key = ParkedKey(id: record.header.id, contentHash: record.header.contentHash)
        if let entry = entries[key] {
            switch entry.phase {
            case .storing(let waiters):
                entries[key]?.phase = .storing(waiters + [waiter])
            case .waiting where entry.canBeReliedUpon, .loading where entry.canBeReliedUpon,
                .submitting:
                effects.append(.answer(waiter.request, .write(.parked)))
            case .waiting, .loading, .removing, .damaged, .forgotten:
                effects.append(.answer(waiter.request, response))
            }
            return
        }
        // Where voters may hold it already, nothing is known of it that was not known before.
        guard isListed else { return effects.append(.answer(waiter.request, response)) }
        let size = record.bytes.count
        guard entries.count < options.batchesMax, byteCount + size <= options.bytesMax else {
            var answer = response
            if case .write(.notAttempted(.tooFewReplicas(let required, let alive))) = response {
                answer = .write(
                    .notAttempted(
                        .parkingFull(
                            batches: entries.count, bytes: byteCount, required: required,
                            alive: alive)))
            }
            return effects.append(.answer(waiter.request, answer))
        }
        let note = ParkedNote(
            key: key, createdAt: record.header.createdAt, parkedAt: now.wall,
            events: record.totals.events, byteCount: size,
            checksum: Checksum.crc32c(record.bytes))
        entries[key] = Entry(
            note: note, phase: .storing([waiter]), reason: Self.reason(response))
        byteCount += size
        storing.insert(key)
        effects.append(.job(.store(note, record.bytes)))
        plantedAnswers(to: response, waiter, into: &effects)
    }

    private func plantedAnswers(
        to response: ClientResponse, _ waiter: Waiter, into effects: inout [Effect]
    ) {
        if options.answersEarly { effects.append(.answer(waiter.request, .write(.parked))) }
        guard options.countsParked else { return }
        switch response {
        case .write(.notAttempted(.tooFewReplicas(let required, let alive)))
        where alive + 1 >= required:
            effects.append(.answer(waiter.request, Self.countedByCopy(required)))
        case .write(.unknown(let required, let answered)) where answered + 1 >= required:
            effects.append(.answer(waiter.request, Self.countedByCopy(required)))
        default:
            break
        }
    }

    private static func countedByCopy(_ required: Int) -> ClientResponse {
        .write(.counted(duplicate: false, required: required, acknowledged: required))
    }

    // MARK: - The database's answers

    package mutating func complete(
        _ result: ParkingResult, _ now: Now, homeOf: (BatchID) -> PartitionID,
        into effects: inout [Effect]
    ) -> Loaded {
        switch result {
        case .listed(let notes, let renewed):
            list(notes, renewed, now)
        case .listFailed(let reason):
            effects.append(.report(.failed(reason)))
            listAt = now.monotonic + options.waitMax
        case .stored(let key):
            stored(key, now, into: &effects)
        case .storeFailed(let key, let reason):
            notStored(key, reason, now, into: &effects)
        case .loaded(let key, let bytes):
            return loaded(key, bytes, homeOf, into: &effects)
        case .loadFailed(let key, let reason):
            active -= 1
            again(key, after: "it cannot be read: \(reason)", now)
        case .removed(let key):
            forget(key)
            answerDiscards(of: key, nil, into: &effects)
        case .removeFailed(let key, let reason):
            // It may be gone all the same; removing it again does no harm.
            effects.append(.report(.failed(reason)))
            answerDiscards(of: key, reason, into: &effects)
            again(key, after: "it has its outcome and cannot be removed: \(reason)", now)
        }
        return .nothing
    }

    private mutating func list(_ notes: [ParkedNote], _ renewed: RenewalMemory, _ now: Now) {
        guard !isListed else { return }
        isListed = true
        memory = renewed
        for note in notes where entries[note.key] == nil {
            entries[note.key] = Entry(
                note: note, phase: .waiting, reason: "it was parked before the start")
            byteCount += note.byteCount
            listedCount = entries.count
            listedBytes = byteCount
            queue.insert(
                note.key, at: now.monotonic + random.duration(below: options.waitMin))
        }
    }

    private mutating func stored(_ key: ParkedKey, _ now: Now, into effects: inout [Effect]) {
        guard case .storing(let waiters) = entries[key]?.phase else {
            preconditionFailure("\(key) was stored unasked")
        }
        storing.remove(key)
        effects.append(.report(.parked(key)))
        for waiter in waiters {
            effects.append(.answer(waiter.request, .write(.parked)))
        }
        entries[key]?.phase = .waiting
        queue.insert(key, at: now.monotonic + random.duration(below: options.waitMin))
    }

    /// It may be on disk all the same, and the next start would find it there: so it keeps its
    /// place, and is looked for.
    private mutating func notStored(
        _ key: ParkedKey, _ reason: String, _ now: Now, into effects: inout [Effect]
    ) {
        guard case .storing(let waiters) = entries[key]?.phase else {
            preconditionFailure("\(key) was not stored, unasked")
        }
        storing.remove(key)
        effects.append(.report(.failed(reason)))
        for waiter in waiters {
            effects.append(.answer(waiter.request, .write(.unknown(required: 1, answered: 0))))
        }
        entries[key]?.isInDoubt = true
        again(key, after: "it is not known whether it could be stored: \(reason)", now)
    }

    private mutating func forget(_ key: ParkedKey) {
        if let entry = entries.removeValue(forKey: key) { byteCount -= entry.note.byteCount }
    }

    private mutating func loaded(
        _ key: ParkedKey, _ bytes: [UInt8]?, _ homeOf: (BatchID) -> PartitionID,
        into effects: inout [Effect]
    ) -> Loaded {
        guard let entry = entries[key] else { preconditionFailure("\(key) was loaded unasked") }
        if bytes == nil, entry.isInDoubt {
            active -= 1
            forget(key)
            return .nothing
        }
        guard let bytes, Checksum.crc32c(bytes) == entry.note.checksum else {
            damage(key, bytes == nil ? "it is gone" : "its checksum is wrong", into: &effects)
            return .nothing
        }
        let home = homeOf(Renewal.id(key.id, entry.renewals))
        let record = Result { () throws(DecodeError) in
            try Renewal.record(try BatchRecord(decoding: bytes), entry.renewals, home: home)
        }
        switch record {
        case .failure(let error):
            damage(key, "\(error)", into: &effects)
            return .nothing
        case .success(let record):
            let request = newRequest()
            attempts[request] = .again(key)
            entries[key]?.phase = .submitting
            entries[key]?.isInDoubt = false
            entries[key]?.totals = record.totals
            return .submit(request, record)
        }
    }

    private mutating func damage(
        _ key: ParkedKey, _ reason: String, into effects: inout [Effect]
    ) {
        active -= 1
        entries[key]?.phase = .damaged
        entries[key]?.reason = "the stored record is damaged: \(reason)"
        effects.append(.report(.damaged(key, reason)))
    }
}

// MARK: - Outcomes

extension ParkingLot {
    private enum Verdict {
        case counted
        /// Another content of its id is.
        case refused
        /// Finally not counted: its home segment closed without it.
        case closed
        /// Its home segment is closed, and whether with it or without it nobody remembers.
        case forgotten
        case open(String)
    }

    /// The one place where an outcome decides what becomes of a parked batch.
    private func judge(
        _ response: ClientResponse, of key: ParkedKey, _ isBeyondMemory: (WallTime) -> Bool
    ) -> Verdict {
        switch response {
        case .write(.counted), .write(.expired(.counted)): .counted
        case .write(.conflict): .refused
        case .write(.expired(.notCounted)): .closed
        case .write(.expired(.unknown)):
            entries[key].map { isBeyondMemory($0.createdAt) } == true
                ? .forgotten : .open(Self.reason(response))
        case .write(.unknown), .write(.notAttempted), .failed:
            .open(Self.reason(response))
        case .write(.parked), .status, .read, .flushed, .compacted, .verified, .parked, .audit:
            preconditionFailure("a write was answered by \(response)")
        }
    }

    /// For people: why it is not counted yet.
    private static func reason(_ response: ClientResponse) -> String {
        switch response {
        case .write(.notAttempted(.tooFewReplicas(let required, let alive))),
            .failed(.tooFewReplicas(let required, let alive)):
            "\(alive) of \(required) voters can be reached"
        case .write(.unknown(let required, let answered)),
            .failed(.timedOut(let required, let answered)):
            "\(answered) of \(required) voters answered in time"
        case .write(.expired): "older than the horizon; its home has not decided yet"
        case .write(.notAttempted(.aheadOfClock)): "sealed ahead of this node's clock"
        case .write(.notAttempted(.overloaded)): "this node is overloaded"
        case .write(.notAttempted(.deadLettersFull(let full))):
            "no room for its dead letters on " + full.map(\.name).joined(separator: ", ")
        case .write(.notAttempted(.notReady(let why))), .failed(.notReady(let why)): why
        case .failed(.overloaded(let why)): why
        case .failed(.storage(let why)), .failed(.tooLarge(let why)): why
        case .write, .status, .read, .flushed, .compacted, .verified, .parked, .audit: "waiting"
        }
    }

    private mutating func conclude(
        _ key: ParkedKey, _ verdict: Verdict, _ now: Now, into effects: inout [Effect]
    ) {
        active -= 1
        guard let entry = entries[key] else { preconditionFailure("\(key) is gone") }
        switch verdict {
        case .counted:
            effects.append(.report(.counted(key)))
            remove(key, by: removal(ofCounted: key), into: &effects)
        case .refused:
            // A renewal's hash follows from the content: the other one is of other events.
            effects.append(.report(.refused(key)))
            remove(key, by: .remove(key), into: &effects)
        case .closed:
            entries[key]?.renewals += 1
            entries[key]?.attempts = 0
            entries[key]?.reason = "sealed anew"
            effects.append(.report(.renewed(key, entry.renewals + 1)))
            entries[key]?.phase = .waiting
            queue.insert(key, at: now.monotonic)
        case .forgotten:
            entries[key]?.phase = .forgotten
            entries[key]?.reason = Self.forgottenReason
            effects.append(.report(.forgotten(key)))
        case .open(let reason):
            again(key, after: reason, now)
        }
    }

    private static let forgottenReason =
        "outcome forgotten: it is older than batch_status_retention, and whether it was counted "
        + "nobody remembers; it is not submitted again"

    /// How a counted batch goes: its home knows it under the id of its renewal alone, so that this
    /// node remembers what it is to say of the id under which it came.
    private mutating func removal(ofCounted key: ParkedKey) -> ParkingJob {
        guard let entry = entries[key], entry.renewals > 0, let totals = entry.totals else {
            return .remove(key)
        }
        let renewed = RenewedBatch(
            key: key, createdAt: entry.note.createdAt, number: entry.renewals, totals: totals)
        return .settle(
            renewed, forgetting: memory.insert(renewed, max: options.renewedMax))
    }

    mutating func remove(_ key: ParkedKey, by job: ParkingJob, into effects: inout [Effect]) {
        entries[key]?.removal = job
        entries[key]?.phase = .removing
        effects.append(.job(job))
    }

    /// Exponential backoff with full jitter.
    private mutating func again(_ key: ParkedKey, after reason: String, _ now: Now) {
        guard let entry = entries[key] else { preconditionFailure("\(key) is gone") }
        let doublings = min(entry.attempts, 20)
        let bound = min(options.waitMax, options.waitMin * (1 << doublings))
        entries[key]?.attempts += 1
        entries[key]?.reason = reason
        entries[key]?.phase = .waiting
        queue.insert(key, at: now.monotonic + random.duration(below: bound))
    }
}

// MARK: - Time

extension ParkingLot {
    /// Loads what is due and whose home `canReach` says is there; ends the patience of clients.
    package mutating func advance(
        to now: Now, canReach: (BatchID) -> Bool, into effects: inout [Effect]
    ) {
        if let at = listAt, at <= now.monotonic {
            listAt = nil
            effects.append(.job(.list))
        }
        expireWaiters(now, into: &effects)
        expireDiscards(now.monotonic, into: &effects)
        while active < options.submissionsMax, let key = queue.takeDue(now.monotonic) {
            guard let entry = entries[key] else { preconditionFailure("\(key) is gone") }
            if let job = entry.removal {
                remove(key, by: job, into: &effects)
                continue
            }
            guard canReach(Renewal.id(key.id, entry.renewals)) else {
                again(key, after: "its home has no quorum", now)
                continue
            }
            active += 1
            entries[key]?.phase = .loading
            effects.append(.job(.load(key)))
        }
    }

    /// Whether `advance` would do anything.
    package func isDue(at now: Instant) -> Bool {
        (listAt.map { $0 <= now } ?? false) || !storing.isEmpty || hasWaitingOperators
            || active < options.submissionsMax && (queue.nextDue.map { $0 <= now } ?? false)
    }

    /// A disk that hangs must not keep a client waiting; the batch is stored and counted later.
    private mutating func expireWaiters(_ now: Now, into effects: inout [Effect]) {
        for key in storing.sorted() {
            guard case .storing(let waiters) = entries[key]?.phase else { continue }
            let patient = waiters.filter { $0.deadline > now.monotonic }
            guard patient.count < waiters.count else { continue }
            for waiter in waiters where waiter.deadline <= now.monotonic {
                effects.append(
                    .answer(waiter.request, .write(.unknown(required: 1, answered: 0))))
            }
            entries[key]?.phase = .storing(patient)
        }
    }

    // MARK: - For people

    /// Count and bytes are those of all.
    package func listing(of id: BatchID? = nil, limit: Int) -> ParkedListing {
        let chosen = entries.values.filter { entry in
            let key = entry.note.key
            return id.map { $0 == key.id || $0 == Renewal.id(key.id, entry.renewals) } ?? true
        }
        return ParkedListing(
            count: entries.count, bytes: byteCount,
            items: items(among: chosen, limit: limit))
    }

    /// The oldest first.
    func items(among entries: [Entry], limit: Int) -> [ParkedItem] {
        entries.sorted {
            ($0.note.parkedAt, $0.note.key) < ($1.note.parkedAt, $1.note.key)
        }.prefix(limit).map { entry in
            ParkedItem(
                note: entry.note, attempts: entry.attempts, renewals: entry.renewals,
                id: Renewal.id(entry.note.key.id, entry.renewals), reason: entry.reason,
                state: state(of: entry))
        }
    }
}
