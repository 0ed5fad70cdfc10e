package import Core

/// An answer, before any server library sees it.
package struct HTTPReply: Hashable, Sendable {
    package var status: Int
    package var contentType: String
    /// Names and values beside Content-Type and Content-Length.
    package var headers: [Header]
    package var body: [UInt8]
    /// Of the body that is left out, in bytes: the answer to a HEAD says how long the one to its
    /// GET is. Nil: as long as the body is.
    package private(set) var lengthLeftOut: Int?

    package struct Header: Hashable, Sendable {
        package var name: String
        package var value: String

        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package init(status: Int, contentType: String, headers: [Header] = [], body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.headers = headers
        self.body = body
    }

    /// The answer to a HEAD.
    package var withoutBody: HTTPReply {
        var reply = self
        reply.lengthLeftOut = lengthLeftOut ?? body.count
        reply.body = []
        return reply
    }

    package static func json(_ body: (inout JSONWriter) -> Void) -> HTTPReply {
        json(status: 200, body)
    }

    package static func json(status: Int, _ body: (inout JSONWriter) -> Void) -> HTTPReply {
        var writer = JSONWriter()
        writer.object(body)
        return HTTPReply(status: status, contentType: "application/json", body: writer.bytes)
    }

    package static func text(
        _ text: String, type: String = "text/plain; charset=utf-8", status: Int = 200
    ) -> HTTPReply {
        HTTPReply(status: status, contentType: type, body: Array(text.utf8))
    }

    package static func problem(_ problem: Problem) -> HTTPReply {
        problem.reply
    }
}

/// What became of a batch, as far as this attempt can say.
package enum Outcome: String, Sendable {
    case counted
    /// Final.
    case notCounted = "not-counted"
    /// This attempt sent nothing; says nothing of earlier ones.
    case notAttempted = "not-attempted"
    case unknown
    /// Level ANY: kept by the node that was asked, to be counted later.
    case parked
}

/// An error as a user reads it: `application/problem+json`.
package struct Problem: Error, Hashable, Sendable {
    package var status: Int
    /// The last part of the problem's `type`; stable, for programs.
    package var kind: String
    package var title: String
    /// What, where, what to do.
    package var detail: String
    package var outcome: Outcome?
    package var required: Int?
    package var alive: Int?
    package var answered: Int?
    package var retryAfter: Int?
    /// Whether the outcome is final; only where that is known.
    package var isFinal: Bool?
    /// Of an unknown batch: whether nodes keep outcomes of its time no more, where that is known.
    package var isForgotten: Bool?
    package var totals: BatchTotals?
    /// The methods that the resource takes.
    package var allow: String?
    /// The parts of a long body that were counted or parked before this went wrong.
    package var counted: [WriteAnswer.Part] = []
    /// Where there are such: what became of the part that went wrong. Nothing behind it was sent.
    package var rest: Outcome?

    package init(
        _ status: Int, _ kind: String, _ title: String, _ detail: String, outcome: Outcome? = nil
    ) {
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.outcome = outcome
    }

    package static func badRequest(_ detail: String, outcome: Outcome? = nil) -> Problem {
        Problem(400, "bad-request", "The request cannot be used", detail, outcome: outcome)
    }

    package static func notInThisVersion(_ what: String) -> Problem {
        Problem(501, "not-in-this-version", "Not in this version", "\(what) is not in this version")
    }

    package var reply: HTTPReply {
        var json = JSONWriter()
        json.object { json in
            json.field("type", "urn:quipu:problem:\(kind)")
            json.field("title", title)
            json.field("status", status)
            json.field("detail", detail)
            if let outcome { json.field("outcome", outcome.rawValue) }
            if let rest { json.field("rest", rest.rawValue) }
            if let isFinal { json.field("final", isFinal) }
            if let isForgotten { json.field("forgotten", isForgotten) }
            if let totals {
                json.field("events", totals.events)
                json.field("counted", totals.counted)
                json.field("dead", totals.dead)
            }
            if let required { json.field("required", required) }
            if let alive { json.field("alive", alive) }
            if let answered { json.field("answered", answered) }
            if !counted.isEmpty {
                json.field(
                    "batches",
                    array: { json in
                        for part in counted { WriteAnswer.write(part, to: &json) }
                    })
            }
        }
        var headers: [HTTPReply.Header] = []
        if let retryAfter { headers.append(.init("Retry-After", "\(retryAfter)")) }
        if let allow { headers.append(.init("Allow", allow)) }
        return HTTPReply(
            status: status, contentType: "application/problem+json", headers: headers,
            body: json.bytes)
    }
}
