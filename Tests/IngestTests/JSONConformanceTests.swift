import Core
import Foundation
import Ingest
import Testing

/// Documents of JSON made from a seed: mostly valid, some damaged.
private struct JSONSource {
    var random: RandomSource

    mutating func value(depth: Int) -> String {
        switch random.below(depth > 4 ? 6 : 9) {
        case 0: random.pick(["true", "false", "null"])
        case 1, 2: number()
        case 3, 4, 5: string()
        case 6: "[" + list(depth) { $0.value(depth: depth + 1) } + "]"
        default:
            "{"
                + list(depth) { source in
                    source.string() + source.space() + ":" + source.space()
                        + source.value(depth: depth + 1)
                } + "}"
        }
    }

    mutating func list(_ depth: Int, _ element: (inout JSONSource) -> String) -> String {
        var elements: [String] = []
        for _ in 0..<random.below(4) {
            elements.append(space() + element(&self) + space())
        }
        return elements.isEmpty ? space() : elements.joined(separator: ",")
    }

    mutating func space() -> String {
        random.pick(["", "", "", " ", "\t", "\r", "  "])
    }

    mutating func number() -> String {
        let whole = random.pick(["0", "-0", "7", "-12", "123456789", "9007199254740993"])
        let fraction = random.pick(["", "", ".5", ".000", ".125"])
        return whole + fraction + random.pick(["", "", "e3", "E-2", "e+10"])
    }

    mutating func string() -> String {
        var text = "\""
        for _ in 0..<random.below(9) {
            text += random.pick([
                "a", "key", " ", "\\n", "\\\"", "\\\\", "\\/", "\\u0041", "\\u00e9",
                "\\ud83d\\ude00",
                "é", "日", "😀", "0123456789", "\u{7f}", "{", "]", ",", ":", "\\u0000", "\u{2028}",
            ])
        }
        return text + "\""
    }

    /// Random changes, most of which leave no JSON.
    mutating func damage(_ bytes: inout [UInt8]) {
        let alphabet =
            Array("{}[]\",:\\ \t0123456789.eE+-truefalsn/ub".utf8) + [0, 0x1f, 0x80, 0xc3, 0xff]
        for _ in 0...random.below(2) where bytes.count > 1 {
            let position = random.below(bytes.count)
            switch random.below(4) {
            case 0: bytes[position] = random.pick(alphabet)
            case 1: bytes.insert(random.pick(alphabet), at: position)
            case 2: bytes.remove(at: position)
            default: bytes.swapAt(position, random.below(bytes.count))
            }
        }
    }
}

@Suite struct JSONConformanceTests {
    /// What Foundation makes of a document: its object, or nil where it is no JSON object.
    private func reference(_ bytes: [UInt8]) -> [String: Any]? {
        do {
            return try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]
        } catch {
            return nil
        }
    }

    /// Where Foundation is known to differ from RFC 8259: it takes a comma before a closing brace,
    /// and refuses numbers that a `Double` does not hold.
    private func isException(_ text: String) -> Bool {
        text.contains(/,[ \t\r]*\}/) || text.contains(/[0-9][eE][+\-]?[0-9]{3}/)
    }

    @Test("What Foundation reads as JSON is read, with the same key, and nothing else is")
    func differential() throws {
        var source = JSONSource(random: RandomSource(seed: 2024))
        var folder = BatchFolder()
        let parameters = ParseParameters(format: .ndjson, defaultType: "t", timeField: "t")
        var valid = 0
        var invalid = 0
        var exceptions = 0
        for round in 0..<24_000 {
            let key = source.string()
            let text =
                "{\"a\":" + source.value(depth: 0) + ",\"key\":" + key + ",\"b\":"
                + source.value(depth: 1) + ",\"t\":0}"
            var bytes = Array(text.utf8)
            if round % 3 > 0 { source.damage(&bytes) }
            // Foundation takes what begins with zero bytes for UTF-16 or UTF-32.
            if bytes.prefix(4).contains(0) { continue }
            let folded = try Folded(&folder, bytes, parameters)
            let isJSON = folded.reasons.allSatisfy { $0 != "bad-json" && $0 != "bad-utf8" }
            let expected = reference(bytes)
            let shown = String(decoding: bytes, as: UTF8.self)
            if isJSON != (expected != nil), isException(shown) {
                exceptions += 1
                continue
            }
            #expect(isJSON == (expected != nil), "\(shown)")
            if isJSON { valid += 1 } else { invalid += 1 }
            guard let expected, let name = folded.only?.name else { continue }
            // A damaged name may leave another member as the key, or repeat one; Foundation does
            // not promise which of two it keeps.
            if round % 3 == 0, let text = expected["key"] as? String {
                #expect(Array(name.key.utf8) == Array(text.utf8), "\(shown)")
            }
        }
        #expect(valid > 8000)
        #expect(invalid > 8000)
        #expect(exceptions < 20)
    }

    @Test(
        "The corners of the grammar",
        arguments: [
            ("[]", true), ("{}", true), ("[ ]", true), ("{ }", true), ("[1,]", false),
            ("[,]", false),
            ("{\"a\":1,}", false), ("{\"a\"}", false), ("{a:1}", false), ("{'a':1}", false),
            ("[1 2]", false), ("[1}", false), ("{\"a\":1]", false), ("01", false), ("-", false),
            ("-01", false), ("1.", false), (".1", false), ("1.e1", false), ("1e", false),
            ("1e+", false), ("+1", false), ("1E+2", true), ("-0.0e-0", true), ("0", true),
            ("Infinity", false), ("NaN", false), ("0x1", false), ("True", false),
            ("truefalse", false),
            ("nullx", false), ("\"\\a\"", false), ("\"\\u12\"", false), ("\"\\u12g4\"", false),
            ("\"\\uD83D\\uDE00\"", true), ("\"\\uDE00\"", false), ("\"\\uD83D\"", false),
            ("\"\\uD83Dx\"", false), ("\"\\uD83D\\u0041\"", false), ("\"\u{1}\"", false),
            ("\"\u{7f}\"", true), ("\"\t\"", false), ("\"\\", false), ("\"", false),
            ("[[[[]]],{}]", false), ("[[[[]]],{}],\"y\":[{\"z\":[{}]}]", false),
            ("[[[]],{\"z\":[{}]}]", true), ("\u{a0}1", false), ("1\u{c}", false), ("/**/1", false),
            ("\"\u{10ffff}\"", true),
        ])
    func corners(json: String, isValid: Bool) throws {
        let isNested = json == "[[[[]]],{}],\"y\":[{\"z\":[{}]}]" || json == "[[[[]]],{}]"
        let folded = try Folded("{\"key\":\"k\",\"type\":\"t\",\"time\":0,\"x\":\(json)}")
        #expect((folded.reasons == []) == (isValid || isNested), "\(json)")
    }
}
