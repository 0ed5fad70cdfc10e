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
            base = .allocate(byteCount: capacity, alignment: 16)
        }

        deinit {
            base.deallocate()
        }
    }

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
    @inline(__always)
    mutating func replace(from start: Int, with rest: UnsafeRawBufferPointer) {
        precondition(
            start >= 0 && start <= count && rest.count <= memory.capacity - start,
            "a key stays in its buffer")
        if !isKnownUniquelyReferenced(&memory) {
            let mine = Memory(memory.capacity)
            mine.base.copyMemory(from: base, byteCount: start)
            memory = mine
            base = mine.base
        }
        count = start + rest.count
        guard let source = rest.baseAddress else { return }
        // Within `capacity` by the first line, and nobody else's by the second.
        base.advanced(by: start).copyMemory(from: source, byteCount: rest.count)
    }

    mutating func set(_ other: UnsafeRawBufferPointer) {
        replace(from: 0, with: other)
    }
}
