internal import Core

extension Producer {
    /// How long the nodes are asked, all together, for a batch that else ends unknown.
    package static let lastAskMax: Duration = .seconds(6)

    /// What came of one round of attempts.
    private struct Delivery {
        let outcome: BatchOutcome
        /// Finally not counted, by time alone.
        var maySealAnew = false
        /// Given up because the time was over, not because of what a node said.
        var isOutOfTime = false
        /// No more can be learned of it, because nodes have forgotten it or one may have parked it:
        /// that says nothing of the other batches.
        var isLeft = false
    }

    /// Sends a batch of the spool.
    func run(_ sequence: UInt64) async {
        do {
            if let batch = try await spool?.load(sequence) {
                await run(batch)
                return
            }
        } catch {
            await fail(error)
        }
        claimed.remove(sequence)
        ended()
    }

    func run(_ sealed: SealedBatch) async {
        var batch = sealed
        var delivery = await deliver(batch)
        if let spool, delivery.maySealAnew {
            do {
                let anew = try await spool.reseal(
                    batch.id.sequence, createdAt: time.now().wall)
                claimed.remove(batch.id.sequence)
                guard claimed.insert(anew.id.sequence).inserted else { return ended() }
                batch = anew
                delivery = await deliver(batch)
                if delivery.maySealAnew {
                    // Not once more: it would go on for ever.
                    delivery = Delivery(
                        outcome: .notCounted(
                            "sealed anew and too old at once: this machine's clock is behind"))
                }
            } catch {
                await fail(error)
            }
        }
        await conclude(batch, delivery)
        ended()
    }

    /// Books what came of a batch, on disk first.
    private func conclude(_ batch: SealedBatch, _ delivery: Delivery) async {
        let sequence = batch.id.sequence
        if let spool {
            do {
                switch delivery.outcome {
                case .counted(let counts, _): try await spool.settle(sequence, .counted(counts))
                case .parked(let events): try await spool.settle(sequence, .parked(events: events))
                case .notCounted, .notAttempted, .unknown: break
                }
            } catch {
                // Its answer stands all the same: the next process hears it again.
                await fail(error)
            }
            if case .unknown = delivery.outcome { doubtful.insert(sequence) }
            if delivery.isOutOfTime, options.failureRule != .stop, !isFinishing {
                timeouts += 1
                queue.append(sequence)
                return
            }
            claimed.remove(sequence)
            if delivery.outcome.isSuccess {
                doubtful.remove(sequence)
            } else {
                await spool.abandon(sequence)
            }
        }
        book(delivery.outcome, of: batch)
        guard spool != nil, !isHalted, !delivery.outcome.isSuccess, !delivery.isLeft
        else { return }
        let isStopped =
            switch options.failureRule {
            // `finish` must end: what holds one batch up will hold up the next.
            case .goOn: isFinishing && delivery.isOutOfTime
            case .stop: true
            case .stopWhenRefused: isFinishing || !delivery.isOutOfTime
            }
        if isStopped { await halt() }
    }

    /// The spool can take no more: nothing is sent whose outcome could not be noted.
    private func fail(_ error: SpoolError) async {
        if report.spoolFailure == nil { report.spoolFailure = error }
        await halt()
    }

    /// Sends a batch until it has an outcome or its time is over. One that may have been counted
    /// is asked for before it is called unknown.
    private func deliver(_ batch: SealedBatch) async -> Delivery {
        let now = time.now()
        var attempts = BatchAttempts(
            deadline: now.monotonic + options.timeout, nodes: nodes.count,
            mayBeCounted: doubtful.contains(batch.id.sequence), mayBeParked: batch.mayBeParked,
            isPastMemory: batch.isPastMemory(at: now.wall))
        let delivery = await deliver(batch, &attempts)
        guard case .unknown(let reason) = delivery.outcome, !attempts.isForgotten else {
            return delivery
        }
        if let outcome = await askEveryNode(for: batch) { return outcome }
        return Delivery(
            outcome: .unknown("\(reason); asked at the end, no node could tell"),
            isOutOfTime: delivery.isOutOfTime, isLeft: attempts.isPerhapsParked)
    }

    /// Asks each node once what became of a batch; nil where none gives a final answer. Most often
    /// what was sent and not answered is counted. At which consistency level, no answer says. What
    /// may be parked is asked for at all of them: the node that kept it knows more than the others.
    private func askEveryNode(for batch: SealedBatch) async -> Delivery? {
        let end = time.now().monotonic + min(Producer.lastAskMax, options.timeout)
        let first = Int(batch.id.sequence % UInt64(nodes.count))
        var perhapsParked: Delivery?
        for step in nodes.indices {
            let left = end - time.now().monotonic
            guard left > .zero else { break }
            // A node that hangs takes its share of the time, and not that of the others.
            let result = await ask(
                for: batch, at: (first + step) % nodes.count,
                timeout: min(left / (nodes.count - step), options.attemptTimeout))
            switch result {
            case .counted(let counts, let duplicate):
                return Delivery(outcome: .counted(counts, duplicate: duplicate))
            case .closedWithout(let detail):
                guard batch.mayBeParked else {
                    return Delivery(outcome: .notCounted(detail), maySealAnew: true)
                }
                perhapsParked = Delivery(
                    outcome: .unknown(BatchAttempts.perhapsParked(detail)), isLeft: true)
            case .otherContent(let detail):
                return Delivery(outcome: .unknown(detail))
            case .parked, .notCounted, .unusable, .clockAhead, .notAttempted, .unreached, .lost,
                .unknown, .undecided, .keptParked:
                continue
            }
        }
        return perhapsParked
    }

