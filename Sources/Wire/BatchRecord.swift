package import Core

/// A batch as it is sent between nodes and kept in the log: header, totals, a directory of slices
/// and one LZ4 body. docs/formats/batch-record.md has the layout.
///
/// A **home** record holds all slices and the dead letters; a **slices** record holds some of the
/// slices, for a replica that is no home voter. The body stays compressed from the coordinator that
/// folded the batch to every log that keeps it.
package struct BatchRecord: Sendable, Hashable {
    package enum Kind: UInt8, Sendable {
        case home = 1
        case slices = 2

        /// The first byte of a home record whose dead letters say what their events would have
        /// been. Those of earlier releases begin with 1 and do not.
        fileprivate static let homeWithNamedLetters: UInt8 = 3
    }

    /// One slice: where its cells lie in the decompressed body, and the hash that names them.
    package struct Slice: Sendable, Hashable {
        package var partition: PartitionID
        package var offset: Int
        package var length: Int
        package var cells: Int
        package var hash: Hash128

        package init(partition: PartitionID, offset: Int, length: Int, cells: Int, hash: Hash128) {
            self.partition = partition
            self.offset = offset
            self.length = length
            self.cells = cells
            self.hash = hash
        }
    }

    package let kind: Kind
    package let header: BatchHeader
    /// The partition of the batch id's token, whose voters keep the home record.
    package let home: PartitionID
    package let totals: BatchTotals
    /// Ascending by partition.
    package let slices: [Slice]
    /// How many dead letters the body holds behind the slices; 0 in a slices record.
    package let deadLetterCount: Int
    /// The whole record, encoded.
    package let bytes: [UInt8]
    /// Its dead letters say what their events would have been.
    private let namesLetters: Bool
    private let bodyOffset: Int
    private let bodyStored: Int
    private let bodyLength: Int
    /// The body as it was before it was compressed, where it was made here a moment ago. Not of
    /// each batch: what a compressor got wrong is found here too, and soon.
    private var madeBody: [UInt8]?

    package static func == (left: BatchRecord, right: BatchRecord) -> Bool {
        left.bytes == right.bytes
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(header)
    }

    /// Of its stored bytes those of its dead letters, in proportion: they are compressed with the
    /// cells before them.
    package var letterBytes: Int {
        guard deadLetterCount > 0, bodyLength > 0 else { return 0 }
        let cells = slices.last.map { $0.offset + $0.length } ?? 0
        return ((bodyLength - cells) * bodyStored + bodyLength - 1) / bodyLength
    }

    package var partitions: PartitionSet {
        // A loop: a generic sequence is not specialised in another module.
        var partitions = PartitionSet()
        for slice in slices { partitions.insert(slice.partition) }
        return partitions
    }

    package func slice(of partition: PartitionID) -> Slice? {
        var low = 0
        var high = slices.count
        while low < high {
            let middle = (low + high) / 2
            if slices[middle].partition < partition { low = middle + 1 } else { high = middle }
        }
        return low < slices.count && slices[low].partition == partition ? slices[low] : nil
    }
}

// MARK: - Encoding

extension BatchRecord {
    /// The key of slice hashes: public and the same everywhere, since these hashes name content.
    package static let sliceHashKey = SipKey(
        low: 0x7175_6970_752d_736c, high: 0x6963_652d_6861_7368)

