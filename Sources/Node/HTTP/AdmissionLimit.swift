package import Core
internal import Synchronization

/// How many batches may be under way through this node at once: as many as are counted in about a
/// second. More would wait longer than their clients do, and be counted after nobody listens: then
/// a node works at full speed, and every answer is a 504.
///
/// Additive increase, multiplicative decrease (Chiu and Jain, 1989) over how long batches took,
/// which is what congestion looks like from here, wherever the bottleneck is: this node's
/// processors or disk, or a peer's.
package struct AdmissionWindow: Sendable {
    package static let least = 16.0
    package static let most = 4096.0
    package static let first = 256.0
    /// Batches should not take longer. Far below the request timeout.
    package static let target: Duration = .seconds(1)
    /// What is left of the limit when they do.
    package static let decrease = 0.75
    /// What a round of answers, as many as the limit is, adds to it.
    package static let increase = 8.0

    package private(set) var open = 0
    package private(set) var limit = first
    private var lastDecrease: Instant?

    package init() {}

    package mutating func enter() -> Bool {
        guard open < Int(limit) else { return false }
        open += 1
        return true
    }

    /// A batch has its answer, after so long.
    package mutating func leave(took: Duration, at now: Instant) {
        let used = Double(open)
        open -= 1
        // What is not used says nothing: of what is carried, nor of what is too much.
        guard used > limit / 2 else { return }
        if took > Self.target {
            // Once for all that were under way together.
            if let lastDecrease, now - lastDecrease < Self.target { return }
            lastDecrease = now
            limit = max(Self.least, limit * Self.decrease)
        } else {
            limit = min(Self.most, limit + Self.increase / limit)
        }
    }
}

/// The window of a node, shared by its requests.
package final class AdmissionLimit: Sendable {
    private let window = Mutex(AdmissionWindow())
    private let refused = Counter()

    package init() {}

    package var reading: QueueReading {
        QueueReading(name: "admission", refused: refused.value)
    }

    package var open: Int { window.withLock(\.open) }

    /// Whether one more would be turned away now: asked before its body is read.
    package var isFull: Bool { window.withLock { $0.open >= Int($0.limit) } }

    package func enter() -> Bool { window.withLock { $0.enter() } }

    /// A batch was turned away.
    package func refuse() { refused.increment() }

    package func leave(took: Duration, at now: Instant) {
        window.withLock { $0.leave(took: took, at: now) }
    }
}
