/// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
enum UTF8Check {
    /// The length of the scalar that begins at `start`, 1 to 4; 0 if none does. `start < end`.
    static func scalarLength(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> Int {
        let lead = start.pointee
        if lead < 0x80 { return 1 }
        let left = end - start
        // Leads below 0xc2 are continuations or overlong.
        guard lead >= 0xc2, left >= 2 else { return 0 }
        let second = start[1]
        if lead < 0xe0 { return second & 0xc0 == 0x80 ? 2 : 0 }
        if lead < 0xf0 {
            let low: UInt8 = lead == 0xe0 ? 0xa0 : 0x80
            let high: UInt8 = lead == 0xed ? 0x9f : 0xbf
            guard second >= low, second <= high, left >= 3, start[2] & 0xc0 == 0x80 else {
                return 0
            }
            return 3
        }
        let low: UInt8 = lead == 0xf0 ? 0x90 : 0x80
        let high: UInt8 = lead == 0xf4 ? 0x8f : 0xbf
        guard lead <= 0xf4, second >= low, second <= high, left >= 4,
            start[2] & 0xc0 == 0x80, start[3] & 0xc0 == 0x80
        else { return 0 }
        return 4
    }

    /// The offset of the first byte that is no UTF-8; nil if all are.
    static func firstFault(_ start: UnsafePointer<UInt8>, _ count: Int) -> Int? {
        if ByteScan.isASCII(start, count) { return nil }
        let end = start + count
        var cursor = start
        while cursor < end {
            let length = scalarLength(cursor, end)
            if length == 0 { return cursor - start }
            cursor += length
        }
        return nil
    }

    /// `count` bytes cut to at most `max`, without cutting a scalar in two.
    static func cut(_ start: UnsafePointer<UInt8>, _ count: Int, to max: Int) -> Int {
        guard count > max else { return count }
        var kept = max
        while kept > 0, kept > max - 4, start[kept] & 0xc0 == 0x80 { kept -= 1 }
        // Four continuations in a row are no UTF-8: then there is no scalar to spare.
        return start[kept] & 0xc0 == 0x80 ? max : kept
    }

    /// Bytes of an event in a message: cut, and repaired where they are no UTF-8.
    static func quote(_ start: UnsafePointer<UInt8>, _ count: Int) -> String {
        let kept = cut(start, count, to: ParseLimits.quotedMax)
        let text = String(decoding: UnsafeBufferPointer(start: start, count: kept), as: UTF8.self)
        return kept < count ? "\"\(text)…\"" : "\"\(text)\""
    }
}
