/// The code of a Swift file without its comments and strings: they are blanked, so that lines and
/// columns stay what they were. Code inside interpolations is blanked as well.
struct SwiftText {
    private(set) var code: [UInt8]
    private var position = 0

    init(_ source: String) {
        code = Array(source.utf8)
        while position < code.count { blankNext() }
    }

    var text: String { String(decoding: code, as: UTF8.self) }

    var lines: [Substring] {
        text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// Whether the code from `offset` on reads like `word`.
    func reads(_ word: String, at offset: Int) -> Bool {
        code[min(offset, code.count)...].starts(with: word.utf8)
    }

    private mutating func blankNext() {
        if reads("//", at: position) {
            while position < code.count, code[position] != UInt8(ascii: "\n") { blank() }
        } else if reads("/*", at: position) {
            blankComment()
        } else if let hashes = stringStart() {
            blankString(hashes: hashes)
        } else {
            position += 1
        }
    }

    private mutating func blank(_ count: Int = 1) {
        for _ in 0..<count where position < code.count {
            if code[position] != UInt8(ascii: "\n") { code[position] = UInt8(ascii: " ") }
            position += 1
        }
    }

    private mutating func blankComment() {
        blank(2)
        var depth = 1
        while depth > 0 && position < code.count {
            if reads("/*", at: position) {
                depth += 1
                blank(2)
            } else if reads("*/", at: position) {
                depth -= 1
                blank(2)
            } else {
                blank()
            }
        }
    }

    /// The number of hashes before the quote, if a string begins here.
    private func stringStart() -> Int? {
        var offset = position
        while offset < code.count, code[offset] == UInt8(ascii: "#") { offset += 1 }
        guard offset < code.count, code[offset] == UInt8(ascii: "\"") else { return nil }
        return offset - position
    }

    private mutating func blankString(hashes: Int) {
        let marks = String(repeating: "#", count: hashes)
        let quote = reads("\"\"\"", at: position + hashes) ? "\"\"\"" : "\""
        let end = quote + marks
        let escape = "\\" + marks
        blank(hashes + quote.utf8.count)
        while position < code.count && !reads(end, at: position) {
            if reads(escape, at: position) {
                blank(escape.utf8.count)
                if reads("(", at: position) { blankInterpolation() } else { blank() }
            } else {
                blank()
            }
        }
        blank(end.utf8.count)
    }

    private mutating func blankInterpolation() {
        let start = position
        var depth = 0
        repeat {
            if reads("(", at: position) { depth += 1 }
            if reads(")", at: position) { depth -= 1 }
            blankNext()
        } while depth > 0 && position < code.count
        let end = position
        position = start
        blank(end - start)
    }
}

extension SwiftText {
    struct Function {
        let name: String
        /// Counted from 1.
        let line: Int
        let lineCount: Int
    }

    /// Functions, initializers and subscripts that have a body, with the lines from their keyword
    /// to their closing brace.
    var functions: [Function] {
        var found: [Function] = []
        var line = 1
        for offset in code.indices {
            if code[offset] == UInt8(ascii: "\n") { line += 1 }
            guard let keyword = declaration(at: offset), let end = bodyEnd(from: offset) else {
                continue
            }
            let lineCount = code[offset..<end].count { $0 == UInt8(ascii: "\n") } + 1
            found.append(Function(name: name(keyword, offset), line: line, lineCount: lineCount))
        }
        return found
    }

    /// The declaring keyword that begins here. `.init` and `self.init` are no declarations.
    private func declaration(at offset: Int) -> String? {
        if offset > 0, isWordByte(code[offset - 1]) || ".`".utf8.contains(code[offset - 1]) {
            return nil
        }
        for keyword in ["func", "init", "deinit", "subscript"] where reads(keyword, at: offset) {
            let next = offset + keyword.utf8.count
            guard next < code.count, !isWordByte(code[next]) else { continue }
            let follows = keyword == "func" || keyword == "deinit" ? " " : "(<?!"
            return follows.utf8.contains(code[next]) ? keyword : nil
        }
        return nil
    }

    private func name(_ keyword: String, _ offset: Int) -> String {
        guard keyword == "func" else { return keyword }
        let rest = code[(offset + 5)...].prefix { !"(<\n ".utf8.contains($0) }
        return String(decoding: rest, as: UTF8.self)
    }

    /// The offset after the closing brace; nil where a requirement ends without a body.
    private func bodyEnd(from start: Int) -> Int? {
        var offset = start
        var parentheses = 0
        while offset < code.count {
            switch code[offset] {
            case UInt8(ascii: "("), UInt8(ascii: "["): parentheses += 1
            case UInt8(ascii: ")"), UInt8(ascii: "]"): parentheses -= 1
            case UInt8(ascii: "{") where parentheses == 0: return braceEnd(from: offset)
            case UInt8(ascii: "}") where parentheses == 0: return nil
            case UInt8(ascii: "\n") where parentheses == 0:
                // A signature goes on over lines; another declaration ends it.
                if !continues(after: offset) { return nil }
            default: break
            }
            offset += 1
        }
        return nil
    }

    /// Whether the next line still belongs to a signature.
    private func continues(after newline: Int) -> Bool {
        let line = code[(newline + 1)...].drop { $0 == UInt8(ascii: " ") }
        return ["{", "->", ")", "where ", "throws", "rethrows", "async", "&"].contains {
            line.starts(with: $0.utf8)
        }
    }

    private func braceEnd(from open: Int) -> Int? {
        var depth = 0
        for offset in open..<code.count {
            if code[offset] == UInt8(ascii: "{") { depth += 1 }
            if code[offset] == UInt8(ascii: "}") { depth -= 1 }
            if depth == 0 { return offset + 1 }
        }
        return nil
    }
}

/// Letters, digits, underscores, and any byte beyond ASCII.
func isWordByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 0x80...:
        true
    default: false
    }
}
