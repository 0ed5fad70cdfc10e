import Core
import Replication

/// Who waits until a node has read its own files.
struct VerifyRequest {
    var id: RequestID
    /// A verification that began earlier does not serve.
    var since: Instant
    var deadline: Instant
}

// `quipu verify` on a running node: its files against their own sums, and nobody else's.

extension NodeMachine {
    mutating func beginVerify(
        _ request: RequestID, age: Duration, _ deadline: Instant, _ now: Now,
        into effects: inout [Effect]
    ) {
        guard audit.verifyRequests.count < ReplicationLimits.surveysMax else {
            let why = "\(ReplicationLimits.surveysMax) verifications are waited for"
            effects.append(.reply(request, .failed(.notReady(why))))
            return
        }
        audit.verifyRequests.append(
            VerifyRequest(
                id: request, since: now.monotonic - AuditState.bounded(age: age),
                deadline: deadline))
        advanceVerifyRequests(now, into: &effects)
    }

    mutating func advanceVerifyRequests(_ now: Now, into effects: inout [Effect]) {
        guard !audit.verifyRequests.isEmpty else { return }
        var open: [VerifyRequest] = []
        for request in audit.verifyRequests {
            let state = verification(since: request.since, now, into: &effects)
            guard state.isDone || request.deadline <= now.monotonic else {
                open.append(request)
                continue
            }
            let damage = audit.findings(tables: tables).filter { $0.kind == .damage }
            effects.append(
                .reply(request.id, .verified(VerifyReport(state: state, damage: damage))))
        }
        audit.verifyRequests = open
    }

    mutating func cancelVerifyRequests(of request: RequestID) {
        audit.verifyRequests.removeAll { $0.id == request }
    }
}
