import Core

/// Reads event times (docs/formats/events.md, *Times*) as milliseconds since 1970, in integers
/// only.
///
/// Days are counted with Hinnant's *days from civil* in the proleptic Gregorian calendar. The day
/// and the minute read last are remembered with their text, since events that follow each other
/// mostly share them.
struct TimeParser {
    /// The first and the last millisecond of the years 1 to 9999.
    static let range: ClosedRange<Int64> = -62_135_596_800_000...253_402_300_799_999

    private static let dayLength: Int64 = 86_400_000

    /// The first eight and the next two characters of a day, and its first millisecond. At first
    /// that of 1970, since all else that could stand here might be a text that is no day.
    private var dayText: (UInt64, UInt16) = (TimeParser.firstDay, 0x3031)
    private var dayStart: Int64 = 0

    /// Both halves of a minute such as `2015-02-22T21:17`, and its first millisecond.
    private var minuteText: (UInt64, UInt64) = (TimeParser.firstDay, 0x3030_3a30_3054_3130)
    private var minuteStart: Int64 = 0

    /// `1970-01-` as a little-endian word.
    private static let firstDay: UInt64 = 0x2d31_302d_3037_3931

    /// Nil for what is no time, or one outside the years 1 to 9999.
    @inline(__always)
    mutating func parse(_ start: UnsafePointer<UInt8>, _ count: Int) -> Int64? {
        // 2015-02-22T21:17:00Z, by far the most frequent form, and mostly of the minute before.
        if count == 20, ByteScan.word(start) == minuteText.0,
            ByteScan.word(start + 8) == minuteText.1
        {
            let rest = ByteScan.halfWord(start + 16)
            let tens = rest >> 8 & 0xff &- 0x30
            let ones = rest >> 16 & 0xff &- 0x30
            if rest & 0xff00_00ff == 0x5a00_003a, tens < 6, ones < 10 {
                return minuteStart &+ Int64(tens &* 10 &+ ones) &* 1000
            }
        }
        return parseMinute(start, count) ?? parseAny(start, count)
    }

    /// The same form in another minute than the one before.
    private mutating func parseMinute(_ start: UnsafePointer<UInt8>, _ count: Int) -> Int64? {
        guard count == 20, start[19] == UInt8(ascii: "Z"), start[10] == UInt8(ascii: "T"),
            start[13] == UInt8(ascii: ":"), start[16] == UInt8(ascii: ":"),
            let day = parseDay(start), let hour = TimeParser.pair(start + 11), hour < 24,
            let minute = TimeParser.pair(start + 14), minute < 60,
            let second = TimeParser.pair(start + 17), second < 60
        else { return nil }
        minuteText = (ByteScan.word(start), ByteScan.word(start + 8))
        minuteStart = day + (hour * 60 + minute) * 60_000
        return minuteStart + second * 1000
    }

    private mutating func parseAny(_ start: UnsafePointer<UInt8>, _ count: Int) -> Int64? {
        var time: Int64?
        if count >= 10, start[4] == UInt8(ascii: "-"), start[7] == UInt8(ascii: "-") {
            time = parseCivil(start, count)
        } else if count >= 26, start[0] == UInt8(ascii: "[") || start[2] == UInt8(ascii: "/") {
            time = parseLogTime(start, count)
        } else {
            time = DecimalText(start, count)?.epochMilliseconds()
        }
        guard let time, TimeParser.range.contains(time) else { return nil }
        return time
    }

    // MARK: - RFC 3339 and its relatives

    /// `YYYY-MM-DD`: at least ten bytes stand at `start`. The first millisecond of the day.
    @inline(__always)
    private mutating func parseDay(_ start: UnsafePointer<UInt8>) -> Int64? {
        let head = ByteScan.word(start)
        let tail = UInt16(start[8]) << 8 | UInt16(start[9])
        if head == dayText.0, tail == dayText.1 { return dayStart }
        return parseNewDay(start, head, tail)
    }

    private mutating func parseNewDay(
        _ start: UnsafePointer<UInt8>, _ head: UInt64, _ tail: UInt16
    ) -> Int64? {
        guard start[4] == UInt8(ascii: "-"), start[7] == UInt8(ascii: "-"),
            let century = TimeParser.pair(start), let year = TimeParser.pair(start + 2),
            let month = TimeParser.pair(start + 5), let day = TimeParser.pair(start + 8),
            let days = TimeParser.days(year: century * 100 + year, month: month, day: day)
        else { return nil }
        dayText = (head, tail)
        dayStart = days * TimeParser.dayLength
        return dayStart
    }

