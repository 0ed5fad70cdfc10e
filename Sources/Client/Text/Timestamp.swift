internal import Core

/// A point in time in milliseconds since 1970-01-01T00:00Z, as queries name and answers show it.
///
/// Calendar arithmetic is Howard Hinnant's `days_from_civil` and its inverse: integers only,
/// proleptic Gregorian, the same on every machine.
public struct Timestamp: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Milliseconds since 1970-01-01T00:00Z; negative before.
    public let milliseconds: Int64

    /// A time by its milliseconds since 1970-01-01T00:00Z.
    public init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    /// Orders times by when they are.
    public static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.milliseconds < right.milliseconds
    }

    /// RFC 3339 in UTC; with milliseconds only where they are not zero.
    public var description: String {
        let day = floorDivide(milliseconds, 86_400_000)
        let inDay = Int(milliseconds - day * 86_400_000)
        let date = Timestamp.civil(days: day)
        var text = "\(Timestamp.pad(date.year, 4))-\(Timestamp.pad(date.month, 2))"
        text += "-\(Timestamp.pad(date.day, 2))T\(Timestamp.pad(inDay / 3_600_000, 2))"
        text += ":\(Timestamp.pad(inDay / 60_000 % 60, 2)):\(Timestamp.pad(inDay / 1000 % 60, 2))"
        let fraction = inDay % 1000
        return fraction == 0 ? text + "Z" : text + ".\(Timestamp.pad(fraction, 3))Z"
    }

    /// The first and the last instant that RFC 3339 can write and that Quipu files: years 0001 to
    /// 9999.
    static let earliest = Timestamp(milliseconds: -62_135_596_800_000)
    static let latest = Timestamp(milliseconds: 253_402_300_799_999)

    /// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
    static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = floorDivide(shifted, 400)
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
            - 719_468
    }

    static func civil(days: Int64) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = floorDivide(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let part = (5 * dayOfYear + 2) / 153
        let month = part < 10 ? part + 3 : part - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (Int(year), Int(month), Int(dayOfYear - (153 * part + 2) / 5 + 1))
    }

    static func daysInMonth(year: Int64, month: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    private static func pad(_ number: Int, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
}