    private func deliver(
        _ batch: SealedBatch, _ attempts: inout BatchAttempts
    ) async -> Delivery {
        var isAsking = false
        var start = board.start(of: batch.id.sequence, at: time.now().monotonic)
        policy.firstAttempt()
        while true {
            let now = time.now().monotonic
            switch board.choose(from: start, at: now) {
            case .wait(let until):
                guard let wait = attempts.wait(until - now, at: now) else {
                    return Delivery(outcome: attempts.gaveUp(), isOutOfTime: true)
                }
                await time.sleep(wait)
            case .node(let index):
                let attemptMax =
                    isAsking ? options.attemptTimeout : attemptTimeout(of: batch)
                let timeout = attempts.timeout(at: now, attemptMax: attemptMax)
                guard let timeout else {
                    // The board may count on this request as its probe: it was none.
                    board.failed(index, at: now)
                    return Delivery(outcome: attempts.gaveUp(), isOutOfTime: true)
                }
                if attempts.attempts > 0 { report.retries += 1 }
                let result =
                    isAsking
                    ? await ask(for: batch, at: index, timeout: timeout)
                    : await attempt(batch, at: index, timeout: timeout)
                let step = attempts.record(result)
                switch step {
                case .finished(let outcome):
                    return Delivery(
                        outcome: outcome, maySealAnew: attempts.mayBeSealedAnew,
                        isLeft: attempts.isForgotten || attempts.isPerhapsParked)
                case .ask: isAsking = true
                case .again, .failOver: break
                }
                let after = time.now().monotonic
                let delay = policy.delay(
                    afterAttempts: attempts.attempts, isFailover: step == .failOver)
                guard let wait = attempts.wait(delay, at: after) else {
                    return Delivery(outcome: attempts.gaveUp(), isOutOfTime: true)
                }
                await time.sleep(wait)
                start = nextStart(after: index, of: batch, attempts.attempts)
            }
        }
    }

    /// The node after the one that was asked; after the first attempt batches spread over all
    /// others, so that those under way at a node that dies do not all go to the same one.
    private func nextStart(
        after index: Int, of batch: SealedBatch, _ attempts: Int
    ) -> UInt64 {
        let others = UInt64(max(1, nodes.count - 1))
        return UInt64(index) + 1 + (attempts == 1 ? batch.id.sequence % others : 0)
    }

    private func attemptTimeout(of batch: SealedBatch) -> Duration {
        pace.timeout(answering: options.attemptTimeout, bytes: batch.body.count)
    }

    private func attempt(
        _ batch: SealedBatch, at index: Int, timeout: Duration
    ) async -> AttemptResult {
        bytesSent += batch.body.count
        let begun = pace.bytesPerSecond
        let hasWholeTime = timeout >= attemptTimeout(of: batch)
        let start = time.now().monotonic
        do {
            let reply = try await perform(batch.call, at: index, timeout: timeout)
            // A refusal may come before the body.
            if (200..<300).contains(reply.status) {
                pace.succeeded(batch.body.count, taking: time.now().monotonic - start)
            }
            let result = AttemptResult(reply: reply)
            return reply.status == 410 ? result.checked(against: batch) : result
        } catch {
            if error == .timedOut, hasWholeTime {
                pace.timedOut(batch.body.count, begun: begun)
            }
            return AttemptResult(failure: error, at: nodes[index])
        }
    }

    private func ask(
        for batch: SealedBatch, at index: Int, timeout: Duration
    ) async -> AttemptResult {
        do {
            let reply = try await perform(batch.statusCall, at: index, timeout: timeout)
            return AttemptResult(status: reply).checked(against: batch)
        } catch {
            return AttemptResult(failure: error, at: nodes[index])
        }
    }

    private func perform(
        _ call: HTTPCall, at index: Int, timeout: Duration
    ) async throws(TransportFailure) -> HTTPReply {
        let start = time.now().monotonic
        requests += 1
        do {
            let reply = try await transport.perform(call, at: nodes[index], timeout: timeout)
            let now = time.now().monotonic
            switch reply.status {
            case 429, 503: board.refused(index, at: now, retryAfter: reply.retryAfter)
            case 504: board.stalled(index, at: now, taking: now - start)
            case 500...: board.failed(index, at: now)
            default: board.succeeded(index, at: now, taking: now - start)
            }
            return reply
        } catch {
            let now = time.now().monotonic
            board.failed(index, at: now, taking: now - start)
            throw error
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
