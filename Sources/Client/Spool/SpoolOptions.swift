/// How large a spool may become.
public struct SpoolOptions: Sendable {
    /// The bytes that a spool holds before sealing waits; at least 32 MiB.
    public var bytesMax: Int

    /// The defaults: 1 GiB.
    public init() {
        bytesMax = SpoolLimits.bytesDefault
    }
}

/// A spool at one moment.
public struct SpoolStatus: Hashable, Sendable {
    /// Batches without a final outcome.
    public let batches: Int
    /// Bytes of their events.
    public let batchBytes: Int
    /// Bytes on disk, those of ended batches included that share a file with others.
    public let bytes: Int
    /// When the oldest of these batches was sealed; nil where there is none.
    public let oldest: Timestamp?
    /// What came of everything that was ever given to this spool.
    public let totals: SpoolTotals
}
