import Core

/// The distinct types of one batch, numbered in the order of their first appearance, so that a
/// series is compared with a number and not with a text.
///
/// Each begins at least one series: there are never more of them than cells.
struct TypeTable: ~Copyable {
    /// A type's number, and its hash, which is the seed of its keys' hashes.
    struct Name: BitwiseCopyable {
        var number: UInt32
        var hash: UInt64
    }

    private struct Entry: BitwiseCopyable {
        var hash: UInt64
        var ends: ByteScan.Ends
        /// In the arena.
        var start: UInt32
        var count: UInt32
    }

    private static let slotsMin = 1 << 6
    /// Memory beyond this many types is given back after a batch.
    private static let entriesKept = 1 << 14

    private let seed: UInt64
    private var entries = GrowableBuffer<Entry>(capacity: slotsMin)
    private var arena = GrowableBuffer<UInt8>(capacity: 1 << 10)
    /// A type's number plus one; at most half full.
    private var slots = GrowableBuffer<UInt32>(capacity: slotsMin)

    init(seed: UInt64) {
        self.seed = seed
        slots.refill(0, count: TypeTable.slotsMin)
    }

    /// Bytes of types that are held.
    var textBytes: Int { arena.count }

    mutating func reset() {
        if entries.count > TypeTable.entriesKept {
            entries.shrink(to: TypeTable.slotsMin)
            arena.shrink(to: 1 << 10)
            slots.shrink(to: TypeTable.slotsMin)
        }
        entries.removeAll()
        arena.removeAll()
        slots.refill(0, count: TypeTable.slotsMin)
    }

    @inline(__always)
    mutating func number(of text: FieldText) -> Name {
        let ends = ByteScan.ends(text.start, text.count)
        let hash = ByteScan.hash(text.start, text.count, ends: ends, seed: seed)
        let mask = slots.count &- 1
        var position = Int(truncatingIfNeeded: hash) & mask
        while true {
            let slot = slots[position]
            if slot == 0 { break }
            if isType(Int(slot) &- 1, text, ends) { return Name(number: slot &- 1, hash: hash) }
            position = (position &+ 1) & mask
        }
        return insert(text, ends, hash: hash, at: position)
    }

    @inline(__always)
    private func isType(_ number: Int, _ text: FieldText, _ ends: ByteScan.Ends) -> Bool {
        guard Int(entries[number].count) == text.count, entries[number].ends.head == ends.head,
            entries[number].ends.tail == ends.tail
        else { return false }
        // The arena holds all bytes of a type from the moment it is inserted.
        return text.count <= ByteScan.Ends.wholeMax
            || ByteScan.areEqual(arena.base + Int(entries[number].start), text.start, text.count)
    }

    private mutating func insert(
        _ text: FieldText, _ ends: ByteScan.Ends, hash: UInt64, at position: Int
    ) -> Name {
        let number = UInt32(entries.count)
        entries.append(
            Entry(hash: hash, ends: ends, start: UInt32(arena.count), count: UInt32(text.count)))
        arena.append(from: text.start, count: text.count)
        slots[position] = number + 1
        if entries.count * 2 > slots.count { growSlots() }
        return Name(number: number, hash: hash)
    }

    /// Nothing is looked up any more before `reset`.
    mutating func dropSlots() {
        slots.shrink(to: TypeTable.slotsMin)
    }

    private mutating func growSlots() {
        let count = slots.count * 2
        slots.refill(0, count: count)
        for number in 0..<entries.count {
            var position = Int(truncatingIfNeeded: entries[number].hash) & (count - 1)
            while slots[position] != 0 { position = (position + 1) & (count - 1) }
            slots[position] = UInt32(number + 1)
        }
    }

    /// Valid until another type comes.
    func text(of number: UInt32) -> UnsafeRawBufferPointer {
        let entry = entries[Int(number)]
        return UnsafeRawBufferPointer(
            start: arena.base + Int(entry.start), count: Int(entry.count))
    }
}
