import Core
import Ingest
import Testing

@Suite struct JSONEventTests {
    private func event(_ members: String) -> String { "{\(members)}" }

    @Test("An event's own fields are counted in its window")
    func plain() throws {
        let folded = try Folded(
            """
            {"type":"view","key":"abc","time":"2015-02-22T21:17:00Z"}
            {"type":"view","key":"abc","time":"2015-02-22T21:17:59.999Z"}
            {"type":"view","key":"abc","time":"2015-02-22T21:18:00Z"}

            """)
        let minute = Int64(1_424_639_820_000 / 60_000)
        #expect(folded.batch.totals == BatchTotals(events: 3, counted: 3, dead: 0))
        #expect(folded.byWindow == [minute: 2, minute + 1: 1])
        #expect(folded.byKey == ["abc": 3])
        #expect(folded.byType == ["view": 3])
    }

    @Test("Key goes before subject, and time before ts and timestamp")
    func preference() throws {
        let first = try Folded(
            #"{"subject":"s","key":"k","timestamp":3,"ts":2,"time":60,"type":"t"}"#)
        #expect(first.only?.name == .init(type: "t", key: "k", window: 1))
        let second = try Folded(
            #"{"subject":"s","key":null,"timestamp":180,"ts":120,"time":null,"type":"t"}"#)
        #expect(second.only?.name == .init(type: "t", key: "s", window: 2))
        let third = try Folded(#"{"subject":"s","key":"","timestamp":180,"ts":"","type":"t"}"#)
        #expect(third.only?.name == .init(type: "t", key: "s", window: 3))
    }

    @Test("Of two members with one name the last counts, null included")
    func duplicates() throws {
        #expect(
            try Folded(#"{"key":"a","key":"b","time":0,"type":"t"}"#).only?.name.key == "b")
        #expect(
            try Folded(#"{"key":"a","key":null,"time":0,"type":"t"}"#).reasons == ["missing-key"])
        let nested = ParseParameters(format: .ndjson, keyField: "a.b")
        let text = #"{"a":{"b":"x"},"a":{"c":"y"},"time":0,"type":"t"}"#
        #expect(try Folded(text, nested).reasons == ["missing-key"])
    }

    @Test("A number or a boolean as key or type is its text, as written")
    func scalars() throws {
        for (json, text) in [
            ("12", "12"), ("-0.50", "-0.50"), ("1E3", "1E3"), ("true", "true"), ("false", "false"),
        ] {
            let folded = try Folded("{\"key\":\(json),\"type\":\(json),\"time\":0}")
            #expect(folded.only?.name == .init(type: text, key: text, window: 0))
        }
    }

    @Test(
        "What lacks a field, or has none of the right kind, is a dead letter with its reason",
        arguments: [
            (#"{"type":"t","time":0}"#, "missing-key"),
            (#"{"key":"","type":"t","time":0}"#, "missing-key"),
            (#"{"key":"k","time":0}"#, "missing-type"),
            (#"{"key":"k","type":"t"}"#, "missing-time"),
            (#"{"key":"k","type":"t","time":""}"#, "missing-time"),
            (#"{"key":{},"type":"t","time":0}"#, "bad-key"),
            (#"{"key":[1],"type":"t","time":0}"#, "bad-key"),
            (#"{"key":"k","type":{"a":1},"time":0}"#, "bad-type"),
            (#"{"key":"k","type":"t","time":true}"#, "bad-time"),
            (#"{"key":"k","type":"t","time":[0]}"#, "bad-time"),
            (#"{"key":"k","type":"t","time":"soon"}"#, "bad-time"),
            (#"{"key":"k","type":"t","time":0,"value":"x"}"#, "bad-value"),
            (#"{"key":"k","type":"t","time":0,"value":true}"#, "bad-value"),
            (#"{"key":"k","type":"t","time":0,"value":{}}"#, "bad-value"),
            (#"{"key":"k","type":"t","time":0,"value":0.0000001}"#, "value-not-exact"),
            (#"{"key":"k","type":"t","time":0,"value":1e13}"#, "bad-value"),
            (#"{"time":"soon","type":{}}"#, "missing-key"),
            (#"{"key":"k","time":"soon","type":{}}"#, "bad-type"),
            (#"{"key":"k","time":"soon","type":"t","value":"x"}"#, "bad-time"),
            (#""text""#, "bad-json"), ("[]", "bad-json"), ("12", "bad-json"), ("{", "bad-json"),
            (#"{"key":"k","type":"t","time":0} {}"#, "bad-json"),
            (#"{"key":"k","type":"t","time":0},"#, "bad-json"),
            (#"{"key":"k","type":"t","time":00}"#, "bad-json"),
            (#"{"key":"k","type":"t","time":0,}"#, "bad-json"),
            (#"{"key":"\ud800","type":"t","time":0}"#, "bad-json"),
            (#"{"key":"k","type":"t","time":0,"x":nul}"#, "bad-json"),
        ])
    func deadLetters(text: String, reason: String) throws {
        let folded = try Folded(text + "\n" + #"{"key":"k","type":"t","time":0}"#)
        #expect(folded.reasons == [reason], "\(text)")
        #expect(folded.batch.totals.counted == 1)
        let letter = try #require(folded.batch.deadLetters.first)
        #expect(letter.line == 1)
        #expect(letter.raw == Array(text.utf8))
        #expect(!letter.detail.isEmpty)
    }

    @Test("Blank lines are no events but count as lines; a last line needs no line feed")
    func lines() throws {
        let good = #"{"key":"k","type":"t","time":0}"#
        let folded = try Folded("\n  \t\r\n\(good)\r\n\r\nx\r\n \(good) ")
        #expect(folded.batch.totals == BatchTotals(events: 3, counted: 2, dead: 1))
        #expect(folded.batch.deadLetters.map(\.line) == [5])
        #expect(folded.batch.deadLetters.map(\.raw) == [Array("x".utf8)])
        #expect(try Folded("").batch.totals == BatchTotals(events: 0, counted: 0, dead: 0))
        #expect(try Folded(" \n\n ").batch.totals == BatchTotals(events: 0, counted: 0, dead: 0))
    }

    @Test("An event does not go on in the next line")
    func newlines() throws {
        let folded = try Folded("{\"key\":\"k\",\n\"type\":\"t\",\"time\":0}\n{\"key\":\"a\nb\"}")
        #expect(folded.reasons == ["bad-json", "bad-json", "bad-json", "bad-json"])
        #expect(folded.batch.deadLetters.map(\.line) == [1, 2, 3, 4])
    }

    @Test("A byte order mark at the beginning is skipped, anywhere else it is not")
    func byteOrderMark() throws {
        let good = Array(#"{"key":"k","type":"t","time":0}"#.utf8)
        let mark: [UInt8] = [0xef, 0xbb, 0xbf]
        #expect(try Folded(mark + good).batch.totals.counted == 1)
        #expect(try Folded(good + [0x0a] + mark + good).reasons == ["bad-json"])
    }

    @Test("Bytes that are no UTF-8 are named before any other fault")
    func invalidUTF8() throws {
        for bad: [UInt8] in [
            [0xff], [0xc0, 0x80], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80],
            [0xf8], [0xc3], [0xe2, 0x82], [0xf0, 0x9f, 0x98], [0x80],
        ] {
            let line = Array(#"{"key":"k","type":"t","time":0,"x":""#.utf8) + bad
            #expect(try Folded(line + Array(#""}"#.utf8)).reasons == ["bad-utf8"], "\(bad)")
            #expect(try Folded(line + Array(#""]"#.utf8)).reasons == ["bad-utf8"], "\(bad)")
        }
    }

    @Test("Escapes are undone in keys, types and the names of members")
    func escapes() throws {
        let folded = try Folded(
            #"{"\u006bey":"a\"\\\/\b\f\n\r\t\u0000\u00e9\u20ac\ud83d\ude00","#
                + #""type":"\u0074","time":"\u0030"}"#
        )
        #expect(
            folded.only?.name
                == .init(
                    type: "t", key: "a\"\\/\u{8}\u{c}\n\r\t\0é€😀", window: 0))
    }

    @Test("Keys in all scripts keep their bytes; letter case and normal forms tell keys apart")
    func unicode() throws {
        let keys = ["Ärger", "A\u{308}rger", "தமிழ்", "👩‍👩‍👧", "日本語", "ärger", " x ", "-2-9Z"]
        let text = keys.map { #"{"key":"\#($0)","type":"t","time":0}"# }.joined(separator: "\n")
        let folded = try Folded(text)
        #expect(folded.batch.totals.counted == 8)
        #expect(folded.cells.count == 8)
        #expect(folded.keys == Set(keys.map { Array($0.utf8) }))
    }

    @Test("A dotted name is a member's name first and a path second")
    func paths() throws {
        let parameters = ParseParameters(
            format: .ndjson, keyField: "actor.login", timeField: "a.b.c", typeField: "type")
        let inside =
            #"{"actor":{"id":1,"login":"x"},"a":{"b":{"c":60,"d":[{}]},"b2":{}},"type":"t"}"#
        #expect(try Folded(inside, parameters).only?.name == .init(type: "t", key: "x", window: 1))
        let both = #"{"actor":{"login":"x"},"actor.login":"y","a":{"b":{"c":0}},"type":"t"}"#
        #expect(try Folded(both, parameters).only?.name.key == "y")
        let null = #"{"actor":{"login":"x"},"actor.login":null,"a":{"b":{"c":0}},"type":"t"}"#
        #expect(try Folded(null, parameters).only?.name.key == "x")
        let absent = #"{"actor":"x","a":{"b":{"c":0}},"type":"t"}"#
        #expect(try Folded(absent, parameters).reasons == ["missing-key"])
        let deep = #"{"actor":{"actor":{"login":"x"}},"login":"z","a":{"b":{"c":0}},"type":"t"}"#
        #expect(try Folded(deep, parameters).reasons == ["missing-key"])
    }

    @Test("A named field replaces the defaults, and a default type fills in")
    func parameters() throws {
        let named = ParseParameters(format: .ndjson, defaultType: "push", keyField: "repo")
        let text = #"{"key":"k","repo":"r","time":0}"# + "\n" + #"{"key":"k","time":0,"type":"t"}"#
        let folded = try Folded(text, named)
        #expect(folded.only?.name == .init(type: "push", key: "r", window: 0))
        #expect(folded.reasons == ["missing-key"])
        #expect(folded.batch.deadLetters.first?.detail == "no field repo")
        let one = ParseParameters(format: .ndjson, typeField: "key", valueField: "time")
        let twice = try Folded(#"{"key":"k","time":60}"#, one)
        #expect(twice.only?.name == .init(type: "k", key: "k", window: 1))
        #expect(twice.only?.measure.values?.sum == 60_000_000)
    }

    @Test("Members in any order, missing or added, are found")
    func orders() throws {
        let lines = [
            #"{"key":"k","type":"t","time":0}"#, #"{"time":0,"key":"k","type":"t"}"#,
            #"{"x":{"key":"no"},"type":"t","y":[{"key":"no"}],"key":"k","time":0}"#,
            #"{"type":"t","key":"k","time":0,"keys":"no"}"#,
            #" { "key" : "k" ,"type":"t","time":0 } "#,
            #"{"kex":"no","key":"k","type":"t","time":0}"#,
            "{\"time\":0,\t\"type\":\"t\",\"key\":\"k\"}",
        ]
        var random = RandomSource(seed: 11)
        var shuffled = (0..<200).map { lines[$0 % lines.count] }
        random.shuffle(&shuffled)
        let folded = try Folded(shuffled.joined(separator: "\n"))
        #expect(folded.only?.measure.count == 200)
    }

    @Test("Bytes of a dead letter are all kept, and of what is too long without half a character")
    func rawCut() throws {
        let text = "x" + String(repeating: "é", count: Limits.lineMax / 2)
        let letter = try #require(try Folded(text).batch.deadLetters.first)
        #expect(letter.reason == .lineTooLong && !letter.isWhole)
        #expect(letter.raw.count == Limits.deadLetterRawMax - 1)
        #expect(String(validating: letter.raw, as: UTF8.self) != nil)
        let plain = String(repeating: "x", count: Limits.lineMax)
        let whole = try #require(try Folded(plain).batch.deadLetters.first)
        #expect(whole.reason == .badJSON && whole.isWhole)
        #expect(whole.raw == Array(plain.utf8))
    }
}
