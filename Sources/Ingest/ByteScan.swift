/// Reading bytes by the word. Every function stays inside the range that it is given.
enum ByteScan {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highs: UInt64 = 0x8080_8080_8080_8080

    /// The caller proves that eight bytes follow.
    @inline(__always)
    static func word(_ start: UnsafePointer<UInt8>) -> UInt64 {
        UInt64(littleEndian: UnsafeRawPointer(start).loadUnaligned(as: UInt64.self))
    }

    /// The caller proves that four bytes follow.
    @inline(__always)
    static func halfWord(_ start: UnsafePointer<UInt8>) -> UInt32 {
        UInt32(littleEndian: UnsafeRawPointer(start).loadUnaligned(as: UInt32.self))
    }

    /// The first byte of a JSON string that is not plain: a quotation mark, a backslash, a control
    /// character or a byte above 0x7f; `end` if there is none.
    ///
    /// `(x - ones) & highs` flags a byte of x that is 0, provided that no byte below it was flagged
    /// (a flagged byte may borrow from the next) and that x < 0x80, which `| word` takes care of.
    /// So the lowest flag is always true, and only it is used.
    @inline(__always)
    static func plainEnd(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> UnsafePointer<UInt8> {
        var cursor = start
        while end - cursor >= 8 {
            let word = word(cursor)
            let quotes = (word ^ (ones &* 0x22)) &- ones
            let backslashes = (word ^ (ones &* 0x5c)) &- ones
            let controls = word &- (ones &* 0x20)
            let flags = (quotes | backslashes | controls | word) & highs
            if flags != 0 { return cursor + flags.trailingZeroBitCount &>> 3 }
            cursor += 8
        }
        while cursor < end {
            let byte = cursor.pointee
            if byte == 0x22 || byte == 0x5c || byte < 0x20 || byte >= 0x80 { break }
            cursor += 1
        }
        return cursor
    }

    /// The first `byte` (below 0x80), or `end`.
    static func first(
        _ byte: UInt8, _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> UnsafePointer<UInt8> {
        let pattern = ones &* UInt64(byte)
        var cursor = start
        while end - cursor >= 8 {
            let difference = word(cursor) ^ pattern
            let flags = (difference &- ones) & ~difference & highs
            if flags != 0 { return cursor + flags.trailingZeroBitCount &>> 3 }
            cursor += 8
        }
        while cursor < end, cursor.pointee != byte { cursor += 1 }
        return cursor
    }

    /// Behind the byte order mark, where one stands before the first event: it says nothing about
    /// that.
    static func afterMark(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> UnsafePointer<UInt8> {
        let isMark = end - start >= 3 && start[0] == 0xef && start[1] == 0xbb && start[2] == 0xbf
        return isMark ? start + 3 : start
    }

    /// True if no byte is above 0x7f.
    static func isASCII(_ start: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var offset = 0
        while count &- offset >= 8 {
            if word(start + offset) & highs != 0 { return false }
            offset &+= 8
        }
        while offset < count {
            if start[offset] >= 0x80 { return false }
            offset &+= 1
        }
        return true
    }

    @inline(__always)
    static func areEqual(
        _ left: UnsafePointer<UInt8>, _ right: UnsafePointer<UInt8>, _ count: Int
    ) -> Bool {
        if count >= 8 {
            var offset = 0
            while count &- offset >= 8 {
                if word(left + offset) != word(right + offset) { return false }
                offset &+= 8
            }
            // The last eight bytes, which may overlap those compared already.
            return word(left + count - 8) == word(right + count - 8)
        }
        if count >= 4 {
            return halfWord(left) == halfWord(right)
                && halfWord(left + count - 4) == halfWord(right + count - 4)
        }
        var offset = 0
        while offset < count {
            if left[offset] != right[offset] { return false }
            offset &+= 1
        }
        return true
    }

    /// Both ends of a text: its first and its last eight bytes, which overlap in a shorter one.
    /// Together with the count they are the whole text where that has at most `Ends.wholeMax`
    /// bytes.
    struct Ends: BitwiseCopyable {
        static let wholeMax = 16

        var head: UInt64
        var tail: UInt64
    }

    @inline(__always)
    static func ends(_ start: UnsafePointer<UInt8>, _ count: Int) -> Ends {
        if count >= 8 { return Ends(head: word(start), tail: word(start + count - 8)) }
        if count >= 4 {
            return Ends(
                head: UInt64(halfWord(start)), tail: UInt64(halfWord(start + count - 4)))
        }
        if count == 0 { return Ends(head: 0, tail: 0) }
        let head = UInt64(start[0]) << 16 | UInt64(start[count &>> 1]) << 8
        return Ends(head: head | UInt64(start[count &- 1]), tail: 0)
    }

    /// The hash of the cell table, after wyhash (Wang Yi): the bytes as two words per step, joined
    /// by a multiplication of 64 by 64 bits. It is never stored and never sent.
    ///
    /// - Parameter ends: of the same bytes.
    @inline(__always)
    static func hash(
        _ start: UnsafePointer<UInt8>, _ count: Int, ends: Ends, seed: UInt64
    ) -> UInt64 {
        var state = seed ^ 0xa076_1d64_78bd_642f
        if count > Ends.wholeMax { state = middle(start, count, state) }
        let folded = mix(ends.head ^ 0x8ebc_6af0_9c88_c6e3, ends.tail ^ state)
        return mix(folded ^ 0x5899_65cc_7537_4cc3, UInt64(truncatingIfNeeded: count) ^ state)
    }

    /// All between the first eight bytes and the last eight, and perhaps some of those.
    private static func middle(
        _ start: UnsafePointer<UInt8>, _ count: Int, _ seed: UInt64
    ) -> UInt64 {
        var state = seed
        var offset = 8
        while offset < count &- 8 {
            // In bounds: offset < count - 8, so that eight bytes follow; the second word ends with
            // the text where less than two are left.
            let second = word(start + min(offset &+ 8, count &- 8))
            state = mix(word(start + offset) ^ 0xe703_7ed1_a0b4_28db, second ^ state)
            offset &+= 16
        }
        return state
    }

    @inline(__always)
    static func mix(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
}
