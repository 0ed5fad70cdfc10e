internal import Core
internal import Ingest
internal import Replication
internal import Storage
internal import Wire

/// Purging and replaying dead letters: each letter is retired by a batch of its own, once
/// (docs/decisions/0031-retired-letters.md). One request does what it can within its time and says
/// where to go on.
extension HTTPAPI {
    /// `DELETE /v1/dead-letters`: they are listed no longer. The totals of their batches stay.
    func purgeLetters(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try call.query.expect(only: HTTPAPI.letterFilters + ["limit", "page", "consistency"])
        let sealer = letterSealer
        let run = try await retire(call) { item, now in
            .retire(sealer.purge(item.id, of: item.createdAt, at: now))
        }
        return .json { json in
            json.field("purged", run.retired)
            run.write(to: &json)
        }
    }

    /// `POST /v1/dead-letters/replay`: those that can be read under the mapping given are counted,
    /// and listed no longer; the others stay.
    func replayLetters(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["POST"])
        try call.query.expect(
            only: HTTPAPI.letterFilters + [
                "limit", "page", "consistency", "format", "columns", "default_type", "key_field",
                "time_field", "type_field", "value_field",
            ])
        let replay = try letterReplay(call.query)
        let sealer = letterSealer
        let run = try await retire(call) { item, now throws(Problem) in
            try await prepare(item, replay, sealer, now)
        }
        return .json { json in
            json.field("replayed", run.retired)
            json.field("still_dead", run.refused)
            run.write(to: &json)
            json.field(
                "errors",
                array: { json in
                    for refusal in run.refusals { json.object { refusal.write(to: &$0) } }
                })
        }
    }

    private var letterSealer: LetterSealer {
        LetterSealer(partitioning: partitioning, window: settings.window)
    }

    private func letterReplay(_ query: HTTPQuery) throws(Problem) -> LetterReplay {
        var replay = LetterReplay()
        if let name = query["format"] {
            replay.format = LetterReplay.format(named: name)
            guard replay.format != nil else {
                let known = LetterReplay.formats.map(\.name).joined(separator: ", ")
                throw .badRequest("format=\(name) is none of \(known)")
            }
        }
        replay.columns = query["columns"]
        replay.defaultType = query["default_type"]
        replay.keyField = query["key_field"]
        replay.timeField = query["time_field"]
        replay.typeField = query["type_field"]
        replay.valueField = query["value_field"]
        return replay
    }

    /// What a letter comes to under the mapping. Late and early are judged by the time at which its
    /// batch was created, as they were.
    private func prepare(
        _ item: DeadLetterItem, _ replay: LetterReplay, _ sealer: LetterSealer, _ now: WallTime
    ) async throws(Problem) -> Retirement {
        let bytes: [UInt8]
        let parameters: ParseParameters
        switch replay.body(of: item.letter) {
        case .unreadable(let why): return .leave(item.letter.reason, why)
        case .event(let body, let mapping): (bytes, parameters) = (body, mapping)
        }
        let folded: FoldedRecord
        do throws(FoldFailure) {
            folded = try await folds.fold(
                bytes, id: LetterSealer.id(of: item.id), createdAt: item.createdAt,
                parameters: parameters)
        } catch {
            guard case .refused(let refusal) = error else { throw error.problem }
            switch refusal {
            case .notAnArray, .arrayNotClosed, .bytesAfterArray, .noEvent:
                return .leave(item.letter.reason, "it is no JSON object")
            default: break
            }
            // A column or a parameter that no row can do without: the mapping itself is wrong.
            throw .badRequest("\(refusal)")
        }
        if let error = folded.errors.first { return .leave(error.reason, error.detail) }
        guard folded.record.totals.events == 1 else {
            return .leave(
                item.letter.reason, "it reads as \(folded.record.totals.events) events")
        }
        do throws(DecodeError) {
            return .retire(
                try sealer.replay(
                    item.id, of: item.createdAt, as: folded.record, at: now))
        } catch {
            throw .unexpectedAnswer
        }
    }

    // MARK: - One after the other

    /// What is to be done with one letter.
    enum Retirement {
        case retire(BatchRecord)
        case leave(DeadLetterReason, String)
    }

    enum Step {
        case retired
        /// Another batch retired it before.
        case already
        case left(LetterRefusal)
        case failed(Problem)
    }

    private func retire(
        _ call: HTTPCall,
        _ prepare:
            @Sendable @escaping (DeadLetterItem, WallTime) async throws(Problem) ->
            Retirement
    ) async throws(Problem) -> LetterRun {
        try admit()
        guard retiring.enter() else { throw .overloaded("another purge or replay is under way") }
        defer { retiring.leave() }
        let filter = try letterFilter(call.query)
        let consistency = try call.query.consistency()
        guard !consistency.isWeak else {
            // Two batches of one id are the rule here, and one voter cannot tell which is bound.
            throw .badRequest("letters are retired at QUORUM or ALL")
        }
        let limit = try call.query.number(
            "limit", default: HTTPLimits.retireMax, in: 1...HTTPLimits.retireMax)
        var run = LetterRun(after: try PageToken.place(call.query["page"]))
        let end = clock().monotonic + HTTPLimits.retireTimeMax
        while true {
            let room = min(limit - run.seen, HTTPLimits.retirePage)
            guard room > 0, clock().monotonic < end else {
                run.hasMore = true
                return run
            }
            let page: LetterPage
            do throws(Problem) {
                page = try await letters(
                    DeadLetterQuery(
                        filter: filter, limit: room, after: run.after, wantsTotal: false),
                    consistency)
            } catch {
                throw run.seen == 0 ? error : run.interrupted(by: error)
            }
            let steps = await steps(of: page.items, consistency, until: end, prepare)
            for case .failed(let problem) in steps {
                throw steps.reduce(into: run) { $0.take($1) }.interrupted(by: problem)
            }
            for step in steps { run.take(step) }
            run.seen += steps.count
            run.after = steps.isEmpty ? run.after : page.items[steps.count - 1].place
            if page.next == nil, steps.count == page.items.count { return run }
        }
    }

    /// Retires the letters of a page, some at once, until one fails or the time is over: the
    /// answers of the first of them, in their order.
    private func steps(
        of items: [DeadLetterItem], _ consistency: Consistency, until end: Instant,
        _ prepare:
            @Sendable @escaping (DeadLetterItem, WallTime) async throws(Problem) ->
            Retirement
    ) async -> [Step] {
        await withTaskGroup(of: (Int, Step).self) { group in
            var steps: [Step?] = Array(repeating: nil, count: items.count)
            var next = 0
            var hasFailed = false
            func addNext() {
                guard next < items.count, !hasFailed, clock().monotonic < end else { return }
                let place = next
                next += 1
                group.addTask { (place, await step(items[place], consistency, prepare)) }
            }
            for _ in 0..<HTTPLimits.retiresAtOnce { addNext() }
            for await (place, step) in group {
                steps[place] = step
                if case .failed = step { hasFailed = true }
                addNext()
            }
            return steps.compactMap(\.self)
        }
    }

    private func step(
        _ item: DeadLetterItem, _ consistency: Consistency,
        _ prepare: @Sendable (DeadLetterItem, WallTime) async throws(Problem) -> Retirement
    ) async -> Step {
        let record: BatchRecord
        do throws(Problem) {
            switch try await prepare(item, clock().wall) {
            case .retire(let sealed): record = sealed
            case .leave(let reason, let detail):
                return .left(LetterRefusal(letter: item.id, reason: reason, detail: detail))
            }
        } catch {
            return .failed(error)
        }
        let response = await core.request(
            .write(record, consistency: consistency), deadline: deadline)
        if case .write(.conflict) = response { return .already }
        let folded = FoldedRecord(record: record, errors: [])
        switch WriteAnswer.judge(response, folded, consistency) {
        case .success:
            metrics.lettersRetired.increment()
            return .retired
        case .failure(let problem): return .failed(problem)
        }
    }
}

