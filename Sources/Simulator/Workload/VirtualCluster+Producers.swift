import Core
import Replication

/// The clients: producers.
extension VirtualCluster {
    func beginWorkload() {
        for producer in 0..<swarm.producers {
            put(.produce(producer), after: .milliseconds(200 + workload.random.below(400)))
        }
        for reader in 0..<swarm.readers {
            put(.ask(reader: reader), after: .milliseconds(400 + workload.random.below(400)))
        }
    }

    func pause() -> Duration {
        workload.random.duration(below: swarm.pace * 2)
    }

    // MARK: - Producing

    func produce(_ producer: Int) {
        guard !isHealed, ledger.contents.count < swarm.contents else { return }
        let id = BatchID(
            producer: UInt128(producer + 1), sequence: workload.sequences[producer])
        workload.sequences[producer] += 1
        let createdAt = sealTime()
        send(makeContent(id, createdAt))
        if swarm.has(.rogues), workload.random.chance(1, in: 3) {
            // The same id again, with other bytes, and sometimes with another time.
            let other = workload.random.chance(1, in: 4) ? sealTime() : createdAt
            send(makeContent(id, other))
        }
        retireSome()
        put(.produce(producer), after: pause())
    }

    /// One more batch, whatever the time.
    func produceExtra() {
        extrasOpen -= 1
        let producer = historyRandom.below(swarm.producers)
        let id = BatchID(
            producer: UInt128(producer + 1), sequence: workload.sequences[producer])
        workload.sequences[producer] += 1
        send(makeContent(id, wall))
    }

    private func makeContent(_ id: BatchID, _ createdAt: WallTime) -> Int {
        let content = workload.maker.make(ledger.contents.count, id: id, createdAt: createdAt)
        ledger.add(content)
        log("c\(content.number) = \(id), \(content.cells.count) cells")
        return content.number
    }

    /// Mostly now; sometimes a batch that waited in a spool, sometimes one from a clock that is
    /// wrong.
    private func sealTime() -> WallTime {
        let spread = Duration.milliseconds(workload.random.below(1000))
        if swarm.has(.lateRetries), workload.random.chance(1, in: 3) {
            // Just inside the horizon, or just beyond it, by one clock or the other.
            return wall - swarm.horizon - .milliseconds(500) + spread * 2
        }
        return switch workload.random.below(20) {
        case 0...2: wall - spread * 60
        case 3: wall + .seconds(400)
        default: wall - spread
        }
    }

    private func send(_ content: Int) {
        let level: Consistency =
            switch workload.random.below(10) {
            case 0: .one
            case 1: .all
            default: .quorum
            }
        let efforts = workload.random.chance(1, in: 8) ? 2 : 1
        for _ in 0..<efforts {
            let patience = workload.random.chance(1, in: 10) ? 1 : Int.max
            let parks = swarm.parks && parkingRandom.chance(1, in: 2)
            begin(
                .init(
                    content: content, level: parks ? .quorum : level, parks: parks,
                    patience: patience, since: now,
                    first: workload.random.below(nodes.count)), after: clientDelay())
        }
        if swarm.has(.zombies), workload.random.chance(1, in: 4) {
            raise(content, after: .milliseconds(2000 + workload.random.below(8000)))
        }
    }

    func begin(_ effort: Workload.Effort, after delay: Duration) {
        workload.efforts.append(effort)
        put(.submit(effort: workload.efforts.count - 1), after: delay)
    }

    /// The producer comes back long after, does not know what became of its batch, and sends the
    /// same bytes through whichever node.
    func raise(_ content: Int, after delay: Duration, mustBeCounted: Bool = false) {
        checks.hit(.zombie)
        var effort = Workload.Effort(
            content: content, level: .quorum, patience: isHealed ? .max : 3, since: now + delay,
            first: workload.random.below(nodes.count))
        effort.mustBeCounted = mustBeCounted
        begin(effort, after: delay)
    }

    /// Far more calls at once than one coordinator takes (L7).
    func burst(_ node: VirtualNode) {
        guard node.isUp, !ledger.contents.isEmpty, swarm.sessionsMax < 1000 else { return }
        checks.hit(.burst)
        for number in 0..<60 + 3 * swarm.sessionsMax {
            let content = nemesisRandom.below(ledger.contents.count)
            if number % 3 == 2, ledger.contents[content].retires == nil,
                let cell = ledger.contents[content].cells.first
            {
                _ = read(
                    .series(seriesQuery(cell.name.key)), .quorum, swarm.requestTimeout,
                    reader: nil, through: node.index)
            } else {
                begin(
                    .init(
                        content: content, level: .quorum, patience: 1, since: now,
                        first: node.index), after: clientDelay())
            }
        }
    }

    // MARK: - Sending and retrying

    func submit(_ number: Int) {
        let effort = workload.efforts[number]
        guard !effort.isOver else { return }
        let content = ledger.contents[effort.content]
        let timeout = swarm.requestTimeout
        let request: ClientRequest =
            effort.parks
            ? .writeOrPark(content.record) : .write(content.record, consistency: effort.level)
        let node = (effort.first + effort.tries) % nodes.count
        workload.efforts[number].tries += 1
        guard call(request, .write(effort: number), timeout, through: node) else {
            retry(number)
            return
        }
        workload.efforts[number].attempts += 1
        ledger.submit(effort.content)
        if effort.parks { workload.mayBeParked[effort.content, default: 0] += 1 }
    }

    private func retry(_ number: Int) {
        guard workload.efforts[number].attempts < workload.efforts[number].patience else {
            workload.efforts[number].isOver = true
            return
        }
        put(
            .submit(effort: number),
            after: .milliseconds(20 + workload.random.below(isHealed ? 200 : 600)))
    }

