import Core
import Ingest
import Testing

@Suite struct ArrayTests {
    private let array = ParseParameters(format: .jsonArray)
    private let good = #"{"key":"k","type":"t","time":0}"#

    private func refusal(_ text: String) throws -> IngestError {
        do {
            _ = try Folded(text, array)
        } catch let error as IngestError {
            return error
        }
        Issue.record("\(text) was folded")
        return .bodyTooLarge(bytes: 0)
    }

    @Test("Elements are events, with any white space between them")
    func elements() throws {
        for text in ["[\(good)]", " [\n\(good) , \(good)\t]\r\n", "[]", "[ \n ]"] {
            let folded = try Folded(text, array)
            #expect(folded.batch.totals.dead == 0)
        }
        let folded = try Folded("[\(good),{\n\"key\" :\n\"x\",\"type\":\"t\",\"time\":0}]", array)
        #expect(folded.byKey == ["k": 1, "x": 1])
    }

    @Test("Nothing between commas is an element; one that was cut for its length stays too long")
    func emptyAndCutElements() throws {
        for (text, dead) in [
            ("[,\(good),]", 2), ("[\(good),,\(good)]", 1), ("[,]", 2), ("[null]", 1),
        ] {
            let folded = try Folded(text, array)
            #expect(folded.reasons == Array(repeating: "bad-json", count: dead), "\(text)")
        }
        let x = String(repeating: "x", count: Limits.lineMax)
        for cut in ["\"\(x)\"", "{\"a\":[\"\(x)\"}}", "\"\(x)\\\\\"", x + "x"] {
            let folded = try Folded("[\(good),\(cut),\(good)]", array)
            #expect(folded.reasons == ["line-too-long"])
            #expect(folded.batch.totals.counted == 2)
        }
    }

    @Test("A bad element is a dead letter at its position and costs no other")
    func badElements() throws {
        for bad in [
            "12", "\"a,]b\"", "[1,2]", "{\"key\":}", "{\"a\":[1,{}],\"b\":tru}", "nul",
            "{\"\\x\":1}",
            "{,}", "{\"key\":\"k\",\"type\":\"t\",\"time\":0} {}", "{\"a\":\"\\\"]\",}",
        ] {
            let folded = try Folded("[\(good),\(bad),\(good)]", array)
            #expect(folded.reasons == ["bad-json"], "\(bad)")
            #expect(folded.batch.deadLetters.first?.line == 2)
            #expect(folded.batch.deadLetters.first?.raw == Array(bad.utf8), "\(bad)")
            #expect(folded.batch.totals.counted == 2)
        }
        #expect(try Folded("[,\(good),]", array).reasons == ["bad-json", "bad-json"])
    }

    @Test("What is no array, is cut off, or goes on behind its end is refused whole")
    func refusals() throws {
        #expect(try refusal("") == .notAnArray(found: nil))
        #expect(try refusal(" \n") == .notAnArray(found: nil))
        #expect(try refusal(good) == .notAnArray(found: UInt8(ascii: "{")))
        #expect(
            "\(try refusal(good))"
                == "the body is no JSON array: it begins with '{'; events one per line are sent as"
                + " application/x-ndjson")
        #expect(try refusal(" [\(good)") == .arrayNotClosed(opened: 1))
        #expect(try refusal("[\(good),") == .arrayNotClosed(opened: 0))
        #expect(try refusal("[") == .arrayNotClosed(opened: 0))
        #expect(try refusal("[{\"key\":\"k]") == .arrayNotClosed(opened: 0))
        #expect(try refusal("[\"\\") == .arrayNotClosed(opened: 0))
        #expect(try refusal("[\(good)] x") == .bytesAfterArray(offset: 34))
        #expect(try refusal("[][]") == .bytesAfterArray(offset: 2))
    }
}