/// A letter that stays where it is, and why.
struct LetterRefusal: Hashable, Sendable {
    var letter: LetterID
    var reason: DeadLetterReason
    var detail: String

    func write(to json: inout JSONWriter) {
        json.key("batch")
        WriteAnswer.write(letter.batch, to: &json)
        json.field("line", letter.line)
        json.field("reason", reason.name)
        json.field("detail", detail)
    }
}

/// What a request has retired so far.
struct LetterRun {
    var retired = 0
    var already = 0
    var refused = 0
    /// The first of them.
    var refusals: [LetterRefusal] = []
    var seen = 0
    var hasMore = false
    var after: DeadLetterQuery.Place?

    init(after: DeadLetterQuery.Place?) {
        self.after = after
    }

    mutating func leave(_ refusal: LetterRefusal) {
        refused += 1
        if refusals.count < Limits.errorsInAnswerMax { refusals.append(refusal) }
    }

    mutating func take(_ step: HTTPAPI.Step) {
        switch step {
        case .retired: retired += 1
        case .already: already += 1
        case .left(let refusal): leave(refusal)
        case .failed: break
        }
    }

    func write(to json: inout JSONWriter) {
        json.field("already", already)
        json.field("next", hasMore ? after.map(PageToken.text(place:)) : nil)
    }

    /// What was done stays done; the same request again does the rest.
    func interrupted(by problem: Problem) -> Problem {
        var problem = problem
        problem.detail +=
            "; \(retired) dead letters were done before that: send the same request again for the "
            + "others, none is done twice"
        problem.outcome = nil
        return problem
    }
}
