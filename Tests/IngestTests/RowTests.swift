import Core
import Ingest
import Testing

@Suite struct RowTests {
    private let csv = ParseParameters(format: .csv, defaultType: "t")
    private let tsv = ParseParameters(format: .tsv, defaultType: "t")

    @Test("Rows are read by the names of their columns, in any order")
    func columns() throws {
        let folded = try Folded("x,time,value,key,type\n1,60,2.5,a,view\n2,120,,b,like\n", csv)
        #expect(
            folded.cells == [
                .init(type: "view", key: "a", window: 1):
                    Measure(
                        count: 1,
                        values: .init(count: 1, sum: 2_500_000, min: 2_500_000, max: 2_500_000)),
                .init(type: "like", key: "b", window: 2): Measure(count: 1),
            ])
    }

    @Test("Quoted fields hold commas, quotation marks and line breaks")
    func quotes() throws {
        let text =
            "\u{feff}\"key\",\"time\",text\r\n\"a,b\",0,\"x\r\ny\"\"\"\r\n\"c\"\"d\"\"\",0,\"\"\r\n"
        let folded = try Folded(text, csv)
        #expect(folded.byKey == ["a,b": 1, "c\"d\"": 1])
        #expect(folded.batch.totals.dead == 0)
    }

    @Test("CRLF, LF, blank lines and a last row without a line break are all read")
    func lineEnds() throws {
        for text in [
            "key,time\na,0\nb,0\n", "key,time\r\na,0\r\nb,0\r\n", "key,time\na,0\r\nb,0",
            "\n\r\nkey,time\n\n\na,0\n\r\nb,0\n\n", "key,time\n\"a\",\"0\"\nb,\"0\"",
            "key,time\n\"a\",\"0\"\nb,\"0\"\r",
        ] {
            let folded = try Folded(text, csv)
            #expect(folded.byKey == ["a": 1, "b": 1], "\(text)")
        }
        let letter = try Folded("\nkey,time,x\n\n\"a\n\n\",0,1\nb,0\n", csv).batch.deadLetters.first
        #expect(letter?.line == 7)
        #expect(letter?.raw == Array("b,0".utf8))
    }

    @Test("A row of another length is a dead letter")
    func ragged() throws {
        let folded = try Folded("key,time\na\nb,0\nc,0,1\n,\n", csv)
        #expect(folded.reasons == ["bad-row", "bad-row", "missing-key"])
        #expect(folded.batch.deadLetters.map(\.line) == [2, 4, 5])
        #expect(folded.batch.deadLetters[1].detail == "the row has 3 fields, the header 2")
    }

    @Test("A broken quotation costs its own row only")
    func brokenQuotes() throws {
        for row in ["\"x,0", "x\"y,0", "\"x\"y,0", "\"x\"\",0", "z,\"", "\""] {
            let folded = try Folded("key,time\n\(row)\na,0\n\"b\",0\n", csv)
            #expect(folded.reasons == ["bad-row"], "\(row)")
            #expect(folded.batch.deadLetters.first?.raw == Array(row.utf8), "\(row)")
            #expect(folded.byKey == ["a": 1, "b": 1], "\(row)")
        }
    }

    @Test("Tab-separated fields are never quoted")
    func tabs() throws {
        let folded = try Folded("key\ttime\tx\n\"a\" b\t0\t\"c\n\"\"\t60\td\r\n", tsv)
        #expect(folded.byKey == ["\"a\" b": 1, "\"\"": 1])
        #expect(folded.batch.totals.dead == 0)
    }

    @Test(
        "Key and type must be UTF-8; a column that nobody asked for may be anything"
    )
    func encodings() throws {
        let head = Array("key,time,x\n".utf8)
        let folded = try Folded(
            head + [0x61, 0xff] + Array(",0,\n".utf8) + Array("a,0,".utf8) + [0xff, 0x0a], csv)
        #expect(folded.reasons == ["bad-utf8"])
        #expect(folded.byKey == ["a": 1])
    }

    @Test(
        "A header without the columns that are needed refuses the batch, and names those there are")
    func missingColumns() throws {
        func error(_ text: String, _ parameters: ParseParameters) -> IngestError? {
            do {
                _ = try Folded(text, parameters)
                return nil
            } catch {
                return error as? IngestError
            }
        }
        #expect(
            error("a,time\nx,0\n", csv)
                == .missingColumn(role: "key", wanted: ["key", "subject"], columns: ["a", "time"]))
        #expect(
            error("key,b\nx,0\n", csv)
                == .missingColumn(
                    role: "time", wanted: ["time", "ts", "timestamp"], columns: ["key", "b"]))
        #expect(
            error("key,time\n", ParseParameters(format: .csv))
                == .missingColumn(role: "type", wanted: ["type"], columns: ["key", "time"]))
        var named = csv
        named.valueField = "cost"
        #expect(
            error("key,time\n", named)
                == .missingColumn(role: "value", wanted: ["cost"], columns: ["key", "time"]))
        #expect(
            "\(try #require(error("key,time\n", named)))"
                == "no column for the value: looked for cost, the header has key, time; name the"
                + " column with value_field")
        #expect(
            error("\"key,time\nx,0\n", csv)
                == .badHeader(detail: "a quotation mark is never closed"))
        let wide = (0..<50).map { "c\($0)" }.joined(separator: ",")
        #expect("\(try #require(error(wide, csv)))".contains("c19 and 30 more"))
        let tooWide = String(repeating: "a,", count: ParseLimits.columnsMax) + "time\nx,0\n"
        #expect(
            error(tooWide, csv)
                == .badHeader(detail: "it has more than \(ParseLimits.columnsMax) columns"))
        let tooLong = "\"" + String(repeating: "a", count: Limits.lineMax) + "\",time\nx,0\n"
        #expect(
            error(tooLong, csv)
                == .badHeader(
                    detail: "it has more than the \(Limits.lineMax) bytes that a line may have"))
        #expect(error("", csv) == nil)
        #expect(error("\n\r\n", csv) == nil)
    }

    @Test("Of two columns with one name the first counts; an empty key falls back to subject")
    func duplicates() throws {
        let folded = try Folded("key,key,subject,time\na,b,c,0\n,b,c,0\n", csv)
        #expect(folded.byKey == ["a": 1, "c": 1])
    }

    @Test("Rows are read in time that grows with their bytes, however the quotation marks stand")
    func quadratic() throws {
        // Marks that open and never close, doubled ones, and both in turns.
        for row in ["\"", "a\"\"", "\"\"\"", "\"a\"\"", "\",\"\"", ",\"\"x"] {
            let body = "key,time\n" + String(repeating: row + "\n", count: 60_000)
            let folded = try Folded(body, csv)
            #expect(folded.batch.totals.counted == 0)
            #expect(folded.batch.totals.dead > 0)
        }
    }
}
