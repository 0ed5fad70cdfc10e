package import Core

/// The last intervals between heartbeats of a peer, and how suspicious its silence is.
///
/// Exponential model: P(later than t) = e^(-t / mean), and phi = -log10 P = t / (mean ln 10). All
/// in integers, so that two nodes with the same history decide alike. The first sample is twice the
/// gossip interval, deliberately long. Longer ones are not learnt: a sick peer must not teach
/// patience. Since short ones are learnt all the same, bursts between long gaps would pull the mean
/// toward zero; it is therefore never taken below the interval, at which heartbeats are made.
package struct ArrivalWindow: Hashable, Sendable {
    /// Nanoseconds; at most `arrivalsMax`, overwritten in turn.
    private var samples: [Int64]
    private var sum: Int64
    private var oldest = 0
    private var last: Instant
    private let interval: Int64

    package init(interval: Duration, start: Instant) {
        self.interval = interval.nanoseconds
        precondition(self.interval > 0, "a gossip interval is positive")
        last = start
        let first = self.interval * Int64(GossipDetection.arrivalIntervalsMax)
        samples = [first]
        sum = first
    }

    package mutating func arrive(at now: Instant) {
        let sample = (now - last).nanoseconds
        last = max(last, now)
        let longest = interval * Int64(GossipDetection.arrivalIntervalsMax)
        guard sample >= 0, sample <= longest else { return }
        if samples.count < GossipLimits.arrivalsMax {
            samples.append(sample)
        } else {
            sum -= samples[oldest]
            samples[oldest] = sample
            oldest = (oldest + 1) % samples.count
        }
        sum += sample
    }

    package var count: Int { samples.count }

    package var mean: Duration { .nanoseconds(max(interval, sum / Int64(samples.count))) }

    /// Phi in thousandths, at most a million.
    ///
    /// elapsed < 2^63, count < 2^10, 10^12 < 2^40: the product fits in 128 bits.
    package func phi(at now: Instant) -> Int {
        let elapsed = Int128(max(0, (now - last).nanoseconds))
        let count = Int128(samples.count)
        let total = max(Int128(sum), Int128(interval) * count)
        let phi = elapsed * count * 1_000_000_000_000 / (total * Self.lnTenBillionths)
        return Int(min(phi, 1_000_000))
    }

    /// ln 10 in units of 10^-9.
    private static let lnTenBillionths: Int128 = 2_302_585_093
}
