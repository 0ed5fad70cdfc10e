package import Core
package import Replication
internal import Wire

/// What a request to count events is told: of one batch, or of the several that a long body was cut
/// into.
package struct WriteAnswer: Sendable {
    package struct Part: Hashable, Sendable {
        package var id: BatchID
        package var totals: BatchTotals
        package var isDuplicate: Bool
        /// Counted later: `totals` says what it will be.
        package var isParked = false
        package var required: Int
        package var acknowledged: Int
        package var errors: [DeadLetter]
    }

    package let level: String
    package private(set) var parts: [Part] = []

    package init(_ request: EventRequest) {
        level = request.parks ? "ANY" : request.consistency.name
    }

    package mutating func add(_ part: Part) {
        parts.append(part)
    }

    /// The core's word on one batch, as a part of the answer or as the problem that it is.
    package static func judge(
        _ response: ClientResponse, _ folded: FoldedRecord, _ consistency: Consistency
    ) -> Result<Part, Problem> {
        switch response {
        case .write(let outcome):
            return judge(outcome, folded, consistency)
        case .failed(let failure):
            var problem = failure.problem(consistency: consistency)
            switch failure {
            case .notReady, .overloaded: problem.outcome = .notAttempted
            case .tooFewReplicas, .timedOut, .storage, .tooLarge: problem.outcome = .unknown
            }
            return .failure(problem)
        case .status, .read, .flushed, .compacted, .verified, .parked, .audit:
            var problem = Problem.unexpectedAnswer
            problem.outcome = .unknown
            return .failure(problem)
        }
    }

    private static func judge(
        _ outcome: WriteOutcome, _ folded: FoldedRecord, _ consistency: Consistency
    ) -> Result<Part, Problem> {
        let id = folded.record.header.id
        switch outcome {
        case .counted(let isDuplicate, let required, let acknowledged):
            return .success(
                Part(
                    id: id, totals: folded.record.totals, isDuplicate: isDuplicate,
                    required: required, acknowledged: acknowledged,
                    errors: folded.errors.map(\.withoutBytes)))
        case .parked:
            return .success(
                Part(
                    id: id, totals: folded.record.totals, isDuplicate: false, isParked: true,
                    required: 0, acknowledged: 0, errors: folded.errors.map(\.withoutBytes)))
        case .conflict:
            return .failure(
                Problem(
                    422, "conflict", "Another content is bound under this id",
                    "batch \(id) was counted with other bytes, parameters or Quipu-Created; "
                        + "this content will never be counted: seal it under a new id",
                    outcome: .notCounted))
        case .notAttempted(let reason):
            return .failure(problem(reason, consistency))
        case .expired(let status):
            return .failure(expired(status, id))
        case .unknown(let required, let answered):
            var problem = Problem(
                504, "no-answer-in-time", "No answer in time",
                "\(answered) of \(required) replicas answered; "
                    + "the batch may or may not be counted: "
                    + "send the same bytes under the same id again",
                outcome: .unknown)
            problem.required = required
            problem.answered = answered
            return .failure(problem)
        }
    }

    private static func problem(
        _ reason: WriteOutcome.NotAttempted, _ consistency: Consistency
    ) -> Problem {
        switch reason {
        case .tooFewReplicas(let required, let alive):
            var problem = RequestFailure.tooFewReplicas(required: required, alive: alive)
                .problem(consistency: consistency)
            problem.detail +=
                "; one whose disk is full, or whose flushes lag, is not counted for a second"
            problem.outcome = .notAttempted
            return problem
        case .aheadOfClock:
            return Problem(
                409, "ahead-of-clock", "The batch was sealed in the future",
                "createdAt is more than \(Limits.admissionAheadMax.milliseconds / 60_000) min "
                    + "ahead of this node's clock; correct the producer's clock, or this node's",
                outcome: .notAttempted)
        case .overloaded:
            return .overloaded("this node has too many requests under way")
        case .notReady(let reason):
            return .notReadyToWrite("\(reason); send to another node")
        case .parkingFull(let batches, let bytes, let required, let alive):
            var problem = Problem(
                503, "parking-full", "Too few replicas, and no more can be parked",
                "too few voting replicas can be reached, and this node has parked \(batches) "
                    + "batches of \(bytes) bytes already; try again after the time in "
                    + "Retry-After, or send to another node",
                outcome: .notAttempted)
            problem.required = required
            problem.alive = alive
            problem.retryAfter = HTTPLimits.retryAfterSeconds
            return problem
        case .deadLettersFull(let full):
            var problem = Problem(
                503, "dead-letters-full", "No room for dead letters",
                "some of its events cannot be counted, and there is no room to keep them on "
                    + "\(full.map(\.name).joined(separator: ", ")): purge dead letters (quipu dlq "
                    + "purge) or raise max_dead_letters_size; batches without dead letters are "
                    + "taken as ever",
                outcome: .notAttempted)
            problem.retryAfter = HTTPLimits.retryAfterDiskSeconds
            return problem
        }
    }

    private static func expired(_ status: BatchStatus, _ id: BatchID) -> Problem {
        var problem = Problem(
            410, "expired", "The batch is too old to be taken", "", outcome: .unknown)
        switch status {
        case .counted(let totals):
            problem.outcome = .counted
            problem.isFinal = true
            problem.totals = totals
            problem.detail = "batch \(id) is older than the horizon, and was counted before"
        case .notCounted:
            problem.outcome = .notCounted
            problem.isFinal = true
            problem.detail =
                "batch \(id) is older than the horizon and its time is closed without it: it was "
                + "not counted and never will be; seal its events under a new id"
        case .unknown(let heldBy, let isForgotten):
            problem.isFinal = false
            problem.isForgotten = isForgotten
            let outlook =
                isForgotten == true
                ? "its outcome, if it had one, is forgotten (batch_status_retention)"
                : "GET /v1/batches/… tells when that is decided"
            problem.detail =
                "batch \(id) is older than the horizon and not known to be counted "
                + "(\(heldBy) replicas hold it); \(outlook)"
        }
        return problem
    }

    // MARK: - As JSON

    package var reply: HTTPReply {
        let isParked = parts.contains(where: \.isParked)
        return .json(status: isParked ? 202 : 200) { json in
            if parts.count == 1 {
                json.key("batch")
                WriteAnswer.write(parts[0].id, to: &json)
            } else {
                json.field(
                    "batches",
                    array: { json in
                        for part in parts { WriteAnswer.write(part, to: &json) }
                    })
            }
            json.field("outcome", (isParked ? Outcome.parked : .counted).rawValue)
            json.field("events", sum(\.totals.events))
            json.field("counted", sum(\.countedNow))
            json.field("dead", sum(\.deadNow))
            if level == "ANY" { json.field("parked", sum(\.parkedNow)) }
            json.field("duplicate", !parts.isEmpty && parts.allSatisfy(\.isDuplicate))
            json.field("consistency", level)
            json.field("required", parts.map(\.required).max() ?? 0)
            json.field("acknowledged", parts.map(\.acknowledged).min() ?? 0)
            json.field(
                "errors",
                array: { json in
                    for letter in parts.flatMap(\.errors).prefix(Limits.errorsInAnswerMax) {
                        json.object { json in
                            json.field("line", letter.line)
                            json.field("reason", letter.reason.name)
                            json.field("detail", letter.detail)
                        }
                    }
                })
        }
    }

    private func sum(_ number: KeyPath<Part, UInt32>) -> UInt64 {
        parts.reduce(0) { $0 + UInt64($1[keyPath: number]) }
    }

    static func write(_ id: BatchID, to json: inout JSONWriter) {
        json.object { json in
            json.field("producer", UUIDText.format(id.producer))
            json.field("sequence", id.sequence)
        }
    }

    static func write(_ part: Part, to json: inout JSONWriter) {
        json.object { json in
            json.key("batch")
            write(part.id, to: &json)
            json.field("outcome", (part.isParked ? Outcome.parked : .counted).rawValue)
            json.field("events", part.totals.events)
            json.field("counted", part.countedNow)
            json.field("dead", part.deadNow)
        }
    }
}

extension WriteAnswer.Part {
    /// `counted + dead + parked = events`.
    fileprivate var countedNow: UInt32 { isParked ? 0 : totals.counted }
    fileprivate var deadNow: UInt32 { isParked ? 0 : totals.dead }
    fileprivate var parkedNow: UInt32 { isParked ? totals.events : 0 }
}

extension Problem {
    /// The same problem, met after parts of the body were counted or parked. Then no one word is
    /// true of the whole body: `not-counted` and `not-attempted` would have its client send all of
    /// it again, and the parts a second time, under other ids. For the same reason no time is named
    /// after which to do that: who goes by the header alone would repeat the request as it was.
    func after(_ parts: [WriteAnswer.Part]) -> Problem {
        var problem = self
        problem.counted = parts
        problem.rest = outcome
        problem.outcome = .unknown
        problem.isFinal = nil
        problem.isForgotten = nil
        problem.totals = nil
        problem.retryAfter = nil
        problem.detail =
            "part \(parts.count + 1) of the body failed; the \(parts.count) before it, in batches, "
            + "are taken and must not be sent again: \(detail)"
        return problem
    }
}