    func finish(_ number: Int, _ response: ClientResponse?) throws(Violation) {
        let content = workload.efforts[number].content
        guard let response else {
            retry(number)
            return
        }
        switch response {
        case .write(.counted(let isDuplicate, let required, let acknowledged)):
            if isDuplicate { checks.hit(.acknowledgedDuplicate) }
            guard acknowledged >= required else {
                throw Violation(
                    "S3", "c\(content) is counted by \(acknowledged) of \(required) voters")
            }
            workload.efforts[number].isOver = true
            ledger.acknowledge(content, at: workload.efforts[number].level)
            try checkAcknowledged(content, workload.efforts[number].level)
            if ledger.contents[content].retires != nil { listLetters() }
        case .write(.conflict):
            checks.hit(.conflict)
            workload.efforts[number].isOver = true
            ledger.refuse(content)
            try checkRefused(content)
        case .write(.notAttempted(let reason)):
            checks.hit(reason == .overloaded ? .overloaded : .notAttempted)
            withdraw(number)
            if reason == .aheadOfClock { workload.efforts[number].isOver = true }
            retryUnlessOver(number)
        case .write(.parked):
            // Its node has taken the batch over.
            workload.efforts[number].isOver = true
        case .write(.expired(let status)):
            checks.hit(.expired)
            workload.efforts[number].isOver = true
            try learn(status, of: number)
            try checkRemembered(number, status)
        case .write(.unknown), .failed:
            checks.hit(.unknown)
            retry(number)
        case .status, .read, .flushed, .compacted, .verified, .audit, .parked:
            throw Violation("S4", "a write was answered by \(response)")
        }
    }

    private func retryUnlessOver(_ number: Int) {
        if !workload.efforts[number].isOver { retry(number) }
    }

    // MARK: - Calls

    func clientDelay() -> Duration {
        .microseconds(200) + clientRandom.duration(below: .milliseconds(4))
    }

    /// Sends a request to a node; false where its port refused. Some clients leave early.
    func call(
        _ request: ClientRequest, _ purpose: Workload.Purpose, _ timeout: Duration,
        through chosen: Int? = nil
    ) -> Bool {
        let index = chosen ?? clientRandom.below(nodes.count)
        guard let process = nodes[index].process else { return false }
        workload.nextRequest += 1
        let id = RequestID(workload.nextRequest)
        let delay = clientDelay()
        workload.calls[id] = .init(
            purpose: purpose, node: index, instance: process.instance,
            deadline: now + delay + timeout)
        put(
            .request(id, request, patience: timeout), to: index, process.instance, after: delay)
        if swarm.budget == .oneNode {
            put(.leave(id), after: delay + timeout + SimulatorLimits.clientGrace)
        }
        if !isHealed, clientRandom.chance(1, in: 30) {
            let early = delay + clientRandom.duration(below: timeout)
            put(.cancel(id), to: index, process.instance, after: early + .microseconds(1))
            put(.answer(id, nil), after: early + .microseconds(1))
        }
        return true
    }

    /// A client has a clock of its own, and leaves a node whose pause holds its request. Of any
    /// other node an answer must come (L2).
    func leave(_ id: RequestID) throws(Violation) {
        guard let call = workload.calls[id], let process = nodes[call.node].process,
            process.instance == call.instance
        else { return }
        guard call.wasPaused || process.pausedUntil > now else {
            return put(.leave(id), after: SimulatorLimits.clientGrace)
        }
        checks.hit(.clientLeft)
        if id.number.isMultiple(of: 2) {
            put(.cancel(id), to: call.node, call.instance, after: .microseconds(1))
        } else if !call.wasAnswered {
            // The node does not hear of it, and owes an answer as before.
            workload.left[id] = call
        }
        try receive(nil, for: id)
    }

    func reply(_ response: ClientResponse, to request: RequestID, from node: VirtualNode) {
        trace.note(.reply, at: now, node: node.index, request.number)
        workload.left[request] = nil
        workload.calls[request]?.wasAnswered = true
        log("\(node.id) → client: \(Describe.response(response)) (\(request.number))")
        put(.answer(request, response), after: clientDelay())
    }

    func receive(_ response: ClientResponse?, for id: RequestID) throws(Violation) {
        guard let call = workload.calls.removeValue(forKey: id) else { return }
        trace.note(.client, at: now, node: call.node, id.number)
        switch call.purpose {
        case .write(let effort):
            try finish(effort, response)
        case .read(let check, let reader):
            noteDenial(check, response, reader)
            if let response {
                try finish(check, response, call.node)
                if reader != nil, case .read = response { askOnceMore(check) }
            }
            askAgain(reader)
        case .status(let content, let reader):
            if let response { try checkStatus(response, of: content) }
            askAgain(reader)
        case .flush:
            break
        case .audit:
            if let response { try finishAudit(response, call.node) }
        }
    }

    /// The node died: whoever waits for it hears that the connection is gone.
    func loseCalls(of process: VirtualProcess) {
        let lost = workload.calls.filter { $0.value.instance == process.instance }
        for id in lost.keys.sorted() { put(.answer(id, nil), after: clientDelay()) }
    }

    /// L2: every call ends.
    func checkOverdue(_ id: RequestID, _ process: VirtualProcess) throws(Violation) {
        guard let call = workload.calls[id] ?? workload.left[id] else { return }
        let graceEnd =
            max(call.deadline, process.pausedUntil) + SimulatorLimits.callGrace
        guard now < graceEnd else {
            throw Violation(
                "L2", "\(nodes[call.node].id) never answered request \(id.number)")
        }
        queue.put(
            .process(node: call.node, instance: process.instance, .overdue(id)), at: graceEnd)
    }
}
