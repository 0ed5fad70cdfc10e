import Client
import Core
import Testing

@Suite("Cutting files into batches")
struct CutterTests {
    /// Cuts `bytes` given in pieces of the sizes that `piece` draws.
    private func cut(
        _ bytes: [UInt8], with cutter: any BatchCutter, piece: () -> Int = { 1 << 20 }
    ) throws -> [CutBody] {
        var cutter = cutter
        var bodies: [CutBody] = []
        var position = 0
        while position < bytes.count {
            let end = min(position + max(1, piece()), bytes.count)
            var start = position
            while start < end {
                start += try bytes[start..<end].withUnsafeBytes { try cutter.take($0) }
                if cutter.isFull, let body = cutter.cut() { bodies.append(body) }
            }
            position = end
        }
        try cutter.finish()
        if let body = cutter.cut() { bodies.append(body) }
        return bodies
    }

    private func cut(
        _ text: String, _ framing: RecordCutter.Framing, events: Int, bytes: Int = 1 << 22
    ) throws -> [String] {
        let cutter = RecordCutter(
            framing: framing, limits: CutLimits(events: events, bytes: bytes))
        return try cut(Array(text.utf8), with: cutter).map {
            String(decoding: $0.bytes, as: UTF8.self)
        }
    }

    private func values(_ text: String, events: Int) throws -> [String] {
        let cutter = ValueCutter(path: "f", limits: CutLimits(events: events, bytes: 1 << 22))
        return try cut(Array(text.utf8), with: cutter).map {
            String(decoding: $0.bytes, as: UTF8.self)
        }
    }

