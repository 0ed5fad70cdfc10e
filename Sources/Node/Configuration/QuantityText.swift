import Core

/// Durations and sizes as people write them: `200ms`, `5s`, `1m`, `1h`, `1d`, `64MiB`.
package enum QuantityText {
    /// Nil for anything but a whole number with one of the units.
    package static func duration(_ text: String) -> Duration? {
        guard let (number, unit) = split(text), let length = durations[unit] else { return nil }
        let (milliseconds, isOver) = number.multipliedReportingOverflow(by: length)
        // A thousand years, so that sums of durations stay far from their type's end.
        guard !isOver, milliseconds <= 365_000 * 86_400_000 else { return nil }
        return .milliseconds(milliseconds)
    }

    /// Nil for anything but a whole number, alone or with one of the units.
    package static func bytes(_ text: String) -> Int? {
        guard let (number, unit) = split(text), let size = sizes[unit] else { return nil }
        let (bytes, isOver) = number.multipliedReportingOverflow(by: size)
        return isOver ? nil : Int(bytes)
    }

    package static func format(_ duration: Duration) -> String {
        let milliseconds = duration.milliseconds
        for (unit, length) in [
            ("d", Int64(86_400_000)), ("h", 3_600_000), ("m", 60_000), ("s", 1000),
        ]
        where milliseconds != 0 && milliseconds % length == 0 {
            return "\(milliseconds / length)\(unit)"
        }
        return "\(milliseconds)ms"
    }

    package static func format(bytes: Int) -> String {
        for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        where bytes != 0 && bytes % size == 0 {
            return "\(bytes / size)\(unit)"
        }
        return "\(bytes)"
    }

    private static let durations: [String: Int64] = [
        "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000,
    ]
    private static let sizes: [String: Int64] = [
        "": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
    ]

    private static func split(_ text: String) -> (Int64, String)? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let number = Int64(digits) else { return nil }
        return (number, String(text.dropFirst(digits.count)))
    }
}
