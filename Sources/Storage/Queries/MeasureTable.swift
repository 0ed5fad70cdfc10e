import Core

/// Byte strings with a measure each, in an arena behind a `HashIndex`: no allocation per key.
struct MeasureTable: Sendable {
    struct Entry: Sendable {
        var offset: Int
        var length: Int
        var count: UInt64
        /// Index + 1 into `values`; 0 where no event carried a value.
        var values: Int
    }

    private var arena: [UInt8] = []
    private var index = HashIndex()
    private(set) var entries: [Entry] = []
    private var values: [Measure.Values] = []
    private let seed: UInt64

    init(seed: UInt64) {
        self.seed = seed
    }

    var count: Int { entries.count }

    /// About the memory held.
    var byteCount: Int {
        arena.count + index.byteCount + entries.count * MemoryLayout<Entry>.stride
            + values.count * MemoryLayout<Measure.Values>.stride
    }

    /// Room for so many keys beyond those there are, so that nothing grows meanwhile.
    mutating func reserve(_ keys: Int) {
        index.reserve(count + keys)
        entries.reserveCapacity(count + keys)
    }

    mutating func add(_ key: UnsafeRawBufferPointer, _ measure: Measure) {
        add(measure, to: slot(of: key))
    }

    /// The same where the entry is known.
    @inline(__always)
    mutating func add(_ measure: Measure, to slot: Int) {
        entries[slot].count += measure.count
        guard let added = measure.values else { return }
        if entries[slot].values == 0 {
            values.append(added)
            entries[slot].values = values.count
        } else {
            var sum = Measure(count: 0, values: values[entries[slot].values - 1])
            sum.add(Measure(count: 0, values: added))
            values[entries[slot].values - 1] = sum.values ?? added
        }
    }

    func key(_ entry: Int) -> [UInt8] {
        Array(arena[entries[entry].offset..<entries[entry].offset + entries[entry].length])
    }

    func measure(_ entry: Int) -> Measure {
        let slot = entries[entry].values
        return Measure(count: entries[entry].count, values: slot == 0 ? nil : values[slot - 1])
    }

    func measure(of key: [UInt8]) -> Measure? {
        key.withUnsafeBytes { find($0) }.map { measure($0) }
    }

    func find(_ key: UnsafeRawBufferPointer) -> Int? {
        index.find(TableHash.hash(key, seed: seed)) { matches($0, key) }
    }

    func withKey(_ entry: Int, _ body: (UnsafeRawBufferPointer) -> Void) {
        arena.withUnsafeBytes { body(slice(entries[entry], of: $0)) }
    }

    /// Entries by ascending key.
    func sorted() -> [Int] {
        entries.indices.sorted { compare($0, $1) < 0 }
    }

    func compare(_ left: Int, _ right: Int) -> Int {
        arena.withUnsafeBytes { arena in
            ByteOrder.compare(slice(entries[left], of: arena), slice(entries[right], of: arena))
        }
    }

    /// The entry of a key, which is made where there is none.
    mutating func slot(of key: UnsafeRawBufferPointer) -> Int {
        let hash = TableHash.hash(key, seed: seed)
        if let found = index.find(hash, { matches($0, key) }) { return found }
        entries.append(Entry(offset: arena.count, length: key.count, count: 0, values: 0))
        arena.append(contentsOf: key)
        index.insert(hash, entries.count - 1)
        return entries.count - 1
    }

    private func matches(_ entry: Int, _ key: UnsafeRawBufferPointer) -> Bool {
        arena.withUnsafeBytes { ByteOrder.areEqual(slice(entries[entry], of: $0), key) }
    }

    private func slice(_ entry: Entry, of arena: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: arena[entry.offset..<entry.offset + entry.length])
    }
}
