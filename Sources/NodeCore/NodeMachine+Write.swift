import Core
import Gossip
import Replication
import Ring
import Storage
import Wire

// Coordinating writes: a client's, and those that this node drives on because their coordinator
// died.

extension NodeMachine {
    mutating func begin(
        _ request: RequestID, _ what: ClientRequest, _ deadline: Instant, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard deadline > now.monotonic else {
            // It waited for longer than its client does: nothing is begun that nobody wants.
            if case .write = what {
                effects.append(.reply(request, .write(.notAttempted(.overloaded))))
            } else {
                effects.append(.reply(request, .failed(.timedOut(required: 0, answered: 0))))
            }
            return
        }
        switch what {
        case .write(let record, let consistency):
            beginWrite(request, record, consistency, deadline, now, into: &effects)
        case .writeOrPark(let record):
            beginWriteOrPark(request, record, deadline, now, into: &effects)
        case .parked(let id, let limit):
            effects.append(.reply(request, .parked(parking.listing(of: id, limit: limit))))
        case .discardParked(let id):
            discardParked(id, for: request, deadline, into: &effects)
        case .status(let id, let createdAt):
            beginStatus(request, id, createdAt, .status, deadline, now, into: &effects)
        case .read(let query, let consistency):
            beginRead(request, query, consistency, deadline, now, into: &effects)
        case .audit(let age):
            beginSurvey(request, age: age, deadline, now, into: &effects)
        case .verify(let age):
            beginVerify(request, age: age, deadline, now, into: &effects)
        case .compact:
            beginCompaction(for: request, deadline, now, into: &effects)
        case .flush:
            flushRequests.append(FlushRequest(id: request, deadline: deadline))
            wantFlush()
        }
    }

    mutating func beginWrite(
        _ request: RequestID, _ record: BatchRecord, _ consistency: Consistency,
        _ deadline: Instant, _ now: Now, into effects: inout [Effect]
    ) {
        counters.writes += 1
        let isFull = writes.count >= configuration.sessionsMax + drives.running
        guard !isFull || has(.boundlessSessions),
            unsynced.byteCount < ReplicationLimits.unsyncedBytesMax, !isBehindWithFlushes
        else { return refuse(request, .overloaded, now, into: &effects) }
        let header = record.header
        if let ahead = clockDisagreement(now) {
            return refuse(request, .notReady(Self.clockReason(ahead)), now, into: &effects)
        }
        guard hasDiskRoom else {
            return refuse(request, .notReady(Self.diskReason), now, into: &effects)
        }
        if header.createdAt > now.wall + Limits.admissionAheadMax {
            return refuse(request, .aheadOfClock, now, into: &effects)
        }
        if header.createdAt < now.wall - configuration.horizon || isFrozen(header) {
            // What is already known is looked up before age is judged.
            beginStatus(
                request, record.header.id, header.createdAt,
                .expiredWrite(record, consistency), deadline, now, into: &effects)
            return
        }
        let placement = ring.placement(home: record.home, touched: record.partitions)
        let local = consistency.isLocal ? localNodes : nil
        if let missing = tooFewReplicas(placement, local, consistency, now) {
            return refuse(request, missing, now, into: &effects)
        }
        let full = record.totals.dead > 0 ? votersWithoutLetterRoom(record.home) : []
        guard full.isEmpty else {
            // What is counted already is a duplicate as ever, and what a voter holds goes on.
            beginStatus(
                request, header.id, header.createdAt,
                .crowdedWrite(record, consistency, full: full), deadline, now, into: &effects)
            return
        }
        startWrite(
            WriteSession(
                tag: newTag(), request: request, header: header, placement: placement,
                record: record, consistency: consistency, local: local, deadline: deadline,
                now: now.monotonic),
            now, into: &effects)
    }

    /// The first of the home and the touched partitions of which too few replicas can be reached;
    /// nil where there are enough of all.
    private func tooFewReplicas(
        _ placement: BatchPlacement, _ local: Set<NodeID>?, _ consistency: Consistency, _ now: Now
    ) -> WriteOutcome.NotAttempted? {
        let level = has(.refusesWithoutAll) ? Consistency.all : consistency
        let reachable = reachableNodes
        // Who takes no slices would leave a batch bound and its client without an answer.
        let able = { node in reachable.contains(node) && isThoughtAbleOfSlices(node, now) }
        // The home decides by a majority of all its voters, wherever they are.
        let atHome = placement.homeVoters
        var needs = [
            (
                level.required(of: atHome.count),
                atHome.count { reachable.contains($0) && isThoughtAble($0, now) }
            )
        ]
        for group in placement.groups {
            let nodes = local.map { local in group.nodes.filter(local.contains) } ?? group.nodes
            needs.append((level.required(of: nodes.count), nodes.count(where: able)))
        }
        for (required, alive) in needs where alive < required {
            return .tooFewReplicas(required: required, alive: alive)
        }
        return nil
    }

    private mutating func refuse(
        _ request: RequestID, _ why: WriteOutcome.NotAttempted, _ now: Now,
        into effects: inout [Effect]
    ) {
        answer(request, .write(.notAttempted(why)), now, into: &effects)
    }

