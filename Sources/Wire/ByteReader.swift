package import Core

/// Bytes from outside that are not what they should be: never a trap, always this value.
package struct DecodeError: Error, Hashable, Sendable, CustomStringConvertible {
    package let what: String
    /// Where in the decoded bytes it was noticed.
    package let offset: Int

    package init(_ what: String, at offset: Int) {
        self.what = what
        self.offset = offset
    }

    package var description: String { "\(what) at byte \(offset)" }
}

/// Reads what `ByteWriter` wrote. Nothing is allocated for a length before the bytes are known to
/// be there.
package struct ByteReader: Sendable {
    private let bytes: [UInt8]
    package private(set) var offset: Int
    private let end: Int

    package init(_ bytes: [UInt8]) {
        self.bytes = bytes
        offset = 0
        end = bytes.count
    }

    package init(_ bytes: [UInt8], from start: Int, to end: Int) {
        precondition(
            start >= 0 && start <= end && end <= bytes.count, "a reader stays in its bytes")
        self.bytes = bytes
        offset = start
        self.end = end
    }

    package var remaining: Int { end - offset }

    package var isAtEnd: Bool { offset == end }

    package func fail(_ what: String) -> DecodeError {
        DecodeError(what, at: offset)
    }

    /// Every decoder ends with this: bytes left over are as wrong as bytes missing.
    package func finish() throws(DecodeError) {
        guard isAtEnd else { throw fail("\(remaining) bytes left over") }
    }

    package mutating func byte() throws(DecodeError) -> UInt8 {
        guard offset < end else { throw fail("bytes end early") }
        defer { offset += 1 }
        return bytes[offset]
    }

    package mutating func flag() throws(DecodeError) -> Bool {
        switch try byte() {
        case 0: false
        case 1: true
        default: throw fail("a flag is neither 0 nor 1")
        }
    }

    /// Specialized here for what is read most: callers are in other modules.
    @specialized(where Value == UInt16)
    @specialized(where Value == UInt32)
    @specialized(where Value == UInt64)
    @specialized(where Value == UInt128)
    @specialized(where Value == Int64)
    package mutating func fixed<Value: FixedWidthInteger>(
        _ type: Value.Type = Value.self
    ) throws(DecodeError) -> Value {
        let size = MemoryLayout<Value>.size
        guard remaining >= size else { throw fail("bytes end early") }
        // The range was checked on the line above.
        let value = bytes.withUnsafeBytes {
            $0.loadUnaligned(fromByteOffset: offset, as: Value.self)
        }
        offset += size
        return Value(littleEndian: value)
    }

    package mutating func varint() throws(DecodeError) -> UInt64 {
        if offset < end, bytes[offset] < 0x80 {
            defer { offset += 1 }
            return UInt64(bytes[offset])
        }
        return try longVarint()
    }

    private mutating func longVarint() throws(DecodeError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            guard shift < 63 || (shift == 63 && next <= 1) else {
                throw fail("a varint is too long")
            }
            value |= UInt64(next & 0x7f) << shift
            if next & 0x80 == 0 { return value }
            shift += 7
        }
    }

    package mutating func zigzag() throws(DecodeError) -> Int64 {
        let value = try varint()
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    /// A count of things that take at least `size` bytes each: refused where they could not fit.
    package mutating func count(ofSize size: Int) throws(DecodeError) -> Int {
        let value = try varint()
        guard value <= UInt64(remaining / max(1, size)) else { throw fail("a count of \(value)") }
        return Int(value)
    }

    package mutating func raw(_ count: Int) throws(DecodeError) -> [UInt8] {
        guard count >= 0, count <= remaining else { throw fail("bytes end early") }
        defer { offset += count }
        return Array(bytes[offset..<offset + count])
    }

    package mutating func skip(_ count: Int) throws(DecodeError) {
        guard count >= 0, count <= remaining else { throw fail("bytes end early") }
        offset += count
    }

    package mutating func sized(max: Int = .max) throws(DecodeError) -> [UInt8] {
        let length = try count(ofSize: 1)
        guard length <= max else { throw fail("a length of \(length) where \(max) is the most") }
        return try raw(length)
    }

    /// Puts sized bytes in the place of those of `held` from `start` on. Where they are the same,
    /// as they mostly are for types, nothing is copied.
    package mutating func sized(
        max: Int, replacing start: Int, of held: inout [UInt8]
    ) throws(DecodeError) {
        let length = try count(ofSize: 1)
        guard length <= max else { throw fail("a length of \(length) where \(max) is the most") }
        let range = offset..<offset + length
        offset += length
        if held.count - start == length,
            zip(range, start...).allSatisfy({ bytes[$0] == held[$1] })
        {
            return
        }
        held.removeLast(held.count - start)
        held.append(contentsOf: bytes[range])
    }

    package mutating func text(max: Int = .max) throws(DecodeError) -> String {
        let bytes = try sized(max: max)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw fail("invalid UTF-8")
        }
        return text
    }

    package mutating func batchID() throws(DecodeError) -> BatchID {
        BatchID(producer: try fixed(), sequence: try fixed())
    }

    package mutating func hash() throws(DecodeError) -> Hash128 {
        Hash128(try fixed())
    }

    package mutating func node() throws(DecodeError) -> NodeID {
        NodeID(try text(max: 255))
    }

    package mutating func partitions() throws(DecodeError) -> PartitionSet {
        let words = try count(ofSize: 8)
        guard words <= Limits.partitionsMax / 64 else {
            throw fail("a partition set of \(words) words")
        }
        var bitmap: [UInt64] = []
        for _ in 0..<words { bitmap.append(try fixed()) }
        return PartitionSet(bitmap: bitmap)
    }

    package mutating func partition() throws(DecodeError) -> PartitionID {
        let index: UInt16 = try fixed()
        guard Int(index) < Limits.partitionsMax else { throw fail("partition \(index)") }
        return PartitionID(Int(index))
    }

    package mutating func digest() throws(DecodeError) -> SetDigest {
        SetDigest(sum: try fixed(), count: try varint())
    }

    package mutating func header() throws(DecodeError) -> BatchHeader {
        BatchHeader(
            id: try batchID(), createdAt: WallTime(milliseconds: try fixed()),
            contentHash: try hash(), rule: RuleVersion(try fixed()))
    }
}
