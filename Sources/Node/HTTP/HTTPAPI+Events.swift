internal import Core
internal import Ingest
internal import NIOCore
internal import Replication

/// `POST /v1/events`: collect, fold beside the core, count.
extension HTTPAPI {
    func events(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["POST"])
        let (request, length) = try countingOutcome { () throws(Problem) in try begin(call) }
        let parts = EventParts(
            request: request, body: call.body, length: length, budget: bodies,
            workers: foldQueue, metrics: metrics, hangUp: call.hangUp)
        defer { parts.close() }
        var answer = WriteAnswer(request)
        // The client's own identity holds for one batch; without one, each part gets the next.
        while let bytes = try await next(parts, answer) {
            try await takePlace(answer)
            let began = clock().monotonic
            defer {
                let end = clock().monotonic
                admission.leave(took: end - began, at: end)
            }
            let seal =
                request.seal
                ?? EventRequest.Seal(id: sealer.next(), createdAt: clock().wall)
            do throws(Problem) {
                answer.add(
                    try await count(bytes, seal, request, parts, isFirst: answer.parts.isEmpty))
            } catch {
                throw answer.parts.isEmpty ? error : error.after(answer.parts)
            }
            parts.release()
        }
        return answer.reply
    }

    /// Looks at the head of a request, and at what the node has room for, before its body is read:
    /// that would be in vain.
    private func begin(
        _ call: HTTPCall
    ) throws(Problem) -> (request: EventRequest, length: Int?) {
        let request = try EventRequest(
            query: call.query, fields: call.fields, header: call.header)
        if request.parks { try admitAny() }
        try admit()
        if admission.isFull { throw tooManyUnderWay() }
        let length = call.header("Content-Length").flatMap(Int.init)
        if let length, request.isWhole, length > Limits.bodySentMax {
            throw .bodyTooLarge("\(length) bytes are sent, the limit is \(Limits.bodySentMax)")
        }
        return (request, length)
    }

    /// A place among the batches under way, for one part: while a body comes it has none, so that
    /// clients that are slow keep nobody out. A stream that has no id cannot be sent again from its
    /// middle: its further parts wait for their place.
    private func takePlace(_ answer: WriteAnswer) async throws(Problem) {
        let isPatient = !answer.parts.isEmpty
        let hasPlace = await foldQueue.whenRoom(isPatient: isPatient) {
            admission.enter() ? true : nil
        }
        guard hasPlace == nil else { return }
        countOutcome(.notAttempted)
        let problem = tooManyUnderWay()
        throw isPatient ? problem.after(answer.parts) : problem
    }

    private func countingOutcome<Value>(
        _ body: () throws(Problem) -> Value
    ) throws(Problem) -> Value {
        do throws(Problem) {
            return try body()
        } catch {
            countOutcome(error.outcome)
            throw error
        }
    }

    private func next(
        _ parts: EventParts, _ answer: WriteAnswer
    ) async throws(Problem) -> [UInt8]? {
        do throws(Problem) {
            return try await parts.next()
        } catch {
            countOutcome(error.outcome)
            throw answer.parts.isEmpty ? error : error.after(answer.parts)
        }
    }

    private func admitAny() throws(Problem) {
        guard !settings.parksAny else { return }
        throw .badRequest(
            "consistency=ANY is off on this cluster: use ONE, QUORUM or ALL, or set "
                + "max_parked_size (as 256MiB) in cluster.conf on every node",
            outcome: .notAttempted)
    }

    /// Turns writes away before their bodies are read.
    func admit() throws(Problem) {
        if let reason = state.endReasons.first {
            throw Problem.notReadyToWrite("\(reason); send to another node")
        }
        try admitByRules()
        if let refusal = diskRefusal { throw refusal }
    }

    /// Nil where the disk has room for what clients send.
    var diskRefusal: Problem? {
        guard let reason = state.readOnlyReason else { return nil }
        var problem = Problem.notReadyToWrite("\(reason); send to another node")
        problem.retryAfter = HTTPLimits.retryAfterDiskSeconds
        return problem
    }

    private func admitByRules() throws(Problem) {
        guard let reason = state.rulesReason else { return }
        throw Problem.notReadyToWrite("\(reason); send to another node")
    }

    private func count(
        _ bytes: [UInt8], _ seal: EventRequest.Seal, _ request: EventRequest,
        _ parts: EventParts, isFirst: Bool
    ) async throws(Problem) -> WriteAnswer.Part {
        let began = clock().monotonic
        defer { metrics.write.observe(clock().monotonic - began) }
        // A body may stream for longer than the node takes batches under its rules.
        do {
            try admitByRules()
        } catch {
            countOutcome(.notAttempted)
            throw error
        }
        let folded = try await foldFront(bytes, seal, request, of: parts, isPatient: !isFirst)
        let write: ClientRequest =
            request.parks
            ? .writeOrPark(folded.record) : .write(folded.record, consistency: request.consistency)
        let response = await core.request(write, deadline: deadline)
        switch WriteAnswer.judge(response, folded, request.consistency) {
        case .success(let part):
            if part.isParked {
                metrics.batchesParked.increment()
            } else if part.isDuplicate {
                metrics.batchesDuplicate.increment()
            } else {
                metrics.batchesCounted.increment()
                metrics.eventsCounted.increment(by: Int(part.totals.counted))
                metrics.eventsDead.increment(by: Int(part.totals.dead))
            }
            return part
        case .failure(let problem):
            countOutcome(problem.outcome)
            throw problem
        }
    }

    /// Folds a part, or as much of its front as one batch may hold: a few bytes may be very many
    /// dead letters. The rest of it comes next.
    private func foldFront(
        _ bytes: [UInt8], _ seal: EventRequest.Seal, _ request: EventRequest,
        of parts: EventParts, isPatient: Bool
    ) async throws(Problem) -> FoldedRecord {
        var bytes = bytes
        var isPatient = isPatient
        while true {
            do throws(FoldFailure) {
                return try await fold(bytes, seal, request, isPatient: isPatient)
            } catch {
                bytes = try await half(of: bytes, request, of: parts, after: error)
                isPatient = true
            }
        }
    }

    /// The first half of a part that is too much for one batch, where no id makes it one.
    private func half(
        of bytes: [UInt8], _ request: EventRequest, of parts: EventParts,
        after failure: FoldFailure
    ) async throws(Problem) -> [UInt8] {
        do throws(Problem) {
            if failure.isOfSize, !request.isWhole, let half = try await parts.halve(bytes) {
                return half
            }
            var problem = failure.problem
            if failure.isOfSize, request.seal != nil {
                problem.detail += ", or send it without an id: the node then makes several of it"
            }
            throw problem
        } catch {
            countOutcome(error.outcome)
            throw error
        }
    }

    /// Behind the first part of a body a full queue is waited for.
    private func fold(
        _ bytes: [UInt8], _ seal: EventRequest.Seal, _ request: EventRequest, isPatient: Bool
    ) async throws(FoldFailure) -> FoldedRecord {
        let result = await foldQueue.whenRoom(isPatient: isPatient) {
            do throws(FoldFailure) {
                return Result<FoldedRecord, FoldFailure>.success(
                    try await folds.fold(
                        bytes, id: seal.id, createdAt: seal.createdAt,
                        parameters: request.parameters))
            } catch {
                if case .busy = error { return nil }
                return .failure(error)
            }
        }
        guard let result else { throw .busy }
        return try result.get()
    }

    private func tooManyUnderWay() -> Problem {
        admission.refuse()
        return .overloaded("\(admission.open) batches are under way, which is a second's work")
    }

    func countOutcome(_ outcome: Outcome?) {
        switch outcome {
        case .notCounted?: metrics.batchesNotCounted.increment()
        case .notAttempted?: metrics.batchesNotAttempted.increment()
        case .unknown?: metrics.batchesUnknown.increment()
        case .counted?: metrics.batchesDuplicate.increment()
        case .parked?: metrics.batchesParked.increment()
        case nil: break
        }
    }

    // MARK: - Outcomes

    /// As a path names it.
    func batchID(_ producer: String, _ sequence: String) throws(Problem) -> BatchID {
        guard let producer = UUIDText.parse(producer) else {
            throw .badRequest("the producer \(producer) is no UUID")
        }
        guard let sequence = UInt64(sequence) else {
            throw .badRequest("the sequence \(sequence) is no number below 2^64")
        }
        return BatchID(producer: producer, sequence: sequence)
    }

    /// `GET /v1/batches/{producer}/{sequence}[?created=MS]`
    func batch(
        _ call: HTTPCall, _ producer: String, _ sequence: String
    ) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: ["created"])
        let id = try batchID(producer, sequence)
        var created: WallTime?
        if let text = call.query["created"] {
            guard let milliseconds = Int64(text), milliseconds >= 0,
                milliseconds <= 253_402_300_799_999
            else { throw .badRequest("created=\(text) is no time in epoch milliseconds") }
            created = WallTime(milliseconds: milliseconds)
        }
        let response = await core.request(.status(id, createdAt: created), deadline: deadline)
        switch response {
        case .status(.counted(let totals)):
            return .json { json in
                json.field("outcome", Outcome.counted.rawValue)
                json.field("final", true)
                json.field("events", totals.events)
                json.field("counted", totals.counted)
                json.field("dead", totals.dead)
            }
        case .status(.notCounted):
            return .json { json in
                json.field("outcome", Outcome.notCounted.rawValue)
                json.field("final", true)
                json.field("events", 0)
                json.field("counted", 0)
                json.field("dead", 0)
            }
        case .status(.unknown(let heldBy, let isForgotten)):
            let isParked = try await isParked(id)
            return .json { json in
                json.field("outcome", Outcome.unknown.rawValue)
                json.field("final", false)
                json.field("held_by", heldBy)
                if let isForgotten { json.field("forgotten", isForgotten) }
                if isParked { json.field("parked", true) }
            }
        case .failed(let failure):
            // Its home is away; but this node may keep the batch itself.
            guard try await isParked(id) else { throw failure.problem(consistency: nil) }
            return .json { json in
                json.field("outcome", Outcome.unknown.rawValue)
                json.field("final", false)
                json.field("parked", true)
            }
        case .write, .read, .flushed, .compacted, .verified, .parked, .audit:
            throw .unexpectedAnswer
        }
    }
}

