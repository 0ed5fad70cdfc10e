package import Core
package import Storage
package import Wire

/// How far a replica has forgotten: what a recovering one cannot get from it as records.
package struct HistoryMarks: Hashable, Sendable {
    package struct Floor: Hashable, Sendable {
        package var below: Segment
        package var partitions: PartitionSet

        package init(below: Segment, partitions: PartitionSet) {
            self.below = below
            self.partitions = partitions
        }
    }

    package var sealed: Segment
    /// Ascending; partitions of which nothing is forgotten are left out.
    package var floors: [Floor]

    package init(sealed: Segment, floors: [Floor]) {
        self.sealed = sealed
        self.floors = floors
    }

    package init(sealed: Segment, _ base: HistoryBase, of partitions: PartitionSet) {
        var sets: [Segment: PartitionSet] = [:]
        for partition in partitions where base[partition].floor > .first {
            sets[base[partition].floor, default: PartitionSet()].insert(partition)
        }
        self.init(
            sealed: sealed,
            floors: sets.sorted { $0.key < $1.key }.map {
                Floor(below: $0.key, partitions: $0.value)
            })
    }

    package func floor(of partition: PartitionID) -> Segment {
        floors.first { $0.partitions.contains(partition) }?.below ?? .first
    }

    /// Whether more is forgotten there than `base` holds, in one of `partitions`.
    package func exceed(_ base: HistoryBase, in partitions: PartitionSet) -> Bool {
        floors.contains { floor in
            floor.partitions.intersection(partitions).contains { base[$0].floor < floor.below }
        }
    }
}

/// A whole copy of partitions, from one voter to a replica that begins anew
/// (docs/decisions/0021-whole-copy.md).
package enum CopyMessage: Hashable, Sendable {
    /// How far have you forgotten?
    case probe(Tag)
    case marks(Tag, HistoryMarks, isSource: Bool)
    /// Give me a copy of these partitions.
    case ask(Tag, PartitionSet)
    /// The moment of which the copy is.
    case offer(CopyOffer)
    /// The piece at this place; at the end only: I am still there.
    case next(Tag, CopyCursor)
    case part(CopyPart)
}

/// All of it taken in one step of the giver's machine.
package struct CopyOffer: Hashable, Sendable {
    package struct Line: Hashable, Sendable {
        package var partition: PartitionID
        /// What is copied without its batches.
        package var base: PartitionBase
        /// Everything that is applied in it, and what its cells add up to, those that are dropped
        /// included.
        package var applied: SetDigest
        package var state: StateDigest
        /// Of the cells that expired: they do not come.
        package var dropped: PartitionSum

        package init(
            partition: PartitionID, base: PartitionBase, applied: SetDigest, state: StateDigest,
            dropped: PartitionSum = .zero
        ) {
            self.partition = partition
            self.base = base
            self.applied = applied
            self.state = state
            self.dropped = dropped
        }
    }

    package var tag: Tag
    package var frozen: Segment
    package var outcomesFrom: Segment
    /// How far the giver's tables may have become hours and days.
    package var retained: RetentionFloor
    package var lines: [Line]

    /// No batch below comes with the copy but as a sum.
    package var floor: Segment { lines.map(\.base.floor).min() ?? .first }

    package init(
        tag: Tag, frozen: Segment, outcomesFrom: Segment, retained: RetentionFloor = .none,
        lines: [Line]
    ) {
        self.tag = tag
        self.frozen = frozen
        self.outcomesFrom = outcomesFrom
        self.retained = retained
        self.lines = lines
    }
}

package struct CopyPart: Hashable, Sendable {
    package enum Content: Hashable, Sendable {
        /// Raw blocks of a table.
        case cells([[UInt8]])
        case history([HistoryEntry])
        case list([SyncEntry])
        case husks([Husk])
    }

    package var tag: Tag
    package var cursor: CopyCursor
    package var content: Content
    package var next: CopyCursor

    package init(tag: Tag, cursor: CopyCursor, content: Content, next: CopyCursor) {
        self.tag = tag
        self.cursor = cursor
        self.content = content
        self.next = next
    }
}

// MARK: - Bytes

