import Wire

/// The bytes of one raw block, in memory of their own that ends in zeroes: eight bytes can be
/// loaded from any place up to its end, and a number costs one comparison instead of one a byte.
final class BlockBytes: Sendable {
    /// Behind the bytes.
    static let padding = 16

    /// `count + padding` bytes, which nobody changes after `init`; that makes them `Sendable`.
    nonisolated(unsafe) let base: UnsafeRawPointer
    let count: Int

    /// No bytes.
    init() {
        count = 0
        base = UnsafeRawPointer(Self.memory(0))
    }

    /// - Parameter fill: puts them there, all of them.
    init(
        count: Int, _ fill: (UnsafeMutableRawBufferPointer) throws(DecodeError) -> Void
    ) throws(DecodeError) {
        self.count = count
        let memory = Self.memory(count)
        // Freed by `deinit`, whether they are filled or not.
        base = UnsafeRawPointer(memory)
        try fill(UnsafeMutableRawBufferPointer(start: memory, count: count))
    }

    private static func memory(_ count: Int) -> UnsafeMutableRawPointer {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: count + padding, alignment: 16)
        memory.advanced(by: count).initializeMemory(as: UInt8.self, repeating: 0, count: padding)
        return memory
    }

    convenience init(_ raw: [UInt8]) throws(DecodeError) {
        try self.init(count: raw.count) { target in
            raw.withUnsafeBytes { target.copyMemory(from: $0) }
        }
    }

    deinit {
        base.deallocate()
    }
}

/// One column of a block while it is read. A fault is not thrown but kept: it leaves `offset`
/// behind `end`, where it stays, so that who walks asks `isSound` once a series and not once a
/// number. What is read after a fault means nothing.
///
/// It points into a `BlockBytes` that its owner holds. Every load begins before `end`, which is at
/// most the block's count, and is of at most 16 bytes: the padding contains it.
struct BlockColumn: Sendable {
    nonisolated(unsafe) private let base: UnsafeRawPointer
    private(set) var offset: Int
    private let end: Int

    init(of block: BlockBytes, from start: Int, to end: Int) {
        precondition(
            start >= 0 && start <= end && end <= block.count, "a column stays in its block")
        base = block.base
        offset = start
        self.end = end
    }

    var remaining: Int { max(0, end - offset) }

    var isSound: Bool { offset <= end }

    var isAtEnd: Bool { offset == end }

    mutating func fail() {
        offset = end + 1
    }

    @inline(__always)
    mutating func varint() -> UInt64 {
        guard offset < end else {
            fail()
            return 0
        }
        let first = base.load(fromByteOffset: offset, as: UInt8.self)
        if first < 0x80 {
            offset += 1
            return UInt64(first)
        }
        return longVarint()
    }

    @inline(__always)
    mutating func zigzag() -> Int64 {
        let value = varint()
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    /// Numbers of up to eight bytes, at once: seven bits of each are moved together.
    @inline(__always)
    private mutating func longVarint() -> UInt64 {
        let word = load()
        let ends = ~word & Self.tops
        guard ends != 0 else { return longestVarint() }
        let last = UInt64(ends.trailingZeroBitCount)
        // Behind `end` where the number is cut off: then this is a fault.
        offset += Int(last >> 3) + 1
        var bits = word & (.max >> (63 - last)) & ~Self.tops
        bits = bits & 0x007f_007f_007f_007f | (bits & 0x7f00_7f00_7f00_7f00) >> 1
        bits = bits & 0x0000_3fff_0000_3fff | (bits & 0x3fff_0000_3fff_0000) >> 2
        return bits & 0x0000_0000_0fff_ffff | (bits & 0x0fff_ffff_0000_0000) >> 4
    }

    private mutating func longestVarint() -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while offset < end {
            let next = base.load(fromByteOffset: offset, as: UInt8.self)
            offset += 1
            guard shift < 63 || next <= 1 else { break }
            value |= UInt64(next & 0x7f) << shift
            if next & 0x80 == 0 { return value }
            shift += 7
        }
        fail()
        return 0
    }

    /// Sixteen bytes.
    mutating func sum() -> Int128 {
        guard remaining >= 16 else {
            fail()
            return 0
        }
        let value = base.loadUnaligned(fromByteOffset: offset, as: Int128.self)
        offset += 16
        return Int128(littleEndian: value)
    }

    /// So many bytes; none, and a fault, where there are fewer.
    @inline(__always)
    mutating func bytes(_ count: UInt64) -> UnsafeRawBufferPointer {
        guard count <= UInt64(remaining), isSound else {
            fail()
            return UnsafeRawBufferPointer(start: nil, count: 0)
        }
        defer { offset += Int(count) }
        return UnsafeRawBufferPointer(start: base + offset, count: Int(count))
    }

    // MARK: Eight numbers at once

    private static let tops: UInt64 = 0x8080_8080_8080_8080
    static let ones: UInt64 = 0x0101_0101_0101_0101

    /// The next `count` bytes, at most eight, the first of them lowest and zeroes above, if each is
    /// a whole number. It stays where it is.
    @inline(__always)
    func shortNumbers(_ count: Int) -> UInt64? {
        guard remaining >= count else { return nil }
        let word = load() & (.max >> (64 - 8 * UInt64(count)))
        return word & Self.tops == 0 ? word : nil
    }

    @inline(__always)
    mutating func skip(_ count: Int) {
        offset += count
    }

    /// Whether one of the first `count` numbers of a word is 0.
    @inline(__always)
    static func hasZero(_ word: UInt64, _ count: Int) -> Bool {
        // Above them ones; none has its top bit, so that only 0 - 1 makes one.
        let filled = count < 8 ? word | ones << (8 * UInt64(count)) : word
        return (filled &- ones) & tops != 0
    }

    /// The sum of the numbers of a word.
    @inline(__always)
    static func sum(_ word: UInt64) -> UInt64 {
        let pairs = word & 0x00ff_00ff_00ff_00ff &+ word >> 8 & 0x00ff_00ff_00ff_00ff
        return (pairs &* 0x0001_0001_0001_0001) >> 48
    }

    @inline(__always)
    private func load() -> UInt64 {
        UInt64(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}
