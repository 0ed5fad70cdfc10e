package import Core

/// Times in queries and answers. Integer arithmetic on the proleptic Gregorian calendar; the
/// algorithm for days is Hinnant's *chrono-compatible low-level date algorithms*.
package enum TimeText {
    /// The years that exist here, as for events.
    private static let years = 1...9999

    /// `now`, `-15m` (also s, h, d, w; `+` for later), `YYYY-MM-DD`, RFC 3339 with or without
    /// fraction and zone (none: UTC), or epoch seconds (below 1e11) or milliseconds (below 1e14).
    package static func parse(_ text: String, now: WallTime) -> WallTime? {
        let text = Array(text.utf8)
        if text == Array("now".utf8) { return now }
        return relative(text, now: now) ?? epoch(text) ?? calendar(text)
    }

    /// RFC 3339 in UTC; milliseconds only where there are any.
    package static func format(_ time: WallTime) -> String {
        let day = floorDivide(time.milliseconds, 86_400_000)
        let rest = time.milliseconds - day * 86_400_000
        let (year, month, dayOfMonth) = civil(day)
        let seconds = rest / 1000
        let fraction = rest % 1000 == 0 ? "" : "." + pad(rest % 1000, 3)
        return "\(pad(year, 4))-\(pad(month, 2))-\(pad(dayOfMonth, 2))"
            + "T\(pad(seconds / 3600, 2)):\(pad(seconds / 60 % 60, 2)):\(pad(seconds % 60, 2))"
            + "\(fraction)Z"
    }

    /// Its day in UTC: `YYYY-MM-DD`.
    package static func day(_ time: WallTime) -> String {
        let (year, month, day) = civil(floorDivide(time.milliseconds, 86_400_000))
        return "\(pad(year, 4))-\(pad(month, 2))-\(pad(day, 2))"
    }

    /// The same to the second, as part of a file's name: `20261127T120000Z`.
    package static func stamp(_ time: WallTime) -> String {
        let seconds = WallTime(milliseconds: floorDivide(time.milliseconds, 1000) * 1000)
        return format(seconds).filter { $0 != "-" && $0 != ":" }
    }

    // MARK: Forms

    private static func relative(_ text: [UInt8], now: WallTime) -> WallTime? {
        guard text.count >= 3, let sign = text.first, let unit = text.last,
            sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+"),
            let amount = digits(text[1..<text.count - 1]), amount < 1_000_000_000
        else { return nil }
        let length: Int64
        switch unit {
        case UInt8(ascii: "s"): length = 1000
        case UInt8(ascii: "m"): length = 60_000
        case UInt8(ascii: "h"): length = 3_600_000
        case UInt8(ascii: "d"): length = 86_400_000
        case UInt8(ascii: "w"): length = 604_800_000
        default: return nil
        }
        let distance = amount * length
        return checked(now.milliseconds + (sign == UInt8(ascii: "-") ? -distance : distance))
    }

    private static func epoch(_ text: [UInt8]) -> WallTime? {
        let isNegative = text.first == UInt8(ascii: "-")
        guard let magnitude = digits(text[(isNegative ? 1 : 0)...]) else { return nil }
        let milliseconds: Int64
        switch magnitude {
        case ..<100_000_000_000: milliseconds = magnitude * 1000
        case ..<100_000_000_000_000: milliseconds = magnitude
        default: return nil
        }
        return checked(isNegative ? -milliseconds : milliseconds)
    }

    private static func calendar(_ text: [UInt8]) -> WallTime? {
        guard text.count >= 10, text[4] == UInt8(ascii: "-"), text[7] == UInt8(ascii: "-"),
            let year = digits(text[0..<4]), let month = digits(text[5..<7]),
            let day = digits(text[8..<10]), years.contains(Int(year)), (1...12).contains(month),
            day >= 1, day <= length(of: month, in: year)
        else { return nil }
        var time = days(year, month, day) * 86_400_000
        if text.count > 10 {
            guard [UInt8(ascii: "T"), UInt8(ascii: "t"), UInt8(ascii: " ")].contains(text[10]),
                let rest = clock(text[11...])
            else { return nil }
            time += rest
        }
        return checked(time)
    }

    /// `HH:MM[:SS[.fff]][zone]` in milliseconds since midnight UTC.
    private static func clock(_ text: ArraySlice<UInt8>) -> Int64? {
        var rest = text
        guard let hour = two(&rest), hour < 24, skip(UInt8(ascii: ":"), &rest),
            let minute = two(&rest), minute < 60
        else { return nil }
        var time = (hour * 60 + minute) * 60_000
        if skip(UInt8(ascii: ":"), &rest) {
            guard let second = two(&rest), second <= 60 else { return nil }
            time += second * 1000
            if skip(UInt8(ascii: "."), &rest) {
                let fraction = rest.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
                guard !fraction.isEmpty else { return nil }
                for (place, scale) in zip(fraction, [100, 10, 1]) {
                    time += Int64(place - UInt8(ascii: "0")) * Int64(scale)
                }
                rest = rest.dropFirst(fraction.count)
            }
        }
        guard let zone = zone(rest) else { return nil }
        return time - zone
    }

    private static func zone(_ text: ArraySlice<UInt8>) -> Int64? {
        guard let sign = text.first else { return 0 }
        if text.count == 1 {
            return sign == UInt8(ascii: "Z") || sign == UInt8(ascii: "z") ? 0 : nil
        }
        guard sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") else { return nil }
        var rest = text.dropFirst()
        guard let hours = two(&rest), hours < 24 else { return nil }
        _ = skip(UInt8(ascii: ":"), &rest)
        guard let minutes = two(&rest), minutes < 60, rest.isEmpty else { return nil }
        let offset = (hours * 60 + minutes) * 60_000
        return sign == UInt8(ascii: "-") ? -offset : offset
    }

    // MARK: Pieces

    private static func two(_ text: inout ArraySlice<UInt8>) -> Int64? {
        guard text.count >= 2, let number = digits(text.prefix(2)) else { return nil }
        text = text.dropFirst(2)
        return number
    }

    private static func skip(_ byte: UInt8, _ text: inout ArraySlice<UInt8>) -> Bool {
        guard text.first == byte else { return false }
        text = text.dropFirst()
        return true
    }

    private static func digits(_ text: ArraySlice<UInt8>) -> Int64? {
        guard !text.isEmpty, text.count <= 15 else { return nil }
        var number: Int64 = 0
        for byte in text {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            number = number * 10 + Int64(byte - UInt8(ascii: "0"))
        }
        return number
    }

    /// nil outside the years that exist.
    private static func checked(_ milliseconds: Int64) -> WallTime? {
        let first = days(1, 1, 1) * 86_400_000
        let end = days(10_000, 1, 1) * 86_400_000
        return milliseconds >= first && milliseconds <= end
            ? WallTime(milliseconds: milliseconds) : nil
    }

    private static func length(of month: Int64, in year: Int64) -> Int64 {
        switch month {
        case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = floorDivide(shifted, 400)
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
            - 719_468
    }

    private static func civil(_ day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = day + 719_468
        let era = floorDivide(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let dayOfMonth = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfMonth)
    }

    private static func pad(_ number: Int64, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
}
