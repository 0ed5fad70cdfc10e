package import Core
package import Wire

/// What is forgotten of one partition: the sums over the batches of the segments below `floor`.
/// Their ids are no longer in memory and their records no longer in the log; their cells are in
/// tables.
package struct PartitionBase: Hashable, Sendable {
    package var floor: Segment
    /// Of the applied slices.
    package var applied: SetDigest
    /// Of the bound home records, with what they add up to.
    package var home: SetDigest
    package var events: UInt64
    package var counted: UInt64
    package var dead: UInt64

    package init(
        floor: Segment = .first, applied: SetDigest = .empty, home: SetDigest = .empty,
        events: UInt64 = 0, counted: UInt64 = 0, dead: UInt64 = 0
    ) {
        self.floor = floor
        self.applied = applied
        self.home = home
        self.events = events
        self.counted = counted
        self.dead = dead
    }

    package static let none = PartitionBase()
}

/// What a node has forgotten, and since when. Part of the manifest: it changes in one edit with the
/// history files that keep the outcomes.
package struct HistoryBase: Hashable, Sendable {
    /// By the number of the partition; empty where nothing is forgotten.
    package var partitions: [PartitionBase]
    /// A record of a forgotten batch that still lies in the log has this LSN at most.
    package var through: LSN
    /// Outcomes of batches of the segments below may have been dropped: who is not found there is
    /// unknown, and not refused.
    package var outcomesFrom: Segment

    package init(
        partitions: [PartitionBase] = [], through: LSN = .zero, outcomesFrom: Segment = .first
    ) {
        self.partitions = partitions
        self.through = through
        self.outcomesFrom = outcomesFrom
    }

    package static let none = HistoryBase()

    package subscript(partition: PartitionID) -> PartitionBase {
        let place = Int(partition.index)
        return place < partitions.count ? partitions[place] : .none
    }
}

extension ByteWriter {
    package mutating func write(_ base: PartitionBase) {
        write(flag: base != .none)
        guard base != .none else { return }
        write(fixed: base.floor.number)
        write(base.applied)
        write(base.home)
        write(varint: base.events)
        write(varint: base.counted)
        write(varint: base.dead)
    }

    package mutating func write(_ base: HistoryBase) {
        write(count: base.partitions.count)
        for partition in base.partitions { write(partition) }
        write(varint: base.through.number)
        write(fixed: base.outcomesFrom.number)
    }
}

extension ByteReader {
    package mutating func partitionBase() throws(DecodeError) -> PartitionBase {
        guard try flag() else { return .none }
        return PartitionBase(
            floor: Segment(try fixed()), applied: try digest(), home: try digest(),
            events: try varint(), counted: try varint(), dead: try varint())
    }

    package mutating func historyBase() throws(DecodeError) -> HistoryBase {
        var base = HistoryBase()
        let count = try count(ofSize: 1)
        guard count <= Limits.partitionsMax else { throw fail("\(count) partitions") }
        for _ in 0..<count { base.partitions.append(try partitionBase()) }
        let through = try varint()
        guard through <= RecordFrame.lsnMax else { throw fail("LSN \(through)") }
        base.through = LSN(through)
        base.outcomesFrom = Segment(try fixed())
        return base
    }
}
