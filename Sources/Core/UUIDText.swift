/// UUIDs as text, without Foundation: 8-4-4-4-12 lower-case hexadecimal digits.
package enum UUIDText {
    package static func format(_ value: UInt128) -> String {
        var text = ""
        text.reserveCapacity(36)
        for position in 0..<32 {
            if position == 8 || position == 12 || position == 16 || position == 20 {
                text.append("-")
            }
            let digit = Int(truncatingIfNeeded: value >> UInt128((31 - position) * 4)) & 15
            text.unicodeScalars.append(digits[digit])
        }
        return text
    }

    /// Parses 8-4-4-4-12 or 32 hexadecimal digits of either case; nil for anything else.
    package static func parse(_ text: some StringProtocol) -> UInt128? {
        var value: UInt128 = 0
        var count = 0
        var position = 0
        for byte in text.utf8 {
            if byte == UInt8(ascii: "-") {
                guard [8, 13, 18, 23].contains(position) else { return nil }
            } else {
                guard let digit = Self.digit(byte), count < 32 else { return nil }
                value = value << 4 | UInt128(digit)
                count += 1
            }
            position += 1
        }
        return count == 32 && (position == 32 || position == 36) ? value : nil
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private static let digits = Array("0123456789abcdef".unicodeScalars)
}
