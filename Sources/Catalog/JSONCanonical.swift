/// Why a text is no JSON object.
package struct JSONTextError: Error, Hashable, Sendable, CustomStringConvertible {
    package let what: String
    /// In the text that was read.
    package let offset: Int

    package var description: String { "\(what) at byte \(offset)" }
}

/// JSON in one form: objects sorted by their names' bytes, no blanks, the shortest escapes, numbers
/// as they were written. Foundation's parser would turn numbers into doubles and keys into strings
/// that compare by Unicode equivalence; attributes are bytes.
package enum JSONCanonical {
    /// A member of an object: its name without escapes, its value in canonical form.
    package struct Member: Hashable, Sendable {
        package var name: [UInt8]
        package var value: [UInt8]

        package init(name: [UInt8], value: [UInt8]) {
            self.name = name
            self.value = value
        }
    }

    /// The members of an object, sorted. Of a name that stands twice the last value is taken.
    package static func members(of text: ArraySlice<UInt8>) throws(JSONTextError) -> [Member] {
        guard String(validating: text, as: UTF8.self) != nil else {
            throw JSONTextError(what: "invalid UTF-8", offset: 0)
        }
        var reader = JSONReader(text)
        reader.skipBlanks()
        let members = try reader.object(depth: 0)
        reader.skipBlanks()
        guard reader.isAtEnd else { throw reader.fail("more text after the object") }
        return members
    }

    package static func object(_ members: [Member]) -> [UInt8] {
        var text: [UInt8] = [UInt8(ascii: "{")]
        for (position, member) in members.enumerated() {
            if position > 0 { text.append(UInt8(ascii: ",")) }
            append(string: member.name, to: &text)
            text.append(UInt8(ascii: ":"))
            text.append(contentsOf: member.value)
        }
        text.append(UInt8(ascii: "}"))
        return text
    }

    package static func string(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        append(string: bytes, to: &text)
        return text
    }

    package static func isCanonicalObject(_ text: [UInt8]) -> Bool {
        do {
            return object(try members(of: text[...])) == text
        } catch {
            return false
        }
    }

    /// A value without quotes and escapes if it is a string, else as it is written: what a key, a
    /// group or a column of a table shows.
    package static func plain(_ value: [UInt8]) -> [UInt8] {
        guard value.first == UInt8(ascii: "\"") else { return value }
        var reader = JSONReader(value[...])
        do {
            return try reader.string()
        } catch {
            return value
        }
    }

    /// The plain value of an attribute in a row's content, nil where it has none.
    package static func plainValue(of name: [UInt8], in json: [UInt8]) -> [UInt8]? {
        plainValue(quoted: string(name), in: json)
    }

    /// The same with the name as it stands in canonical JSON. What is passed over is skipped, not
    /// read: the text must be canonical.
    package static func plainValue(quoted name: [UInt8], in json: [UInt8]) -> [UInt8]? {
        let range = json.withUnsafeBufferPointer { text in
            name.withUnsafeBufferPointer { value(quoted: $0, in: text) }
        }
        return range.map { plain(Array(json[$0])) }
    }

    private static func value(
        quoted name: UnsafeBufferPointer<UInt8>, in text: UnsafeBufferPointer<UInt8>
    ) -> Range<Int>? {
        var place = 1
        while place < text.count, text[place] == UInt8(ascii: "\"") {
            let end = pastString(text, from: place)
            guard end < text.count, text[end] == UInt8(ascii: ":") else { return nil }
            let isName =
                end - place == name.count
                && zip(place..<end, name).allSatisfy { text[$0] == $1 }
            let last = pastValue(text, from: end + 1)
            guard last < text.count else { return nil }
            if isName { return end + 1..<last }
            // A comma, or the object's brace.
            place = last + 1
        }
        return nil
    }

    /// Behind the quotation mark that ends a string.
    private static func pastString(_ text: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        var place = start + 1
        while place < text.count {
            if text[place] == UInt8(ascii: "\"") { return place + 1 }
            place += text[place] == UInt8(ascii: "\\") ? 2 : 1
        }
        return text.count
    }

    /// At the comma or bracket behind a value.
    private static func pastValue(_ text: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        var place = start
        var depth = 0
        while place < text.count {
            switch text[place] {
            case UInt8(ascii: "\""):
                place = pastString(text, from: place)
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 0 { return place }
                depth -= 1
            case UInt8(ascii: ","):
                if depth == 0 { return place }
            default:
                break
            }
            place += 1
        }
        return text.count
    }

    /// Names' bytes in ascending order; of equal names the last stands.
    static func sorted(_ members: [Member]) -> [Member] {
        let ranked = members.enumerated().sorted {
            $0.element.name == $1.element.name
                ? $0.offset < $1.offset
                : $0.element.name.lexicographicallyPrecedes($1.element.name)
        }
        var sorted: [Member] = []
        for (_, member) in ranked {
            if sorted.last?.name == member.name { sorted.removeLast() }
            sorted.append(member)
        }
        return sorted
    }

    static func append(string bytes: some Sequence<UInt8>, to text: inout [UInt8]) {
        text.append(UInt8(ascii: "\""))
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "\""): text.append(contentsOf: #"\""#.utf8)
            case UInt8(ascii: "\\"): text.append(contentsOf: #"\\"#.utf8)
            case 0x08: text.append(contentsOf: #"\b"#.utf8)
            case 0x09: text.append(contentsOf: #"\t"#.utf8)
            case 0x0a: text.append(contentsOf: #"\n"#.utf8)
            case 0x0c: text.append(contentsOf: #"\f"#.utf8)
            case 0x0d: text.append(contentsOf: #"\r"#.utf8)
            case 0x00..<0x20:
                text.append(contentsOf: #"\u00"#.utf8)
                text.append(hex[Int(byte >> 4)])
                text.append(hex[Int(byte & 15)])
            default: text.append(byte)
            }
        }
        text.append(UInt8(ascii: "\""))
    }

    private static let hex = Array("0123456789abcdef".utf8)
}
