import Core
import Storage
import Wire

/// The bytes of a settled entry. Numbers are varints, and small, since they are written against
/// where the page's first row stood (`Origin`):
///
///     length of the rest · flags
///     producer: its number, or its 16 bytes · sequence: from the producer's first, or whole
///     home · events, and whether there are dead letters and another rule · dead letters, if any
///     createdAt, from the segment's start · content hash, 16 bytes · rule, if it is another
///     changedAt · touched · applied, where it follows from neither `touched` nor `mine`
///     the record, if any: LSN, file (if it is another), offset, length; 0: its payload is gone
///     the slices, if any: how many, of each the same and its partitions
///
/// Differences wrap around, so that every value comes back as it was, however far away. What a
/// settled entry is anyway (`BatchEntry.isSettled`) is not said.
enum PackedRow {
    struct Flags: OptionSet {
        let rawValue: UInt8

        static let finished = Flags(rawValue: 1)
        /// Not all of it lies in the origin's file.
        static let otherFile = Flags(rawValue: 2)
        static let record = Flags(rawValue: 4)
        static let slices = Flags(rawValue: 8)
        /// What is applied are all that it touches, or those of them that are the node's.
        static let appliedWhole = Flags(rawValue: 16)
        static let appliedMine = Flags(rawValue: 32)
        static let producerWrittenOut = Flags(rawValue: 64)
        /// The row is no entry any more.
        static let erased = Flags(rawValue: 128)
    }

    struct Origin: Sendable {
        var createdAt: Int64 = 0
        var changedAt: Int64 = 0
        var lsn: UInt64 = 0
        var file: UInt32 = 0
        var offset: UInt64 = 0
        var rule = RuleVersion.first
    }

    /// What a row begins with.
    struct Head {
        var flags: Flags
        /// Where the row ends in its page.
        var end: Int
        var producer: Int?
        var id: BatchID
        var home: PartitionID
        var totals: BatchTotals
        var hasOtherRule: Bool

        /// A settled entry is, where its record is here.
        var isCounted: Bool { flags.contains(.record) }
    }

    /// What all rows of an index have in common.
    struct Coding: Sendable {
        /// The number of partitions.
        let universe: Int
        let mine: PartitionSet
        let segmentLength: Duration

        func origin(_ entry: BatchEntry, in segment: Segment) -> Origin {
            let first = entry.record?.position ?? entry.slices.first?.position
            return Origin(
                createdAt: segment.number &* segmentLength.milliseconds,
                changedAt: entry.changedAt.nanoseconds,
                lsn: (entry.record?.lsn ?? entry.slices.first?.lsn ?? .zero).number,
                file: first?.file ?? 0, offset: first?.offset ?? 0, rule: entry.header.rule)
        }
    }
}

// MARK: - Writing

extension PackedRow.Coding {
    /// - Parameter producer: its number in `producers`; nil: it is written out.
    func row(
        _ entry: BatchEntry, _ producer: Int?, _ producers: ProducerTable,
        _ origin: PackedRow.Origin
    ) -> [UInt8] {
        let flags = flags(entry, producer, origin)
        var writer = ByteWriter(capacity: 128)
        writer.write(flags.rawValue)
        if let producer {
            writer.write(count: producer)
            let first = producers.firstSequence(of: producer)
            writer.write(zigzag: Int64(bitPattern: entry.header.id.sequence &- first))
        } else {
            writer.write(fixed: entry.header.id.producer)
            writer.write(varint: entry.header.id.sequence)
        }
        writer.write(varint: UInt64(entry.home.index))
        let hasOtherRule = entry.header.rule != origin.rule
        writer.write(
            varint: UInt64(entry.totals.events) << 2 | (entry.totals.dead > 0 ? 2 : 0)
                | (hasOtherRule ? 1 : 0))
        if entry.totals.dead > 0 { writer.write(varint: UInt64(entry.totals.dead)) }
        writer.write(
            varint: UInt64(
                bitPattern: entry.header.createdAt.milliseconds &- origin.createdAt))
        writer.write(entry.header.contentHash)
        if hasOtherRule { writer.write(varint: UInt64(entry.header.rule.number)) }
        writer.write(zigzag: entry.changedAt.nanoseconds &- origin.changedAt)
        writer.write(packed: entry.touched, of: universe)
        if !flags.contains(.appliedWhole), !flags.contains(.appliedMine) {
            writer.write(packed: entry.applied, of: universe)
        }
        if let record = entry.record {
            write(record.lsn, record.position, flags, origin, to: &writer)
        }
        if !entry.slices.isEmpty {
            writer.write(count: entry.slices.count)
            for slices in entry.slices {
                write(slices.lsn, slices.position, flags, origin, to: &writer)
                // Nearly always there is one, with all that is known to be touched.
                let isWhole = slices.partitions == entry.touched
                writer.write(flag: isWhole)
                if !isWhole { writer.write(packed: slices.partitions, of: universe) }
            }
        }
        var row = ByteWriter(capacity: writer.bytes.count + 2)
        row.write(sized: writer.bytes)
        return row.bytes
    }

    private func flags(
        _ entry: BatchEntry, _ producer: Int?, _ origin: PackedRow.Origin
    ) -> PackedRow.Flags {
        var flags: PackedRow.Flags = []
        if entry.isFinished { flags.insert(.finished) }
        if entry.files.contains(where: { $0 != origin.file }) { flags.insert(.otherFile) }
        if entry.record != nil { flags.insert(.record) }
        if !entry.slices.isEmpty { flags.insert(.slices) }
        if producer == nil { flags.insert(.producerWrittenOut) }
        if entry.applied == entry.touched {
            flags.insert(.appliedWhole)
        } else if entry.applied == entry.touched.intersection(mine) {
            flags.insert(.appliedMine)
        }
        return flags
    }

