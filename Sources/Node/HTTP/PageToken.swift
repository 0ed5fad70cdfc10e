internal import Core
package import Replication
internal import Storage
internal import Wire

/// Where a list goes on: opaque to clients, safe in a URL, checked when it comes back.
package enum PageToken {
    package static func text(key: [UInt8]) -> String {
        Base64.encode(key, .url)
    }

    package static func key(_ text: String?) throws(Problem) -> [UInt8]? {
        guard let text else { return nil }
        guard let key = Base64.decode(text), !key.isEmpty, key.count <= Limits.keyMax else {
            throw unusable(text)
        }
        return key
    }

    package static func text(place: DeadLetterQuery.Place) -> String {
        var writer = ByteWriter()
        writer.write(fixed: place.segment.number)
        writer.write(place.id)
        writer.write(fixed: place.line)
        return Base64.encode(writer.bytes, .url)
    }

    package static func place(_ text: String?) throws(Problem) -> DeadLetterQuery.Place? {
        guard let text else { return nil }
        guard let bytes = Base64.decode(text) else { throw unusable(text) }
        var reader = ByteReader(bytes)
        do throws(DecodeError) {
            let place = DeadLetterQuery.Place(
                segment: Segment(try reader.fixed()), id: try reader.batchID(),
                line: try reader.fixed())
            try reader.finish()
            return place
        } catch {
            throw unusable(text)
        }
    }

    private static func unusable(_ text: String) -> Problem {
        .badRequest("page=\(text) is no token of this list; begin again without it")
    }
}

/// RFC 4648, with the URL-safe alphabet or the usual one. Read without padding or with it.
package enum Base64 {
    package enum Alphabet: Sendable {
        case standard
        case url
    }

    package static func encode(_ bytes: [UInt8], _ alphabet: Alphabet) -> String {
        let letters = alphabet == .url ? urlLetters : letters
        var text: [UInt8] = []
        var start = 0
        while start < bytes.count {
            let count = min(3, bytes.count - start)
            var word: UInt32 = 0
            for place in 0..<3 {
                word = word << 8 | (place < count ? UInt32(bytes[start + place]) : 0)
            }
            for place in 0...count {
                text.append(letters[Int(word >> UInt32(18 - place * 6)) & 63])
            }
            if alphabet == .standard {
                for _ in count..<3 { text.append(UInt8(ascii: "=")) }
            }
            start += 3
        }
        return String(decoding: text, as: UTF8.self)
    }

    package static func decode(_ text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        var word: UInt32 = 0
        var bits = 0
        for byte in text.utf8 where byte != UInt8(ascii: "=") {
            guard let value = urlLetters.firstIndex(of: byte) ?? letters.firstIndex(of: byte) else {
                return nil
            }
            word = (word << 6 | UInt32(value)) & 0xffff
            bits += 6
            if bits >= 8 {
                bits -= 8
                bytes.append(UInt8(truncatingIfNeeded: word >> UInt32(bits)))
            }
        }
        return bits < 6 ? bytes : nil
    }

    private static let common =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    private static let letters = Array("\(common)+/".utf8)
    private static let urlLetters = Array("\(common)-_".utf8)
}
