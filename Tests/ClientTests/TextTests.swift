import Client
import Core
import Testing

@Suite("Text in and out")
struct TextTests {
    private let now = Timestamp(milliseconds: 1_424_639_820_500)

    @Test("times are read in every form that the command line names")
    func times() {
        let cases: [(String, Int64?)] = [
            ("2015-02-22T21:17:00Z", 1_424_639_820_000), ("2015-02-22", 1_424_563_200_000),
            ("2015-02-22 21:17", 1_424_639_820_000), ("2015-02-22T21:17:00.25Z", 1_424_639_820_250),
            ("2015-02-22T22:17:00+01:00", 1_424_639_820_000),
            ("2015-02-22T16:47:00-04:30", 1_424_639_820_000),
            ("1424639820", 1_424_639_820_000), ("1424639820123", 1_424_639_820_123),
            ("-86400", -86_400_000), ("0", 0), ("now", now.milliseconds),
            ("-15m", now.milliseconds - 900_000), ("-2h", now.milliseconds - 7_200_000),
            ("-7d", now.milliseconds - 604_800_000), ("+1s", now.milliseconds + 1000),
            ("0001-01-01", -62_135_596_800_000), ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("2000-02-29", 951_782_400_000), ("1900-02-29", nil), ("2015-13-01", nil),
            ("2015-02-30", nil), ("0000-01-01", nil), ("2015-02-22T25:00", nil), ("", nil),
            ("-", nil), ("m", nil), ("-m", nil), ("yesterday", nil), ("15m", nil),
            ("2015-02-22T", nil), ("2015-02-22T21:17:00Zx", nil), ("999999999999999999", nil),
            ("-99999999999d", nil), ("2015-02-22T21:17:00.Z", nil),
        ]
        for (text, expected) in cases {
            #expect(Timestamp(text, now: now)?.milliseconds == expected, "\(text)")
        }
    }

    @Test("a time that is written is read back as itself")
    func timeRoundTrip() {
        var random = RandomSource(seed: 5)
        for _ in 0..<5000 {
            let time = Timestamp(
                milliseconds: Int64(random.below(315_537_897_600_000)) - 62_135_596_800_000)
            #expect(Timestamp(time.description, now: now) == time)
        }
        #expect(Timestamp(milliseconds: -1).description == "1969-12-31T23:59:59.999Z")
    }

    @Test("addresses are HOST:PORT, IPv6 in brackets, and nothing else")
    func addresses() {
        #expect(NodeAddress("127.0.0.1:8181") == NodeAddress(host: "127.0.0.1", port: 8181))
        #expect(NodeAddress("http://n1.local:80/") == NodeAddress(host: "n1.local", port: 80))
        #expect(NodeAddress("[::1]:8181")?.description == "[::1]:8181")
        for text in ["", ":1", "a", "a:0", "a:65536", "::1:80", "a b:1", "a/b:1", "a:1/x", "a@b:1"]
        {
            #expect(NodeAddress(text) == nil, "\(text)")
        }
    }

    @Test("JSON is read with its order, its digits and its escapes")
    func json() throws {
        let text =
            #"{"b": 12345678901234567890.10, "a": [true, null, "é\n\u0041\ud83d\ude00\ud800x"]}"#
        let value = try JSONValue(parsing: Array(text.utf8))
        #expect(value.members?.map(\.name) == ["b", "a"])
        #expect(value["b"]?.plain == "12345678901234567890.10")
        #expect(value["a"]?.array?.last?.string == "é\nA😀\u{fffd}x")
        #expect(value["a"]?.array?.first?.bool == true)
        let again = try JSONValue(parsing: Array(value.description.utf8))
        #expect(again == value)
    }

    @Test("what is no JSON is an error and never a trap")
    func badJSON() {
        let deep = String(repeating: "[", count: 100_000)
        let texts = [
            "", " ", "{", "[1,", "[1 2]", "{\"a\"}", "{\"a\":}", "\"abc", "\"\\", "\"\\u12",
            "\"\\x\"",
            "tru", "nul", "1 2", "-", "{a:1}", "[]]", deep, "\"\\ud800\\u",
        ]
        for text in texts {
            #expect(throws: JSONFailure.self, "\(text.prefix(20))") {
                try JSONValue(parsing: Array(text.utf8))
            }
        }
        var random = RandomSource(seed: 3)
        let alphabet = Array("{}[]\",:\\u0d8ntrue1-. ".utf8)
        var readable = 0
        for _ in 0..<20_000 {
            let bytes = (0..<random.below(12)).map { _ in random.pick(alphabet) }
            do {
                _ = try JSONValue(parsing: bytes)
                readable += 1
            } catch {
                #expect(error.offset <= bytes.count)
            }
        }
        #expect(readable > 0)
    }
}
