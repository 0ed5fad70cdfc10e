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