    @Test("lines are cut alike, whether many come at once or few")
    func countedLines() throws {
        var random = RandomSource(seed: 9)
        for round in 0..<40 {
            var bytes: [UInt8] = random.chance(1, in: 3) ? [0x0a] : []
            let blanks = [3, 50, 2000][round % 3]
            while bytes.count < 40_000 {
                // Bytes that differ from a line feed in one bit are none.
                let byte: UInt8 = random.pick([0x61, 0x0b, 0x8a, 0x1a, 0x08, 0x0d])
                let length = random.chance(1, in: blanks) ? 0 : random.below(130)
                bytes += [UInt8](repeating: byte, count: length) + [0x0a]
            }
            if random.chance(1, in: 2) { bytes.removeLast() }
            let limits = CutLimits(
                events: 1 + random.below(700), bytes: 1 + random.below(100_000))
            for framing in [RecordCutter.Framing.lines, .linesAfterHeader] {
                let whole = try cut(bytes, with: RecordCutter(framing: framing, limits: limits))
                let torn = try cut(bytes, with: RecordCutter(framing: framing, limits: limits)) {
                    1 + random.below(900)
                }
                #expect(whole == torn, "round \(round)")
                if case .lines = framing {
                    let lines = bytes.split(separator: 0x0a).count
                    #expect(whole.reduce(0) { $0 + $1.events } == lines)
                    #expect(
                        whole.dropLast().allSatisfy {
                            $0.events == limits.events || $0.bytes.count >= limits.bytes
                        })
                }
            }
        }
    }

    @Test("lines are cut at their ends, blank ones are no events")
    func lines() throws {
        #expect(try cut("a\nb\nc\n", .lines, events: 2) == ["a\nb\n", "c\n"])
        #expect(try cut("a\nb\nc", .lines, events: 2) == ["a\nb\n", "c"])
        #expect(try cut("a\n\n\nb\r\n", .lines, events: 2) == ["a\n\n\nb\r\n"])
        #expect(try cut("\n\n", .lines, events: 2).isEmpty)
        #expect(try cut("", .lines, events: 2).isEmpty)
        #expect(try cut("aaa\nbbb\nc\n", .lines, events: 9, bytes: 5) == ["aaa\nbbb\n", "c\n"])
    }

    @Test("every batch of a table begins with the header")
    func header() throws {
        #expect(
            try cut("k\tt\n1\t\"\n2\t\"\n3\tc", .linesAfterHeader, events: 2)
                == ["k\tt\n1\t\"\n2\t\"\n", "k\tt\n3\tc"])
        #expect(
            try cut("\nk,t\r\n1,2\r\n", .quotedRecordsAfterHeader, events: 1) == ["k,t\r\n1,2\r\n"])
        for start in ["\r\n", "\n\r\n\r\n", "\u{feff}\n", "\u{feff}\r\n"] {
            for framing in [RecordCutter.Framing.linesAfterHeader, .quotedRecordsAfterHeader] {
                let bytes = Array((start + "k,t\r\n1,2\r\n3,4\r\n").utf8)
                let cutter = RecordCutter(
                    framing: framing, limits: CutLimits(events: 1, bytes: 1 << 20))
                // However the bytes come.
                for piece in [1, 100] {
                    let bodies = try cut(bytes, with: cutter, piece: { piece })
                    #expect(
                        bodies.map { String(decoding: $0.bytes, as: UTF8.self) }
                            == ["k,t\r\n1,2\r\n", "k,t\r\n3,4\r\n"])
                }
            }
        }
        #expect(try cut("k,t\n", .quotedRecordsAfterHeader, events: 1).isEmpty)
        #expect(try cut("k,t", .quotedRecordsAfterHeader, events: 1).isEmpty)
    }

    @Test("a quoted field may hold newlines, commas and doubled quotes")
    func quoted() throws {
        let text = "k,t\n\"a\nb\",1\n\"c,\"\"\n\"\"\",2\nd\"e,3\n\"f\"\n"
        #expect(
            try cut(text, .quotedRecordsAfterHeader, events: 1) == [
                "k,t\n\"a\nb\",1\n", "k,t\n\"c,\"\"\n\"\"\",2\n", "k,t\nd\"e,3\n", "k,t\n\"f\"\n",
            ])
    }

    @Test("a row that cannot be read ends with its first line, and what is quoted stays whole")
    func brokenRows() throws {
        let cases: [(String, [String])] = [
            // A stray quote opens nothing, and none behind it does.
            ("a\"b,\"c\n\"d\ne\"\n", ["a\"b,\"c\n", "\"d\ne\"\n"]),
            // Text behind a quoted field; the line on which that ends is read anew.
            ("\"a\nb\"x,\"c\n\"d\ne\"\n", ["\"a\nb\"x,\"c\n", "\"d\ne\"\n"]),
            ("\"a\n,\"b\nc\"\nd\n", ["\"a\n,\"b\nc\"\n", "d\n"]),
            ("\"a\"\r\r\n\"b\nc\"\r\n", ["\"a\"\r\r\n", "\"b\nc\"\r\n"]),
        ]
        for (text, rows) in cases {
            let bodies = try cut("k\n" + text, .quotedRecordsAfterHeader, events: 1)
            #expect(bodies == rows.map { "k\n" + $0 }, "\(text)")
        }
        let marked = "\u{feff}\"k\nl\"\n\"a\nb\"\n"
        #expect(try cut(marked, .quotedRecordsAfterHeader, events: 1) == [marked])
    }

    @Test("a quote without its mate ends a batch within the line limit and loses no byte")
    func strayQuote() throws {
        let line = String(repeating: "x", count: 1000) + "\n"
        let tail = String(repeating: line, count: 2100)
        let bodies = try cut("k,t\n\"a\n" + tail, .quotedRecordsAfterHeader, events: 10)
        #expect(bodies.map { $0.dropFirst(4) }.joined() == "\"a\n" + tail)
        #expect(bodies[0].utf8.count <= Limits.lineMax + 1010)
        #expect(bodies.dropFirst().allSatisfy { $0.utf8.count <= 4 + 10 * 1001 })
    }

    @Test("of a line that is too long only the proof of it is kept")
    func longLine() throws {
        let long = String(repeating: "x", count: 3 * Limits.lineMax)
        for framing in [RecordCutter.Framing.lines, .quotedRecordsAfterHeader] {
            let header = framing == .lines ? "" : "k\n"
            let bodies = try cut(header + "a\n\(long)\nb\n", framing, events: 9)
            #expect(bodies.joined().utf8.count { $0 == UInt8(ascii: "x") } == Limits.lineMax + 1)
            #expect(bodies.joined().hasSuffix("x\nb\n") || bodies.last == header + "b\n")
        }
    }

    @Test("arrays are cut into arrays, their elements unchanged")
    func arrays() throws {
        let text = #" [ {"a": "]}\"" } ,{"b":[1,{"c":2}]}, 3 ,"x,]", null,[4]] "#
        #expect(
            try values(text, events: 2) == [
                #"[{"a": "]}\"" },{"b":[1,{"c":2}]}]"#, #"[3,"x,]"]"#, "[null,[4]]",
            ])
        #expect(try values("[]", events: 2).isEmpty)
        #expect(
            try values("{\"a\":1}\n{\"b\":2} {\"c\":3}", events: 2) == [
                #"[{"a":1},{"b":2}]"#, #"[{"c":3}]"#,
            ])
        #expect(try values("[1][2]", events: 9) == ["[1,2]"])
    }

    @Test("an element that is nothing travels at its place, for the node to bury")
    func emptyElements() throws {
        for text in ["[1,,2]", "[,1,]", "[,]", "[,,,{},]"] {
            #expect(try values(text, events: 9) == [text])
            #expect(try values(text.replacing(",", with: " , "), events: 9) == [text])
        }
        #expect(try values("[1,,2]", events: 2) == ["[1,]", "[2]"])
        #expect(try values("[1,,2,]", events: 1) == ["[1]", "[null]", "[2]", "[null]"])
        #expect(try values("[ ] [\n]", events: 1).isEmpty)
        // An array goes on behind an element: the comma that comes next is not the first thing.
        for (rest, expected) in [(",2]", ["[2]"]), ("]", []), (",,2]", ["[,2]"])] {
            let cutter = ValueCutter(
                path: "f", limits: CutLimits(events: 9, bytes: 99), offset: 5, resumesArray: true)
            let bodies = try cut(Array(("[" + rest).utf8), with: cutter)
            #expect(bodies.map { String(decoding: $0.bytes, as: UTF8.self) } == expected)
        }
    }

    @Test("of an element that is too long only the proof of it is kept, and its ends")
    func longElements() throws {
        let max = Limits.lineMax
        let x = { String(repeating: "x", count: $0) }
        let cases = [
            ("\"" + x(3 * max) + "\"", "\"" + x(max) + "\""),
            (#"{"a":["\#(x(3 * max))"]}"#, #"{"a":["\#(x(max - 6))"}}"#),
            (
                "\"x" + String(repeating: "\\", count: 2 * max) + "\"",
                "\"x" + String(repeating: "\\", count: max) + "\""
            ),
            (x(3 * max), x(max + 1)),
            ("\"" + x(max - 1) + "\"", "\"" + x(max - 1) + "\""),
            ("\"" + x(max - 2) + "\"", "\"" + x(max - 2) + "\""),
        ]
        var random = RandomSource(seed: 3)
        for (element, kept) in cases {
            let text = "[1,\(element),{\"a\":2}]"
            let cutter = ValueCutter(path: "f", limits: CutLimits(events: 9, bytes: 1 << 23))
            for pieces in [1 << 22, 50_000] {
                let bodies = try cut(Array(text.utf8), with: cutter) {
                    pieces - random.below(pieces / 2)
                }
                #expect(bodies.map(\.events) == [3])
                let isAsExpected = bodies[0].bytes.elementsEqual("[1,\(kept),{\"a\":2}]".utf8)
                #expect(isAsExpected, "\(kept.prefix(9))…, cut in pieces of up to \(pieces)")
            }
        }
    }

    @Test("an array without its end fails where it breaks, after what came before")
    func brokenArrays() throws {
        let long = "[1, \"" + String(repeating: "x", count: 3 * Limits.lineMax)
        let failure = #expect(throws: FileFailure.self) { try values(long, events: 9) }
        #expect(failure?.reason.contains("(byte 4)") == true, "\(failure?.reason ?? "")")
        for text in [#"[{"a":1},{"b""#, "[1,2", "[1}", "]", #"{"a":[}"#, "[,", "[1,"] {
            #expect(throws: FileFailure.self, "\(text.prefix(20))") {
                try values(text, events: 1)
            }
        }
    }

    @Test("what is cut does not depend on how the bytes arrive, and nothing is lost")
    func pieces() throws {
        var random = RandomSource(seed: 11)
        let alphabet = Array("ab,\"\n\r\t{}[]\\: ".utf8)
        for round in 0..<400 {
            let bytes = (0..<random.below(300)).map { _ in random.pick(alphabet) }
            let limits = CutLimits(events: 1 + random.below(4), bytes: 1 + random.below(60))
            let framings: [RecordCutter.Framing] = [
                .lines, .linesAfterHeader, .quotedRecordsAfterHeader,
            ]
            for framing in framings {
                let cutter = RecordCutter(framing: framing, limits: limits)
                let whole = try cut(bytes, with: cutter)
                let pieces = try cut(bytes, with: cutter) { 1 + random.below(9) }
                #expect(whole == pieces, "round \(round)")
                guard framing == .lines, bytes.contains(where: { $0 != 0x0a }) else { continue }
                let joined = whole.flatMap(\.bytes)
                #expect(bytes.starts(with: joined))
                #expect(bytes.dropFirst(joined.count).allSatisfy { $0 == 0x0a })
            }
            let cutter = ValueCutter(path: "f", limits: limits)
            let whole = Result { try cut(bytes, with: cutter) }
            let pieces = Result { try cut(bytes, with: cutter) { 1 + random.below(9) } }
            switch (whole, pieces) {
            case (.success(let left), .success(let right)): #expect(left == right)
            case (.failure(let left), .failure(let right)): #expect("\(left)" == "\(right)")
            default: Issue.record("round \(round): \(whole) but \(pieces)")
            }
        }
    }

    @Test("input that pauses may be cut between records only")
    func pauses() throws {
        var cutter = RecordCutter(framing: .lines, limits: CutLimits(events: 9, bytes: 999))
        #expect(!cutter.isBetweenRecords)
        _ = Array("a\nb".utf8).withUnsafeBytes { cutter.take($0) }
        #expect(!cutter.isBetweenRecords)
        _ = Array("\n".utf8).withUnsafeBytes { cutter.take($0) }
        #expect(cutter.isBetweenRecords)
        let body = cutter.cut()
        #expect(body?.events == 2)
        #expect(!cutter.isBetweenRecords)
    }
}
