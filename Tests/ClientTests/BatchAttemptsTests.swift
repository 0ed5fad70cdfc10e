import Client
import Core
import Testing

@Suite("What an attempt means for its batch")
struct BatchAttemptsTests {
    private func attempts(nodes: Int = 3) -> BatchAttempts {
        BatchAttempts(deadline: .zero + .seconds(60), nodes: nodes)
    }

    private func result(_ status: Int, _ body: String = "{}") -> AttemptResult {
        AttemptResult(reply: HTTPReply(status: status, body: Array(body.utf8)))
    }

    @Test("a counted answer ends the batch with its counts")
    func counted() {
        var batch = attempts()
        let body = """
            {"outcome": "counted", "events": 10, "counted": 9, "dead": 1, "duplicate": true,
             "errors": [{"line": 3, "reason": "bad-time", "detail": "no time"}]}
            """
        let step = batch.record(result(200, body))
        guard case .finished(.counted(let counts, duplicate: true)) = step else {
            Issue.record("\(step)")
            return
        }
        #expect((counts.events, counts.counted, counts.dead) == (10, 9, 1))
        #expect(counts.errors.map(\.line) == [3])
        #expect(counts.errors.map(\.reason) == ["bad-time"])
    }

    @Test("a parked answer ends the batch; a 202 that says nothing of it does not")
    func parked() {
        var batch = attempts()
        #expect(batch.record(result(202, #"{"events": 10}"#)) == .again)
        let body = #"{"outcome": "parked", "events": 10, "counted": 0, "dead": 0, "parked": 10}"#
        #expect(batch.record(result(202, body)) == .finished(.parked(events: 10)))
    }

    @Test("an answer 200 without counts is not taken for a success")
    func emptySuccess() {
        var batch = attempts()
        #expect(batch.record(result(200)) == .again)
        #expect(batch.record(result(200, "no json")) == .again)
        guard case .unknown = batch.gaveUp() else {
            Issue.record("\(batch.gaveUp())")
            return
        }
    }

    @Test("an unknown stays unknown through later refusals that send nothing")
    func unknownSticks() {
        var batch = attempts()
        #expect(batch.record(AttemptResult(failure: .timedOut)) == .again)
        #expect(batch.record(AttemptResult(failure: .notConnected("refused"))) == .failOver)
        #expect(batch.record(result(503, #"{"outcome": "not-attempted"}"#)) == .again)
        #expect(batch.record(result(429)) == .again)
        guard case .finished(.unknown) = batch.record(result(400)) else {
            Issue.record("an unusable request ended the doubt")
            return
        }
    }

