/// An open-addressing table from hashes to indexes of some array: 8 bytes a slot, linear probing,
/// at most three quarters full. The caller owns the keys and says whether an index is the one it
/// seeks.
struct HashIndex: Sendable {
    /// Upper half: 32 bits of the hash. Lower half: index + 1, so that 0 is an empty slot.
    private var slots: [UInt64]
    private var count = 0
    private var shift: UInt64

    /// What all empty tables share, so that a table of nothing takes no memory of its own.
    private static let empty: [UInt64] = Array(repeating: 0, count: 16)

    init() {
        slots = HashIndex.empty
        shift = 28
    }

    /// - Parameter room: so many entries fit without growing.
    init(room: Int) {
        var bits: UInt64 = 4
        while room * 4 > 3 << bits { bits += 1 }
        slots = Array(repeating: 0, count: 1 << bits)
        shift = 32 - bits
    }

    /// About what the entries take: slots that wait for entries are left out.
    var byteCount: Int { count * 16 }

    func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        slots.withUnsafeBytes(body)
    }

    /// The index for which `matches` holds, among those with this hash.
    @inline(__always)
    func find(_ hash: UInt64, _ matches: (Int) -> Bool) -> Int? {
        let tag = hash >> 32
        let mask = slots.count - 1
        // The probe stays in the table: `position` is masked and `slots` is never empty.
        return slots.withUnsafeBufferPointer { slots in
            var position = Int(tag >> shift)
            while true {
                let slot = slots[position]
                if slot == 0 { return nil }
                if slot >> 32 == tag {
                    let index = Int(slot & 0xffff_ffff) - 1
                    if matches(index) { return index }
                }
                position = (position + 1) & mask
            }
        }
    }

    /// Adds an index that `find` did not find.
    mutating func insert(_ hash: UInt64, _ index: Int) {
        precondition(index < Int(UInt32.max) - 1, "a table of 2^32 entries is full")
        if (count + 1) * 4 > slots.count * 3 { grow() }
        place((hash >> 32) << 32 | UInt64(index + 1))
        count += 1
    }

    private mutating func place(_ entry: UInt64) {
        let mask = slots.count - 1
        var position = Int((entry >> 32) >> shift)
        while slots[position] != 0 { position = (position + 1) & mask }
        slots[position] = entry
    }

    /// So many entries fit without growing.
    mutating func reserve(_ room: Int) {
        if room * 4 > slots.count * 3 { self = HashIndex(room: room, with: slots, count) }
    }

    private mutating func grow() {
        self = HashIndex(room: count + 1, with: slots, count)
    }

    private init(room: Int, with entries: [UInt64], _ count: Int) {
        self.init(room: room)
        for entry in entries where entry != 0 { place(entry) }
        self.count = count
    }
}

/// A fast hash for tables in memory: products of 64 bits folded to 64, after wyhash (Wang Yi). It
/// is seeded, never stored and never sent.
enum TableHash {
    static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
        var state = seed ^ UInt64(bytes.count) &* 0xa076_1d64_78bd_642f
        let whole = bytes.count & ~7
        var offset = 0
        while offset < whole {
            // `offset + 8 <= whole <= count`.
            let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            state = fold(state ^ UInt64(littleEndian: word), 0xe703_7ed1_a0b4_28db)
            offset += 8
        }
        var last: UInt64 = 0
        if offset < bytes.count {
            if bytes.count >= 8 {
                // The last eight bytes, of which some were taken before.
                let word = bytes.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self)
                last = UInt64(littleEndian: word)
            } else {
                while offset < bytes.count {
                    last = last << 8 | UInt64(bytes[offset])
                    offset += 1
                }
            }
        }
        return fold(state ^ last, 0x8ebc_6af0_9c88_c6e3 ^ seed)
    }

    @inline(__always)
    static func hash(_ first: UInt64, _ second: UInt64, seed: UInt64) -> UInt64 {
        fold(fold(first ^ seed, 0xe703_7ed1_a0b4_28db) ^ second, 0x8ebc_6af0_9c88_c6e3)
    }

    @inline(__always)
    private static func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
}

/// The order of byte strings everywhere in the store: unsigned bytes, a prefix before what it
/// begins.
enum ByteOrder {
    static func compare(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
        let common = min(left.count, right.count)
        var offset = 0
        while offset + 8 <= common {
            // Both loads end within `common`.
            let mine = left.loadUnaligned(fromByteOffset: offset, as: UInt64.self).bigEndian
            let theirs = right.loadUnaligned(fromByteOffset: offset, as: UInt64.self).bigEndian
            if mine != theirs { return mine < theirs ? -1 : 1 }
            offset += 8
        }
        while offset < common {
            if left[offset] != right[offset] { return left[offset] < right[offset] ? -1 : 1 }
            offset += 1
        }
        return left.count == right.count ? 0 : left.count < right.count ? -1 : 1
    }

    static func compare(_ left: [UInt8], _ right: [UInt8]) -> Int {
        left.withUnsafeBytes { mine in right.withUnsafeBytes { compare(mine, $0) } }
    }

    /// Words that overlap where the length is no multiple of eight: no loop over single bytes.
    @inline(__always)
    static func areEqual(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        let count = left.count
        guard count == right.count else { return false }
        guard count >= 8 else {
            var place = 0
            while place < count, left[place] == right[place] { place += 1 }
            return place == count
        }
        var offset = 0
        while offset + 8 < count {
            if !areEqual(left, right, at: offset) { return false }
            offset += 8
        }
        return areEqual(left, right, at: count - 8)
    }

    /// The eight bytes from an offset on, which end within both.
    @inline(__always)
    private static func areEqual(
        _ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer, at offset: Int
    ) -> Bool {
        left.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            == right.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }

    /// How many bytes both begin with.
    static func commonPrefix(
        _ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer
    ) -> Int {
        let most = min(left.count, right.count)
        var shared = 0
        while shared + 8 <= most {
            // Both loads end within `most`.
            let mine = left.loadUnaligned(fromByteOffset: shared, as: UInt64.self)
            let theirs = right.loadUnaligned(fromByteOffset: shared, as: UInt64.self)
            let differing = UInt64(littleEndian: mine ^ theirs)
            if differing != 0 { return shared + differing.trailingZeroBitCount / 8 }
            shared += 8
        }
        while shared < most, left[shared] == right[shared] { shared += 1 }
        return shared
    }
}
