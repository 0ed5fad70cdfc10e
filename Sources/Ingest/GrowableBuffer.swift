/// A growable array of plain values with one owner. It does what `Array` does without the test for
/// shared storage before each write, and it keeps its memory when it is emptied, which is what the
/// tables of a folder need between batches.
///
/// It begins at a cache line, so that elements of 64 bytes lie in one each.
struct GrowableBuffer<Element: BitwiseCopyable>: ~Copyable {
    /// Valid for `capacity` elements, of which `count` are initialised; replaced when it grows.
    private(set) var base: UnsafeMutablePointer<Element>
    private(set) var count = 0
    private(set) var capacity: Int

    init(capacity: Int = 16) {
        self.capacity = Swift.max(capacity, 1)
        base = GrowableBuffer.allocate(self.capacity)
    }

    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<Element> {
        UnsafeMutableRawPointer.allocate(
            byteCount: capacity * MemoryLayout<Element>.stride, alignment: 64
        ).bindMemory(to: Element.self, capacity: capacity)
    }

    deinit {
        // Plain values need no deinitialisation.
        base.deallocate()
    }

    subscript(index: Int) -> Element {
        @inline(__always) get {
            precondition(
                UInt(bitPattern: index) < UInt(bitPattern: count), "index beyond the buffer")
            return base[index]
        }
        @inline(__always) _modify {
            precondition(
                UInt(bitPattern: index) < UInt(bitPattern: count), "index beyond the buffer")
            yield &base[index]
        }
    }

    @inline(__always)
    mutating func append(_ element: Element) {
        if count == capacity { grow(toHold: count + 1) }
        (base + count).initialize(to: element)
        count &+= 1
    }

    mutating func append(from start: UnsafePointer<Element>, count added: Int) {
        if count + added > capacity { grow(toHold: count + added) }
        (base + count).initialize(from: start, count: added)
        count &+= added
    }

    mutating func removeAll() {
        count = 0
    }

    /// Makes all of `newCount` elements equal to `element`.
    mutating func refill(_ element: Element, count newCount: Int) {
        count = 0
        if newCount > capacity { grow(toHold: newCount) }
        base.initialize(repeating: element, count: newCount)
        count = newCount
    }

    /// Gives memory back that one large batch needed and the next will not.
    mutating func shrink(to kept: Int) {
        guard capacity > kept else { return }
        base.deallocate()
        capacity = kept
        count = 0
        base = GrowableBuffer.allocate(kept)
    }

    /// A buffer of this size has room for many times as much at once: pages that nobody writes to
    /// cost nothing, while every size on the way there would leave a hole in the heap.
    private static var largeBytes: Int { 1 << 20 }
    private static var roomBytes: Int { 16 << 20 }

    private mutating func grow(toHold needed: Int) {
        var larger = Swift.max(capacity * 2, needed)
        let stride = MemoryLayout<Element>.stride
        if larger * stride >= GrowableBuffer.largeBytes {
            larger = Swift.max(larger, GrowableBuffer.roomBytes / stride)
        }
        let moved = GrowableBuffer.allocate(larger)
        moved.initialize(from: base, count: count)
        base.deallocate()
        base = moved
        capacity = larger
    }
}
