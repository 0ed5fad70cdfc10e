/// What a producer's batches came to.
public struct SendReport: Hashable, Sendable {
    /// A batch that ended neither counted nor parked.
    public struct Failure: Hashable, Sendable {
        /// The batch's sequence.
        public let sequence: UInt64
        /// The time it was sealed with.
        public let createdAt: Timestamp
        /// What is known of it; never `counted`.
        public let outcome: BatchOutcome
    }

    /// The events of the counted and the parked batches, as the nodes read them:
    /// `counted + dead + parked = events`.
    public internal(set) var events = 0
    /// Events that were counted.
    public internal(set) var counted = 0
    /// Events that became dead letters.
    public internal(set) var dead = 0
    /// Events that a node keeps and counts later; only at `ConsistencyLevel.any`.
    public internal(set) var parked = 0
    /// Batches that an earlier attempt or run had counted already.
    public internal(set) var duplicates = 0
    /// Batches that ended counted or parked.
    public internal(set) var batches = 0
    /// Attempts beyond each batch's first.
    public internal(set) var retries = 0
    /// The batches that ended neither counted nor parked, in the order in which they ended.
    public internal(set) var failures: [Failure] = []
    /// The first dead letters, with their batch's sequence; at most `Limits.errorsInAnswerMax`.
    public internal(set) var deadLetters: [DeadLetterSample] = []

    /// Why the spool can take no more; what it holds is kept.
    public internal(set) var spoolFailure: SpoolError?

    /// One dead letter of one batch.
    public struct DeadLetterSample: Hashable, Sendable {
        /// The batch's sequence.
        public let sequence: UInt64
        /// Where in the batch, and why.
        public let error: EventError
    }
}