    /// Builds the record of a folded batch. `cells` holds the slices' cells one after the other as
    /// `slices` says (their hashes are computed here); the dead letters are kept in full.
    package static func home(
        header: BatchHeader, home: PartitionID, totals: BatchTotals,
        slices: [(partition: PartitionID, offset: Int, length: Int, cells: Int)], cells: [UInt8],
        deadLetters: [DeadLetter]
    ) -> BatchRecord {
        let directory = cells.withUnsafeBytes { buffer in
            slices.map { slice in
                let range = slice.offset..<slice.offset + slice.length
                return Slice(
                    partition: slice.partition, offset: slice.offset, length: slice.length,
                    cells: slice.cells,
                    hash: Hash128(
                        SipHash.hash(
                            UnsafeRawBufferPointer(rebasing: buffer[range]), key: sliceHashKey)))
            }
        }
        var body = cells
        if !deadLetters.isEmpty {
            var writer = ByteWriter()
            for letter in deadLetters { writer.write(letter) }
            body.append(contentsOf: writer.bytes)
        }
        return BatchRecord(
            kind: .home, header: header, home: home, totals: totals, slices: directory,
            deadLetterCount: deadLetters.count, namesLetters: true, body: body)
    }

    /// The record that carries only the slices of `partitions`, for a replica that is no home
    /// voter.
    package func subset(_ partitions: PartitionSet) throws(DecodeError) -> BatchRecord {
        let whole = try body()
        var body: [UInt8] = []
        var chosen: [Slice] = []
        for slice in slices where partitions.contains(slice.partition) {
            var moved = slice
            moved.offset = body.count
            body.append(contentsOf: whole[slice.offset..<slice.offset + slice.length])
            chosen.append(moved)
        }
        return BatchRecord(
            kind: .slices, header: header, home: home, totals: totals, slices: chosen,
            deadLetterCount: 0, namesLetters: false, body: body)
    }

    /// The same events under another header: what a batch that is sealed anew consists of.
    package func resealed(
        as header: BatchHeader, home: PartitionID
    ) throws(DecodeError) -> BatchRecord {
        BatchRecord(
            kind: kind, header: header, home: home, totals: totals, slices: slices,
            deadLetterCount: deadLetterCount, namesLetters: namesLetters, body: try body())
    }

    private init(
        kind: Kind, header: BatchHeader, home: PartitionID, totals: BatchTotals, slices: [Slice],
        deadLetterCount: Int, namesLetters: Bool, body: [UInt8]
    ) {
        self.kind = kind
        self.header = header
        self.home = home
        self.totals = totals
        self.slices = slices
        self.deadLetterCount = deadLetterCount
        self.namesLetters = namesLetters && deadLetterCount > 0
        let compressed = body.withUnsafeBytes { LZ4Block.compress($0) }
        let stored = compressed ?? body
        var writer = ByteWriter(capacity: stored.count + 128 + slices.count * 24)
        writer.write(self.namesLetters ? Kind.homeWithNamedLetters : kind.rawValue)
        writer.write(header)
        writer.write(fixed: home.index)
        writer.write(fixed: totals.events)
        writer.write(fixed: totals.counted)
        writer.write(fixed: totals.dead)
        writer.write(count: slices.count)
        for slice in slices {
            writer.write(fixed: slice.partition.index)
            writer.write(count: slice.length)
            writer.write(count: slice.cells)
            writer.write(slice.hash)
        }
        writer.write(count: deadLetterCount)
        writer.write(fixed: UInt32(body.count))
        writer.write(fixed: UInt32(stored.count))
        writer.write(flag: compressed != nil)
        bodyOffset = writer.bytes.count
        bodyStored = stored.count
        bodyLength = body.count
        let isReadBack =
            UInt64(truncatingIfNeeded: header.contentHash.value) % Limits.madeBodyReadBack == 0
        madeBody = body.count <= Limits.madeBodyMax && !isReadBack ? body : nil
        writer.write(raw: stored)
        bytes = writer.bytes
    }

    /// Bytes of the body that is kept beside the record.
    package var madeBytes: Int { madeBody?.count ?? 0 }

    /// For those who keep it longer than until it is applied.
    package var withoutMadeBody: BatchRecord {
        var record = self
        record.madeBody = nil
        return record
    }
}

// MARK: - Decoding

extension BatchRecord {
    /// Reads header and directory; the body stays compressed and is checked by `body()`.
    package init(decoding bytes: [UInt8]) throws(DecodeError) {
        try self.init(reading: bytes, hasBody: true)
    }

