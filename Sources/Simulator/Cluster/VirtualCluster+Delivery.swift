import Core
import NodeCore
import Replication
import Storage
import Wire

/// Events in, effects out: the shell of every node.
extension VirtualCluster {
    func deliver(_ event: VirtualEvent) throws(Violation) {
        switch event {
        case .process(let index, let instance, let event):
            let node = nodes[index]
            guard let process = node.process, process.instance == instance else { return }
            guard process.pausedUntil <= now else {
                if case .request(let id, _, _) = event { workload.calls[id]?.wasPaused = true }
                queue.put(
                    .process(node: index, instance: instance, event), at: process.pausedUntil)
                return
            }
            guard node.slowUntil <= now else {
                put(
                    .late(node: index, instance: instance, event), after: node.lateness)
                return
            }
            try deliver(event, to: node, process)
        case .late(let index, let instance, let event):
            let node = nodes[index]
            guard let process = node.process, process.instance == instance else { return }
            guard process.pausedUntil <= now else {
                queue.put(
                    .late(node: index, instance: instance, event), at: process.pausedUntil)
                return
            }
            try deliver(event, to: node, process)
        case .restart(let index):
            try start(nodes[index])
        case .powerCut(let index):
            cutPower(nodes[index])
        case .freeDisk(let index):
            freeDisk(nodes[index])
        case .mend(let from, let to):
            // After the heal nothing is cut but what stays so.
            if !isHealed { network.setCut(false, from: from, to: to) }
        case .clog(let node, let end):
            clog(node, until: end)
        case .strike:
            try strike()
        case .catastrophe:
            strikeHard()
        case .wipeLate:
            wipeLate()
        case .wipeBehindLag(let node, let behind, let apart):
            wipe(nodes[node], behind: behind, apart: apart)
        case .produceExtra:
            produceExtra()
        case .interruptCopy(let node):
            interruptCopy(nodes[node])
        case .answer(let request, let response):
            try receive(response, for: request)
        case .leave(let request):
            try leave(request)
        case .produce(let producer):
            produce(producer)
        case .submit(let effort):
            submit(effort)
        case .ask(let reader):
            ask(reader)
        case .probe(let node):
            probe(node)
        case .inspect:
            try inspect()
            try takeSnapshots()
            if !isHealed { put(.inspect, after: .milliseconds(400)) }
        }
    }

    private func deliver(
        _ event: ProcessEvent, to node: VirtualNode, _ process: VirtualProcess
    ) throws(Violation) {
        switch event {
        case .tick(let time):
            guard process.tickAt == time else { return }
            process.tickAt = nil
            trace.note(.tick, at: now, node: node.index)
            try handle(.tick, node, process)
        case .message(let bytes, let from):
            try receive(bytes, from: from, node, process)
        case .connect(let peer):
            connect(node, process, to: peer)
        case .connected(let peer, let instance):
            try linkUp(node, process, to: peer, instance)
        case .disconnected(let peer, let isRefused):
            try linkDown(node, process, to: peer, isRefused: isRefused)
        case .idle(let peer):
            try closeIdle(node, process, to: peer)
        case .writeLog, .syncLog, .logSynced, .runJob, .finishJob:
            try deliverDisk(event, to: node, process)
        case .runParking(let job):
            try run(job, node, process)
        case .request(let request, let ask, let patience):
            trace.note(.request, at: now, node: node.index, request.number)
            log("\(node.id) ← client: \(Describe.request(ask)) (\(request.number))")
            // It may have waited for a paused process: its time begins when it is read.
            workload.calls[request]?.deadline = now + patience
            workload.left[request]?.deadline = now + patience
            put(
                .overdue(request), to: node.index, process.instance,
                after: patience + SimulatorLimits.callGrace)
            try handle(
                .request(request, ask, deadline: process.local(now + patience)), node, process)
        case .watchDisk:
            try watchDisk(node, process)
        case .cancel(let request):
            log("\(node.id) ← client: cancel \(request.number)")
            try handle(.cancel(request), node, process)
        case .overdue(let request):
            try checkOverdue(request, process)
        case .resume:
            log("\(node.id) resumes")
        }
    }

    func handle(
        _ input: Input, _ node: VirtualNode, _ process: VirtualProcess
    ) throws(Violation) {
        var effects: [Effect] = []
        process.posture = process.core.step(
            input, at: clocks(of: node, process), into: &effects)
        try carryOut(effects, node, process)
    }

    func carryOut(
        _ effects: [Effect], _ node: VirtualNode, _ process: VirtualProcess
    ) throws(Violation) {
        for effect in effects {
            switch effect {
            case .send(let message, let peer):
                if case .replication(.closeReply(let reply)) = message {
                    try checkFreeze(reply, of: node)
                    if reply.vote.isVoting { node.agreedAt[index(of: peer)] = now }
                }
                try checkVote(message, of: node, process)
                try checkFence(message, of: node, process, to: nodes[index(of: peer)])
                send(message, from: node, process, to: index(of: peer))
            case .append(let record):
                process.log.pending.append(record)
            case .sync:
                askSync(node, process)
            case .run(let job, let work):
                let delay = try drawingApart(work) { () throws(Violation) in diskDelay() }
                put(.runJob(job, work), to: node.index, process.instance, after: delay)
            case .park(let job):
                park(job, node, process)
            case .reply(let request, let response):
                try checkParked(response, request, node)
                try checkDenied(response, request, node)
                reply(response, to: request, from: node)
            case .report(let report):
                log("\(node.id) reports \(report)")
                try note(report, of: node)
            case .halt(let reason):
                if isConfession(reason, of: node) {
                    crash(node, "since its audit failed")
                    return
                }
                throw Violation("L2", "\(node.id) halts without a fault of its disk: \(reason)")
            case .condemn(let reason):
                try condemn(reason, node)
                return
            }
        }
        scheduleTick(node, process)
    }

    private func scheduleTick(_ node: VirtualNode, _ process: VirtualProcess) {
        // A deadline that has passed is delivered soon, not at once: virtual time must move.
        let deadline = max(process.global(process.posture.nextDeadline), now + .microseconds(50))
        if let tickAt = process.tickAt, tickAt <= deadline { return }
        process.tickAt = deadline
        queue.put(
            .process(node: node.index, instance: process.instance, .tick(deadline)),
            at: deadline)
    }

    private func send(
        _ message: PeerMessage, from node: VirtualNode, _ process: VirtualProcess, to peer: Int
    ) {
        guard let instance = process.links[peer] else { return }
        let bytes = message.encoded()
        let arrivals = network.arrivals(from: node.index, to: peer, at: now)
        log(
            "\(node.id) → \(nodes[peer].id): \(Describe.message(message))"
                + (arrivals.isEmpty ? " LOST" : ""))
        for time in arrivals {
            queue.put(
                .process(node: peer, instance: instance, .message(bytes, from: node.index)),
                at: time)
        }
    }

    private func receive(
        _ bytes: [UInt8], from peer: Int, _ node: VirtualNode, _ process: VirtualProcess
    ) throws(Violation) {
        trace.note(.message, at: now, node: node.index, bytes: bytes)
        let message: PeerMessage
        do throws(DecodeError) {
            message = try PeerMessage(decoding: bytes)
        } catch {
            throw Violation("S13", "what \(nodes[peer].id) sent cannot be decoded: \(error)")
        }
        log("\(node.id) ← \(nodes[peer].id): \(Describe.message(message))")
        try handle(.message(message, from: nodes[peer].id), node, process)
    }
}
