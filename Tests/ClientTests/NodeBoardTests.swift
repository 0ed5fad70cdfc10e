import Client
import Core
import Testing

@Suite("Which node is asked next")
struct NodeBoardTests {
    private let start = Instant.zero + .seconds(1000)

    @Test("a breaker opens after failures in a row, probes once, and closes by a success")
    func breaker() {
        var breaker = CircuitBreaker()
        breaker.failed(at: start)
        #expect(breaker.admits(at: start) == true)
        breaker.succeeded()
        for _ in 0..<CircuitBreaker.failuresToOpen { breaker.failed(at: start) }
        #expect(breaker.admits(at: start) == false)
        let later = start + CircuitBreaker.openMin
        #expect(breaker.opensAt == later)
        #expect(breaker.admits(at: later) == true)
        #expect(
            breaker.admits(at: later) == false, "a second request passed while the probe was out")
        #expect(breaker.opensAt == nil)
        breaker.succeeded()
        #expect(breaker.state == .closed(failures: 0))
    }

    @Test("each failed probe doubles the wait, up to its limit")
    func breakerBackoff() {
        var breaker = CircuitBreaker()
        var now = start
        for _ in 0..<CircuitBreaker.failuresToOpen { breaker.failed(at: now) }
        var lengths: [Duration] = []
        for _ in 0..<8 {
            guard case .open(let until, let length) = breaker.state else {
                Issue.record("\(breaker.state)")
                return
            }
            lengths.append(length)
            now = until
            #expect(breaker.admits(at: now) == true)
            breaker.failed(at: now)
        }
        #expect(lengths.first == CircuitBreaker.openMin)
        #expect(lengths.last == CircuitBreaker.openMax)
        for (shorter, longer) in zip(lengths, lengths.dropFirst()) {
            #expect(longer == min(shorter * 2, CircuitBreaker.openMax))
        }
    }

    @Test("a node that hangs is left alone at once, for as long as it cost")
    func breakerSlow() {
        var breaker = CircuitBreaker()
        breaker.failed(at: start, taking: .seconds(6))
        #expect(breaker.state == .open(until: start + .seconds(6), length: .seconds(6)))
        breaker.succeeded()
        breaker.failed(at: start, taking: .seconds(60))
        #expect(breaker.opensAt == start + CircuitBreaker.openMax)
    }

    @Test("batches rotate over the nodes")
    func rotation() {
        var board = NodeBoard(count: 3)
        let chosen = (0..<6).map { board.choose(from: UInt64($0), at: start) }
        #expect(chosen == [0, 1, 2, 0, 1, 2].map { NodeBoard.Choice.node($0) })
        #expect(board.choose(from: .max, at: start) == .node(Int(UInt64.max % 3)))
    }

    @Test("a failing node is passed over until its breaker lets a probe through")
    func passedOver() {
        var board = NodeBoard(count: 2)
        for _ in 0..<CircuitBreaker.failuresToOpen { board.failed(0, at: start) }
        #expect(board.choose(from: 0, at: start) == .node(1))
        let later = start + CircuitBreaker.openMin
        #expect(board.choose(from: 0, at: later) == .node(0))
        #expect(board.choose(from: 0, at: later) == .node(1))
    }

    @Test("a node that others do not answer is left alone for as long as it cost, and is slow then")
    func stalled() {
        var board = NodeBoard(count: 3)
        for index in 1..<3 { board.succeeded(index, at: start, taking: .milliseconds(10)) }
        board.stalled(0, at: start, taking: .seconds(5))
        #expect(board.nodes[0].breaker.opensAt == start + .seconds(5))
        #expect(board.nodes[0].latency == .seconds(5))
        #expect((0..<4).map { board.start(of: $0, at: start) } == [1, 2, 1, 2])
        // A probe that stalls again opens the breaker for longer.
        let later = start + .seconds(5)
        for index in 1..<3 {
            for _ in 0..<CircuitBreaker.failuresToOpen { board.failed(index, at: later) }
        }
        #expect(board.choose(from: 0, at: later) == .node(0))
        board.stalled(0, at: later, taking: .seconds(5))
        #expect(board.nodes[0].breaker.opensAt == later + CircuitBreaker.openMax)
        // Quick refusals are no stall: the node itself is well.
        board.refused(1, at: later, retryAfter: nil)
        #expect(board.nodes[1].breaker.state == .closed(failures: 0))
    }

    @Test("a node much slower than the quickest is left out, and looked at again later")
    func slow() {
        var board = NodeBoard(count: 3)
        for _ in 0..<3 {
            board.succeeded(0, at: start, taking: .milliseconds(10))
            board.succeeded(1, at: start, taking: .milliseconds(300))
            board.succeeded(2, at: start, taking: .milliseconds(25))
        }
        // 25 ms are about as quick as 10 ms, 300 ms are not.
        #expect((0..<4).map { board.start(of: $0, at: start) } == [0, 2, 0, 2])
        #expect(board.choose(from: 1, at: start) == .node(2))
        // Where no quick node can be asked a slow one is better than none.
        for index in [0, 2] {
            for _ in 0..<CircuitBreaker.failuresToOpen { board.failed(index, at: start) }
        }
        #expect(board.choose(from: 0, at: start) == .node(1))
        let later = start + NodeBoard.latencyAgeMax + .milliseconds(1)
        board.succeeded(0, at: later, taking: .milliseconds(10))
        #expect((0..<3).map { board.start(of: $0, at: later) } == [0, 1, 2])
        // A new measurement after a long time does not mix with the old one.
        board.succeeded(1, at: later, taking: .milliseconds(8))
        #expect(board.nodes[1].latency == .milliseconds(8))
    }

    @Test("a latency is an average in which the last answer weighs a quarter")
    func average() {
        var board = NodeBoard(count: 1)
        board.succeeded(0, at: start, taking: .milliseconds(8))
        board.succeeded(0, at: start, taking: .milliseconds(16))
        #expect(board.nodes[0].latency == .milliseconds(10))
        board.succeeded(0, at: start, taking: .milliseconds(2))
        #expect(board.nodes[0].latency == .milliseconds(8))
    }

    @Test("Retry-After keeps a node unasked for its time, within a limit")
    func retryAfter() {
        var board = NodeBoard(count: 2)
        board.refused(0, at: start, retryAfter: .seconds(2))
        #expect(board.choose(from: 0, at: start) == .node(1))
        board.refused(1, at: start, retryAfter: .seconds(86_400))
        #expect(board.choose(from: 0, at: start) == .wait(until: start + .seconds(2)))
        #expect(board.choose(from: 0, at: start + .seconds(2)) == .node(0))
        #expect(board.choose(from: 1, at: start + NodeBoard.retryAfterMax) == .node(1))
    }

    @Test("while every node is unwell the board names the first moment that may be better")
    func allOpen() {
        var board = NodeBoard(count: 2)
        for index in 0..<2 {
            for _ in 0..<CircuitBreaker.failuresToOpen {
                board.failed(index, at: start + .milliseconds(Int64(index)))
            }
        }
        #expect(board.choose(from: 1, at: start) == .wait(until: start + CircuitBreaker.openMin))
    }

    @Test("waits grow to their ceiling and are drawn from all of it")
    func jitter() {
        #expect(RetryPolicy.ceiling(afterAttempts: 1) == RetryPolicy.ceilingMin)
        #expect(RetryPolicy.ceiling(afterAttempts: 3) == RetryPolicy.ceilingMin * 4)
        #expect(RetryPolicy.ceiling(afterAttempts: 1_000_000) == RetryPolicy.ceilingMax)
        var least = Duration.seconds(9)
        var greatest = Duration.zero
        for seed in 0..<500 {
            var policy = RetryPolicy(random: RandomSource(seed: UInt64(seed)))
            let delay = policy.delay(afterAttempts: 3)
            #expect(delay >= .zero && delay < RetryPolicy.ceilingMin * 4)
            least = min(least, delay)
            greatest = max(greatest, delay)
        }
        #expect(least < RetryPolicy.ceilingMin && greatest > RetryPolicy.ceilingMin * 3)
    }

    @Test("retries without successes in between run out of budget and slow down")
    func budget() {
        var policy = RetryPolicy(random: RandomSource(seed: 1))
        let affordable = RetryPolicy.budgetMax / 1000
        for _ in 0..<affordable {
            #expect(policy.delay(afterAttempts: 1) < RetryPolicy.ceilingMin)
        }
        let broke = (0..<50).map { _ in policy.delay(afterAttempts: 1) }
        #expect(
            broke.allSatisfy { (RetryPolicy.ceilingMax..<RetryPolicy.ceilingMax * 2).contains($0) })
        #expect(Set(broke).count > 1, "producers would come back all at once")
        #expect(policy.delay(afterAttempts: 1, isFailover: true) >= RetryPolicy.ceilingMax)
        for _ in 0..<(1000 / RetryPolicy.earnedPerBatch) { policy.firstAttempt() }
        #expect(policy.delay(afterAttempts: 1, isFailover: true) == .zero, "as it has a budget")
    }

    @Test("a pacer spreads events evenly and adds up no rounding")
    func pacer() {
        var pacer = Pacer(eventsPerSecond: 3, start: start)
        #expect(pacer.due(next: 1) == start)
        #expect(pacer.due(next: 1) == start + .nanoseconds(333_333_333))
        #expect(pacer.due(next: 1) == start + .nanoseconds(666_666_666))
        #expect(pacer.due(next: 3_000_000) == start + .seconds(1))
        #expect(pacer.due(next: 1) == start + .seconds(1_000_001))
    }
}
