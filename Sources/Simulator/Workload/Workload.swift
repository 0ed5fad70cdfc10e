import Core
import Replication
import Ring

/// Producers that retry the same bytes through any node until they know, and readers that check
/// every answer. What they remember lies here; what they do is in the extensions of
/// `VirtualCluster`.
package struct Workload {
    /// A producer's work on one content until its outcome is final.
    struct Effort {
        var content: Int
        var level: Consistency
        /// At level ANY: counted at QUORUM, or else parked.
        var parks = false
        /// It gives up after so many attempts, and never learns.
        var patience: Int
        var attempts = 0
        /// When the client had it; and the node that it tries first, then one after the other.
        var since: Instant
        var first: Int
        var tries = 0
        /// It comes back long after (zombies): what was counted must be known by then.
        var mustBeCounted = false
        var isOver = false
    }

    /// A call that a node has not answered yet.
    struct Call {
        var purpose: Purpose
        var node: Int
        var instance: UInt64
        var deadline: Instant
        /// A pause held the request before its node read it.
        var wasPaused = false
        /// The answer is on its way.
        var wasAnswered = false

        var isWrite: Bool {
            if case .write = purpose { true } else { false }
        }
    }

    enum Purpose {
        case write(effort: Int)
        case read(ReadCheck, reader: Int?)
        case status(content: Int, reader: Int?)
        case flush
        case audit
    }

    var maker: ContentMaker
    var random: RandomSource
    var efforts: [Effort] = []
    /// Looked up by id, never walked unsorted.
    var calls: [RequestID: Call] = [:]
    /// Of clients that left without a word: an answer is owed, and nobody hears it.
    var left: [RequestID: Call] = [:]
    var nextRequest: UInt64 = 0
    /// By reader: since when it has had no answer at QUORUM.
    var deniedSince: [Instant?]
    /// By reader: how often it asked, since a client goes from node to node.
    var turns: [Int]
    var sequences: [UInt64]
    /// By content: attempts at ANY after which a node may have it parked. No "finally not counted"
    /// makes its producer seal the events anew then: a node that has them parked seals them anew
    /// itself, and nobody else knows.
    var mayBeParked: [Int: Int] = [:]

    init(_ swarm: Swarm, placement: KeyPlacement, random: RandomSource) {
        var random = random
        maker = ContentMaker(
            keys: swarm.keys, placement: placement, window: swarm.window, random: random.fork())
        self.random = random
        sequences = Array(repeating: 0, count: swarm.producers)
        deniedSince = Array(repeating: nil, count: swarm.readers)
        turns = Array(repeating: 0, count: swarm.readers)
    }

    var openEfforts: [Effort] { efforts.filter { !$0.isOver } }
}
