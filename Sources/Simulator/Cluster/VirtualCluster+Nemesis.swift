import Core
import NodeCore
import Storage

/// The faults of nodes: who is crashed, wiped or paused, and when it ends.
///
/// When the nemesis strikes, with what and whom, is drawn from a generator that nothing else
/// uses; what one strike then draws comes from a fork of it. So an act can be left out, and all
/// others still happen at the same times to the same nodes: what the shrinker needs.
extension VirtualCluster {
    func strike() throws(Violation) {
        guard !isHealed else { return }
        let kinds = swarm.faults.filter {
            $0 != .catastrophe && FaultAtlas.entry(of: $0).kind == .act
        }
        guard !kinds.isEmpty else { return }
        let spread = swarm.faultInterval.nanoseconds * 2
        put(.strike, after: scheduleRandom.duration(below: .nanoseconds(spread)))
        let kind = scheduleRandom.pick(kinds)
        let node = scheduleRandom.pick(nodes)
        nemesisRandom = scheduleRandom.fork()
        strikes += 1
        guard schedule.allows(strikes, kind), mayTouch(node) else { return }
        trace.note(.nemesis, at: now, node: node.index)
        begin(FaultAct(number: strikes, at: now, fault: kind, node: node.id))
        switch kind {
        case .crashes: crash(node, "by the nemesis")
        case .killAll:
            guard nemesisRandom.chance(1, in: 4) else { return }
            checks.hit(.killAll)
            for node in nodes { crash(node, "with all others") }
        case .wipes: wipe(node)
        case .oldDisks: setBack(node)
        case .rot: try rot(node)
        case .cuts: cut(node)
        case .partialCuts: cutPartly()
        case .swizzles: swizzle()
        case .slowLinks: slowLink(node)
        case .slowNodes: slowDown(node)
        case .pauses: pause(node)
        case .clockSteps: stepClock()
        case .diskFull: fillDisk(node)
        case .bursts: burst(node)
        case .tornJobs, .loss, .duplication, .delay, .slowDisks, .rogues, .skew, .failedSyncs,
            .lies, .zombies, .lateRetries, .catastrophe, .unreadable, .misreads:
            break
        }
    }

    func begin(_ act: FaultAct) {
        acts.append(act)
        log("\(act)")
    }

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
        if node.isCopying { checks.hit(.copyInterrupted) }
        if process.core.isCompacting { checks.hit(.compactionInterrupted) }
        node.isCopying = false
        resetLinks(to: node)
        loseCalls(of: process)
        put(.restart(node: node.index), after: downTime())
    }

    private func downTime() -> Duration {
        let quickly = nemesisRandom.chance(1, in: 3)
        // One node at a time is away for long: the others must do without it.
        let spread = swarm.budget == .oneNode ? 20_000 : 3000
        return .milliseconds(quickly ? 20 : 200 + nemesisRandom.below(spread))
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

    /// A new, empty disk.
    private func wipe(_ node: VirtualNode) {
        guard mayLoseData else { return }
        guard nodes.count >= 3, swarm.budget != .oneNode, nemesisRandom.chance(1, in: 2) else {
            return loseAll(node)
        }
        wipeBehindLag(node)
    }

    func loseAll(_ node: VirtualNode) {
        crash(node, "and loses its disk")
        trace.note(.wipe, at: now, node: node.index)
        node.disk = .init()
        node.shadow.wipe()
        node.parking = VirtualParking()
        ledger.loseParked(on: node.index)
        node.closed = .first
        node.sealed = .first
        node.rot = nil
        node.mustRecover = false
        node.isCondemned = false
        distrust(node)
        checks.hit(.wipe)
    }

    private func pause(_ node: VirtualNode) {
        guard let process = node.process, process.pausedUntil <= now else { return }
        let drawn = nemesisRandom.duration(below: swarm.pauseMax)
        let chaosLeft = Instant.zero + swarm.chaos + .seconds(4) - now
        let length = min(.milliseconds(100) + drawn, max(.milliseconds(100), chaosLeft))
        log("\(node.id) is paused for \(length)")
        checks.hit(.pause)
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
}
