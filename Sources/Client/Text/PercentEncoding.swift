/// Percent-encoding of what users name (keys, types, times) into one part of a URL, after RFC 3986.
///
/// Everything but the unreserved characters is encoded, so that `a/b`, `#`, `?` and `%` stay one
/// path component and a `+` in a query never turns into a space.
package enum PercentEncoding {
    package static func encode(_ text: some StringProtocol) -> String {
        var encoded: [UInt8] = []
        encoded.reserveCapacity(text.utf8.count)
        // A path treats `.` and `..` as steps, so a name that is only dots hides them.
        let isOnlyDots = text.utf8.allSatisfy { $0 == UInt8(ascii: ".") }
        for byte in text.utf8 {
            if isUnreserved(byte), !isOnlyDots {
                encoded.append(byte)
            } else {
                encoded.append(UInt8(ascii: "%"))
                encoded.append(hexadecimal[Int(byte >> 4)])
                encoded.append(hexadecimal[Int(byte & 15)])
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }

    /// `path?name=value&…`, without the pairs whose value is nil.
    package static func target(_ path: String, query: [(String, String?)]) -> String {
        let pairs = query.compactMap { name, value in
            value.map { "\(encode(name))=\(encode($0))" }
        }
        return pairs.isEmpty ? path : path + "?" + pairs.joined(separator: "&")
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"), UInt8(ascii: "~"):
            true
        default:
            false
        }
    }

    private static let hexadecimal = Array("0123456789ABCDEF".utf8)
}