    private mutating func startWrite(
        _ session: WriteSession, _ now: Now, into effects: inout [Effect]
    ) {
        var steps: [WriteSession.Effect] = []
        var session = session
        session.isBoundByOne = has(.bindWithOne)
        session.believesAllLives = has(.supersededCounts)
        session.start(into: &steps)
        writes[session.tag] = session
        writeDeadline = min(writeDeadline, session.nextDeadline)
        carry(steps, of: session.tag, now, into: &effects)
    }

    mutating func receive(
        _ reply: BindReply, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        noteInability(reply, of: peer, now)
        var steps: [WriteSession.Effect] = []
        writes[reply.tag]?.receive(reply, from: peer, into: &steps)
        carry(steps, of: reply.tag, now, into: &effects)
    }

    mutating func receive(
        _ reply: ApplyReply, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        var steps: [WriteSession.Effect] = []
        writes[reply.tag]?.receive(reply, from: peer, into: &steps)
        carry(steps, of: reply.tag, now, into: &effects)
    }

    mutating func carry(
        _ steps: [WriteSession.Effect], of tag: Tag, _ now: Now, into effects: inout [Effect]
    ) {
        for step in steps {
            switch step {
            case .send(let message, let node):
                // Records are large: nothing is encoded for a node that cannot be reached.
                guard isReachable(node) else { continue }
                if let deadline = writes[tag]?.deadline {
                    send(message, to: node, until: deadline, into: &effects)
                } else {
                    send(message, to: node, into: &effects)
                }
            case .loadRecord:
                loadRecord(for: tag, now, into: &effects)
            case .answer(let outcome):
                guard let session = writes[tag], let request = session.request else { continue }
                let header = session.header
                answer(
                    request, .write(outcome), on: header.id, header.contentHash,
                    createdAt: header.createdAt, now, into: &effects)
            case .adopt(let hash, let holder):
                guard let header = writes[tag]?.header else { continue }
                adopt(hash, insteadOf: header, from: holder, now, into: &effects)
            case .drop:
                guard let header = writes[tag]?.header else { continue }
                drop(header, into: &effects)
            case .end:
                if let session = writes.removeValue(forKey: tag), session.request == nil {
                    drives.ended(
                        session.header.id,
                        isFinished: index[session.header.id]?.isFinished == true,
                        retryAt: now.monotonic + configuration.driveAfter)
                }
            }
        }
    }

    // MARK: - Statuses

    private mutating func beginStatus(
        _ request: RequestID, _ id: BatchID, _ createdAt: WallTime?,
        _ purpose: StatusSession.Purpose, _ deadline: Instant, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard statuses.count < configuration.sessionsMax else {
            switch purpose {
            case .status:
                let why = "too many questions for outcomes are under way"
                effects.append(.reply(request, .failed(.overloaded(why))))
            case .expiredWrite, .crowdedWrite:
                refuse(request, .overloaded, now, into: &effects)
            }
            return
        }
        let voters = ring.replicas(of: ring.home(of: id))
        let required = Consistency.quorum.required(of: voters.count)
        let reachable = reachableNodes
        let alive = voters.count { reachable.contains($0) }
        guard alive >= required else {
            // At ONE: nobody can say whether it is known.
            if case .crowdedWrite(_, _, let full) = purpose {
                return refuse(request, .deadLettersFull(full), now, into: &effects)
            }
            answer(
                request, .failed(.tooFewReplicas(required: required, alive: alive)), now,
                into: &effects)
            return
        }
        let tag = newTag()
        statuses[tag] = StatusSession(
            request: request, id: id, createdAt: createdAt, purpose: purpose,
            isForgotten: isForgotten(createdAt), voters: voters, deadline: deadline,
            now: now.monotonic)
        for voter in voters {
            send(.statusAsk(tag, id, createdAt: createdAt), to: voter, into: &effects)
        }
    }

    mutating func answerStatus(
        _ tag: Tag, _ id: BatchID, _ createdAt: WallTime?, to peer: NodeID,
        into effects: inout [Effect]
    ) {
        if index[id] == nil, mayBeForgotten(id) {
            lookUp(id, for: .status(tag, createdAt: createdAt, to: peer), into: &effects)
        } else {
            replyStatus(tag, id, createdAt, nil, to: peer, into: &effects)
        }
    }

    mutating func receive(
        _ reply: StatusReply, from peer: NodeID, _ now: Now, into effects: inout [Effect]
    ) {
        guard reply.vote.isVoting || reply.held?.isBound == true, let session = statuses[reply.tag]
        else { return }
        var changed = session
        let reachable = reachableNodes
        let verdict = changed.receive(reply, from: peer) { reachable.contains($0) }
        statuses[reply.tag] = changed
        guard let verdict else { return }
        statuses[reply.tag] = nil
        switch verdict {
        case .answer(let response):
            answer(
                session.request, response, on: session.id, session.contentHash,
                createdAt: session.createdAt, now, into: &effects)
        case .complete(let record, let consistency):
            startWrite(
                write(after: session, record, consistency, isKnownBound: true, local: nil, now),
                now, into: &effects)
        case .attempt(let record, let consistency):
            let local = consistency.isLocal ? localNodes : nil
            startWrite(
                write(after: session, record, consistency, isKnownBound: false, local: local, now),
                now, into: &effects)
        }
    }