    /// A record of which only the `head` is at hand: all that it says but its cells and letters,
    /// for which it has errors.
    package init(decodingHead bytes: [UInt8]) throws(DecodeError) {
        try self.init(reading: bytes, hasBody: false)
    }

    /// What stands before the body.
    package var head: ArraySlice<UInt8> { bytes[..<bodyOffset] }

    /// Of the whole record, in bytes, whether its body is at hand or not.
    package var size: Int { bodyOffset + bodyStored }

    private init(reading bytes: [UInt8], hasBody: Bool) throws(DecodeError) {
        var reader = ByteReader(bytes)
        let first = try reader.byte()
        namesLetters = first == Kind.homeWithNamedLetters
        guard let kind = namesLetters ? .home : Kind(rawValue: first) else {
            throw reader.fail("a record's kind")
        }
        self.kind = kind
        header = try reader.header()
        home = try reader.partition()
        let events: UInt32 = try reader.fixed()
        let counted: UInt32 = try reader.fixed()
        let dead: UInt32 = try reader.fixed()
        guard UInt64(counted) + UInt64(dead) == UInt64(events) else {
            throw reader.fail("totals that do not balance")
        }
        totals = BatchTotals(events: events, counted: counted, dead: dead)
        slices = try Self.directory(&reader)
        let end = slices.last.map { $0.offset + $0.length } ?? 0
        deadLetterCount = Int(clamping: try reader.varint())
        let length: UInt32 = try reader.fixed()
        let stored: UInt32 = try reader.fixed()
        let isCompressed = try reader.flag()
        guard length <= Limits.recordBodyMax, end <= Int(length), deadLetterCount <= Int(length),
            isCompressed ? Int(stored) <= LZ4Block.bound(Int(length)) : stored == length
        else { throw reader.fail("a body of \(length) bytes in \(stored)") }
        bodyOffset = reader.offset
        bodyStored = Int(stored)
        bodyLength = Int(length)
        if hasBody { try reader.skip(bodyStored) }
        try reader.finish()
        self.bytes = bytes
        guard isCompressed == self.isCompressed else { throw reader.fail("a body's flag") }
    }

    private static func directory(_ reader: inout ByteReader) throws(DecodeError) -> [Slice] {
        let count = try reader.count(ofSize: 20)
        guard count <= Limits.partitionsMax else { throw reader.fail("\(count) slices") }
        var slices: [Slice] = []
        slices.reserveCapacity(count)
        var offset = 0
        for _ in 0..<count {
            let partition = try reader.partition()
            if let last = slices.last, partition <= last.partition {
                throw reader.fail("slices out of order")
            }
            let length = try reader.varint()
            guard length <= Limits.recordBodyMax else {
                throw reader.fail("a slice of \(length) bytes")
            }
            let cells = try reader.varint()
            guard cells <= length else { throw reader.fail("\(cells) cells in \(length) bytes") }
            slices.append(
                Slice(
                    partition: partition, offset: offset, length: Int(length), cells: Int(cells),
                    hash: try reader.hash()))
            offset += Int(length)
        }
        return slices
    }

    private var isCompressed: Bool { bytes[bodyOffset - 1] == 1 }

    /// The decompressed body, with every slice's hash checked.
    package func body() throws(DecodeError) -> [UInt8] {
        try body(of: partitions)
    }

    /// The same with the hashes of these partitions' slices checked: nothing else may be read.
    package func body(of partitions: PartitionSet) throws(DecodeError) -> [UInt8] {
        // The hashes were made of these very bytes.
        if let madeBody { return madeBody }
        let body = try decompressed()
        for slice in slices where partitions.contains(slice.partition) {
            try check(slice, in: body)
        }
        return body
    }

