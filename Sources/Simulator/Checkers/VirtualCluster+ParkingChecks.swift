import Core
import NodeCore
import Replication
import Ring
import Wire

/// Level ANY: what was said to be parked is on the disk of the node that said so, and is counted
/// after the heal.
extension VirtualCluster {
    /// At the moment of the answer, from the disk alone.
    func checkParked(_ response: ClientResponse, _ request: RequestID, _ node: VirtualNode)
        throws(Violation)
    {
        guard case .write(.parked) = response, let call = workload.calls[request],
            case .write(let effort) = call.purpose
        else { return }
        let number = workload.efforts[effort].content
        guard node.parking.holds(parkedKey(number)) else {
            throw Violation("S3", "c\(number) is said to be parked, but not on \(node.id)'s disk")
        }
        ledger.park(number, node: node.index)
    }

    /// S15: what lies on a node's disk to be counted under another id is not said by it to be
    /// finally not counted. Whoever hears that may seal its events anew.
    func checkDenied(_ response: ClientResponse, _ request: RequestID, _ node: VirtualNode)
        throws(Violation)
    {
        let number: Int
        switch (response, workload.calls[request]?.purpose) {
        case (.status(.notCounted), .status(let content, _)):
            number = content
        case (.write(.expired(.notCounted)), .write(let effort)):
            number = workload.efforts[effort].content
        default:
            return
        }
        guard !node.parking.holds(parkedKey(number)) else {
            throw Violation("S15", "\(node.id) denies c\(number), which it has parked")
        }
    }

    private func parkedKey(_ number: Int) -> ParkedKey {
        let content = ledger.contents[number]
        return ParkedKey(id: content.id, contentHash: content.hash)
    }

    /// What is parked for good until its home has decided: too old for every clock.
    private func isTooOld(_ note: ParkedNote) -> Bool {
        note.createdAt < wall - swarm.horizon - swarm.skewMax
    }

    /// What a running node still has to submit, or to learn of its own database.
    func stillParked(_ node: VirtualNode, _ process: VirtualProcess) -> Violation? {
        guard process.core.knowsParked else {
            return Violation("L3", "\(node.id) does not know what it has parked")
        }
        for item in process.core.parkedBatches.items where !isTooOld(item.note) {
            // For the far future only a whole cluster has the time; what a majority may count while
            // it is asked in the end must be counted before.
            if outsider != nil, item.note.createdAt > wall + Self.aheadAwaited { continue }
            return Violation(
                "L3",
                "\(node.id) still has \(item.note.key) parked after \(item.attempts) attempts: "
                    + item.reason)
        }
        return nil
    }

    /// Parked by a node whose clock was ahead: until all clocks have come so far, nobody takes it.
    func awaitAdmissible() throws(Violation) {
        guard outsider == nil else { return }
        let margin = swarm.skewMax + .seconds(1)
        while parkedNotes.contains(where: {
            $0.createdAt > wall + Limits.admissionAheadMax - margin
        }) {
            guard now < Instant.zero + Self.aheadMax else {
                throw Violation("L3", "a batch from the far future is parked for ever")
            }
            try run(until: now + .milliseconds(500))
        }
    }

    /// Of a batch that is further ahead, no clock lets it in until all questions are answered.
    private static var aheadAwaited: Duration { Limits.admissionAheadMax + .seconds(30) }

    /// No producer's clock is further ahead than that.
    private static var aheadMax: Duration { .seconds(600) }

    /// What came too late is sealed anew once its segment is closed, and counted then: with a short
    /// horizon nothing stays parked, with a long one nothing that was that old from the beginning.
    func awaitParked() throws(Violation) {
        // Without all its members a cluster closes nothing, and decides nothing that is too old.
        guard outsider == nil else { return }
        let isShort = swarm.horizon < SimulatorLimits.horizonAwaited
        let age =
            (isShort ? swarm.horizon * 2 : .zero) + swarm.requestTimeout * 2
            + swarm.clockSkewMax * 8
        let end = now + age + swarm.segmentLength * 2 + SimulatorLimits.convergenceMax
        while let note = parkedNotes.first(where: { isShort || isTooOld($0) }) {
            guard now < end else { throw Violation("L3", "\(note.key) is parked for ever") }
            try run(until: now + .milliseconds(500))
        }
    }

    /// Of a node that is down, what its database holds: it comes back with that.
    private var parkedNotes: [ParkedNote] {
        nodes.flatMap { $0.process?.core.parkedBatches.items.map(\.note) ?? $0.parking.notes }
    }

    /// L3: each parked batch is counted, or another content of its id is, or it is still there.
    func checkParkedPromises(_ final: ContentSet) throws(Violation) {
        for (number, places) in ledger.parked.sorted(by: { $0.key < $1.key }) {
            let rivals = ContentSet(ledger.rivals(of: ledger.contents[number].id))
            guard final.intersection(rivals).isEmpty else { continue }
            let key = parkedKey(number)
            let isHeld = places.contains { nodes[$0].parking.holds(key) }
            guard isHeld else { throw Violation("L3", "c\(number) was parked, and is lost") }
        }
    }

    /// A batch is sealed anew: its renewal is the same content under another name.
    func noteRenewal(_ key: ParkedKey, _ number: Int) throws(Violation) {
        guard let content = ledger.number(of: key.contentHash) else {
            throw Violation("S1", "\(key) is sealed anew, and nobody made it")
        }
        let original = ledger.contents[content].record
        do throws(DecodeError) {
            let record = try Renewal.record(
                original, number, home: ring.home(of: Renewal.id(key.id, number)))
            ledger.renew(content, as: record)
            checks.closedOut.remove(content)
            checks.hit(.parkedRenewed)
        } catch {
            throw Violation("S13", "\(key) cannot be sealed anew: \(error)")
        }
    }
}