    /// A write whose batch was looked up first.
    private mutating func write(
        after session: StatusSession, _ record: BatchRecord, _ consistency: Consistency,
        isKnownBound: Bool, local: Set<NodeID>?, _ now: Now
    ) -> WriteSession {
        WriteSession(
            tag: newTag(), request: session.request, header: record.header,
            placement: ring.placement(home: record.home, touched: record.partitions),
            record: record, consistency: consistency, isKnownBound: isKnownBound, local: local,
            deadline: session.deadline, now: now.monotonic)
    }

    // MARK: - Driving on

    /// Home voters of a batch watch over it.
    func isDriver(of id: BatchID) -> Bool {
        ring.replicas(of: ring.home(of: id)).contains(configuration.node)
    }

    mutating func finish(
        _ id: BatchID, _ hash: Hash128, _ now: Now, into effects: inout [Effect]
    ) {
        guard let entry = index[id], entry.header.contentHash == hash, !entry.isFinished else {
            return
        }
        index.markBound(id)
        index.markFinished(id)
        settleDoubt(id, into: &effects)
        drives.finish(id)
        let mark = ProgressMark(id: id, contentHash: hash, isFinished: true)
        effects.append(
            .append(log.append(kind: LogKind.progress.rawValue, payload: mark.encoded)))
        // Nobody drives it on any more: what is missing here is counted now.
        want(id, mine, reply: nil, now, into: &effects)
        checkSettled(id, now, into: &effects)
    }

    mutating func advanceDrives(_ now: Now, into effects: inout [Effect]) {
        guard !copying.isReceiving, !has(.nobodyDrives) else { return }
        while drives.running < ReplicationLimits.drivesMax,
            let id = drives.takeDue(now.monotonic)
        {
            drive(id, now, into: &effects)
        }
    }

    private mutating func drive(_ id: BatchID, _ now: Now, into effects: inout [Effect]) {
        guard let entry = index[id], let record = entry.record, !entry.isFinished else {
            drives.ended(id, isFinished: true, retryAt: now.monotonic)
            return
        }
        guard record.isDurable, canBeDriven(entry) else {
            drives.ended(
                id, isFinished: false, retryAt: now.monotonic + configuration.driveAfter)
            return
        }
        counters.drivenOn += 1
        effects.append(.report(.drivenOn(id)))
        startWrite(
            WriteSession(
                tag: newTag(), request: nil, header: entry.header,
                placement: ring.placement(home: entry.home, touched: entry.touched),
                record: pending[id], consistency: .all,
                deadline: now.monotonic + configuration.requestTimeout, now: now.monotonic), now,
            into: &effects)
    }

    /// A drive without a majority to reach would only hold up the others.
    private func canBeDriven(_ entry: BatchEntry) -> Bool {
        let placement = ring.placement(home: entry.home, touched: entry.touched)
        for voters in placement.groups.map(\.nodes) + [placement.homeVoters] {
            var reachable = 0
            for voter in voters where isReachable(voter) { reachable += 1 }
            if reachable < Consistency.quorum.required(of: voters.count) { return false }
        }
        return true
    }

    private mutating func loadRecord(for tag: Tag, _ now: Now, into effects: inout [Effect]) {
        // Another content may have taken its place, and not be on disk yet.
        guard let header = writes[tag]?.header, let entry = index[header.id],
            entry.header == header, let record = entry.record, record.isDurable,
            let position = record.position
        else {
            recordLoaded(nil, for: tag, now, into: &effects)
            return
        }
        run(.readLog([position]), .drive(tag), into: &effects)
    }

    mutating func recordLoaded(
        _ payload: [UInt8]?, for tag: Tag, _ now: Now, into effects: inout [Effect]
    ) {
        guard let header = writes[tag]?.header else { return }
        var record: BatchRecord?
        if let payload {
            do throws(DecodeError) {
                let read = try BatchRecord(decoding: payload)
                // Another content may have taken its place since.
                if read.header == header { record = read }
            } catch {
                effects.append(.halt("the log gave a damaged record of \(header.id): \(error)"))
            }
        }
        var steps: [WriteSession.Effect] = []
        writes[tag]?.load(record, into: &steps)
        carry(steps, of: tag, now, into: &effects)
    }

    /// This node's copy lost: the content that another holds is the one, so it is fetched.
    private mutating func adopt(
        _ hash: Hash128, insteadOf header: BatchHeader, from holder: NodeID, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard let entry = index[header.id], !entry.isBound else { return }
        beginFetch(
            [
                SyncNeed(
                    header: BatchHeader(
                        id: header.id, createdAt: header.createdAt, contentHash: hash,
                        rule: header.rule), home: entry.home, wantsRecord: true,
                    partitions: PartitionSet())
            ], from: holder, for: newTag(), now, into: &effects)
    }
}
