extension Timestamp {
    /// Reads a time as the command line takes it: RFC 3339 (`2015-02-22T21:17:00Z`), `YYYY-MM-DD`
    /// (its midnight, UTC), epoch seconds (below 1e11) or milliseconds, `now`, or relative to `now`
    /// such as `-15m`, `-2h` or `-7d`. Nil for anything else.
    ///
    /// - Parameters:
    ///   - text: What the user wrote.
    ///   - now: What `now` and relative times refer to.
    public init?(_ text: some StringProtocol, now: Timestamp) {
        let bytes = Array(text.utf8)
        let parsed =
            text == "now"
            ? now
            : Timestamp.relative(bytes, now: now) ?? Timestamp.epoch(bytes) ?? Timestamp.date(bytes)
        guard let parsed, parsed >= Timestamp.earliest, parsed <= Timestamp.latest else {
            return nil
        }
        self = parsed
    }

    /// Epoch seconds or milliseconds, told apart by their size as in events.
    private static func epoch(_ bytes: [UInt8]) -> Timestamp? {
        let digits = bytes.first == UInt8(ascii: "-") ? bytes.dropFirst() : bytes[...]
        guard digits.count <= 18, var number = Timestamp.number(digits) else { return nil }
        if digits.count < bytes.count { number = -number }
        return Timestamp(milliseconds: number.magnitude < 100_000_000_000 ? number * 1000 : number)
    }

    /// `-15m`, `+2h`: a sign, a number and one of `s`, `m`, `h`, `d`, `w`.
    private static func relative(_ bytes: [UInt8], now: Timestamp) -> Timestamp? {
        guard let sign = bytes.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+"),
            let unit = bytes.last, bytes.count >= 3, bytes.count <= 12,
            let amount = number(bytes[1..<(bytes.count - 1)])
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
        let distance = sign == UInt8(ascii: "-") ? -amount : amount
        let (product, overflow) = distance.multipliedReportingOverflow(by: length)
        guard !overflow else { return nil }
        let (sum, beyond) = now.milliseconds.addingReportingOverflow(product)
        return beyond ? nil : Timestamp(milliseconds: sum)
    }

    /// `YYYY-MM-DD`, alone or with `T` or a space, `HH:MM[:SS[.fraction]]` and a zone (UTC without
    /// one).
    private static func date(_ bytes: [UInt8]) -> Timestamp? {
        guard bytes.count >= 10, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
            let year = number(bytes[0..<4]), let month = number(bytes[5..<7]),
            let day = number(bytes[8..<10]), (1...12).contains(month), day >= 1,
            day <= daysInMonth(year: year, month: month)
        else { return nil }
        let midnight = days(year: year, month: month, day: day) * 86_400_000
        guard bytes.count > 10 else { return Timestamp(milliseconds: midnight) }
        guard [UInt8(ascii: "T"), UInt8(ascii: "t"), UInt8(ascii: " ")].contains(bytes[10]),
            let inDay = clock(bytes[11...])
        else { return nil }
        return Timestamp(milliseconds: midnight + inDay)
    }

    /// Milliseconds since midnight UTC of `HH:MM[:SS[.fraction]][Z|±HH:MM]`.
    private static func clock(_ bytes: ArraySlice<UInt8>) -> Int64? {
        var rest = bytes
        guard let hour = field(&rest), rest.popFirst() == UInt8(ascii: ":"),
            let minute = field(&rest), hour <= 23, minute <= 59
        else { return nil }
        var milliseconds = (hour * 60 + minute) * 60_000
        if rest.first == UInt8(ascii: ":") {
            rest.removeFirst()
            guard let second = field(&rest), second <= 60 else { return nil }
            milliseconds += second * 1000
            if rest.first == UInt8(ascii: ".") {
                rest.removeFirst()
                guard let fraction = fraction(&rest) else { return nil }
                milliseconds += fraction
            }
        }
        guard let offset = zone(rest) else { return nil }
        return milliseconds - offset
    }

    private static func zone(_ bytes: ArraySlice<UInt8>) -> Int64? {
        var rest = bytes
        guard let first = rest.popFirst() else { return 0 }
        if first == UInt8(ascii: "Z") || first == UInt8(ascii: "z") {
            return rest.isEmpty ? 0 : nil
        }
        guard first == UInt8(ascii: "+") || first == UInt8(ascii: "-"), let hour = field(&rest),
            rest.popFirst() == UInt8(ascii: ":"), let minute = field(&rest), rest.isEmpty,
            hour <= 23, minute <= 59
        else { return nil }
        let offset = (hour * 60 + minute) * 60_000
        return first == UInt8(ascii: "-") ? -offset : offset
    }

    /// Two digits.
    private static func field(_ rest: inout ArraySlice<UInt8>) -> Int64? {
        guard rest.count >= 2, let value = number(rest.prefix(2)) else { return nil }
        rest = rest.dropFirst(2)
        return value
    }

    /// The digits of a fraction of a second, cut to milliseconds.
    private static func fraction(_ rest: inout ArraySlice<UInt8>) -> Int64? {
        var milliseconds: Int64 = 0
        var count = 0
        while let byte = rest.first, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
            if count < 3 { milliseconds = milliseconds * 10 + Int64(byte - UInt8(ascii: "0")) }
            count += 1
            rest.removeFirst()
        }
        guard count > 0 else { return nil }
        for _ in min(count, 3)..<3 { milliseconds *= 10 }
        return milliseconds
    }

    /// Up to 18 digits and nothing else.
    private static func number(_ bytes: some Collection<UInt8>) -> Int64? {
        guard !bytes.isEmpty, bytes.count <= 18 else { return nil }
        var value: Int64 = 0
        for byte in bytes {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            value = value * 10 + Int64(byte - UInt8(ascii: "0"))
        }
        return value
    }
}
