import Core
import Ingest
import Testing

@Suite("CloudEvents")
struct CloudEventTests {
    private let single = ParseParameters(format: .cloudEvent)
    private let batch = ParseParameters(format: .cloudEventBatch)

    /// An event of these members, after those that every event has.
    private func event(_ members: String) -> String {
        #"{"specversion":"1.0","id":"7","source":"/shop","# + members + "}"
    }

    private let good = #""type":"sold","subject":"book","time":"1970-01-01T00:01:00.5Z""#

    private func letter(
        _ text: String, _ parameters: ParseParameters? = nil
    ) throws -> DeadLetter {
        let folded = try Folded(text, parameters ?? single)
        #expect(folded.batch.totals.events == 1)
        return try #require(folded.batch.deadLetters.first)
    }

    @Test("type, subject and time are the type, the key and the time")
    func attributes() throws {
        for (text, parameters) in [
            (event(good), single), (" \n" + event(good) + "\r\n\n", single),
            (event(good).replacing(",", with: ",\n"), single), ("[\(event(good))]", batch),
        ] {
            let only = try #require(try Folded(text, parameters).only)
            #expect(only.name == Folded.CellName(type: "sold", key: "book", window: 1))
            #expect(only.measure == Measure(count: 1))
        }
    }

    @Test("Fields may lie in the data, by their paths")
    func data() throws {
        var parameters = single
        parameters.keyField = "data.video"
        parameters.valueField = "data.price.net"
        let text = event(good + #","data":{"video":"v1","price":{"net":1.5}},"value":9"#)
        let only = try #require(try Folded(text, parameters).only)
        #expect(only.name.key == "v1")
        #expect(only.measure == Measure(event: 1_500_000))
        // Without a value field an extension of this name is the value.
        #expect(try Folded(text, single).only?.measure == Measure(event: 9_000_000))
        #expect(
            try letter(event(good + #","data_base64":"e30=""#), parameters).reason == .missingKey)
    }

    @Test("Without version, id or source an event is none, and its letter says so")
    func envelope() throws {
        let cases = [
            (#"{"id":"7","source":"/",\#(good)}"#, "specversion"),
            (#"{"specversion":"1.0","source":"/",\#(good)}"#, "id"),
            (#"{"specversion":"1.0","id":"","source":"/",\#(good)}"#, "id"),
            (#"{"specversion":"1.0","id":null,"source":"/",\#(good)}"#, "id"),
            (#"{"specversion":"1.0","id":"7",\#(good)}"#, "source"),
            (#"{"specversion":"1.0","id":7,"source":"/",\#(good)}"#, "id is a number"),
            (#"{"specversion":"0.3","id":"7","source":"/",\#(good)}"#, #"specversion is "0.3""#),
            (#"{"specversion":1.0,"id":"7","source":"/",\#(good)}"#, "specversion is a number"),
        ]
        for (text, word) in cases {
            let letter = try letter(text)
            #expect(letter.reason == .badJSON)
            #expect(letter.detail.contains(word), "\(letter.detail)")
            #expect(letter.raw == Array(text.utf8))
            #expect(letter.type == Array("sold".utf8))
            #expect(letter.key == Array("book".utf8))
            #expect(letter.time == WallTime(milliseconds: 60_500))
        }
        let escaped = event(good).replacing(#""1.0""#, with: #""\u0031.0""#)
        #expect(try Folded(escaped, single).only != nil)
    }

    @Test("What else is missing has its own reason; a default type stands in for the type")
    func missing() throws {
        #expect(try letter(event(#""type":"sold","subject":"book""#)).reason == .missingTime)
        #expect(try letter(event(#""type":"sold","time":0"#)).reason == .missingKey)
        #expect(try letter(event(#""subject":"book","time":0"#)).reason == .missingType)
        var typed = single
        typed.defaultType = "seen"
        #expect(try Folded(event(#""subject":"book","time":0"#), typed).byType == ["seen": 1])
    }

    @Test("Extensions stand in for what the event has not, in the order of all formats")
    func extensions() throws {
        let start = #""type":"t","#
        for (members, key, window) in [
            (#""subject":"s","ts":180"#, "s", 3), (#""key":"k","timestamp":"120""#, "k", 2),
            (#""subject":"s","key":"k","timestamp":"120","time":60,"ts":180"#, "k", 1),
            (#""subject":"s","timestamp":"120","ts":180"#, "s", 3),
            (#""subject":"s","key":"","time":null,"timestamp":"120""#, "s", 2),
        ] {
            let text = event(start + members)
            for (text, parameters) in [(text, single), ("[\(text)]", batch)] {
                let only = try #require(try Folded(text, parameters).only, "\(text)")
                #expect(only.name == Folded.CellName(type: "t", key: key, window: Int64(window)))
                #expect(only.measure == Measure(count: 1))
            }
        }
        let valued = event(good + #","value":"1.5","data":{"value":7}"#)
        #expect(try Folded(valued, single).only?.measure == Measure(event: 1_500_000))
        let bad = try letter(event(good + #","value":"much""#))
        #expect(bad.reason == .badValue)
    }

    @Test("Paths for every role, and all that an event must have, are looked for at once")
    func allPaths() throws {
        for times in [nil, "data.at"] {
            var parameters = single
            parameters.keyField = "data.key"
            parameters.typeField = "data.type"
            parameters.timeField = times
            parameters.valueField = "data.value"
            let text = event(
                #""timestamp":60,"data":{"key":"k","type":"t","at":60,"value":2}"#)
            let only = try #require(try Folded(text, parameters).only)
            #expect(only.name == Folded.CellName(type: "t", key: "k", window: 1))
            #expect(only.measure == Measure(event: 2_000_000))
        }
    }

    @Test("A body that is no object is one dead letter, an empty one is refused")
    func bodies() throws {
        for text in ["[]", "7", "{", event(good) + " {}", event(good) + "x", #"{"id":}"#] {
            let letter = try letter(text + "\n")
            #expect(letter.reason == .badJSON, "\(text)")
            #expect(letter.line == 1)
            #expect(letter.raw == Array(text.utf8))
        }
        #expect(try letter("\u{b}").reason == .badJSON)
        for text in ["", " \n"] {
            #expect(throws: IngestError.noEvent) { try Folded(text, single) }
            #expect(throws: IngestError.notAnArray(found: nil)) { try Folded(text, batch) }
        }
        #expect(throws: IngestError.self) { try Folded(event(good), batch) }
        let long = event(good + #","x":"\#(String(repeating: "x", count: Limits.lineMax))""#)
        #expect(try letter(long).reason == .lineTooLong)
    }

    @Test("A bad event of a batch costs no other")
    func batches() throws {
        let text = "[\(event(good)), \(event(#""type":"t""#)), {}, 4, \(event(good))]"
        let folded = try Folded(text, batch)
        #expect(folded.reasons == ["missing-key", "bad-json", "bad-json"])
        #expect(folded.batch.deadLetters.map(\.line) == [2, 3, 4])
        #expect(folded.batch.totals.counted == 2)
        #expect(try Folded("[]", batch).batch.totals.events == 0)
    }

    @Test("JSON may stand as the data of an event if it is one value, and not too deep")
    func memberValues() {
        func isValue(_ text: String) -> Bool {
            Array(text.utf8).withUnsafeBytes { JSONText.isMemberValue($0) }
        }
        for text in ["{}", " 7 ", "\"a\"", "null", "[1,\n{\"a\":[]}]\n", "-0.5e3"] {
            #expect(isValue(text), "\(text)")
        }
        for text in ["", " ", "{} {}", "{},\"id\":\"8\"", "1}", "\"a", "{\"a\":1}}", "tru"] {
            #expect(!isValue(text), "\(text)")
        }
        let deep = { (depth: Int) in
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(isValue(deep(ParseLimits.nestingMax - 1)))
        #expect(!isValue(deep(ParseLimits.nestingMax)))
        #expect(![0x22, 0xff, 0x22].withUnsafeBytes { JSONText.isMemberValue($0) })
    }
}
