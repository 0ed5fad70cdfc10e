/// Numbers for people.
package enum Quantity {
    /// `1234567` as `1,234,567`.
    package static func grouped(_ number: Int) -> String {
        var text = String(number.magnitude)
        var position = text.count - 3
        while position > 0 {
            text.insert(",", at: text.index(text.startIndex, offsetBy: position))
            position -= 3
        }
        return number < 0 ? "-" + text : text
    }

    /// `1 batch`, `2 batches`.
    package static func plural(_ number: Int, _ one: String, _ many: String) -> String {
        "\(grouped(number)) \(number == 1 ? one : many)"
    }

    /// Bytes as nodetool shows them: `1.25 MiB`.
    package static func bytes(_ count: Double) -> String {
        var value = count
        var unit = 0
        let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
        while value >= 1024, unit + 1 < units.count {
            value /= 1024
            unit += 1
        }
        return unit == 0 ? "\(Int(value)) bytes" : "\(fixed(value, digits: 2)) \(units[unit])"
    }

    /// A number with so many digits after its point, rounded half up.
    package static func fixed(_ value: Double, digits: Int) -> String {
        var factor = 1.0
        for _ in 0..<digits { factor *= 10 }
        let scaled = (value.magnitude * factor).rounded(.toNearestOrAwayFromZero)
        guard scaled < 9e15 else { return "\(value)" }
        let whole = Int(scaled / factor)
        let rest = String(Int(scaled) - whole * Int(factor))
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard digits > 0 else { return "\(sign)\(whole)" }
        return "\(sign)\(whole)." + String(repeating: "0", count: digits - rest.count) + rest
    }

    /// Seconds as `0:07` or `1:02:03`.
    package static func clock(_ seconds: Int) -> String {
        let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60)
        func pad(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return hours > 0 ? "\(hours):\(pad(minutes)):\(pad(rest))" : "\(minutes):\(pad(rest))"
    }

    /// Reads `500ms`, `60s`, `2m`, `1h`, or seconds without a unit; nil for anything else.
    package static func duration(_ text: String) -> Duration? {
        let units: [(String, Int64)] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
        for (suffix, length) in units where text.hasSuffix(suffix) {
            guard let number = whole(text.dropLast(suffix.count)) else { return nil }
            return .milliseconds(number * length)
        }
        return whole(text[...]).map { .seconds($0) }
    }

    /// Reads `5000/s` or `5000`; nil for anything else.
    package static func rate(_ text: String) -> Int? {
        let digits = text.hasSuffix("/s") ? text.dropLast(2) : text[...]
        return whole(digits).map { Int($0) }
    }

    /// Reads `512MiB`, `1GiB`, or bytes without a unit; nil for anything else.
    package static func byteCount(_ text: String) -> Int? {
        let units: [(String, Int)] = [
            ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
        ]
        for (suffix, length) in units where text.hasSuffix(suffix) {
            return whole(text.dropLast(suffix.count)).flatMap { number in
                let (bytes, isTooMany) = Int(number).multipliedReportingOverflow(by: length)
                return isTooMany ? nil : bytes
            }
        }
        return Int(text).flatMap { $0 > 0 ? $0 : nil }
    }

    /// Positive and below a billion.
    private static func whole(_ digits: Substring) -> Int64? {
        guard let number = Int64(digits), (1..<1_000_000_000).contains(number) else { return nil }
        return number
    }
}
