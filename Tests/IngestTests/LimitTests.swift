import Core
import Ingest
import Testing

@Suite struct LimitTests {
    private func event(key: String = "k", type: String = "t", extra: String = "") -> String {
        #"{"key":"\#(key)","type":"\#(type)","time":0\#(extra)}"#
    }

    private func refusal(
        _ bytes: [UInt8], _ parameters: ParseParameters = ParseParameters(format: .ndjson),
        bounds: FoldBounds = .standard
    ) throws -> IngestError? {
        do {
            _ = try Folded(bytes, parameters, bounds: bounds)
            return nil
        } catch let error as IngestError {
            return error
        }
    }

    @Test("Keys end at 1,024 bytes and types at 64, in bytes and not characters")
    func names() throws {
        let key = String(repeating: "é", count: Limits.keyMax / 2)
        let type = String(repeating: "é", count: Limits.typeMax / 2)
        #expect(try Folded(event(key: key, type: type)).batch.totals.counted == 1)
        #expect(try Folded(event(key: key + "x")).reasons == ["key-too-long"])
        #expect(try Folded(event(type: type + "x")).reasons == ["type-too-long"])
        // Escapes do not count as what they are written with.
        let escaped = String(repeating: "\\u00e9", count: Limits.keyMax / 2)
        #expect(try Folded(event(key: escaped)).byKey == [key: 1])
        #expect(try Folded(event(key: escaped + "x")).reasons == ["key-too-long"])
    }

    @Test("A line ends at 1 MiB in every format, and a longer one costs no other")
    func lines() throws {
        func padded(_ length: Int) -> String {
            let bare = event(extra: #","x":"""#).utf8.count
            let padding = String(repeating: "x", count: length - bare)
            return event(extra: #","x":"\#(padding)""#)
        }
        for isArray in [false, true] {
            let parameters = ParseParameters(format: isArray ? .jsonArray : .ndjson)
            for (length, expected) in [
                (Limits.lineMax, []), (Limits.lineMax + 1, ["line-too-long"]),
            ] {
                let lines = [event(), padded(length), event()]
                let text =
                    isArray
                    ? "[" + lines.joined(separator: ",") + "]" : lines.joined(separator: "\n")
                let folded = try Folded(text, parameters)
                #expect(folded.reasons == expected)
                #expect(folded.batch.totals.events == 3)
                #expect(
                    folded.batch.deadLetters.allSatisfy {
                        $0.line == 2 && $0.raw.count == Limits.deadLetterRawMax && !$0.isWhole
                    })
            }
        }
        let long = String(repeating: "x", count: Limits.lineMax + 1)
        #expect(try Folded(long).reasons == ["line-too-long"])
        let csv = ParseParameters(format: .csv, defaultType: "t")
        let rows = "key,time,x\na,0,\(long)\nb,0,\"\(long)\n\"\nc,0,\n"
        let folded = try Folded(rows, csv)
        #expect(folded.reasons == ["line-too-long", "line-too-long"])
        #expect(folded.byKey == ["c": 1])
        let header = "key,time,\(long)\n"
        #expect(try refusal(Array(header.utf8), csv) != nil)
        #expect(
            try Folded(long, ParseParameters(format: .commonLog)).reasons == ["line-too-long"])
    }

    @Test("The carriage return before a line feed is no part of the line")
    func carriageReturn() throws {
        let head = #"{"type":"t","time":0,"x":""#
        let good = #"{"key":"k","type":"t","time":0}"#
        func line(_ length: Int) -> String {
            let tail = #"","key":"k"}"#
            let padding = length - head.utf8.count - tail.utf8.count
            return head + String(repeating: "p", count: padding) + tail
        }
        // Also where all lines are put together alike.
        for others in [good, line(100)] {
            let lines = [others, others, line(Limits.lineMax), others, line(Limits.lineMax + 1)]
            let folded = try Folded(lines.joined(separator: "\r\n") + "\r\n")
            #expect(folded.reasons == ["line-too-long"])
            #expect(folded.byKey == ["k": 4])
        }
        let dead = #"{"type":"t","time":0}"#
        let letters = try Folded("\(dead)\r\n\(dead)\n\(dead)\r").batch.deadLetters
        #expect(letters.map(\.reason) == [.missingKey, .missingKey, .missingKey])
        #expect(letters.map(\.raw) == Array(repeating: Array(dead.utf8), count: 3))
    }

