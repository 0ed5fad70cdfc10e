/// What one attempt at a batch brought, as the producer must understand it.
///
/// The difference that matters is whether the batch may have been counted: only an answer that says
/// `not-attempted`, or a connection that never came about, says that this attempt changed nothing.
package enum AttemptResult: Hashable, Sendable {
    /// Counted, now or by an earlier attempt.
    case counted(BatchCounts, duplicate: Bool)
    /// Kept by the node that was asked, to be counted later.
    case parked(events: Int)
    /// Finally not counted, for its bytes.
    case notCounted(String)
    /// Finally not counted, because its segment closed without it: its events may be sealed anew.
    case closedWithout(String)
    /// The request is unusable and will be for every node; nothing was sent on.
    case unusable(String)
    /// `createdAt` lies ahead of this node's clock; another node's clock may differ.
    case clockAhead(String)
    /// This attempt sent nothing; another may succeed.
    case notAttempted(String)
    /// No connection came about: nothing was sent, and it says nothing of the other nodes.
    case unreached(String)
    /// The connection broke: the batch may be counted or not. It says nothing of the other nodes.
    case lost(String)
    /// The batch may be counted or not; the same bytes may be sent again.
    case unknown(String)
    /// Too old to be sent again, and its fate is not decided or no longer known: more attempts
    /// bring nothing, asking for the batch may. `isForgotten`: the node keeps outcomes of its time
    /// no more; nil where it does not say.
    case undecided(String, isForgotten: Bool?)
    /// The same, and the node that was asked for it keeps it parked: it counts it later, perhaps
    /// under an id of its own.
    case keptParked(String)
    /// Bytes that cannot be these were counted under the same id.
    case otherContent(String)

    package init(failure: TransportFailure, at node: NodeAddress? = nil) {
        let text = (node.map { "\($0): " } ?? "") + failure.text
        switch failure {
        case .notConnected: self = .unreached(text)
        case .broken: self = .lost(text)
        case .timedOut: self = .unknown(text)
        }
    }

    package init(reply: HTTPReply) {
        let answer = Answer(body: reply.body)
        let detail = answer.detail ?? "status \(reply.status)"
        switch reply.status {
        case 200:
            if let counts = answer.counts {
                self = .counted(counts, duplicate: answer.duplicate)
            } else {
                self = .unknown("an answer 200 that names no counts")
            }
        case 202:
            if answer.outcome == "parked", let events = answer.events {
                self = .parked(events: events)
            } else {
                self = .unknown("an answer 202 that does not say 'parked'")
            }
        case 410:
            self = AttemptResult.tooOld(answer, detail: detail)
        case 409:
            self = .clockAhead(detail)
        case 413, 422:
            self = .notCounted(detail)
        case 429 where answer.outcome != "unknown":
            self = .notAttempted(detail)
        case 503 where answer.outcome == "not-attempted":
            self = .notAttempted(detail)
        case 408, 429:
            self = .unknown(detail)
        case 400..<500:
            self = answer.outcome == "not-counted" ? .notCounted(detail) : .unusable(detail)
        default:
            self = .unknown(detail)
        }
    }

    /// What the answer to a question for the batch's outcome says.
    package init(status reply: HTTPReply) {
        let answer = Answer(body: reply.body)
        guard reply.status == 200 else {
            self = .unknown(answer.detail ?? "status \(reply.status)")
            return
        }
        switch answer.outcome {
        case "counted":
            self =
                answer.counts.map { .counted($0, duplicate: true) }
                ?? .unknown("an answer 'counted' that names no counts")
        case "not-counted" where answer.isFinal:
            self = .closedWithout("its time is closed without it")
        case _ where answer.isParked:
            self = .keptParked("too old to be sent again, and parked at a node")
        default:
            let word = answer.isForgotten == true ? "not known any more" : "not decided yet"
            self = .undecided(
                "too old to be sent again, and \(word)", isForgotten: answer.isForgotten)
        }
    }

    /// The same, unless it says of an id that a batch is counted which cannot be this one: nodes
    /// that are asked for an outcome, or refuse a batch for its age, look at its id only.
    package func checked(against batch: SealedBatch) -> AttemptResult {
        guard case .counted(let counts, _) = self, let events = batch.knownEvents,
            events != counts.events
        else { return self }
        return .otherContent(
            "another content of this id was counted: it had \(counts.events) events, this one has "
                + "\(events); compare it with what is counted, and seal what is missing under a "
                + "new id")
    }

    /// 410: the batch is older than the horizon; the node says what it knows of it.
    private static func tooOld(_ answer: Answer, detail: String) -> AttemptResult {
        switch answer.outcome {
        case "counted":
            if let counts = answer.counts { return .counted(counts, duplicate: true) }
            return .unknown("an answer 410 'counted' that names no counts")
        case "not-counted" where answer.isFinal:
            return .closedWithout(detail)
        case "not-attempted":
            return .unusable(detail)
        default:
            return .undecided(detail, isForgotten: answer.isForgotten)
        }
    }

    /// The fields of interest of an answer or a problem, whichever came. What is no JSON is an
    /// answer without fields, judged by its status alone.
    private struct Answer {
        private let json: JSONValue?

        init(body: [UInt8]) {
            do {
                json = try JSONValue(parsing: body)
            } catch {
                json = nil
            }
        }

        var outcome: String? { json?["outcome"]?.string }
        var isFinal: Bool { json?["final"]?.bool ?? false }
        var isForgotten: Bool? { json?["forgotten"]?.bool }
        var isParked: Bool { json?["parked"]?.bool ?? false }
        var duplicate: Bool { json?["duplicate"]?.bool ?? false }
        var detail: String? { json?["detail"]?.string ?? json?["title"]?.string }

        var events: Int? { json?["events"]?.int }

        var counts: BatchCounts? {
            guard let events = json?["events"]?.int, let counted = json?["counted"]?.int,
                let dead = json?["dead"]?.int
            else { return nil }
            let errors = json?["errors"]?.array ?? []
            return BatchCounts(
                events: events, counted: counted, dead: dead,
                errors: errors.compactMap(EventError.init(json:)))
        }
    }
}
