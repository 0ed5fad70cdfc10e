import Core
import Ingest
import Testing

@Suite struct CommonLogTests {
    private let log = ParseParameters(format: .commonLog)
    private let line =
        #"1.2.3.4 - bob [22/Feb/2015:21:17:00 +0000] "GET /a?b=c HTTP/1.1" 200 123"#

    @Test("A common line counts as a hit of its target with the query string")
    func common() throws {
        let folded = try Folded(line + "\n", log)
        #expect(folded.only?.name == .init(type: "hit", key: "/a?b=c", window: 23_743_997))
        #expect(folded.only?.measure == Measure(count: 1))
    }

    @Test(
        "Every field of a combined line can be the key",
        arguments: [
            ("host", "1.2.3.4"), ("user", "bob"), ("method", "GET"), ("path", "/a?b=c"),
            ("protocol", "HTTP/1.1"), ("status", "200"), ("bytes", "123"),
            ("referer", "http://x/\\\"y"), ("agent", "M (X; \\\"Y)"),
            ("time", "22/Feb/2015:21:17:00 +0000"),
        ])
    func fields(name: String, text: String) throws {
        var parameters = log
        parameters.keyField = name
        parameters.typeField = "method"
        parameters.valueField = "bytes"
        let combined = line + #" "http://x/\"y" "M (X; \"Y)""#
        for ending in ["", "\n", "\r\n", " 0.005 upstream\n"] {
            let folded = try Folded(combined + ending, parameters)
            #expect(folded.only?.name.key == text)
            #expect(folded.only?.name.type == "GET")
            #expect(folded.only?.measure.values?.sum == 123_000_000)
        }
    }

    @Test("A hyphen is no value, no user and no referer")
    func hyphens() throws {
        let text = #"h - - [22/Feb/2015:21:17:00 +0000] "GET / HTTP/1.1" 304 - "-" "-""#
        var parameters = log
        parameters.valueField = "bytes"
        #expect(try Folded(text, parameters).only?.measure == Measure(count: 1))
        parameters.keyField = "referer"
        #expect(try Folded(text, parameters).reasons == ["missing-key"])
    }

    @Test("Targets with spaces, requests without a protocol and users with spaces are read")
    func oddities() throws {
        for (request, target) in [
            ("GET /a b HTTP/1.1", "/a b"), ("GET /old", "/old"), ("GET /a b", "/a b"),
            ("OPTIONS * HTTP/1.0", "*"),
        ] {
            let text = #"h - a b [22/Feb/2015:21:17:00 +0000] "\#(request)" 200 1"#
            #expect(try Folded(text, log).only?.name.key == target)
        }
    }

    @Test("Bytes that are no request have no path, but still a host")
    func noRequest() throws {
        for request in ["", "-", "\\x16\\x03\\x01", "GET "] {
            let text = #"h - - [22/Feb/2015:21:17:00 +0000] "\#(request)" 400 0"#
            #expect(try Folded(text, log).reasons == ["missing-key"])
            var parameters = log
            parameters.keyField = "host"
            #expect(try Folded(text, parameters).batch.totals.counted == 1)
        }
    }

    @Test(
        "A malformed line is a dead letter",
        arguments: [
            "x", "h - -", "h - - [22/Feb/2015:21:17:00 +0000", "h - - 22/Feb/2015",
            "[22/Feb/2015:21:17:00 +0000]",
            "h - [22/Feb/2015:21:17:00 +0000] \"GET / HTTP/1.1\" 200 1",
            "h - - [22/Feb/2015:21:17:00 +0000]\"GET / HTTP/1.1\" 200 1",
            "h - - [22/Feb/2015:21:17:00 +0000] GET / 200 1",
            "h - - [22/Feb/2015:21:17:00 +0000] \"GET / HTTP/1.1 200 1",
            "h - - [22/Feb/2015:21:17:00 +0000] \"GET / HTTP/1.1\\\" 200 1",
            "h - - [22/Feb/2015:21:17:00 +0000] \"GET / HTTP/1.1\" 20 1",
            "h - - [22/Feb/2015:21:17:00 +0000] \"GET / HTTP/1.1\" abc 1",
            "h - - [22/Feb/2015:21:17:00 +0000] \"GET / HTTP/1.1\" 200",
            "h - - [22/Feb/2015:21:17:00 +0000] \"GET / HTTP/1.1\" 200 x",
            "h - - [22/Feb/2015:21:17:00 +0000] \"GET / HTTP/1.1\" 200 1 \"-\"",
            "h - - [22/Feb/2015:21:17:00 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"cut",
            "h - - [22/Feb/2015:21:17:00 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"cut\\",
            "h - - [22/Feb/2015:21:17:00 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"a\"b",
        ])
    func malformed(text: String) throws {
        let folded = try Folded(text + "\n \n" + line, log)
        #expect(folded.reasons == ["bad-line"], "\(text)")
        #expect(folded.batch.totals.counted == 1)
    }

    @Test("A bad time in a good line is a bad time")
    func badTime() throws {
        let text = #"h - - [22/Foo/2015:21:17:00 +0000] "GET / HTTP/1.1" 200 1"#
        #expect(try Folded(text, log).reasons == ["bad-time"])
    }

    @Test("A field that lines do not have refuses the batch")
    func unknownField() throws {
        var parameters = log
        parameters.keyField = "url"
        do {
            _ = try Folded(line, parameters)
            Issue.record("url is no field")
        } catch let error as IngestError {
            guard case .unknownField("url", _) = error else {
                Issue.record("\(error)")
                return
            }
            #expect("\(error)".contains("host, ident, user, time, method, path"))
        }
    }
}
