import Core
import Ingest
import Testing

@Suite("What a dead letter's event would have been")
struct DeadLetterTests {
    private func letter(
        _ text: String, _ parameters: ParseParameters = ParseParameters(format: .ndjson),
        rules: FoldRules = FoldRules()
    ) throws -> DeadLetter {
        try #require(Folded(text, parameters, rules: rules).batch.deadLetters.first)
    }

    private func names(_ letter: DeadLetter) -> [String?] {
        [
            letter.type.map { String(decoding: $0, as: UTF8.self) },
            letter.key.map { String(decoding: $0, as: UTF8.self) },
            letter.time.map { "\($0.milliseconds)" },
        ]
    }

    @Test(
        "type, key and time are told as far as each is sound by itself",
        arguments: [
            (#"{"type":"view","key":"a","time":"never"}"#, ["view", "a", nil]),
            (#"{"type":"view","time":60}"#, ["view", nil, "60000"]),
            (#"{"key":"a","time":60}"#, [nil, "a", "60000"]),
            (
                #"{"type":"v\u0069ew","key":"\u00e9","time":60,"value":"x"}"#,
                ["view", "é", "60000"]
            ),
            (#"{"type":["view"],"key":7,"time":60}"#, [nil, "7", "60000"]),
            (#"{"type":"view","key":{"a":1},"time":"1970-01-01"}"#, ["view", nil, "0"]),
            (
                #"{"type":"view","key":"a","time":"9999-12-31T23:59:59Z"}"#,
                ["view", "a", "253402300799000"]
            ),
            (#"{"type":"view","key":"a","time":60"#, [nil, nil, nil]),
            (#""view""#, [nil, nil, nil]),
        ] as [(String, [String?])])
    func json(text: String, expected: [String?]) throws {
        #expect(names(try letter(text)) == expected)
    }

    @Test("what is too long for a key or a type is not told as one")
    func tooLong() throws {
        let long = String(repeating: "k", count: Limits.keyMax + 1)
        #expect(names(try letter(#"{"type":"t","key":"\#(long)","time":0}"#)) == ["t", nil, "0"])
        let type = String(repeating: "t", count: Limits.typeMax + 1)
        #expect(names(try letter(#"{"type":"\#(type)","key":"k","time":0}"#)) == [nil, "k", "0"])
        let whole = String(repeating: " ", count: Limits.lineMax)
        let line = #"{"type":"t","key":"k","time":0}"# + whole
        #expect(names(try letter(line)) == [nil, nil, nil])
    }

    @Test("a default type counts; rows and log lines tell their fields likewise")
    func formats() throws {
        let typed = ParseParameters(format: .ndjson, defaultType: "hit")
        #expect(names(try letter(#"{"key":"a","time":"x"}"#, typed)) == ["hit", "a", nil])
        let csv = ParseParameters(format: .csv)
        #expect(
            names(try letter("type,key,time\nview,\"a,b\",soon\n", csv)) == ["view", "a,b", nil])
        var bytes = Array("type,key,time\nview,a,60\n".utf8)
        bytes[bytes.count - 5] = 0xff
        let broken = try Folded(bytes, csv).batch.deadLetters
        #expect(broken.map(\.reason) == [.badUTF8])
        #expect(names(try #require(broken.first)) == ["view", nil, "60000"])
        let log = ParseParameters(format: .commonLog)
        #expect(names(try letter("no log line at all", log)) == [nil, nil, nil])
    }

    @Test("an event that is too late or in the future keeps its time")
    func judged() throws {
        let rules = FoldRules(
            version: .first, window: .minute, futureLimit: .seconds(1), lateness: .seconds(1))
        #expect(
            names(try letter(#"{"type":"t","key":"k","time":60}"#, rules: rules))
                == ["t", "k", "60000"])
    }
}