    private func write(
        _ lsn: LSN, _ place: LogPosition?, _ flags: PackedRow.Flags,
        _ origin: PackedRow.Origin, to writer: inout ByteWriter
    ) {
        let position = place ?? LogPosition(file: origin.file, offset: origin.offset, length: 0)
        writer.write(zigzag: Int64(bitPattern: lsn.number &- origin.lsn))
        if flags.contains(.otherFile) {
            writer.write(zigzag: Int64(position.file) - Int64(origin.file))
        }
        writer.write(zigzag: Int64(bitPattern: position.offset &- origin.offset))
        writer.write(varint: UInt64(position.length))
    }
}

// MARK: - Reading

extension PackedRow.Coding {
    /// From the beginning of a row to its id.
    func id(
        _ reader: inout ByteReader, _ producers: ProducerTable
    ) throws(DecodeError) -> (id: BatchID, producer: Int?, flags: PackedRow.Flags, end: Int) {
        let length = try reader.count(ofSize: 1)
        let end = reader.offset + length
        let flags = PackedRow.Flags(rawValue: try reader.byte())
        if flags.contains(.producerWrittenOut) {
            let id = BatchID(producer: try reader.fixed(), sequence: try reader.varint())
            return (id: id, producer: nil, flags: flags, end: end)
        }
        let producer = Int(try reader.varint())
        let id = producers.id(producer, after: try reader.zigzag())
        return (id: id, producer: producer, flags: flags, end: end)
    }

    /// From the beginning of a row to its totals.
    func head(
        _ reader: inout ByteReader, _ producers: ProducerTable
    ) throws(DecodeError) -> PackedRow.Head {
        let (id, producer, flags, end) = try id(&reader, producers)
        let home = PartitionID(Int(try reader.varint()))
        let said = try reader.varint()
        let events = UInt32(said >> 2)
        let dead = said & 2 == 0 ? 0 : UInt32(try reader.varint())
        return PackedRow.Head(
            flags: flags, end: end, producer: producer, id: id, home: home,
            totals: BatchTotals(events: events, counted: events - dead, dead: dead),
            hasOtherRule: said & 1 == 1)
    }

    /// Behind the head.
    func header(
        _ reader: inout ByteReader, _ head: PackedRow.Head, _ origin: PackedRow.Origin
    ) throws(DecodeError) -> BatchHeader {
        let createdAt = origin.createdAt &+ Int64(bitPattern: try reader.varint())
        let contentHash = try reader.hash()
        var rule = origin.rule
        if head.hasOtherRule {
            rule = RuleVersion(UInt16(truncatingIfNeeded: try reader.varint()))
        }
        return BatchHeader(
            id: head.id, createdAt: WallTime(milliseconds: createdAt), contentHash: contentHash,
            rule: rule)
    }

    func entry(
        _ reader: inout ByteReader, _ producers: ProducerTable, _ origin: PackedRow.Origin
    ) throws(DecodeError) -> BatchEntry {
        let head = try head(&reader, producers)
        var entry = BatchEntry(header: try header(&reader, head, origin), home: head.home)
        entry.totals = head.totals
        entry.isBound = true
        entry.isFinished = head.flags.contains(.finished)
        entry.isCounted = head.isCounted
        entry.changedAt = Instant(nanoseconds: origin.changedAt &+ (try reader.zigzag()))
        entry.touched = try reader.packedSet(of: universe)
        if head.flags.contains(.appliedWhole) {
            entry.applied = entry.touched
        } else if head.flags.contains(.appliedMine) {
            entry.applied = entry.touched.intersection(mine)
        } else {
            entry.applied = try reader.packedSet(of: universe)
        }
        if head.flags.contains(.record) {
            let (lsn, position) = try reader.packedPlace(head.flags, origin)
            entry.record = BatchEntry.Held(lsn: lsn, position: position, isDurable: true)
        }
        guard head.flags.contains(.slices) else { return entry }
        for _ in 0..<(try reader.count(ofSize: 1)) {
            let (lsn, position) = try reader.packedPlace(head.flags, origin)
            let isWhole = try reader.flag()
            entry.slices.append(
                BatchEntry.HeldSlices(
                    lsn: lsn, position: position,
                    partitions: isWhole ? entry.touched : try reader.packedSet(of: universe),
                    isDurable: true))
        }
        return entry
    }
}

extension ByteReader {
    fileprivate mutating func packedPlace(
        _ flags: PackedRow.Flags, _ origin: PackedRow.Origin
    ) throws(DecodeError) -> (lsn: LSN, position: LogPosition?) {
        let lsn = LSN(origin.lsn &+ UInt64(bitPattern: try zigzag()))
        var file = origin.file
        if flags.contains(.otherFile) {
            file = UInt32(truncatingIfNeeded: Int64(file) + (try zigzag()))
        }
        let offset = origin.offset &+ UInt64(bitPattern: try zigzag())
        let length = UInt32(truncatingIfNeeded: try varint())
        guard length > 0 else { return (lsn: lsn, position: nil) }
        return (lsn: lsn, position: LogPosition(file: file, offset: offset, length: length))
    }
}
