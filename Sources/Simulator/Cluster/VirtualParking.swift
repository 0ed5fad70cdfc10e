import Core
import NodeCore
import Replication

/// The embedded database of one node, as far as parked batches go: what was committed survives a
/// crash, what was under way may have been committed or not.
package struct VirtualParking {
    private enum Change {
        case store(ParkedNote, [UInt8])
        case remove(ParkedKey)
        case settle(RenewedBatch, forgetting: RenewedBatch?)
        case discard(ParkedKey, createdAt: WallTime)

        var key: ParkedKey {
            switch self {
            case .store(let note, _): note.key
            case .remove(let key), .discard(let key, _): key
            case .settle(let renewed, _): renewed.key
            }
        }
    }

    private var durable: [ParkedKey: (note: ParkedNote, bytes: [UInt8])] = [:]
    private(set) var renewed = RenewalMemory()
    private var pending: [Change] = []

    init() {}

    func holds(_ key: ParkedKey) -> Bool { durable[key] != nil }

    /// Ascending by key.
    var notes: [ParkedNote] { durable.keys.sorted().compactMap { durable[$0]?.note } }

    func bytes(of key: ParkedKey) -> [UInt8]? { durable[key]?.bytes }

    mutating func begin(_ job: ParkingJob) {
        switch job {
        case .store(let note, let bytes): pending.append(.store(note, bytes))
        case .remove(let key): pending.append(.remove(key))
        case .settle(let batch, let forgotten):
            pending.append(.settle(batch, forgetting: forgotten))
        case .discard(let key, let createdAt):
            pending.append(.discard(key, createdAt: createdAt))
        case .list, .load: break
        }
    }

    /// The one change of `key` that is under way becomes durable, or does not.
    mutating func end(_ key: ParkedKey, isCommitted: Bool) {
        guard let place = pending.firstIndex(where: { $0.key == key }) else {
            preconditionFailure("\(key) has no change under way")
        }
        let change = pending.remove(at: place)
        if isCommitted { apply(change) }
    }

    mutating func crash(_ random: inout RandomSource) {
        for change in pending where random.chance(1, in: 2) { apply(change) }
        pending = []
    }

    private mutating func apply(_ change: Change) {
        switch change {
        case .store(let note, let bytes): durable[note.key] = (note, bytes)
        case .remove(let key): durable[key] = nil
        case .settle(let batch, let forgotten):
            durable[batch.key] = nil
            // The node decides how many it remembers.
            _ = renewed.insert(batch, max: .max)
            if let forgotten { renewed.forget(forgotten) }
        case .discard(let key, let createdAt):
            durable[key] = nil
            renewed.forget(until: createdAt)
        }
    }
}

// MARK: - Carrying out what a core asks of its database

extension VirtualCluster {
    func park(_ job: ParkingJob, _ node: VirtualNode, _ process: VirtualProcess) {
        node.parking.begin(job)
        put(.runParking(job), to: node.index, process.instance, after: parkingDelay())
    }

    private func parkingDelay() -> Duration {
        let latency = isHealed ? Duration.milliseconds(1) : swarm.diskLatency
        return .microseconds(100) + parkingRandom.duration(below: latency * 2)
    }

    func run(
        _ job: ParkingJob, _ node: VirtualNode, _ process: VirtualProcess
    ) throws(Violation) {
        trace.note(.parking, at: now, node: node.index)
        let fails = !isHealed && swarm.parks && parkingRandom.chance(1, in: 40)
        let result: ParkingResult
        switch job {
        case .list:
            result =
                fails
                ? .listFailed("planted")
                : .listed(node.parking.notes, renewed: node.parking.renewed)
        case .store(let note, _):
            // A commit that fails may be found on the disk all the same.
            node.parking.end(
                note.key, isCommitted: !fails || parkingRandom.chance(1, in: 2))
            result = fails ? .storeFailed(note.key, "planted") : .stored(note.key)
        case .load(let key):
            result =
                fails ? .loadFailed(key, "planted") : .loaded(key, node.parking.bytes(of: key))
        case .remove(let key), .discard(let key, _):
            result = end(key, node, fails)
        case .settle(let renewed, _):
            result = end(renewed.key, node, fails)
        }
        log("\(node.id)'s database: \(Describe.parking(result))")
        try handle(.parked(result), node, process)
    }

    private func end(_ key: ParkedKey, _ node: VirtualNode, _ fails: Bool) -> ParkingResult {
        node.parking.end(key, isCommitted: !fails || parkingRandom.chance(1, in: 2))
        return fails ? .removeFailed(key, "planted") : .removed(key)
    }
}
