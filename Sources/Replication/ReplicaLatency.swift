package import Core

/// How quickly the other nodes answered reads of late: whom to ask first, and when an answer is
/// late. Integers only, so that every machine of a simulation decides alike.
package struct ReplicaLatency: Sendable {
    private struct Probe: Sendable {
        var tag: Tag
        var at: Instant
    }

    /// Moving averages of nanoseconds.
    private var averages: [NodeID: Int64] = [:]
    /// The last answers of all nodes, a ring.
    private var samples: [Int64] = []
    private var next = 0
    private var sinceSorted = 0
    private var askedAt: [NodeID: Instant] = [:]
    private var probes: [NodeID: Probe] = [:]
    /// Until when to ask them last: they lack what others hold.
    private var behindUntil: [NodeID: Instant] = [:]
    /// The 99th percentile of the last answers, within bounds: who has not answered for so long is
    /// late.
    package private(set) var patience = Self.patienceAtStart

    private static let samplesMax = 256
    /// The percentile is computed anew after so many answers.
    private static let samplesPerSort = 32
    package static let patienceAtStart: Duration = .milliseconds(50)
    package static let patienceMin: Duration = .milliseconds(2)
    package static let patienceMax: Duration = .milliseconds(100)
    /// Whoever lags is asked last for so long.
    package static let behindFor: Duration = .seconds(1)
    /// A node that no read asked for so long is asked for its latency's sake.
    package static let probeAfter: Duration = .seconds(1)

    package init() {}

    /// Smaller is better. Milliseconds, so that small differences do not move reads about.
    package func rank(_ node: NodeID) -> Int {
        Int((averages[node] ?? 0) / 1_000_000)
    }

    package mutating func asked(_ node: NodeID, at now: Instant) {
        askedAt[node] = now
    }

    package mutating func observe(_ node: NodeID, _ duration: Duration) {
        let sample = duration.nanoseconds
        averages[node] = ((averages[node] ?? sample) * 7 + sample) / 8
        if samples.count < Self.samplesMax {
            samples.append(sample)
        } else {
            samples[next] = sample
            next = (next + 1) % Self.samplesMax
        }
        sinceSorted += 1
        guard sinceSorted >= Self.samplesPerSort else { return }
        sinceSorted = 0
        let sorted = samples.sorted()
        let percentile = Duration.nanoseconds(sorted[(sorted.count - 1) * 99 / 100])
        patience = min(max(percentile, Self.patienceMin), Self.patienceMax)
    }

    /// It has not answered for this long: the next reads go elsewhere, where there is a choice.
    package mutating func late(_ node: NodeID, _ duration: Duration) {
        averages[node] = max(averages[node] ?? 0, 4 * duration.nanoseconds)
    }

    /// It lacks more than a read can wait for: a while of catching up.
    package mutating func behind(_ node: NodeID, at now: Instant) {
        behindUntil[node] = now + Self.behindFor
    }

    package func isBehind(_ node: NodeID, at now: Instant) -> Bool {
        behindUntil[node].map { now < $0 } ?? false
    }

    // MARK: - Probes

    package func isProbeDue(_ node: NodeID, at now: Instant) -> Bool {
        guard let last = askedAt[node] else { return true }
        return now >= last + Self.probeAfter
    }

    package mutating func probe(_ node: NodeID, _ tag: Tag, at now: Instant) {
        if let before = probes[node] { late(node, now - before.at) }
        probes[node] = Probe(tag: tag, at: now)
        askedAt[node] = now
    }

    /// Whether this answers a probe: then what the node was before is forgotten.
    package mutating func answered(_ tag: Tag, by node: NodeID, at now: Instant) -> Bool {
        guard let probe = probes[node], probe.tag == tag else { return false }
        probes[node] = nil
        averages[node] = (now - probe.at).nanoseconds
        return true
    }
}
