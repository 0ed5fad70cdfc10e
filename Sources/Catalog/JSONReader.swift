/// Reads JSON (RFC 8259) and gives each value back in canonical form. Depth is bounded, so that no
/// text can exhaust the stack.
struct JSONReader {
    private let text: ArraySlice<UInt8>
    private var position: Int

    init(_ text: ArraySlice<UInt8>) {
        self.text = text
        position = text.startIndex
    }

    var isAtEnd: Bool { position == text.endIndex }

    func fail(_ what: String) -> JSONTextError {
        JSONTextError(what: what, offset: position - text.startIndex)
    }

    mutating func skipBlanks() {
        while let byte = peek, byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d {
            position += 1
        }
    }

    mutating func object(depth: Int) throws(JSONTextError) -> [JSONCanonical.Member] {
        guard depth < CatalogLimits.jsonDepthMax else { throw fail("nested too deeply") }
        try expect(UInt8(ascii: "{"), "no object")
        var members: [JSONCanonical.Member] = []
        skipBlanks()
        if take(UInt8(ascii: "}")) { return [] }
        repeat {
            skipBlanks()
            let name = try string()
            skipBlanks()
            try expect(UInt8(ascii: ":"), "no colon after a name")
            let value = try value(depth: depth + 1)
            members.append(JSONCanonical.Member(name: name, value: value))
            skipBlanks()
        } while take(UInt8(ascii: ","))
        try expect(UInt8(ascii: "}"), "no comma or brace after a value")
        return JSONCanonical.sorted(members)
    }

    /// A string's bytes without quotes and escapes.
    mutating func string() throws(JSONTextError) -> [UInt8] {
        try expect(UInt8(ascii: "\""), "no string")
        var bytes: [UInt8] = []
        while let byte = peek {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return bytes
            case UInt8(ascii: "\\"):
                position += 1
                try escape(into: &bytes)
            case 0x00..<0x20:
                throw fail("a control character in a string")
            default:
                bytes.append(byte)
                position += 1
            }
        }
        throw fail("a string without end")
    }

    private mutating func value(depth: Int) throws(JSONTextError) -> [UInt8] {
        skipBlanks()
        switch peek {
        case UInt8(ascii: "{"):
            return JSONCanonical.object(try object(depth: depth))
        case UInt8(ascii: "["):
            return try array(depth: depth)
        case UInt8(ascii: "\""):
            return JSONCanonical.string(try string())
        case UInt8(ascii: "t"):
            return try word("true")
        case UInt8(ascii: "f"):
            return try word("false")
        case UInt8(ascii: "n"):
            return try word("null")
        default:
            return try number()
        }
    }

    private mutating func array(depth: Int) throws(JSONTextError) -> [UInt8] {
        guard depth < CatalogLimits.jsonDepthMax else { throw fail("nested too deeply") }
        position += 1
        var result: [UInt8] = [UInt8(ascii: "[")]
        skipBlanks()
        if take(UInt8(ascii: "]")) { return Array("[]".utf8) }
        repeat {
            if result.count > 1 { result.append(UInt8(ascii: ",")) }
            result.append(contentsOf: try value(depth: depth + 1))
            skipBlanks()
        } while take(UInt8(ascii: ","))
        try expect(UInt8(ascii: "]"), "no comma or bracket after a value")
        result.append(UInt8(ascii: "]"))
        return result
    }

    private mutating func word(_ word: String) throws(JSONTextError) -> [UInt8] {
        for byte in word.utf8 { try expect(byte, "no value") }
        return Array(word.utf8)
    }

    private mutating func number() throws(JSONTextError) -> [UInt8] {
        let start = position
        _ = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")) { try digits("no value") }
        if take(UInt8(ascii: ".")) { try digits("no digit after the point") }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            _ = take(UInt8(ascii: "+")) || take(UInt8(ascii: "-"))
            try digits("no digit in the exponent")
        }
        return Array(text[start..<position])
    }

    private mutating func digits(_ problem: String) throws(JSONTextError) {
        guard isDigit else { throw fail(problem) }
        while isDigit { position += 1 }
    }

    private var isDigit: Bool {
        peek.map { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") } ?? false
    }

    private mutating func escape(into bytes: inout [UInt8]) throws(JSONTextError) {
        guard let letter = peek else { throw fail("a string without end") }
        position += 1
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(letter)
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "n"): bytes.append(0x0a)
        case UInt8(ascii: "f"): bytes.append(0x0c)
        case UInt8(ascii: "r"): bytes.append(0x0d)
        case UInt8(ascii: "u"): try scalar(into: &bytes)
        default: throw fail("an unknown escape")
        }
    }

    private mutating func scalar(into bytes: inout [UInt8]) throws(JSONTextError) {
        var code = try unit()
        if code >> 10 == 0xd800 >> 10 {
            guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
                throw fail("half a surrogate pair")
            }
            let low = try unit()
            guard low >> 10 == 0xdc00 >> 10 else { throw fail("half a surrogate pair") }
            code = 0x10000 + (code & 0x3ff) << 10 + (low & 0x3ff)
        }
        guard let scalar = Unicode.Scalar(code) else { throw fail("half a surrogate pair") }
        bytes.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
    }

    private mutating func unit() throws(JSONTextError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue,
                byte < 0x80
            else { throw fail("no four hexadecimal digits") }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }

    private var peek: UInt8? {
        position < text.endIndex ? text[position] : nil
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ byte: UInt8, _ problem: String) throws(JSONTextError) {
        guard take(byte) else { throw fail(problem) }
    }
}
