import Core
import NodeCore
import Replication

/// What nodes report of themselves counts as coverage.
extension VirtualCluster {
    func note(_ report: Report, of node: VirtualNode) throws(Violation) {
        switch report {
        case .inDoubt: checks.hit(.inDoubt)
        case .caughtUp: checks.hit(.caughtUp)
        case .flushed: tablesChanged(.flushed, of: node)
        case .compacted: tablesChanged(.compacted, of: node)
        case .moved: tablesChanged(.movedCold, of: node)
        case .floorRisen: tablesChanged(.floorRisen, of: node)
        case .tablesExpired: tablesChanged(.tablesExpired, of: node)
        case .coldDiskFailed(let what): try noteColdFailure(what, of: node)
        case .compactionFailed(let what):
            // What rots is found by whoever reads it.
            guard node.maySeeRot || checks.lie?.node == node.index else {
                throw Violation("S4", "\(node.id) cannot compact on a healthy disk: \(what)")
            }
        case .drivenOn: checks.hit(.drivenOn)
        case .malformed(let peer, let what):
            throw Violation("S13", "\(node.id) cannot read \(peer): \(what)")
        case .closed(let below, let agreed):
            node.closed = max(node.closed, below)
            try checkClosed(below, node)
            try checkAgreed(agreed, node, "closes")
        case .sealed(let below, let agreed):
            node.sealed = max(node.sealed, below)
            try checkSealed(below, node, agreed)
            try checkAgreed(agreed, node, "seals")
        case .clockDoubted: checks.hit(.clockDoubted)
        case .diskFull(let what):
            guard swarm.has(.diskFull) else {
                throw Violation("S4", "\(node.id) has room on its disk: \(what)")
            }
        case .dropped(let id, let isBound):
            guard !isBound else {
                throw Violation(
                    "S15", "\(node.id) knows \(id) as bound, its home closed without it")
            }
        case .copying, .copied, .copyInterrupted: noteCopy(report, of: node)
        case .setAside: checks.hit(.setAside)
        case .forgot: checks.hit(.forgot)
        case .lookedUp: checks.hit(.historyLookup)
        case .recovering:
            checks.hit(.recovering)
            node.mustRecover = false
        case .voting(let incarnation):
            try checkRecovered(node)
            noteReturn(of: node, incarnation)
        case .leftOut(let peer, let before):
            try noteLeftOut(nodes[index(of: peer)], before, by: node)
        case .acceptedLoss:
            throw Violation("S9", "\(node.id) goes on without a source, and nobody allowed it")
        case .peerDown: checks.hit(.peerDown)
        case .peerUp, .waiting, .conflict, .clockTrusted, .gaveUp, .released: break
        case .parking(let event):
            try note(event)
        case .unverified(let what):
            throw Violation("S4", "\(node.id) cannot look at a healthy file: \(what)")
        case .flushFailed(let what):
            throw Violation("S4", "\(node.id) cannot flush to a healthy disk: \(what)")
        case .incident, .divergence, .recounted, .recountFailed, .damaged:
            try checkFinding(report, of: node)
        case .generationRefused(let peer, let generation):
            // A clock that is ten years off sees the future everywhere.
            guard !swarm.has(.clockSteps) else { return }
            throw Violation("S12", "\(node.id) refuses \(peer)'s generation \(generation)")
        }
    }

    private func tablesChanged(_ mark: CoverageMark, of node: VirtualNode) {
        checks.hit(mark)
        node.tablesChangedAt = now
    }

    private func noteColdFailure(_ what: String, of node: VirtualNode) throws(Violation) {
        checks.hit(.moveGivenUp)
        let mayFail = [FaultClass.failedSyncs, .diskFull, .rot].contains { swarm.has($0) }
        guard mayFail, swarm.coldAfter != nil else {
            throw Violation("S4", "\(node.id)'s cold disk is healthy: \(what)")
        }
    }

    private func noteCopy(_ report: Report, of node: VirtualNode) {
        if case .copying = report {
            node.isCopying = true
            maybeInterruptCopy(to: node)
            writeDuringCopy()
            return
        }
        node.isCopying = false
        if case .copied = report {
            checks.hit(.copied)
        } else {
            checks.hit(.copyInterrupted)
        }
    }

    private func noteReturn(of node: VirtualNode, _ incarnation: Incarnation) {
        guard let life = node.mustBegin, incarnation >= life else { return }
        checks.hit(.cameBack)
        node.mustBegin = nil
    }

    /// What only counters tell: which ways reads took since the last look, and what was held back.
    func noteCounters(_ process: VirtualProcess) {
        let before = process.counted
        let counted = process.core.counters
        process.counted = counted
        if counted.readsMet > before.readsMet { checks.hit(.readMet) }
        if counted.readsUnited > before.readsUnited { checks.hit(.readUnited) }
        if counted.readsFellBack > before.readsFellBack { checks.hit(.readFellBack) }
        if counted.readsSpeculated > before.readsSpeculated { checks.hit(.readSpeculated) }
        if counted.readsWidened > before.readsWidened { checks.hit(.readWidened) }
        if counted.heldBack > before.heldBack { checks.hit(.heldBack) }
        if counted.scansWaited > before.scansWaited { checks.hit(.scanWaited) }
        if counted.readsRestarted > before.readsRestarted { checks.hit(.readRestarted) }
        if counted.rollups > before.rollups { checks.hit(.rolledUp) }
        if counted.batchesEnsured > before.batchesEnsured { checks.hit(.readEnsured) }
        if counted.batchesContributed > before.batchesContributed { checks.hit(.readContributed) }
    }

    private func note(_ event: ParkingLot.Event) throws(Violation) {
        switch event {
        case .parked: checks.hit(.parked)
        case .counted: checks.hit(.parkedCounted)
        case .renewed(let key, let number): try noteRenewal(key, number)
        case .damaged(let key, let what):
            throw Violation("S10", "the record of \(key) is damaged on a healthy disk: \(what)")
        case .refused, .forgotten, .discarded, .failed: break
        }
    }
}
