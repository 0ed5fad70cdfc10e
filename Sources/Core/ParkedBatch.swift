/// Names a parked batch for as long as it is parked: the id and the content under which it came.
package struct ParkedKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let id: BatchID
    package let contentHash: Hash128

    package init(id: BatchID, contentHash: Hash128) {
        self.id = id
        self.contentHash = contentHash
    }

    package static func < (left: ParkedKey, right: ParkedKey) -> Bool {
        (left.id, left.contentHash) < (right.id, right.contentHash)
    }

    package var description: String { "\(id)#\(contentHash)" }
}

/// What is known of a parked batch without its record: kept in memory for each, and stored beside
/// the record.
package struct ParkedNote: Hashable, Sendable {
    package var key: ParkedKey
    /// When its producer sealed it.
    package var createdAt: WallTime
    package var parkedAt: WallTime
    package var events: UInt32
    /// Bytes of the record.
    package var byteCount: Int
    /// Of the record's bytes (CRC-32C): the embedded database has none of its own.
    package var checksum: UInt32

    package init(
        key: ParkedKey, createdAt: WallTime, parkedAt: WallTime, events: UInt32, byteCount: Int,
        checksum: UInt32
    ) {
        self.key = key
        self.createdAt = createdAt
        self.parkedAt = parkedAt
        self.events = events
        self.byteCount = byteCount
        self.checksum = checksum
    }
}

/// A batch that was counted as one of its renewals: no home knows that of the id it came under.
package struct RenewedBatch: Hashable, Sendable {
    package var key: ParkedKey
    /// When its producer sealed it.
    package var createdAt: WallTime
    /// The renewal that was counted, from 1.
    package var number: Int
    package var totals: BatchTotals

    package init(key: ParkedKey, createdAt: WallTime, number: Int, totals: BatchTotals) {
        self.key = key
        self.createdAt = createdAt
        self.number = number
        self.totals = totals
    }
}

/// What a node remembers of batches that it counted as renewals. It is bounded: the oldest are
/// forgotten first, and of what is not younger than these nothing is known for sure any more.
package struct RenewalMemory: Hashable, Sendable {
    /// One for each id: the renewals of two contents of one id have one id as well.
    package private(set) var batches: [BatchID: RenewedBatch] = [:]
    /// The latest `createdAt` of what was forgotten; nil: nothing was.
    package private(set) var forgotten: WallTime?

    package init(_ batches: [RenewedBatch] = [], forgotten: WallTime? = nil) {
        for batch in batches { self.batches[batch.key.id] = batch }
        self.forgotten = forgotten
    }

    package subscript(id: BatchID) -> RenewedBatch? { batches[id] }

    /// Whether a batch may be one of those that were forgotten; one without a time may.
    package func mayHaveForgotten(_ createdAt: WallTime?) -> Bool {
        guard let forgotten else { return false }
        return createdAt.map { $0 <= forgotten } ?? true
    }

    /// Remembers one more; the one that makes room for it, which may be itself.
    package mutating func insert(_ batch: RenewedBatch, max: Int) -> RenewedBatch? {
        batches[batch.key.id] = batch
        guard batches.count > max else { return nil }
        let oldest = batches.values.min {
            ($0.createdAt, $0.key) < ($1.createdAt, $1.key)
        }
        guard let oldest else { return nil }
        forget(oldest)
        return oldest
    }

    package mutating func forget(_ batch: RenewedBatch) {
        batches[batch.key.id] = nil
        forget(until: batch.createdAt)
    }

    /// What was sealed no later may have been counted, for all that is known from now on.
    package mutating func forget(until createdAt: WallTime) {
        forgotten = Swift.max(forgotten ?? createdAt, createdAt)
    }
}
