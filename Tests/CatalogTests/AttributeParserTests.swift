import Catalog
import Core
import Testing

/// Bytes as text, for expectations that people can read.
private func text(_ bytes: [UInt8]?) -> String? {
    bytes.map { String(decoding: $0, as: UTF8.self) }
}

/// What a body comes to, read in one slice.
struct ParsedAttributes {
    let entries: [AttributeEntry]
    let rejects: [AttributeParser.Reject]
    let rejectedCount: Int

    init(
        _ body: [UInt8], format: AttributeFormat, keyField: String = "key"
    ) throws(AttributeBodyError) {
        var parser = try AttributeParser(body, format: format, keyField: keyField)
        entries = parser.next(rows: .max, bytes: .max) ?? []
        rejects = parser.rejects
        rejectedCount = parser.rejectedCount
    }
}

private func parse(
    _ body: String, _ format: AttributeFormat = .csv, key: String = "key"
) throws -> ParsedAttributes {
    try ParsedAttributes(Array(body.utf8), format: format, keyField: key)
}

@Suite struct AttributeParserTests {
    @Test("CSV: every column but the key's becomes a string, sorted by name")
    func columns() throws {
        let parser = try parse("title,key,views\nHello,a,12\nWorld,b,\n")
        #expect(parser.rejects.isEmpty)
        #expect(parser.entries.map { text($0.key) } == ["a", "b"])
        #expect(text(parser.entries[0].json) == #"{"title":"Hello","views":"12"}"#)
        #expect(text(parser.entries[1].json) == #"{"title":"World","views":""}"#)
    }

    @Test("CSV: quotes hold commas, quotes and line ends, and CRLF ends a row as LF does")
    func quotes() throws {
        let parser = try parse(
            "\u{FEFF}key,d\r\na,\"x, \"\"y\"\"\r\nz\"\r\n\r\nb,plain\r\n\"c\",\"\"")
        #expect(parser.rejectedCount == 0)
        #expect(parser.entries.map { text($0.key) } == ["a", "b", "c"])
        #expect(text(parser.entries[0].json) == #"{"d":"x, \"y\"\r\nz"}"#)
        #expect(text(parser.entries[1].json) == #"{"d":"plain"}"#)
        #expect(text(parser.entries[2].json) == #"{"d":""}"#)
    }

    @Test("CSV: a bad row is told with its line and the rows after it go in")
    func badRows() throws {
        let parser = try parse("key,d\na,1\nb,\"two\nlines\"\nc\nd,\"x\"y\n,empty\ne,5\n")
        #expect(parser.entries.map { text($0.key) } == ["a", "b", "e"])
        #expect(parser.rejects.map(\.line) == [5, 6, 7])
        #expect(parser.rejects[0].detail == "1 fields, the first line names 2")
        #expect(parser.rejects[1].detail == "text after a closing quote")
        #expect(parser.rejects[2].detail == "an empty key")
    }

    @Test("CSV: a quote that is never closed costs its row, told with where it opened")
    func openQuote() throws {
        let parser = try parse("key,d\na,1\nb,\"never\nc,3\n\nd,\"\"\ne,5\n")
        #expect(parser.entries.map { text($0.key) } == ["a", "c", "d", "e"])
        #expect(text(parser.entries[2].json) == #"{"d":""}"#)
        #expect(parser.rejects.map(\.line) == [3])
        #expect(parser.rejects[0].detail == "the quote opened on line 3 is never closed")
    }

    @Test("CSV: a quote that another row's seems to close costs its row, not that one")
    func strayQuote() throws {
        let quoted = try parse("key,d\nb,\"never\nc,\"3\"\nd,\"4\n5\"\n")
        #expect(quoted.entries.map { text($0.json) } == [#"{"d":"3"}"#, #"{"d":"4\n5"}"#])
        #expect(quoted.rejects.map(\.line) == [2])
        let bare = try parse("key,d\nb,\"never\nc,3\" disc\nd\n")
        #expect(bare.entries.map { text($0.json) } == [#"{"d":"3\" disc"}"#])
        #expect(bare.rejects.map(\.line) == [2, 4])
    }

