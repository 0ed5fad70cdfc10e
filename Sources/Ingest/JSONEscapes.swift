/// Escapes in JSON strings: checked while a string is scanned, undone only where it is used.
enum JSONEscapes {
    /// The length of the escape that begins at the backslash at `start`; 0 if it is none. A
    /// surrogate must be followed by its other half: alone it stands for no text.
    static func length(_ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> Int {
        guard end - start >= 2 else { return 0 }
        switch start[1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
            UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return 2
        case UInt8(ascii: "u"):
            guard let first = unit(start, end) else { return 0 }
            if first & 0xfc00 == 0xdc00 { return 0 }
            guard first & 0xfc00 == 0xd800 else { return 6 }
            guard let second = unit(start + 6, end), second & 0xfc00 == 0xdc00 else { return 0 }
            return 12
        default:
            return 0
        }
    }

    /// The 16 bits of `\uXXXX` at `start`.
    private static func unit(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>
    ) -> UInt32? {
        guard end - start >= 6, start[0] == UInt8(ascii: "\\"), start[1] == UInt8(ascii: "u") else {
            return nil
        }
        var value: UInt32 = 0
        for position in 2..<6 {
            let byte = start[position]
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: return nil
            }
            value = value << 4 | UInt32(digit)
        }
        return value
    }

    /// Writes the text that the string content at `start` stands for; the number of bytes written,
    /// never more than `count`: an escape is at least as long as its UTF-8. The content was scanned
    /// before, so that every escape in it is one.
    static func undo(
        _ start: UnsafePointer<UInt8>, _ count: Int, into room: UnsafeMutablePointer<UInt8>
    ) -> Int {
        let end = start + count
        var cursor = start
        var written = 0
        while cursor < end {
            guard cursor.pointee == UInt8(ascii: "\\") else {
                room[written] = cursor.pointee
                written += 1
                cursor += 1
                continue
            }
            let length = length(cursor, end)
            precondition(length > 0, "an escape that passed the scan does not now")
            if length == 2 {
                room[written] = simple(cursor[1])
                written += 1
            } else {
                let scalar = scalar(cursor, end, length: length)
                written += encode(scalar, into: room + written)
            }
            cursor += length
        }
        return written
    }

    private static func simple(_ letter: UInt8) -> UInt8 {
        switch letter {
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "f"): 0x0c
        case UInt8(ascii: "n"): 0x0a
        case UInt8(ascii: "r"): 0x0d
        case UInt8(ascii: "t"): 0x09
        default: letter
        }
    }

    private static func scalar(
        _ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, length: Int
    ) -> UInt32 {
        let first = unit(start, end) ?? 0xfffd
        guard length == 12, let second = unit(start + 6, end) else { return first }
        return 0x10000 + (first & 0x3ff) << 10 + second & 0x3ff
    }

    private static func encode(_ scalar: UInt32, into room: UnsafeMutablePointer<UInt8>) -> Int {
        func byte(_ marker: UInt32, _ shift: UInt32, _ mask: UInt32) -> UInt8 {
            UInt8(truncatingIfNeeded: marker | scalar >> shift & mask)
        }
        if scalar < 0x80 {
            room[0] = byte(0, 0, 0x7f)
            return 1
        }
        if scalar < 0x800 {
            room[0] = byte(0xc0, 6, 0x1f)
            room[1] = byte(0x80, 0, 0x3f)
            return 2
        }
        if scalar < 0x10000 {
            room[0] = byte(0xe0, 12, 0x0f)
            room[1] = byte(0x80, 6, 0x3f)
            room[2] = byte(0x80, 0, 0x3f)
            return 3
        }
        room[0] = byte(0xf0, 18, 0x07)
        room[1] = byte(0x80, 12, 0x3f)
        room[2] = byte(0x80, 6, 0x3f)
        room[3] = byte(0x80, 0, 0x3f)
        return 4
    }
}
