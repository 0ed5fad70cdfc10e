package import Core

/// A batch that is about to be sealed.
package struct BatchDraft: Hashable, Sendable {
    package let body: [UInt8]
    package let contentType: String
    package let events: Int
    /// How far its file is with it; nil where that is not kept.
    package let mark: CutMark?

    package init(body: [UInt8], contentType: String, events: Int, mark: CutMark? = nil) {
        self.body = body
        self.contentType = contentType
        self.events = events
        self.mark = mark
    }
}

/// A batch as its producer sealed it: id, time and bytes. Every attempt sends exactly these, since
/// a batch is counted once by its id and refused when its content under that id differs.
package struct SealedBatch: Hashable, Sendable {
    package let id: BatchID
    package let createdAt: WallTime
    package let contentType: String
    /// Path and query of the request: how the bytes are read is part of what they count for.
    package let target: String
    package let body: [UInt8]
    /// As counted while cutting: for progress and pace. What counts is what the node says.
    package let events: Int

    package init(
        id: BatchID, createdAt: WallTime, contentType: String, target: String, body: [UInt8],
        events: Int
    ) {
        self.id = id
        self.createdAt = createdAt
        self.contentType = contentType
        self.target = target
        self.body = body
        self.events = events
    }

    /// For how long nodes remember outcomes where nobody configured it.
    package static let outcomeMemory: Duration = .seconds(7 * 86_400)

    /// Whether it is so old that an outcome that no node knows will never be known.
    package func isPastMemory(at now: WallTime) -> Bool {
        now.milliseconds - createdAt.milliseconds > SealedBatch.outcomeMemory.milliseconds
    }
}

/// What became of a batch, for its producer.
public enum BatchOutcome: Hashable, Sendable {
    /// Every event of it is counted or a dead letter, durably. `duplicate`: by an earlier attempt.
    case counted(BatchCounts, duplicate: Bool)
    /// At `ConsistencyLevel.any`: kept by one node, which goes on until they are counted. Its
    /// producer must not seal them anew.
    case parked(events: Int)
    /// Finally not counted, for the reason given.
    case notCounted(String)
    /// No attempt was accepted by any node within the time: as if it had never been sent.
    case notAttempted(String)
    /// An attempt may have been counted. Only the same bytes under the same id may be sent again.
    case unknown(String)

    /// The producer's part is done.
    var isSuccess: Bool {
        switch self {
        case .counted, .parked: true
        case .notCounted, .notAttempted, .unknown: false
        }
    }
}

/// The events of a batch: `counted + dead = events`.
public struct BatchCounts: Hashable, Sendable {
    /// The batch's events.
    public let events: Int
    /// Those that were counted.
    public let counted: Int
    /// Those that could not be counted and lie among the dead letters.
    public let dead: Int
    /// The first dead letters, for people.
    public let errors: [EventError]

    /// Counts as a node answered them.
    public init(events: Int, counted: Int, dead: Int, errors: [EventError] = []) {
        self.events = events
        self.counted = counted
        self.dead = dead
        self.errors = errors
    }
}

/// Why one event of a batch became a dead letter.
public struct EventError: Hashable, Sendable {
    /// The line or array position within the batch, from 1.
    public let line: Int
    /// The reason, one of a closed list (`bad-json`, `bad-time`…).
    public let reason: String
    /// What exactly was wrong.
    public let detail: String?
}