    @Test("Escaped text longer than a line has no room to be undone in, and is a long line")
    func scratch() throws {
        let text = String(repeating: "\\n", count: Limits.lineMax * 5 / 2)
        #expect(try Folded(event(key: text)).reasons == ["line-too-long"])
        let name = #"{"\#(text)":1,"key":"k","type":"t","time":0}"#
        #expect(try Folded(name).reasons == ["line-too-long"])
        let quotes = String(repeating: "\"\"", count: Limits.lineMax * 5 / 2)
        let csv = ParseParameters(format: .csv, defaultType: "t")
        #expect(try Folded("key,time\n\"\(quotes)\",0\n", csv).reasons == ["line-too-long"])
        // One field in all four roles is undone four times, and a line of full length has room for
        // it.
        let digits = String(repeating: "\\u0030", count: Limits.lineMax / 6 - 20)
        let parameters = ParseParameters(
            format: .ndjson, defaultType: "t", keyField: "k", timeField: "n", valueField: "n")
        #expect(
            try Folded(#"{"k":"\u006b","n":"1.\#(digits)"}"#, parameters).byKey == ["k": 1])
        // The room is there again for the next event.
        let lines = (0..<3).map { event(key: "\\n\($0)") }
        #expect(try Folded(lines.joined(separator: "\n")).batch.totals.counted == 3)
    }

    @Test("64 objects and arrays may lie inside each other")
    func nesting() throws {
        func nested(_ depth: Int, _ open: String, _ close: String) -> String {
            String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)
        }
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let inside = nested(ParseLimits.nestingMax - 1, open, close)
            #expect(try Folded(event(extra: ",\"x\":\(inside)")).reasons == [])
            let beyond = nested(ParseLimits.nestingMax, open, close)
            let letter = try Folded(event(extra: ",\"x\":\(beyond)")).batch.deadLetters.first
            #expect(letter?.reason == .badJSON)
            #expect(letter?.detail.contains("more than 64 objects and arrays") == true)
        }
        // Along a path as well.
        let names = Array(repeating: "a", count: 65)
        let parameters = ParseParameters(
            format: .ndjson, defaultType: "t", keyField: names.joined(separator: "."))
        #expect(
            try Folded(nested(65, "{\"a\":", "}"), parameters).reasons == ["bad-json"])
        let fewer = ParseParameters(
            format: .ndjson, defaultType: "t", keyField: names.dropLast().joined(separator: "."),
            timeField: names.dropLast().joined(separator: "."))
        #expect(try Folded(nested(64, "{\"a\":", "}"), fewer).byKey == ["1": 1])
    }

    @Test("Names of fields and default types have a length")
    func parameters() throws {
        for name in ["", String(repeating: "x", count: ParseLimits.fieldNameMax + 1)] {
            for parameters in [
                ParseParameters(format: .ndjson, keyField: name),
                ParseParameters(format: .csv, timeField: name),
                ParseParameters(format: .commonLog, typeField: name),
                ParseParameters(format: .tsv, valueField: name),
                ParseParameters(format: .ndjson, defaultType: name),
            ] {
                guard case .badParameter? = try refusal([], parameters) else {
                    Issue.record("a name of \(name.count) bytes was taken")
                    continue
                }
            }
        }
        let longest = String(repeating: "x", count: ParseLimits.fieldNameMax)
        #expect(try refusal([], ParseParameters(format: .ndjson, keyField: longest)) == nil)
    }

    @Test("A batch of too many cells, dead letters or bytes is refused whole")
    func bounds() throws {
        let bounds = FoldBounds(cellsMax: 3, deadLettersMax: 2, bytesMax: 200)
        let three = (0..<3).map { event(key: "\($0)") }.joined(separator: "\n")
        #expect(try refusal(Array(three.utf8), bounds: bounds) == nil)
        #expect(
            try refusal(Array((three + "\n" + event(key: "4")).utf8), bounds: bounds)
                == .tooManyCells(max: 3))
        #expect(try refusal(Array("a\nb\n".utf8), bounds: bounds) == nil)
        guard
            case .tooManyDeadLetters(max: 2, let first)? = try refusal(
                Array("a\nb\nc".utf8), bounds: bounds)
        else {
            Issue.record("three dead letters were taken")
            return
        }
        #expect(first.line == 1)
        #expect(
            try refusal(Array(event(key: String(repeating: "k", count: 200)).utf8), bounds: bounds)
                == .resultTooLarge(max: 200))
        #expect(
            try refusal(Array(String(repeating: "k", count: 200).utf8), bounds: bounds)
                == .resultTooLarge(max: 200))
    }

    @Test("A body beyond 64 MiB is refused before it is read")
    func body() throws {
        let bytes = [UInt8](repeating: 0x0a, count: Limits.bodyDecodedMax + 1)
        #expect(try refusal(bytes) == .bodyTooLarge(bytes: Limits.bodyDecodedMax + 1))
    }

    @Test("Details of dead letters are cut")
    func details() throws {
        let names = String(repeating: "ñ", count: ParseLimits.fieldNameMax / 2)
        let parameters = ParseParameters(format: .ndjson, keyField: names)
        let detail = try #require(try Folded("{}", parameters).batch.deadLetters.first?.detail)
        #expect(detail.utf8.count <= Limits.deadLetterDetailMax)
        #expect(detail.utf8.count > Limits.deadLetterDetailMax - 4)
        let time = String(repeating: "é", count: 100)
        let text = #"{"key":"k","type":"t","time":"\#(time)"}"#
        let quoted = try #require(try Folded(text).batch.deadLetters.first?.detail)
        #expect(quoted.hasPrefix("\"\(String(repeating: "é", count: 24))…\""))
    }
}
