/// A key or type that changes with every series: bytes in memory that is made once, so that going
/// on to the next key allocates nothing and looking at it counts no references.
///
/// It is a value: memory that a copy shares is left to the copy when this one changes.
struct KeyBuffer: Sendable {
    private final class Memory: Sendable {
        nonisolated(unsafe) let base: UnsafeMutableRawPointer
        let capacity: Int

        init(_ capacity: Int) {
            self.capacity = capacity
            base = .allocate(byteCount: capacity + KeyBuffer.padding, alignment: 16)
        }

        deinit {
            base.deallocate()
        }
    }

    /// Behind `capacity`, so that short keys are copied whole.
    private static let padding = 16

    private var memory: Memory
    nonisolated(unsafe) private var base: UnsafeMutableRawPointer
    private(set) var count = 0

    init(capacity: Int) {
        memory = Memory(capacity)
        base = memory.base
    }

    /// Valid until this buffer changes or ends.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// Keeps the first `start` bytes and puts `rest`, which lies elsewhere, behind them.
    mutating func replace(from start: Int, with rest: UnsafeRawBufferPointer) {
        makeRoom(start, rest.count)
        guard let source = rest.baseAddress else { return }
        // Within `capacity`, and nobody else's, by `makeRoom`.
        base.advanced(by: start).copyMemory(from: source, byteCount: rest.count)
    }

    /// The same for bytes behind which 16 more can be read, as in `BlockBytes` and here.
    @inline(__always)
    mutating func replace(from start: Int, withPadded rest: UnsafeRawBufferPointer) {
        makeRoom(start, rest.count)
        guard let source = rest.baseAddress else { return }
        if rest.count <= Self.padding {
            // The memory ends that far behind `capacity`.
            base.storeBytes(
                of: source.loadUnaligned(as: SIMD2<UInt64>.self), toByteOffset: start,
                as: SIMD2<UInt64>.self)
        } else {
            base.advanced(by: start).copyMemory(from: source, byteCount: rest.count)
        }
    }

    mutating func set(_ other: UnsafeRawBufferPointer) {
        replace(from: 0, with: other)
    }

    @inline(__always)
    mutating func set(padded other: UnsafeRawBufferPointer) {
        replace(from: 0, withPadded: other)
    }

    @inline(__always)
    private mutating func makeRoom(_ start: Int, _ rest: Int) {
        precondition(
            start >= 0 && start <= count && rest <= memory.capacity - start,
            "a key stays in its buffer")
        if !isKnownUniquelyReferenced(&memory) {
            let mine = Memory(memory.capacity)
            mine.base.copyMemory(from: base, byteCount: start)
            memory = mine
            base = mine.base
        }
        count = start + rest
    }
}