    @Test("refusals that sent nothing leave a batch as never sent")
    func notAttempted() {
        var batch = attempts()
        _ = batch.record(AttemptResult(failure: .notConnected("refused")))
        _ = batch.record(result(503, #"{"outcome": "not-attempted", "detail": "1 of 2 alive"}"#))
        #expect(batch.gaveUp() == .notAttempted("1 of 2 alive"))
    }

    @Test("a 503, a 504 and a broken connection may each have been counted")
    func doubts() {
        let lost = AttemptResult(failure: .broken("reset"))
        let doubtful = [
            lost, result(503, #"{"outcome": "unknown"}"#), result(503), result(504), result(500),
            AttemptResult(failure: .timedOut), result(408), result(429, #"{"outcome": "unknown"}"#),
        ]
        for doubt in doubtful {
            var batch = attempts()
            #expect(batch.record(doubt) == (doubt == lost ? .failOver : .again))
            guard case .unknown = batch.gaveUp() else {
                Issue.record("\(doubt) was forgotten")
                return
            }
        }
    }

    @Test("another content under the id, and a body too large, are finally not counted")
    func refusedContent() {
        for status in [413, 422] {
            var batch = attempts()
            _ = batch.record(AttemptResult(failure: .timedOut))
            #expect(
                batch.record(result(status, #"{"outcome": "not-counted", "detail": "why"}"#))
                    == .finished(.notCounted("why")))
        }
    }

    @Test("410 says what became of an old batch")
    func tooOld() {
        let body = #"{"outcome": "counted", "final": true, "events": 5, "counted": 5, "dead": 0}"#
        var batch = attempts()
        #expect(
            batch.record(result(410, body))
                == .finished(
                    .counted(BatchCounts(events: 5, counted: 5, dead: 0), duplicate: true)))
        batch = attempts()
        #expect(
            batch.record(result(410, #"{"outcome": "not-counted", "final": true, "detail": "x"}"#))
                == .finished(.notCounted("x")))
        batch = attempts()
        #expect(
            batch.record(result(410, #"{"outcome": "unknown", "final": false, "detail": "x"}"#))
                == .ask)
        #expect(batch.gaveUp() == .unknown("x"))
        batch = attempts()
        #expect(
            batch.record(result(410, #"{"outcome": "not-attempted", "detail": "x"}"#))
                == .finished(.notAttempted("x")))
    }

    @Test("a batch that is older than what nodes remember is asked for once at each of them")
    func forgotten() {
        let old = result(410, #"{"outcome": "unknown", "final": false, "detail": "x"}"#)
        let undecided = AttemptResult(
            status: HTTPReply(status: 200, body: Array(#"{"outcome": "unknown"}"#.utf8)))
        for isPastMemory in [false, true] {
            var batch = BatchAttempts(
                deadline: .zero + .seconds(60), nodes: 2, isPastMemory: isPastMemory)
            #expect(batch.record(old) == .ask)
            #expect(batch.record(undecided) == .ask)
            let step = batch.record(undecided)
            #expect(batch.isForgotten == isPastMemory)
            switch step {
            case .ask: #expect(!isPastMemory)
            case .finished(.unknown(let reason)):
                #expect(isPastMemory && reason.contains("batch_status_retention"))
            default: Issue.record("\(step)")
            }
        }
    }

    @Test("where nodes say whether they have forgotten a batch, its age says nothing")
    func forgottenByNodes() {
        for isForgotten in [true, false] {
            let field = #""outcome": "unknown", "final": false, "forgotten": \#(isForgotten)"#
            let asked = AttemptResult(
                status: HTTPReply(status: 200, body: Array("{\(field)}".utf8)))
            var batch = BatchAttempts(
                deadline: .zero + .seconds(60), nodes: 2, isPastMemory: !isForgotten)
            #expect(batch.record(result(410, "{\(field)}")) == .ask)
            #expect(batch.record(asked) == .ask)
            let step = batch.record(asked)
            #expect(batch.isForgotten == isForgotten)
            switch step {
            case .ask: #expect(!isForgotten)
            case .finished(.unknown(let reason)):
                #expect(isForgotten && reason.contains("Forgotten"))
            default: Issue.record("\(step)")
            }
        }
    }

    @Test("one node's clock may be wrong, three may not")
    func clockAhead() {
        var batch = attempts(nodes: 3)
        let ahead = result(409, #"{"outcome": "not-attempted", "detail": "ahead"}"#)
        #expect(batch.record(ahead) == .again)
        #expect(batch.record(ahead) == .again)
        #expect(batch.record(ahead) == .finished(.notAttempted("ahead")))
    }

    @Test("no attempt and no wait begins that would pass the deadline")
    func deadline() {
        let batch = attempts()
        let late = Instant.zero + .seconds(59)
        #expect(batch.timeout(at: late, attemptMax: .seconds(8)) == .seconds(1))
        #expect(batch.timeout(at: late + .seconds(1), attemptMax: .seconds(8)) == nil)
        #expect(batch.wait(.milliseconds(999), at: late) == .milliseconds(999))
        #expect(batch.wait(.seconds(1), at: late) == nil)
    }
}
