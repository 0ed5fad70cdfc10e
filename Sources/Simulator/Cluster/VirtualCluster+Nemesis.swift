import Core
import NodeCore
import Storage

/// The faults: who is crashed, wiped, cut off or paused, and when it ends.
extension VirtualCluster {
    func strike() throws(Violation) {
        guard !isHealed else { return }
        let kinds = swarm.faults.filter { Self.acts.contains($0) }
        guard !kinds.isEmpty else { return }
        let spread = swarm.faultInterval.nanoseconds * 2
        put(.strike, after: nemesisRandom.duration(below: .nanoseconds(spread)))
        let kind = nemesisRandom.pick(kinds)
        let node = nemesisRandom.pick(nodes)
        trace.note(.nemesis, at: now, node: node.index)
        switch kind {
        case .crashes: crash(node, "by the nemesis")
        case .killAll:
            guard nemesisRandom.chance(1, in: 4) else { return }
            for node in nodes { crash(node, "with all others") }
        case .wipes: wipe(node)
        case .cuts: cut(node)
        case .pauses: pause(node)
        case .clockSteps: stepClock()
        case .diskFull: fillDisk(node)
        case .slowNodes: slowDown(node)
        case .tornJobs, .loss, .duplication, .delay, .slowDisks, .rogues, .skew, .failedSyncs,
            .lies:
            break
        }
    }

    private static let acts: [FaultClass] = [
        .crashes, .killAll, .wipes, .cuts, .pauses, .clockSteps, .diskFull,
        .slowNodes,
    ]

    /// The process is gone, at once; what its disk had not synced is lost, torn or kept.
    func crash(
        _ node: VirtualNode, _ reason: String, isPowerCut: Bool = false, keepsCache: Bool = false
    ) {
        guard let process = node.process else { return }
        trace.note(.crash, at: now, node: node.index)
        log("\(node.id) crashes \(reason)")
        node.process = nil
        if keepsCache {
            node.disk = node.disk.clone()
        } else {
            loseDisk(node, isPowerCut: isPowerCut)
        }
        node.disk.clearFaults()
        checks.hit(.crash)
        resetLinks(to: node)
        loseCalls(of: process)
        let quickly = nemesisRandom.chance(1, in: 3)
        let down = Duration.milliseconds(quickly ? 20 : 200 + nemesisRandom.below(3000))
        put(.restart(node: node.index), after: down)
    }

    /// What the crash leaves: after a power cut what was synced and some of the rest; after the
    /// death of the process alone everything is readable, and still not synced.
    func loseDisk(_ node: VirtualNode, isPowerCut: Bool) {
        node.parking.crash(&parkingRandom)
        if !isPowerCut, diskRandom.chance(1, in: 3) {
            node.disk = node.disk.clone()
        } else {
            node.disk = node.disk.crash(&diskRandom)
        }
    }

    /// A new, empty disk. In the budget: one at a time, and only while everybody votes, since the
    /// union of both others is what restores it (design §8).
    private func wipe(_ node: VirtualNode) {
        guard swarm.replication >= 2, nodes.allSatisfy({ $0.isUp && $0.isVoting && !$0.isWiped })
        else { return }
        crash(node, "and loses its disk")
        trace.note(.wipe, at: now, node: node.index)
        node.disk = .init()
        node.shadow.wipe()
        node.parking = VirtualParking()
        ledger.loseParked(on: node.index)
        node.isWiped = true
        node.wipedAt = now
        node.closed = .first
        node.sealed = .first
        node.isVoting = false
        checks.wipes += 1
        checks.hit(.wipe)
    }

    private func cut(_ node: VirtualNode) {
        let length = Duration.milliseconds(200 + nemesisRandom.below(7000))
        let direction = nemesisRandom.below(4)
        let isLonely = nemesisRandom.chance(1, in: 2)
        let other = nemesisRandom.pick(nodes)
        for peer in nodes where peer.index != node.index {
            guard isLonely || peer.index == other.index else { continue }
            if direction != 1 { sever(node, peer, length) }
            if direction != 0 { sever(peer, node, length) }
        }
    }

    private func sever(_ from: VirtualNode, _ to: VirtualNode, _ length: Duration) {
        log("cut: \(from.id) ⇢ \(to.id) for \(length)")
        network.setCut(true, from: from.index, to: to.index)
        put(.mend(from: from.index, to: to.index), after: length)
        watchIdle(from, to: to.index)
        watchIdle(to, to: from.index)
    }

    private func pause(_ node: VirtualNode) {
        guard let process = node.process, process.pausedUntil <= now else { return }
        let drawn = nemesisRandom.duration(below: swarm.pauseMax)
        let chaosLeft = Instant.zero + swarm.chaos + .seconds(4) - now
        let length = min(.milliseconds(100) + drawn, max(.milliseconds(100), chaosLeft))
        log("\(node.id) is paused for \(length)")
        process.pausedUntil = now + length
        put(.resume, to: node.index, process.instance, after: length)
    }

    /// The clock of one node in this run, a minority, is set wrong, or right again.
    private func stepClock() {
        guard nodes.count >= 3 else { return }
        let node = nodes[nodes.count - 1]
        if node.skew != node.skewAtRest, nemesisRandom.chance(1, in: 2) {
            node.skew = node.skewAtRest
        } else {
            let seconds: Int64 = nemesisRandom.pick([90, 600, 7200, 86_400, 315_576_000])
            node.skew = .seconds(nemesisRandom.chance(1, in: 2) ? seconds : -seconds)
        }
        checks.hit(.clockStep)
        log("\(node.id)'s clock is off by \(node.skew)")
    }

    /// Ends all faults for good: every node runs, every wire works.
    package func heal() throws(Violation) {
        log("everything is healed")
        isHealed = true
        network.heal()
        for node in nodes {
            node.skew = node.skewAtRest
            node.slowUntil = now
            freeDisk(node)
        }
        // Pauses run out by themselves: what they delayed is in the queue already.
        for node in nodes where !node.isUp {
            put(.restart(node: node.index), after: .milliseconds(10))
        }
    }
}
