package import Core

/// Writes the bytes of slices (docs/formats/slice.md). Reused between batches: it keeps its memory.
///
/// It lives beside `SliceReader`, since the two are one format. The caller groups: a series is
/// begun with the number of its cells, and exactly so many cells follow.
package struct SliceWriter: ~Copyable, @unchecked Sendable {
    // Sendable: the memory has one owner, this value, which cannot be copied.
    private var base: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    package private(set) var count = 0
    private var previousWindow: Int64 = 0

    /// The longest encoding of one cell: window, count, value count, sum, minimum, maximum.
    private static let cellMax = 10 + 10 + 10 + 19 + 10 + 10
    /// The longest of the three numbers at the head of a series together.
    private static let headMax = 30

    package init(capacity: Int = 1 << 12) {
        self.capacity = max(capacity, 64)
        base = .allocate(capacity: self.capacity)
    }

    deinit {
        base.deallocate()
    }

    package mutating func removeAll() {
        count = 0
    }

    /// Takes the room for so many more bytes at once, instead of growing to it: then nothing is
    /// there twice on the way.
    package mutating func makeRoom(for bytes: Int) {
        guard count + bytes > capacity else { return }
        move(to: count + bytes)
    }

    /// Gives memory back that one large batch needed: nothing of what was written stays.
    package mutating func shrink(to kept: Int) {
        count = 0
        guard capacity > max(kept, 64) else { return }
        base.deallocate()
        capacity = max(kept, 64)
        base = .allocate(capacity: capacity)
    }

    /// What was written, as an array of exactly that size.
    package func bytes() -> [UInt8] {
        [UInt8](UnsafeBufferPointer(start: base, count: count))
    }

    package mutating func beginSeries(
        key: UnsafeRawBufferPointer, type: UnsafeRawBufferPointer, cells: Int
    ) {
        reserve(key.count + type.count + SliceWriter.headMax)
        write(UInt64(key.count))
        write(key)
        write(UInt64(type.count))
        write(type)
        write(UInt64(cells))
        previousWindow = 0
    }

    package mutating func append(window: Int64, count events: UInt64) {
        reserve(SliceWriter.cellMax)
        write(SliceWriter.zigzag(window &- previousWindow))
        previousWindow = window
        write(events << 1)
    }

    package mutating func append(window: Int64, count events: UInt64, values: Measure.Values) {
        reserve(SliceWriter.cellMax)
        write(SliceWriter.zigzag(window &- previousWindow))
        previousWindow = window
        write(events << 1 | 1)
        write(values.count)
        write(UInt128(truncatingIfNeeded: values.sum << 1 ^ values.sum >> 127))
        write(SliceWriter.zigzag(values.min))
        write(SliceWriter.zigzag(values.max))
    }

    /// Small magnitudes of either sign become small numbers: 0, -1, 1, -2 → 0, 1, 2, 3.
    private static func zigzag(_ number: Int64) -> UInt64 {
        UInt64(bitPattern: number << 1 ^ number >> 63)
    }

    // Each `write` stays inside the room that the caller reserved.

    @inline(__always)
    private mutating func write(_ number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            base[count] = UInt8(truncatingIfNeeded: rest) | 0x80
            count &+= 1
            rest >>= 7
        }
        base[count] = UInt8(truncatingIfNeeded: rest)
        count &+= 1
    }

    private mutating func write(_ number: UInt128) {
        var rest = number
        while rest > UInt128(UInt64.max) {
            base[count] = UInt8(truncatingIfNeeded: rest) | 0x80
            count &+= 1
            rest >>= 7
        }
        write(UInt64(truncatingIfNeeded: rest))
    }

    private mutating func write(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        let target = UnsafeMutableRawPointer(base + count)
        count &+= bytes.count
        guard bytes.count >= 8, bytes.count <= 16 else {
            return target.copyMemory(from: start, byteCount: bytes.count)
        }
        // Most keys are so long: their first and last eight bytes, which overlap, are all of them,
        // and cost less than a call.
        let tail = bytes.count &- 8
        target.storeBytes(of: start.loadUnaligned(as: UInt64.self), as: UInt64.self)
        (target + tail).storeBytes(
            of: (start + tail).loadUnaligned(as: UInt64.self), as: UInt64.self)
    }

    private mutating func reserve(_ room: Int) {
        guard count + room > capacity else { return }
        move(to: max(capacity * 2, count + room))
    }

    private mutating func move(to larger: Int) {
        let moved = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
        moved.update(from: base, count: count)
        base.deallocate()
        base = moved
        capacity = larger
    }
}