    /// The cells of one slice, with its hash checked; empty where the batch does not touch the
    /// partition.
    package func cells(of partition: PartitionID) throws(DecodeError) -> ArraySlice<UInt8> {
        guard let slice = slice(of: partition) else { return [] }
        let body = try decompressed()
        try check(slice, in: body)
        return body[slice.offset..<slice.offset + slice.length]
    }

    private func check(_ slice: Slice, in body: [UInt8]) throws(DecodeError) {
        let hash = body.withUnsafeBytes { buffer in
            SipHash.hash(
                UnsafeRawBufferPointer(
                    rebasing: buffer[slice.offset..<slice.offset + slice.length]),
                key: Self.sliceHashKey)
        }
        guard hash == slice.hash.value else {
            throw DecodeError("a slice of \(header.id) is not its hash", at: bodyOffset)
        }
    }

    private func decompressed() throws(DecodeError) -> [UInt8] {
        guard bytes.count == size else {
            throw DecodeError("only the head of \(header.id) is here", at: bodyOffset)
        }
        guard isCompressed else { return Array(bytes[bodyOffset..<bodyOffset + bodyStored]) }
        // A closure cannot carry a typed error through the standard library's rethrows.
        let result = bytes.withUnsafeBytes { buffer in
            Result { () throws(DecodeError) in
                try LZ4Block.decompress(
                    UnsafeRawBufferPointer(
                        rebasing: buffer[bodyOffset..<bodyOffset + bodyStored]),
                    count: bodyLength)
            }
        }
        return try result.get()
    }

    /// The dead letters of a home record.
    package func deadLetters() throws(DecodeError) -> [DeadLetter] {
        guard deadLetterCount > 0 else { return [] }
        let body = try body()
        let start = slices.last.map { $0.offset + $0.length } ?? 0
        var reader = ByteReader(body, from: start, to: body.count)
        var letters: [DeadLetter] = []
        for _ in 0..<deadLetterCount {
            letters.append(try reader.deadLetter(isNamed: namesLetters))
        }
        try reader.finish()
        return letters
    }
}

extension ByteWriter {
    package mutating func write(_ letter: DeadLetter) {
        write(varint: UInt64(letter.line))
        write(letter.reason.rawValue)
        write(sized: letter.detail)
        write(sized: letter.raw)
        var parts: UInt8 = letter.type == nil ? 0 : 1
        if letter.key != nil { parts |= 2 }
        if letter.time != nil { parts |= 4 }
        // Of a shorter one it goes without saying, and earlier releases read it.
        if letter.isWhole, letter.raw.count >= Limits.deadLetterRawDoubtful { parts |= 8 }
        write(parts)
        if let type = letter.type { write(sized: type) }
        if let key = letter.key { write(sized: key) }
        if let time = letter.time { write(fixed: time.milliseconds) }
    }
}

extension ByteReader {
    /// - Parameter isNamed: false for one that an earlier release wrote.
    package mutating func deadLetter(isNamed: Bool = true) throws(DecodeError) -> DeadLetter {
        let line = try varint()
        guard let line = UInt32(exactly: line) else { throw fail("line \(line)") }
        guard let reason = DeadLetterReason(rawValue: try byte()) else { throw fail("a reason") }
        var letter = DeadLetter(
            line: line, reason: reason, detail: try text(max: Limits.deadLetterDetailMax * 4),
            raw: try sized(max: Limits.deadLetterRawMax))
        letter.isWhole = letter.raw.count < Limits.deadLetterRawDoubtful
        guard isNamed else { return letter }
        let parts = try byte()
        guard parts < 16 else { throw fail("parts \(parts) of a dead letter") }
        if parts & 8 != 0 { letter.isWhole = true }
        if parts & 1 != 0 { letter.type = try sized(max: Limits.typeMax) }
        if parts & 2 != 0 { letter.key = try sized(max: Limits.keyMax) }
        if parts & 4 != 0 { letter.time = WallTime(milliseconds: try fixed()) }
        return letter
    }
}
