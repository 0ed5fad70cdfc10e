import Core
import Node
import Testing

@Suite struct HTTPTextTests {
    private let now = WallTime(milliseconds: 1_767_225_600_000)  // 2026-01-01T00:00:00Z

    @Test("Times are read in every documented form")
    func times() {
        let cases: [(String, Int64)] = [
            ("now", 1_767_225_600_000), ("-15m", 1_767_224_700_000), ("-2h", 1_767_218_400_000),
            ("-7d", 1_766_620_800_000), ("+1s", 1_767_225_601_000),
            ("2026-01-01", 1_767_225_600_000), ("2026-01-01T00:00:00Z", 1_767_225_600_000),
            ("2026-01-01T01:30:00+01:30", 1_767_225_600_000),
            ("2025-12-31T19:00:00-0500", 1_767_225_600_000),
            ("2026-01-01 00:00", 1_767_225_600_000),
            ("2026-01-01T00:00:00.250Z", 1_767_225_600_250),
            ("2026-01-01T00:00:00.2509999Z", 1_767_225_600_250),
            ("1767225600", 1_767_225_600_000), ("1767225600123", 1_767_225_600_123),
            ("-86400", -86_400_000), ("0", 0), ("1969-12-31T23:59:59Z", -1000),
            ("0001-01-01", -62_135_596_800_000), ("2024-02-29", 1_709_164_800_000),
        ]
        for (text, expected) in cases {
            #expect(TimeText.parse(text, now: now)?.milliseconds == expected, "\(text)")
        }
    }

    @Test(
        "What is no time is refused",
        arguments: [
            "", "later", "2026-13-01", "2026-02-29", "2026-01-01T24:00:00Z", "2026-01-01T00:60Z",
            "2026-01-01T00:00:00+25:00", "2026-01-01T", "-15x", "15m", "99999999999999999999",
            "0000-01-01", "2026-1-1", "--15m", "2026-01-01T00:00:00.Z", "2026-01-01TT00:00",
            "999999999999999999d",
        ])
    func badTimes(text: String) {
        #expect(TimeText.parse(text, now: now) == nil)
    }

    @Test("A formatted time is read back as itself, on any day of eight thousand years")
    func roundTrip() {
        var random = RandomSource(seed: 7)
        for _ in 0..<20_000 {
            let milliseconds = Int64(random.below(250_000_000_000_000)) - 62_135_596_800_000
            let time = WallTime(milliseconds: milliseconds)
            #expect(TimeText.parse(TimeText.format(time), now: now) == time)
        }
    }

    @Test("Decimals are exact, without trailing zeros, halves rounded to even")
    func decimals() {
        #expect(DecimalValue.text(millionths: 1_500_000) == "1.5")
        #expect(DecimalValue.text(millionths: -1) == "-0.000001")
        #expect(DecimalValue.text(millionths: 0) == "0")
        #expect(DecimalValue.text(millionths: -12_000_000) == "-12")
        #expect(DecimalValue.text(millionths: Int128(Int64.min)) == "-9223372036854.775808")
        #expect(DecimalValue.average(sum: 5, count: 2) == 2)
        #expect(DecimalValue.average(sum: 7, count: 2) == 4)
        #expect(DecimalValue.average(sum: -5, count: 2) == -2)
        #expect(DecimalValue.average(sum: 10, count: 3) == 3)
        #expect(DecimalValue.average(sum: 11, count: 3) == 4)
        let large = DecimalValue.average(sum: Int128.max, count: .max)
        #expect(
            large == Int128.max / Int128(UInt64.max) || large == Int128.max / Int128(UInt64.max) + 1
        )
    }

    @Test("Percent-encoding is undone exactly once")
    func percent() {
        #expect(PercentText.text("a%2Fb") == "a/b")
        #expect(PercentText.text("%23en") == "#en")
        #expect(PercentText.text("%25") == "%")
        #expect(PercentText.text("%252F") == "%2F")
        #expect(PercentText.text("a+b") == "a+b")
        #expect(PercentText.text("%F0%9F%98%80") == "😀")
        #expect(PercentText.text("%") == nil)
        #expect(PercentText.text("%4") == nil)
        #expect(PercentText.text("%4g") == nil)
        #expect(PercentText.text("%FF") == nil)
        var random = RandomSource(seed: 3)
        for _ in 0..<500 {
            let bytes = (0..<random.below(40)).map { _ in UInt8(random.below(256)) }
            #expect(PercentText.decode(PercentText.encode(bytes)) == bytes)
        }
    }

    @Test("JSON strings survive quotes, control characters and emoji")
    func json() {
        var json = JSONWriter()
        json.object { json in
            json.field("a\"b", "\u{1}\n\t\\ 😀 \u{7f}")
            json.field("n", nil as String?)
            json.field("list", strings: ["x", "y"])
            json.field("deep", object: { $0.field("k", Int64.min) })
            json.key("raw")
            json.string([0xff, 0x41])
            json.field("flag", true)
        }
        let expected =
            #"{"a\"b":"\u0001\n\t\\ 😀 "# + "\u{7f}"
            + #"","n":null,"list":["x","y"],"deep":{"k":-9223372036854775808},"#
            + #""raw":"�A","flag":true}"#
        #expect(String(decoding: json.bytes, as: UTF8.self) == expected)
    }

    @Test("Page tokens come back as what they were made of, others are refused")
    func pages() throws {
        for key in [[0x61], Array("a/b 😀".utf8), [UInt8](repeating: 0x7a, count: 1024)] {
            #expect(try PageToken.key(PageToken.text(key: key)) == key)
        }
        #expect(throws: Problem.self) { try PageToken.key("!") }
        #expect(throws: Problem.self) { try PageToken.key("") }
        #expect(throws: Problem.self) { try PageToken.place("AAAA") }
        #expect(Base64.encode(Array("light work".utf8), .standard) == "bGlnaHQgd29yaw==")
        #expect(Base64.decode("bGlnaHQgd29yaw==") == Array("light work".utf8))
    }

    @Test("A parameter that is misspelt, doubled or out of range is refused by name")
    func query() throws {
        let query = try HTTPQuery("from=-15m&k=3&prefix=a%26b")
        #expect(query["prefix"] == "a&b")
        #expect(try query.number("k", default: 10, in: 1...5) == 3)
        #expect(throws: Problem.self) { try query.number("k", default: 10, in: 1...2) }
        #expect(throws: Problem.self) { try query.expect(only: ["from", "k"]) }
        #expect(throws: Problem.self) { try HTTPQuery("a=1&a=2") }
        #expect(throws: Problem.self) { try HTTPQuery("a=%zz") }
        #expect(try HTTPQuery("from=").time("from", now: now) == nil)
        #expect(try HTTPQuery("consistency=one").consistency() == .one)
        #expect(throws: Problem.self) { try HTTPQuery("consistency=ANY").consistency() }
    }

    @Test("A range takes the windows that start in it, whole or cut times alike")
    func bounds() throws {
        let query = try HTTPQuery("from=2026-01-01T00:00:01Z&to=2026-01-01T00:02:00Z")
        let bounds = try WindowBounds(query, window: .minute, now: now)
        let first = now.milliseconds / 60_000
        #expect(bounds.first == first + 1)
        #expect(bounds.end == first + 2)
        let backwards = try HTTPQuery("from=2026-01-02&to=2026-01-01")
        #expect(throws: Problem.self) { try WindowBounds(backwards, window: .minute, now: now) }
    }
}
