import Core
import NodeCore
import Replication

/// The clients: producers who hear that a batch is finally not counted, and seal its events anew.
extension VirtualCluster {
    /// This attempt sent nothing, and left nothing behind.
    func withdraw(_ number: Int) {
        let effort = workload.efforts[number]
        ledger.withdraw(effort.content)
        guard effort.parks, let attempts = workload.mayBeParked[effort.content] else { return }
        workload.mayBeParked[effort.content] = attempts > 1 ? attempts - 1 : nil
    }

    /// A batch that was too old to be taken: what its coordinator says became of it.
    func learn(_ status: BatchStatus, of number: Int) throws(Violation) {
        let effort = workload.efforts[number]
        switch status {
        case .counted:
            ledger.confirm(effort.content)
            try decide(effort.content, "an answer to a write")
        case .notCounted:
            try finallyNotCounted(effort.content, "an answer to a write")
            sealAnew(effort)
        case .unknown:
            break
        }
    }

    /// As the real producer does: once, by time alone, and never what may lie parked somewhere.
    /// Where nothing is parked at all it goes without, so that these seeds run as they ever did.
    private func sealAnew(_ effort: Workload.Effort) {
        let old = ledger.contents[effort.content]
        let isParked =
            workload.mayBeParked[old.number] != nil && !mutants.contains(.sealsParkedAnew)
        guard swarm.parks, old.retires == nil, !isParked, ledger.twin(of: old.number) == nil else {
            return
        }
        // It is one producer: it does not send the old bytes any more.
        for other in workload.efforts.indices where workload.efforts[other].content == old.number {
            workload.efforts[other].isOver = true
        }
        // A maker of its own: it shifts no draw of the others.
        var maker = workload.maker
        let content = maker.make(
            ledger.contents.count,
            id: BatchID(producer: UInt128(1) << 97, sequence: UInt64(old.number)), createdAt: wall)
        ledger.add(content)
        ledger.sealAnew(old.number, as: content.number)
        log("c\(content.number) = \(content.id), c\(old.number) sealed anew")
        checks.hit(.sealedAnew)
        begin(
            .init(
                content: content.number, level: effort.level, patience: .max, since: now,
                first: effort.first),
            after: .microseconds(200) + parkingRandom.duration(below: .milliseconds(4)))
    }

    /// S15: events that were sealed anew, by their producer or by a node that had them parked,
    /// count under one id.
    func checkCountedOnce(_ number: Int, _ where: String) throws(Violation) {
        guard let other = ledger.twin(of: number), isDecided(other) else { return }
        throw Violation(
            "S15", "\(`where`) counts c\(number), and its events count as c\(other) already")
    }
}
