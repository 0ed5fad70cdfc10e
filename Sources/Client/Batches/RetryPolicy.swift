package import Core

/// How long a producer waits before it sends a batch again: exponential backoff with full jitter
/// (a wait drawn from `0 ..< ceiling`), under a budget.
///
/// The budget is a bucket of tokens: a first attempt adds a share of one, a retry takes one. While
/// it is empty retries go on, since a sealed batch must end some day, but none waits less than the
/// longest ceiling: each batch under way sends at most one request in that time, so that producers
/// cannot keep an overloaded cluster overloaded by their retries alone. Source: Brooker,
/// *Exponential backoff and jitter* and *Fixing retries with token buckets and circuit breakers*
/// (2015, 2022).
///
/// What failed as one node (no connection, a broken one) goes on at another without a wait, on the
/// same budget.
package struct RetryPolicy: Sendable {
    package static let ceilingMin: Duration = .milliseconds(50)
    package static let ceilingMax: Duration = .seconds(2)
    /// Thousandths of a retry that one first attempt earns.
    package static let earnedPerBatch = 200
    package static let budgetMax = 20_000

    private var random: RandomSource
    private var budget = RetryPolicy.budgetMax

    package init(random: RandomSource) {
        self.random = random
    }

    /// A batch is sent for the first time.
    package mutating func firstAttempt() {
        budget = min(budget + RetryPolicy.earnedPerBatch, RetryPolicy.budgetMax)
    }

    /// The wait before attempt number `attempts + 1`.
    ///
    /// - Parameter isFailover: a connection failed, which says nothing of the next node.
    package mutating func delay(
        afterAttempts attempts: Int, isFailover: Bool = false
    ) -> Duration {
        guard budget >= 1000 else {
            return RetryPolicy.ceilingMax + random.duration(below: RetryPolicy.ceilingMax)
        }
        budget -= 1000
        guard !isFailover else { return .zero }
        return random.duration(below: RetryPolicy.ceiling(afterAttempts: attempts))
    }

    package static func ceiling(afterAttempts attempts: Int) -> Duration {
        min(ceilingMin * (1 << max(0, min(attempts - 1, 16))), ceilingMax)
    }
}
