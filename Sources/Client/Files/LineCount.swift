/// How many lines end in a piece of text, found out sixteen bytes at a time and without a look at
/// each line.
struct LineCount {
    /// Line feeds.
    let lines: Int
    /// Some line feed follows another within the piece.
    let hasEmpty: Bool

    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let lows: UInt64 = 0x7f7f_7f7f_7f7f_7f7f

    /// - Parameter count: a multiple of eight, at most `countMax`.
    init(_ start: UnsafeRawPointer, count: Int) {
        precondition(count % 8 == 0 && count <= LineCount.countMax, "a piece of whole words")
        // One counter in each byte: none counts further than the words of a piece.
        var sums: UInt64 = 0
        var pairs: UInt64 = 0
        var offset = 0
        var previous: UInt64 = 0
        while offset < count {
            // In bounds: eight bytes are left.
            let word = UInt64(
                littleEndian: (start + offset).loadUnaligned(as: UInt64.self))
            let feeds = LineCount.feeds(word)
            pairs |= feeds & (feeds << 8 | previous >> 56)
            sums &+= feeds
            previous = feeds
            offset &+= 8
        }
        hasEmpty = pairs != 0
        // The sum of eight bytes of at most 255 fits into two.
        let halves = (sums & 0x00ff_00ff_00ff_00ff) &+ (sums >> 8 & 0x00ff_00ff_00ff_00ff)
        lines = Int((halves &* 0x0001_0001_0001_0001) >> 48)
    }

    static let countMax = 255 * 8

    /// 1 in each byte that is a line feed, 0 in the others: only a byte of zero stays below 0x80
    /// when 0x7f is added to its lower seven bits.
    @inline(__always)
    private static func feeds(_ word: UInt64) -> UInt64 {
        let other = word ^ (ones &* 0x0a)
        return ~((other & lows) &+ lows | other | lows) >> 7
    }
}
