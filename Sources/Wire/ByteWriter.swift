package import Core

/// Appends values to a byte array: integers little-endian, lengths and counts as LEB128 varints.
package struct ByteWriter: Sendable {
    package var bytes: [UInt8]

    package init(capacity: Int = 0) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    package mutating func write(_ value: UInt8) {
        bytes.append(value)
    }

    @specialized(where Value == UInt16)
    @specialized(where Value == UInt32)
    @specialized(where Value == UInt64)
    @specialized(where Value == UInt128)
    @specialized(where Value == Int64)
    package mutating func write<Value: FixedWidthInteger>(fixed value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    package mutating func write(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    package mutating func write(count: Int) {
        precondition(count >= 0, "a count is never negative")
        write(varint: UInt64(count))
    }

    package mutating func write(zigzag value: Int64) {
        write(varint: UInt64(bitPattern: value << 1 ^ value >> 63))
    }

    package mutating func write(flag: Bool) {
        bytes.append(flag ? 1 : 0)
    }

    /// Bytes alone, without their length.
    package mutating func write(raw: some Sequence<UInt8>) {
        bytes.append(contentsOf: raw)
    }

    /// The same for bytes in memory, without a detour over their sequence.
    package mutating func write(raw buffer: UnsafeRawBufferPointer) {
        bytes.append(contentsOf: buffer)
    }

    /// Length, then bytes.
    package mutating func write(sized: [UInt8]) {
        write(count: sized.count)
        bytes.append(contentsOf: sized)
    }

    package mutating func write(sized text: String) {
        write(count: text.utf8.count)
        bytes.append(contentsOf: text.utf8)
    }

    package mutating func write(_ id: BatchID) {
        write(fixed: id.producer)
        write(fixed: id.sequence)
    }

    package mutating func write(_ hash: Hash128) {
        write(fixed: hash.value)
    }

    package mutating func write(_ node: NodeID) {
        write(sized: node.name)
    }

    package mutating func write(_ partitions: PartitionSet) {
        let bitmap = partitions.bitmap
        write(count: bitmap.count)
        for word in bitmap { write(fixed: word) }
    }

    package mutating func write(_ digest: SetDigest) {
        write(fixed: digest.sum)
        write(varint: digest.count)
    }

    package mutating func write(_ header: BatchHeader) {
        write(header.id)
        write(fixed: header.createdAt.milliseconds)
        write(header.contentHash)
        write(fixed: header.rule.number)
    }
}
