package import Core
package import Wire

/// Asks a batch's home what became of it. One voter that knows it as bound is enough, and so is one
/// whose segment closed without it; that it is undecided is said only after all that can be reached
/// have answered.
package struct StatusSession: Sendable {
    package enum Purpose: Hashable, Sendable {
        case status
        /// A write that is too old to be admitted: it may be known all the same.
        case expiredWrite(BatchRecord, Consistency)
        /// A write with dead letters for which these home voters have no room: it may be known all
        /// the same.
        case crowdedWrite(BatchRecord, Consistency, full: [NodeID])
    }

    package enum Verdict: Sendable {
        case answer(ClientResponse)
        /// The old write is bound: its coordinator completes it like any other, since a majority of
        /// its home says nothing of the voters that must have applied it.
        case complete(BatchRecord, Consistency)
        /// A voter holds something under the id: an earlier attempt came so far, and this one goes
        /// on like any write. Its letters lie there already.
        case attempt(BatchRecord, Consistency)
    }

    package let request: RequestID
    package let purpose: Purpose
    package let deadline: Instant
    package let id: BatchID
    package let createdAt: WallTime?
    /// Of the batch that was sent; nil where only its id is known.
    package var contentHash: Hash128? {
        switch purpose {
        case .status: nil
        case .expiredWrite(let record, _), .crowdedWrite(let record, _, _):
            record.header.contentHash
        }
    }
    private let voters: [NodeID]
    private var repeatAt: Instant
    private var replies: [NodeID: StatusReply] = [:]
    /// Its time is older than what outcomes are kept for; nil where its time is not known.
    private let isForgotten: Bool?

    package init(
        request: RequestID, id: BatchID, createdAt: WallTime?, purpose: Purpose,
        isForgotten: Bool? = nil, voters: [NodeID], deadline: Instant, now: Instant
    ) {
        self.isForgotten = isForgotten
        self.request = request
        self.id = id
        self.createdAt = createdAt
        repeatAt = now + Self.repeatAfter
        self.purpose = purpose
        self.voters = voters
        self.deadline = deadline
    }

    private static let repeatAfter: Duration = .milliseconds(250)

    /// Those that are to be asked once more: a question or an answer may have been lost.
    package mutating func silent(at now: Instant) -> [NodeID] {
        guard now >= repeatAt else { return [] }
        repeatAt = now + Self.repeatAfter
        return voters.filter { replies[$0] == nil }
    }

    /// The answer, once it is known; `isLast` where nobody else will speak.
    package mutating func receive(
        _ reply: StatusReply, from node: NodeID, reachable: (NodeID) -> Bool
    ) -> Verdict? {
        guard voters.contains(node) else { return nil }
        replies[node] = reply
        if let verdict = decided() { return verdict }
        let isComplete = voters.allSatisfy { replies[$0] != nil || !reachable($0) }
        guard isComplete, replies.count >= Consistency.quorum.required(of: voters.count) else {
            return nil
        }
        return undecided()
    }

    package func expire() -> ClientResponse {
        if case .crowdedWrite(_, _, let full) = purpose {
            return .write(.notAttempted(.deadLettersFull(full)))
        }
        let required = Consistency.quorum.required(of: voters.count)
        if replies.count >= required { return undecidedAnswer() }
        return .failed(.timedOut(required: required, answered: replies.count))
    }

    private func decided() -> Verdict? {
        for node in voters {
            guard let held = replies[node]?.held, held.isBound else { continue }
            switch purpose {
            case .status:
                return .answer(.status(.counted(held.totals)))
            case .expiredWrite(let record, let consistency),
                .crowdedWrite(let record, let consistency, _):
                guard held.contentHash == record.header.contentHash else {
                    return .answer(.write(.conflict))
                }
                return .complete(record, consistency)
            }
        }
        guard replies.values.contains(where: { $0.isClosed && $0.vote.isVoting }) else {
            return nil
        }
        switch purpose {
        case .status: return .answer(.status(.notCounted))
        case .expiredWrite, .crowdedWrite: return .answer(.write(.expired(.notCounted)))
        }
    }

    private func undecided() -> Verdict {
        if case .crowdedWrite(let record, let consistency, _) = purpose,
            replies.values.contains(where: {
                $0.held?.contentHash == record.header.contentHash
            })
        {
            return .attempt(record, consistency)
        }
        return .answer(undecidedAnswer())
    }

    private var heldBy: Int { replies.values.count { $0.held != nil } }

    private func undecidedAnswer() -> ClientResponse {
        switch purpose {
        case .status: .status(.unknown(heldBy: heldBy, isForgotten: isForgotten))
        case .expiredWrite:
            .write(.expired(.unknown(heldBy: heldBy, isForgotten: isForgotten)))
        case .crowdedWrite(_, _, let full): .write(.notAttempted(.deadLettersFull(full)))
        }
    }
}
