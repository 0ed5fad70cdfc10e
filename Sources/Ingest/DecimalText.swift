/// A number as it is written, in decimal: sign, digits, fraction, exponent. It is never made binary
/// floating point, neither for values nor for times.
struct DecimalText {
    private(set) var isNegative = false
    private var digits: UnsafePointer<UInt8>
    private var wholeCount = 0
    private var fraction: UnsafePointer<UInt8>
    private var fractionCount = 0
    private var exponent = 0

    /// Exponents beyond this are as good as this: no text of a line can make up for them.
    private static let exponentMax = 1 << 24

    /// `-? digits (. digits)? ([eE] [+-]? digits)?`: JSON's numbers, and leading zeros as well,
    /// which text outside JSON has. Nil for anything else.
    @inline(__always)
    init?(_ start: UnsafePointer<UInt8>, _ count: Int) {
        let end = start + count
        var cursor = start
        if cursor < end, cursor.pointee == UInt8(ascii: "-") {
            isNegative = true
            cursor += 1
        }
        digits = cursor
        fraction = cursor
        while cursor < end, cursor.pointee &- UInt8(ascii: "0") < 10 { cursor += 1 }
        wholeCount = cursor - digits
        guard wholeCount > 0 else { return nil }
        if cursor < end, !scanTail(from: cursor, end) { return nil }
    }

    private mutating func scanTail(
        from start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> Bool {
        var cursor = start
        if cursor.pointee == UInt8(ascii: ".") {
            cursor += 1
            fraction = cursor
            while cursor < end, cursor.pointee &- UInt8(ascii: "0") < 10 { cursor += 1 }
            fractionCount = cursor - fraction
            guard fractionCount > 0 else { return false }
        }
        guard cursor < end else { return true }
        guard cursor.pointee | 0x20 == UInt8(ascii: "e") else { return false }
        cursor += 1
        var isSmall = false
        if cursor < end, cursor.pointee == UInt8(ascii: "-") || cursor.pointee == UInt8(ascii: "+")
        {
            isSmall = cursor.pointee == UInt8(ascii: "-")
            cursor += 1
        }
        let first = cursor
        while cursor < end, cursor.pointee &- UInt8(ascii: "0") < 10 {
            let digit = Int(cursor.pointee &- UInt8(ascii: "0"))
            exponent = min(exponent * 10 + digit, DecimalText.exponentMax)
            cursor += 1
        }
        if isSmall { exponent = -exponent }
        return cursor > first && cursor == end
    }

    @inline(__always)
    private func digit(_ position: Int) -> UInt64 {
        let text = position < wholeCount ? digits[position] : fraction[position &- wholeCount]
        return UInt64(text &- UInt8(ascii: "0"))
    }

    private var digitCount: Int { wholeCount + fractionCount }

    enum Scaled: Equatable {
        case exact(Int64)
        /// It has digits below the unit.
        case notExact
        /// It is exact, and beyond 64 bits.
        case tooLarge
    }

    /// The number in units of 10^-places.
    @inline(__always)
    func scaled(places: Int) -> Scaled {
        // Short and plain, as nearly all are: 18 digits fit in 63 bits, and so do those that fill
        // up the places.
        if exponent == 0, fractionCount <= places, wholeCount + places <= 18 {
            var magnitude: Int64 = 0
            for position in 0..<wholeCount {
                magnitude = magnitude &* 10 &+ Int64(digits[position] &- UInt8(ascii: "0"))
            }
            for position in 0..<fractionCount {
                magnitude = magnitude &* 10 &+ Int64(fraction[position] &- UInt8(ascii: "0"))
            }
            for _ in fractionCount..<places { magnitude = magnitude &* 10 }
            return .exact(isNegative ? 0 &- magnitude : magnitude)
        }
        return scaledWidely(places: places)
    }

    private func scaledWidely(places: Int) -> Scaled {
        // Leading zeros and trailing zeros are skipped: what counts is from the first to the last
        // digit that is not 0, and the power of ten at the last.
        var first = 0
        while first < digitCount, digit(first) == 0 { first += 1 }
        guard first < digitCount else { return .exact(0) }
        var last = digitCount - 1
        while digit(last) == 0 { last -= 1 }
        let power = exponent + wholeCount - 1 - last + places
        guard power >= 0 else { return .notExact }
        // 10^19 is beyond 63 bits; up to 19 digits fit in 64.
        guard last - first + 1 + power <= 19 else { return .tooLarge }
        var magnitude: UInt64 = 0
        for position in first...last { magnitude = magnitude &* 10 &+ digit(position) }
        for _ in 0..<power { magnitude = magnitude &* 10 }
        let limit = UInt64(Int64.max) + (isNegative ? 1 : 0)
        guard magnitude <= limit else { return .tooLarge }
        return .exact(Int64(truncatingIfNeeded: isNegative ? 0 &- magnitude : magnitude))
    }

    // MARK: - Epoch times

    /// The number as an epoch time, in milliseconds rounded down; its magnitude tells seconds from
    /// milliseconds and microseconds. Nil from 10^17 on.
    func epochMilliseconds() -> Int64? {
        // Where the decimal point stands among the digits, the exponent included.
        let point = wholeCount + exponent
        var first = 0
        while first < digitCount, digit(first) == 0 { first += 1 }
        guard first < digitCount else { return 0 }
        guard point - first <= 17 else { return nil }
        var whole: UInt64 = 0
        var position = first
        while position < point {
            whole = whole * 10 + (position < digitCount ? digit(position) : 0)
            position += 1
        }
        var milliseconds: UInt64
        var isRounded: Bool
        if whole < 100_000_000_000 {
            milliseconds = whole
            // Three digits behind the point; before the first digit and behind the last stand
            // zeros.
            for place in point..<point + 3 {
                let isDigit = place >= first && place < digitCount
                milliseconds = milliseconds * 10 + (isDigit ? digit(place) : 0)
            }
            isRounded = hasDigits(from: point + 3, first: first)
        } else if whole < 100_000_000_000_000 {
            milliseconds = whole
            isRounded = hasDigits(from: point, first: first)
        } else {
            milliseconds = whole / 1000
            isRounded = whole % 1000 != 0 || hasDigits(from: point, first: first)
        }
        let magnitude = Int64(milliseconds)
        return isNegative ? -magnitude - (isRounded ? 1 : 0) : magnitude
    }

    /// Whether any digit from `place` on is not 0.
    private func hasDigits(from place: Int, first: Int) -> Bool {
        var position = max(place, first)
        while position < digitCount {
            if digit(position) != 0 { return true }
            position += 1
        }
        return false
    }
}
