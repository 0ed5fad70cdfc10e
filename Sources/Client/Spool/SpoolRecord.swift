package import Core

/// What a spool writes down (docs/formats/spool.md). Replayed in order, the records of all segments
/// are the spool's state.
package enum SpoolRecord: Hashable, Sendable {
    /// The first record of a segment: the state so far, but for the batches that earlier segments
    /// hold.
    case begin(Start)
    /// An input that is new, or known by another path.
    case input(CutInput)
    /// A batch, before its first attempt.
    case sealed(Sealed)
    /// A batch once more, in a later segment, so that the one that held it can go: no input goes on
    /// and none is replaced by it.
    case carried(Sealed)
    /// The final outcome of a batch.
    case settled(sequence: UInt64, SpoolOutcome)

    package struct Start: Hashable, Sendable {
        /// Bytes of the segment before, nil for the first of all.
        package let previousLength: UInt64?
        package let producer: UInt128
        package let nextSequence: UInt64
        package let totals: SpoolTotals
        package let inputs: [InputProgress]
    }

    package struct Sealed: Hashable, Sendable {
        package let sequence: UInt64
        package let createdAt: WallTime
        package let contentType: String
        /// Path and query: the parameters of parsing are part of what is counted.
        package let target: String
        package let events: Int
        /// The batch that this one takes the place of: finally not counted, sealed anew.
        package let replaces: UInt64?
        /// The input, by number, and how far it is with this batch.
        package let cut: Cut?
        package let body: [UInt8]
    }

    package struct Cut: Hashable, Sendable {
        package let input: Int
        package let end: CutPosition
    }
}

/// What a spool needs to know of a batch that ended.
package enum SpoolOutcome: Hashable, Sendable {
    case counted(BatchCounts)
    /// Kept by a node that counts it later; must not be sealed anew.
    case parked(events: Int)
}

/// An input and how far it is sealed.
package struct InputProgress: Hashable, Sendable {
    package var input: CutInput
    package var position: CutPosition

    package init(input: CutInput, position: CutPosition = CutPosition()) {
        self.input = input
        self.position = position
    }
}

/// What became of everything that a spool was ever given, in all runs:
/// `counted + dead + parked = events`.
public struct SpoolTotals: Hashable, Sendable {
    /// Batches with a final outcome.
    public internal(set) var batches = 0
    /// Their events.
    public internal(set) var events = 0
    /// Events that were counted.
    public internal(set) var counted = 0
    /// Events that became dead letters.
    public internal(set) var dead = 0
    /// Events that a node counts later; only at `ConsistencyLevel.any`.
    public internal(set) var parked = 0

    mutating func add(_ outcome: SpoolOutcome) {
        batches += 1
        switch outcome {
        case .counted(let counts):
            events += counts.events
            counted += counts.counted
            dead += counts.dead
        case .parked(let count):
            events += count
            parked += count
        }
    }
}