    /// `YYYY-MM-DD`, then perhaps `T` or a space, `HH:MM`, perhaps `:SS` with perhaps a fraction,
    /// and perhaps a zone. UTC where none stands.
    private mutating func parseCivil(_ start: UnsafePointer<UInt8>, _ count: Int) -> Int64? {
        guard let day = parseDay(start) else { return nil }
        if count == 10 { return day }
        let separator = start[10]
        guard count >= 16, separator | 0x20 == UInt8(ascii: "t") || separator == UInt8(ascii: " "),
            let hour = TimeParser.pair(start + 11), hour < 24, start[13] == UInt8(ascii: ":"),
            let minute = TimeParser.pair(start + 14), minute < 60
        else { return nil }
        let end = start + count
        var cursor = start + 16
        var second: Int64 = 0
        var fraction: Int64 = 0
        if end - cursor >= 3, cursor.pointee == UInt8(ascii: ":") {
            guard let number = TimeParser.pair(cursor + 1), number <= 60 else { return nil }
            second = number
            cursor += 3
            if cursor < end, cursor.pointee == UInt8(ascii: ".") {
                cursor += 1
                guard let part = TimeParser.fraction(&cursor, end) else { return nil }
                fraction = part
            }
        }
        guard let zone = TimeParser.zone(cursor, end, withColon: true) else { return nil }
        guard
            let time = TimeParser.time(day + (hour * 60 + minute - zone) * 60_000, second: second)
        else { return nil }
        return time + fraction
    }

    /// A leap second stands at the end of a UTC day, and is counted as the second after it; nil at
    /// any other place.
    private static func time(_ minute: Int64, second: Int64) -> Int64? {
        let time = minute + second * 1000
        if second == 60, floorDivide(time, dayLength) * dayLength != time { return nil }
        return time
    }

    /// Digits behind a point: at least one; those beyond the third are cut.
    private static func fraction(
        _ cursor: inout UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> Int64? {
        var value: Int64 = 0
        var digits = 0
        while cursor < end, cursor.pointee &- UInt8(ascii: "0") < 10 {
            if digits < 3 { value = value * 10 + Int64(cursor.pointee &- UInt8(ascii: "0")) }
            digits += 1
            cursor += 1
        }
        guard digits > 0 else { return nil }
        return digits == 1 ? value * 100 : digits == 2 ? value * 10 : value
    }

    /// Minutes east of UTC from what is left: nothing or `Z` (only with a colon), or `±HH:MM`, in
    /// logs `±HHMM`.
    private static func zone(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, withColon: Bool
    ) -> Int64? {
        let left = end - start
        if withColon {
            if left == 0 { return 0 }
            if left == 1 { return start.pointee | 0x20 == UInt8(ascii: "z") ? 0 : nil }
        }
        guard left == (withColon ? 6 : 5),
            start.pointee == UInt8(ascii: "+") || start.pointee == UInt8(ascii: "-"),
            let hours = pair(start + 1), hours < 24, !withColon || start[3] == UInt8(ascii: ":"),
            let minutes = pair(start + (withColon ? 4 : 3)), minutes < 60
        else { return nil }
        let total = hours * 60 + minutes
        return start.pointee == UInt8(ascii: "-") ? -total : total
    }

    // MARK: - Common Log Format

    /// `22/Feb/2015:21:17:00 +0000`, with or without its brackets. At least 26 bytes.
    private mutating func parseLogTime(_ text: UnsafePointer<UInt8>, _ length: Int) -> Int64? {
        var start = text
        var count = length
        if start.pointee == UInt8(ascii: "[") {
            guard count == 28, start[27] == UInt8(ascii: "]") else { return nil }
            start += 1
            count -= 2
        }
        guard count == 26, start[2] == UInt8(ascii: "/"), start[6] == UInt8(ascii: "/"),
            start[11] == UInt8(ascii: ":"), start[14] == UInt8(ascii: ":"),
            start[17] == UInt8(ascii: ":"), start[20] == UInt8(ascii: " "),
            let day = TimeParser.pair(start), let month = TimeParser.month(start + 3),
            let century = TimeParser.pair(start + 7), let year = TimeParser.pair(start + 9),
            let hour = TimeParser.pair(start + 12), hour < 24,
            let minute = TimeParser.pair(start + 15), minute < 60,
            let second = TimeParser.pair(start + 18), second <= 60,
            let zone = TimeParser.zone(start + 21, start + 26, withColon: false),
            let days = TimeParser.days(year: century * 100 + year, month: month, day: day)
        else { return nil }
        return TimeParser.time(
            days * TimeParser.dayLength + (hour * 60 + minute - zone) * 60_000, second: second)
    }

    private static let months = Array("JanFebMarAprMayJunJulAugSepOctNovDec".utf8)

    private static func month(_ start: UnsafePointer<UInt8>) -> Int64? {
        for month in 0..<12
        where months[month * 3] == start[0] && months[month * 3 + 1] == start[1]
            && months[month * 3 + 2] == start[2]
        {
            return Int64(month + 1)
        }
        return nil
    }

    // MARK: - Arithmetic

    /// Two digits.
    @inline(__always)
    private static func pair(_ start: UnsafePointer<UInt8>) -> Int64? {
        let tens = start[0] &- UInt8(ascii: "0")
        let ones = start[1] &- UInt8(ascii: "0")
        guard tens < 10, ones < 10 else { return nil }
        return Int64(tens &* 10 &+ ones)
    }

    /// Days since 1970-01-01; nil for a day that no calendar has.
    static func days(year: Int64, month: Int64, day: Int64) -> Int64? {
        guard year >= 1, (1...12).contains(month), day >= 1 else { return nil }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let length: Int64 =
            switch month {
            case 2: isLeap ? 29 : 28
            case 4, 6, 9, 11: 30
            default: 31
            }
        guard day <= length else { return nil }
        // Years begin in March, so that the leap day is the last of its year.
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted % 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}
