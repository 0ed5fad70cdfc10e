import Core
import Replication
import Ring
import Wire

// Level ANY. `ParkingLot` decides; here its submissions are made and its effects carried out.

extension CoreConfiguration {
    /// With the planted bugs that concern parking.
    var parkingOptions: ParkingOptions {
        var options = parking
        options.countsParked = mutants.contains(.parkedCounts)
        options.answersEarly = mutants.contains(.parkedBeforeSync)
        return options
    }
}

extension NodeMachine {
    mutating func startParking(_ now: Now, into effects: inout [Effect]) {
        var steps: [ParkingLot.Effect] = []
        parking.start(into: &steps)
        carry(steps, into: &effects)
    }

    /// Half of the client's time is for its voters; the other half for the disk, where they are
    /// silent.
    mutating func beginWriteOrPark(
        _ request: RequestID, _ record: BatchRecord, _ deadline: Instant, _ now: Now,
        into effects: inout [Effect]
    ) {
        let attempt = parking.begin(request, record, deadline: deadline)
        let half = now.monotonic + (deadline - now.monotonic) / 2
        beginWrite(attempt, record, .quorum, half, now, into: &effects)
    }

    /// The answer to a client's request, or to one of the parking lot's.
    mutating func answer(
        _ request: RequestID, _ response: ClientResponse, _ now: Now, into effects: inout [Effect]
    ) {
        guard request.isOfParking else {
            effects.append(.reply(request, response))
            return
        }
        let frontier = closing.frontier
        let configuration = configuration
        let isBelieved = mayFreeze(now)
        var steps: [ParkingLot.Effect] = []
        parking.receive(
            response, for: request, now,
            isBeyondMemory: { createdAt in
                // Every home has closed it: who cannot tell how has dropped the outcome.
                // `outcomesFrom` is not enough: it tells what this node has dropped, and the home's
                // voters, who may not even have closed it, are others.
                isBelieved && createdAt < now.wall - configuration.outcomeRetention
                    && Segment(createdAt: createdAt, length: configuration.segmentLength) < frontier
            }, into: &steps)
        carry(steps, into: &effects)
    }

    /// The same where it is known what it speaks of: what this node keeps, or has counted under
    /// another id, is not said to be finally not counted. The lot itself hears it as it is.
    mutating func answer(
        _ request: RequestID, _ response: ClientResponse, on id: BatchID, _ hash: Hash128?,
        createdAt: WallTime?, _ now: Now, into effects: inout [Effect]
    ) {
        let word =
            request.isOfParking || has(.deniesParked)
            ? response : parking.word(response, on: id, hash, createdAt: createdAt)
        answer(request, word, now, into: &effects)
    }

    mutating func discardParked(
        _ id: BatchID, for request: RequestID, _ deadline: Instant,
        into effects: inout [Effect]
    ) {
        var steps: [ParkingLot.Effect] = []
        parking.discard(id, for: request, deadline: deadline, into: &steps)
        carry(steps, into: &effects)
    }

    mutating func completeParking(
        _ result: ParkingResult, _ now: Now, into effects: inout [Effect]
    ) {
        let ring = ring
        var steps: [ParkingLot.Effect] = []
        let loaded = parking.complete(
            result, now, homeOf: { ring.home(of: $0) }, into: &steps)
        carry(steps, into: &effects)
        guard case .submit(let request, let record) = loaded else { return }
        beginWrite(
            request, record, .quorum, now.monotonic + configuration.requestTimeout, now,
            into: &effects)
    }

    mutating func advanceParking(_ now: Now, into effects: inout [Effect]) {
        guard parking.isDue(at: now.monotonic) else { return }
        let ring = ring
        let reachable = reachableNodes
        var steps: [ParkingLot.Effect] = []
        parking.advance(
            to: now,
            canReach: { id in
                let voters = ring.replicas(of: ring.home(of: id))
                let alive = voters.count { reachable.contains($0) }
                return alive >= Consistency.quorum.required(of: voters.count)
            }, into: &steps)
        carry(steps, into: &effects)
    }

    private mutating func carry(_ steps: [ParkingLot.Effect], into effects: inout [Effect]) {
        for step in steps {
            switch step {
            case .job(let job):
                effects.append(.park(job))
            case .answer(let request, let response):
                effects.append(.reply(request, response))
            case .report(let event):
                count(event)
                effects.append(.report(.parking(event)))
            }
        }
    }

    private mutating func count(_ event: ParkingLot.Event) {
        switch event {
        case .parked: counters.parked += 1
        case .counted: counters.parkedCounted += 1
        case .refused: counters.parkedRefused += 1
        case .renewed: counters.parkedRenewed += 1
        case .damaged, .forgotten, .discarded, .failed: break
        }
    }
}
