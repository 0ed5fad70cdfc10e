package import Core
package import Wire

/// Sealing anew: what a parked batch becomes when its home segment closed without it.
///
/// Two nodes may have parked one batch, and one node may do everything twice after a crash. So the
/// n-th renewal is a pure function of the batch as its producer sealed it: its id, its content hash
/// and its `createdAt` follow from the original's and from n, and nobody goes on to n + 1 before
/// the n-th is finally not counted itself. Each `createdAt` lies one step behind the one before; a
/// step is the shortest horizon that can be configured, so it lies in the past, and after some
/// steps inside the horizon.
///
/// The events stay as they were folded: late and future were judged when the producer sealed them.
package enum Renewal {
    package static let step: Duration = .seconds(240)

    /// The id of the n-th renewal; a batch itself is its 0th.
    package static func id(_ original: BatchID, _ number: Int) -> BatchID {
        guard number > 0 else { return original }
        let hash = hash(
            UInt64(truncatingIfNeeded: original.producer),
            UInt64(truncatingIfNeeded: original.producer >> 64), original.sequence, number, idKey)
        return BatchID(producer: hash, sequence: original.sequence)
    }

    package static func header(_ original: BatchHeader, _ number: Int) -> BatchHeader {
        guard number > 0 else { return original }
        let content = original.contentHash.value
        let hash = hash(
            UInt64(truncatingIfNeeded: content), UInt64(truncatingIfNeeded: content >> 64), 0,
            number, contentKey)
        return BatchHeader(
            id: id(original.id, number), createdAt: original.createdAt + step * number,
            contentHash: Hash128(hash), rule: original.rule)
    }

    /// The record of the n-th renewal; `home` is the partition of its id.
    package static func record(
        _ original: BatchRecord, _ number: Int, home: PartitionID
    ) throws(DecodeError) -> BatchRecord {
        guard number > 0 else { return original }
        return try original.resealed(as: header(original.header, number), home: home)
    }

    private static let idKey = SipKey(low: 0x7175_6970_752d_7265, high: 0x6e65_7761_6c2d_6964)
    private static let contentKey = SipKey(low: 0x7175_6970_752d_7265, high: 0x6e65_7761_6c2d_6368)

    private static func hash(
        _ first: UInt64, _ second: UInt64, _ third: UInt64, _ number: Int, _ key: SipKey
    ) -> UInt128 {
        SipHash.hash(words: first, second, third, UInt64(number), 0, key: key)
    }
}