    @Test("CSV: in lines that a bad row seemed to hold, a quote inside a bare field is told")
    func readAgain() throws {
        let parser = try parse("key,d\nb,\"x\nc,y\",\"z\nd,w\"v\ne,5\" disc\n")
        #expect(parser.entries.map { text($0.json) } == [#"{"d":"w\"v"}"#, #"{"d":"5\" disc"}"#])
        #expect(parser.rejects.map(\.line) == [2, 3])
        #expect(parser.rejects[1].detail.hasPrefix("a quotation mark inside a field"))
    }

    @Test("CSV: of a row of too many fields the first line is left out")
    func tooManyFields() throws {
        let wide = String(repeating: ",\"x\"", count: CatalogLimits.columnsMax)
        let parser = try parse("key,d\na\(wide)\nb,2\n")
        #expect(parser.entries.map { text($0.key) } == ["b"])
        #expect(parser.rejects.map(\.line) == [2])
    }

    @Test("CSV: a body without a usable first line is refused with the reason")
    func headers() {
        #expect(throws: AttributeBodyError.noHeader) { try parse("") }
        #expect(throws: AttributeBodyError.noHeader) { try parse("\n\r\n") }
        #expect(throws: AttributeBodyError.columnTwice("d")) { try parse("key,d,d\n") }
        #expect(throws: AttributeBodyError.noKeyColumn("id", columns: ["key", "d"])) {
            try parse("key,d\n", key: "id")
        }
        let wide = "key" + String(repeating: ",x", count: CatalogLimits.columnsMax)
        #expect(throws: AttributeBodyError.self) { try parse(wide) }
    }

    @Test("NDJSON: values stay what they are, numbers to the digit")
    func json() throws {
        let parser = try parse(
            #"{"b": [1.50, true, null, {"y":2,"x":1}], "key" :"k\u00e9\n", "a": "\ud83d\ude00\/"}"#,
            .ndjson)
        #expect(text(parser.entries.first?.key) == "ké\n")
        #expect(
            text(parser.entries.first?.json)
                == #"{"a":"😀/","b":[1.50,true,null,{"x":1,"y":2}]}"#)
    }

    @Test("NDJSON: a number or a boolean is a key by its text, an object or null is none")
    func jsonKeys() throws {
        let parser = try parse(
            """
            {"key": 24, "a": 1}

            {"key": true}
            {"key": null}
            {"key": {}}
            {"a": 1}
            """, .ndjson)
        #expect(parser.entries.map { text($0.key) } == ["24", "true"])
        #expect(parser.rejects.map(\.line) == [4, 5, 6])
        #expect(parser.rejects[2].detail == "no field key")
    }

    @Test(
        "NDJSON: what is no JSON object is told, not taken",
        arguments: [
            "[]", "{", #"{"key":"a"} x"#, #"{"key":"a",}"#, #"{"key":01}"#, #"{"key":"a","b":1.}"#,
            #"{"key":"\ud800"}"#, #"{"key":"\ud800\u0041"}"#, #"{"key":"\x"}"#, "{\"key\":\"\t\"}",
            #"{"key":"a","b":tru}"#, #"{"key":"\u12"}"#, #"{key:1}"#, #"{"key":"a" "b":1}"#,
        ])
    func badJSON(line: String) throws {
        let parser = try parse(line, .ndjson)
        #expect(parser.entries.isEmpty)
        #expect(parser.rejectedCount == 1)
    }

    @Test("NDJSON: invalid UTF-8 is told")
    func badUTF8() throws {
        let line = Array(#"{"key":"a","b":""#.utf8) + [0xc3, 0x28] + Array(#""}"#.utf8)
        #expect(try ParsedAttributes(line, format: .ndjson).rejectedCount == 1)
        let csv = Array("key,b\na,".utf8) + [0xff, 0x0a]
        #expect(try ParsedAttributes(csv, format: .csv).rejectedCount == 1)
    }

    @Test("A row above rowMax, a key above keyMax and JSON below jsonDepthMax are left out")
    func bounds() throws {
        let long = String(repeating: "x", count: CatalogLimits.rowMax)
        #expect(try parse("key,d\na,\(long)\n").rejectedCount == 1)
        let fits = String(repeating: "x", count: CatalogLimits.rowMax - #"{"d":""}"#.utf8.count)
        #expect(try parse("key,d\na,\(fits)\n").entries.count == 1)
        let key = String(repeating: "k", count: Limits.keyMax)
        #expect(try parse("key,d\n\(key),1\n\(key)k,1\n").entries.count == 1)
        let depth = CatalogLimits.jsonDepthMax
        let nested = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        #expect(try parse(#"{"key":"a","b":\#(nested)}"#, .ndjson).rejectedCount == 1)
        #expect(
            try parse(#"{"key":"a","b":\#(nested.dropFirst().dropLast())}"#, .ndjson)
                .rejectedCount == 0)
        let wall = String(repeating: "[", count: 400_000)
        #expect(try parse(#"{"key":"a","b":\#(wall)"#, .ndjson).rejectedCount == 1)
        #expect(try parse(#"{"key":"a","b":"\#(wall)\#(wall)"}"#, .ndjson).rejectedCount == 1)
    }

    @Test("Only the first rows that were left out are listed, all are counted")
    func manyRejects() throws {
        let parser = try parse("key,d\n" + String(repeating: "a\n", count: 50))
        #expect(parser.rejectedCount == 50)
        #expect(parser.rejects.count == Limits.errorsInAnswerMax)
    }

    @Test(
        "A body is read slice by slice, each bounded by rows and by what its entries take",
        arguments: [AttributeFormat.csv, .ndjson])
    func slices(format: AttributeFormat) throws {
        let rows = (0..<10).map { number in
            format == .csv ? "k\(number),x\n" : #"{"key":"k\#(number)","d":"x"}"# + "\n"
        }
        let body = Array(((format == .csv ? "key,d\n" : "") + rows.joined()).utf8)
        let whole = try ParsedAttributes(body, format: format).entries
        #expect(whole.count == 10)
        var parser = try AttributeParser(body, format: format)
        #expect(parser.next(rows: 4, bytes: .max)?.count == 4)
        #expect(parser.rows == 4)
        // The second entry reaches the bound.
        let entry = whole[0].footprint
        #expect(entry == CatalogLimits.entryOverhead + 2 + #"{"d":"x"}"#.utf8.count)
        #expect(parser.next(rows: 4, bytes: entry + 1) == Array(whole[4..<6]))
        #expect(parser.next(rows: .max, bytes: .max) == Array(whole[6...]))
        #expect(parser.next(rows: .max, bytes: .max) == nil)
        #expect(parser.rows == 10)
    }

    @Test("A slice of rows that are all left out is no end")
    func rejectedSlice() throws {
        var parser = try AttributeParser(
            Array("key,d\nx\ny\na,1\n".utf8), format: .csv)
        #expect(parser.next(rows: 2, bytes: .max) == [])
        #expect(parser.next(rows: 2, bytes: .max)?.map { text($0.key) } == ["a"])
        #expect(parser.next(rows: 2, bytes: .max) == nil)
        #expect(parser.rows == 3 && parser.rejectedCount == 2)
    }

    @Test("CSV: names that leave no row any room are refused, the key's own does not count")
    func longNames() throws {
        let room = CatalogLimits.rowMax - #"{"":""}"#.utf8.count
        let name = String(repeating: "n", count: room)
        let fits = try parse("key,\(name)\na,\nb,x\n")
        #expect(fits.entries.map { text($0.key) } == ["a"])
        #expect(fits.entries.first?.json?.count == CatalogLimits.rowMax)
        #expect(fits.rejects.map(\.line) == [3])
        #expect(throws: AttributeBodyError.namesTooLong(bytes: CatalogLimits.rowMax + 1)) {
            try parse("key,\(name)n\na,\n")
        }
        let long = name + name
        #expect(throws: AttributeBodyError.namesTooLong(bytes: 2 * room + 3)) {
            try parse("\(long),key,\(name)\n", key: name)
        }
        // Each of its bytes takes six in JSON.
        let escaped = String(repeating: "\u{1}", count: room / 2)
        #expect(throws: AttributeBodyError.self) { try parse("key,\(escaped)\na,\n") }
        #expect(try parse("\(long),d\na,1\n", key: long).entries.count == 1)
    }

    @Test("A slice ends by what it takes of the body, too: rows that are left out are no less work")
    func slicesOfTheBody() throws {
        func rows(_ body: String, _ format: AttributeFormat = .csv, bytes: Int) throws -> Int {
            var parser = try AttributeParser(Array(body.utf8), format: format)
            #expect(parser.next(rows: .max, bytes: bytes) != nil)
            return parser.rows
        }
        #expect(try rows("key,d\n" + String(repeating: "x\n", count: 10), bytes: 6) == 3)
        #expect(try rows(String(repeating: "[]\n", count: 10), .ndjson, bytes: 7) == 3)
        // Its quote is looked for in all lines behind it.
        let lines = String(repeating: "c,3\n", count: 10)
        #expect(try rows("key,d\nb,\"never\n" + lines, bytes: lines.utf8.count) == 1)
        // Much is read of which little is kept.
        let long = String(repeating: "x", count: 400)
        let twice = #"{"key":"a","d":"\#(long)","d":""}"# + "\n"
        let many = String(repeating: twice, count: 10)
        #expect(try rows(many, .ndjson, bytes: twice.utf8.count + 1) == 2)
    }

    @Test("Texts in all scripts keep their bytes, in either Unicode form")
    func scripts() throws {
        let samples = [
            "விஜய் குடும்பத்தில்", "【閲覧注意】ハロウィン", "Маша и Медведь 🎃", "مرحبا", "שלום", "ไทย",
            "video-\u{e9}t\u{e9}", "video-e\u{301}te\u{301}", "👩‍👩‍👧‍👦", "\u{200f}\u{202e}", "𝔘𝔫𝔦",
        ]
        for sample in samples {
            let csv = try parse("key,t\n\"\(sample)\",\"\(sample)\"\n")
            #expect(csv.entries[0].key == Array(sample.utf8))
            #expect(csv.entries[0].json == Array("{\"t\":\"\(sample)\"}".utf8))
            let json = try parse("{\"key\":\"\(sample)\",\"t\":\"\(sample)\"}", .ndjson)
            #expect(json.entries == csv.entries)
        }
    }

    @Test("Canonical form is a fixed point, and blanks, order and escapes do not matter")
    func canonical() throws {
        let spellings = [
            #"{"b":1,"a":"é\n"}"#, "{ \"a\" : \"\\u00e9\\u000A\" ,\t\"b\" : 1 }",
            #"{"a":0,"b":1,"a":"é\n"}"#,
        ]
        for spelling in spellings {
            let members = try JSONCanonical.members(of: Array(spelling.utf8)[...])
            let form = JSONCanonical.object(members)
            #expect(text(form) == #"{"a":"é\n","b":1}"#)
            #expect(JSONCanonical.isCanonicalObject(form))
        }
        #expect(!JSONCanonical.isCanonicalObject(Array(spellings[1].utf8)))
        let json = Array(#"{"a":"é\n","b":1}"#.utf8)
        #expect(text(JSONCanonical.plainValue(of: Array("a".utf8), in: json)) == "é\n")
        #expect(text(JSONCanonical.plainValue(of: Array("b".utf8), in: json)) == "1")
        #expect(JSONCanonical.plainValue(of: Array("c".utf8), in: json) == nil)
    }

    @Test("Bytes at random never trap the parser")
    func fuzz() {
        var random = RandomSource(seed: 7)
        let alphabet = Array("{}[]\",:\\u0041eE+-.key\r\n \u{e9}".utf8) + [0xff, 0x00, 0xc3]
        for _ in 0..<3000 {
            let body = (0..<random.below(60)).map { _ in random.pick(alphabet) }
            for format in [AttributeFormat.csv, .ndjson] {
                do {
                    let parser = try ParsedAttributes(body, format: format)
                    #expect(
                        parser.entries.allSatisfy {
                            $0.json.map(JSONCanonical.isCanonicalObject) ?? false
                        })
                } catch {
                    #expect(format == .csv)
                }
            }
        }
    }
}