extension CopyMessage {
    package func encode(into writer: inout ByteWriter) {
        switch self {
        case .probe(let tag):
            writer.write(1)
            writer.write(fixed: tag.number)
        case .marks(let tag, let marks, let isSource):
            writer.write(2)
            writer.write(fixed: tag.number)
            writer.write(marks)
            writer.write(flag: isSource)
        case .ask(let tag, let partitions):
            writer.write(3)
            writer.write(fixed: tag.number)
            writer.write(partitions)
        case .offer(let offer):
            writer.write(4)
            writer.write(fixed: offer.tag.number)
            writer.write(fixed: offer.frozen.number)
            writer.write(fixed: offer.outcomesFrom.number)
            writer.write(offer.retained)
            writer.write(count: offer.lines.count)
            for line in offer.lines {
                writer.write(fixed: line.partition.index)
                writer.write(line.base)
                writer.write(line.applied)
                writer.write(fixed: line.state.counts)
                writer.write(fixed: line.state.sums)
                writer.write(line.dropped)
            }
        case .next(let tag, let cursor):
            writer.write(5)
            writer.write(fixed: tag.number)
            writer.write(cursor)
        case .part(let part):
            writer.write(6)
            part.encode(into: &writer)
        }
    }

    package init(from reader: inout ByteReader) throws(DecodeError) {
        switch try reader.byte() {
        case 1: self = .probe(try reader.tag())
        case 2:
            let tag = try reader.tag()
            self = .marks(tag, try reader.historyMarks(), isSource: try reader.flag())
        case 3: self = .ask(try reader.tag(), try reader.partitions())
        case 4: self = .offer(try CopyOffer(from: &reader))
        case 5: self = .next(try reader.tag(), try reader.copyCursor())
        case 6: self = .part(try CopyPart(from: &reader))
        default: throw reader.fail("a message of a copy")
        }
    }
}

extension CopyOffer {
    init(from reader: inout ByteReader) throws(DecodeError) {
        tag = try reader.tag()
        frozen = Segment(try reader.fixed())
        outcomesFrom = Segment(try reader.fixed())
        retained = try reader.retentionFloor()
        lines = []
        for _ in 0..<(try reader.count(ofSize: 92)) {
            lines.append(
                Line(
                    partition: try reader.partition(), base: try reader.partitionBase(),
                    applied: try reader.digest(),
                    state: StateDigest(counts: try reader.fixed(), sums: try reader.fixed()),
                    dropped: try reader.partitionSum()))
        }
    }
}

extension CopyPart {
    func encode(into writer: inout ByteWriter) {
        writer.write(fixed: tag.number)
        writer.write(cursor)
        writer.write(next)
        switch content {
        case .cells(let blocks):
            writer.write(1)
            writer.write(count: blocks.count)
            for block in blocks { writer.write(sized: block) }
        case .history(let entries):
            writer.write(2)
            writer.write(count: entries.count)
            for entry in entries { writer.write(entry) }
        case .list(let entries):
            writer.write(3)
            writer.write(count: entries.count)
            for entry in entries { writer.write(entry) }
        case .husks(let husks):
            writer.write(4)
            writer.write(count: husks.count)
            for husk in husks { writer.write(husk) }
        }
    }

    init(from reader: inout ByteReader) throws(DecodeError) {
        tag = try reader.tag()
        cursor = try reader.copyCursor()
        next = try reader.copyCursor()
        switch try reader.byte() {
        case 1:
            var blocks: [[UInt8]] = []
            for _ in 0..<(try reader.count(ofSize: 1)) {
                blocks.append(try reader.sized(max: StorageLimits.blockRawMax))
            }
            content = .cells(blocks)
        case 2:
            var entries: [HistoryEntry] = []
            for _ in 0..<(try reader.count(ofSize: 55)) {
                entries.append(try reader.historyEntry())
            }
            content = .history(entries)
        case 3:
            var entries: [SyncEntry] = []
            for _ in 0..<(try reader.count(ofSize: 56)) { entries.append(try reader.syncEntry()) }
            content = .list(entries)
        case 4:
            var husks: [Husk] = []
            for _ in 0..<(try reader.count(ofSize: 57)) { husks.append(try reader.husk()) }
            content = .husks(husks)
        default: throw reader.fail("the content of a copy")
        }
    }
}

extension ByteWriter {
    mutating func write(_ marks: HistoryMarks) {
        write(fixed: marks.sealed.number)
        write(count: marks.floors.count)
        for floor in marks.floors {
            write(fixed: floor.below.number)
            write(floor.partitions)
        }
    }
}

extension ByteReader {
    mutating func historyMarks() throws(DecodeError) -> HistoryMarks {
        var marks = HistoryMarks(sealed: Segment(try fixed()), floors: [])
        for _ in 0..<(try count(ofSize: 9)) {
            marks.floors.append(
                HistoryMarks.Floor(below: Segment(try fixed()), partitions: try partitions()))
        }
        return marks
    }
}