extension FoldFailure {
    /// Less of the same may be a batch.
    var isOfSize: Bool {
        switch self {
        case .busy: return false
        case .tooLarge: return true
        case .refused(let error):
            switch error {
            case .bodyTooLarge, .tooManyCells, .tooManyDeadLetters, .resultTooLarge: return true
            case .notAnArray, .arrayNotClosed, .bytesAfterArray, .noEvent, .badBatch,
                .missingColumn, .badHeader, .unknownField, .badParameter:
                return false
            }
        }
    }

    var problem: Problem {
        switch self {
        case .busy:
            return .overloaded("as many batches as may be wait to be read")
        case .tooLarge(let bytes):
            return Problem(
                413, "too-large", "The batch is too large",
                "the batch folds to \(bytes) bytes, the limit is \(FoldPool.recordBytesMax); "
                    + "send smaller batches", outcome: .notCounted)
        case .refused(let error):
            switch error {
            case .bodyTooLarge, .tooManyCells, .tooManyDeadLetters, .resultTooLarge:
                return Problem(
                    413, "too-large", "The batch is too large", "\(error)", outcome: .notCounted)
            case .notAnArray, .arrayNotClosed, .bytesAfterArray, .noEvent, .badBatch,
                .missingColumn, .badHeader, .unknownField, .badParameter:
                return .badRequest("\(error)", outcome: .notCounted)
            }
        }
    }
}

extension Problem {
    static func overloaded(_ what: String) -> Problem {
        var problem = Problem(
            429, "overloaded", "Too many requests are under way",
            "\(what); try again after the time in Retry-After, or send to another node",
            outcome: .notAttempted)
        problem.retryAfter = HTTPLimits.retryAfterSeconds
        return problem
    }

    static var gaveWay: Problem {
        .overloaded("the body came slowly, and others needed the room that it held")
    }

    static func notReadyToWrite(_ reason: String) -> Problem {
        var problem = Problem(
            503, "not-ready", "The node takes no writes now", reason, outcome: .notAttempted)
        problem.retryAfter = HTTPLimits.retryAfterSeconds
        return problem
    }

    static func bodyTooLarge(_ what: String) -> Problem {
        Problem(
            413, "too-large", "The body is too large", "\(what); send smaller batches",
            outcome: .notAttempted)
    }
}
