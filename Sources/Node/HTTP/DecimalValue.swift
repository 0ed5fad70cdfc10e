/// Values as users see them: exact decimals with at most six digits behind the point.
package enum DecimalValue {
    /// Millionths as a decimal without trailing zeros: 1500000 is `1.5`.
    package static func text(millionths: Int128) -> String {
        let magnitude = millionths.magnitude
        let whole = magnitude / 1_000_000
        var fraction = String(magnitude % 1_000_000)
        fraction = String(repeating: "0", count: 6 - fraction.count) + fraction
        while fraction.hasSuffix("0") { fraction.removeLast() }
        let sign = millionths < 0 ? "-" : ""
        return fraction.isEmpty ? "\(sign)\(whole)" : "\(sign)\(whole).\(fraction)"
    }

    /// `sum / count` in millionths, halves to the even neighbour.
    package static func average(sum: Int128, count: UInt64) -> Int128 {
        precondition(count > 0, "there is no average of nothing")
        let (quotient, rest) = sum.magnitude.quotientAndRemainder(dividingBy: UInt128(count))
        let twice = rest * 2
        let isUp = twice > count || (twice == count && quotient % 2 == 1)
        let magnitude = Int128(quotient + (isUp ? 1 : 0))
        return sum < 0 ? -magnitude : magnitude
    }
}
