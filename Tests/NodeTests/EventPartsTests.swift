import Core
import HummingbirdCore
import Ingest
import NIOCore
import Node
import Testing
import Wire

/// A long body comes to the same counts and dead letters in parts as in one piece, whatever is
/// wrong with its events.
@Suite("Long bodies in parts") struct EventPartsTests {
    /// What events came to: by key, and reason and bytes of each dead letter.
    struct Outcome: Hashable {
        var counts: [String: UInt64] = [:]
        var letters: [String] = []

        static func + (left: Outcome, right: Outcome) -> Outcome {
            Outcome(
                counts: left.counts.merging(right.counts, uniquingKeysWith: +),
                letters: left.letters + right.letters)
        }
    }

    private static let rules = FoldRules()

    private static func fold(
        _ bytes: [UInt8], _ parameters: ParseParameters
    ) throws(IngestError) -> Outcome {
        var folder = BatchFolder()
        let batch = try bytes.withUnsafeBytes { bytes in
            Result { () throws(IngestError) in
                try folder.fold(
                    bytes, parameters: parameters,
                    createdAt: WallTime(milliseconds: 1_767_225_600_000), rules: rules,
                    partitioner: CellPartitioner { _, _ in PartitionID(0) })
            }
        }.get()
        var outcome = Outcome()
        outcome.letters = batch.deadLetters.map {
            "\($0.reason.name) \(String(decoding: $0.raw, as: UTF8.self))"
        }
        batch.body.withUnsafeBytes { body in
            do throws(SliceError) {
                for slice in batch.slices {
                    let bytes = body[slice.offset..<slice.offset + slice.length]
                    var reader = SliceReader(
                        UnsafeRawBufferPointer(rebasing: bytes), length: rules.window)
                    while let cell = try reader.next() {
                        outcome.counts[String(decoding: cell.key, as: UTF8.self), default: 0] +=
                            cell.measure.count
                    }
                }
            } catch {
                Issue.record("a slice cannot be read: \(error)")
            }
        }
        return outcome
    }

    private struct Cut {
        var parts: [[UInt8]] = []
        var whole = Outcome()
        var sum = Outcome()
    }

    /// Cuts a body and folds the parts, and all of it at once.
    private func cut(
        _ body: [UInt8], _ type: String, query: String = "type=t", chunk: Int = 100,
        limits: EventPartLimits = EventPartLimits(sentMax: 1000, decodedMax: 2000, piece: 64)
    ) async throws -> Cut {
        let request = try EventRequest(query: HTTPQuery(query)) {
            $0 == "Content-Type" ? type : nil
        }
        let stream = AsyncStream<ByteBuffer> { continuation in
            for start in stride(from: 0, to: body.count, by: chunk) {
                continuation.yield(
                    ByteBuffer(bytes: body[start..<min(start + chunk, body.count)]))
            }
            continuation.finish()
        }
        let source = EventParts(
            request: request, body: RequestBody(asyncSequence: stream),
            budget: ByteBudget(max: 1 << 30), workers: HereWorkers(), metrics: NodeMetrics(),
            limits: limits)
        var result = Cut()
        while let part = try await source.next() {
            result.parts.append(part)
            result.sum = result.sum + (try Self.fold(part, request.parameters))
            source.release()
        }
        result.whole = try Self.fold(body, request.parameters)
        return result
    }

    // MARK: - Tables

    private static let notes = [
        "plain", "", "\"a \"\"b\"\", c\"", "\"two\nlines\"", "\"\"", "5\" pipe", "pipe 5\"",
        "\"x\"y", "\"open", "\"\"\"", "a,b", "\"", "\"\r\n\"",
    ]

    private func table(_ random: inout RandomSource, lineEnds: [String]) -> [UInt8] {
        var text = random.pick(["", "\n", "\r\n", "\u{feff}", "\u{feff}\r\n"])
        text += random.pick(["key,time,note", "\"key\",time,\"the\nnote\""])
        text += random.pick(lineEnds)
        for row in 0..<400 {
            // Mostly good rows, so that those which are lost through others are seen.
            let note = random.chance(1, in: 3) ? random.pick(Self.notes) : "n"
            if random.chance(1, in: 10) { text += Self.mark }
            text += "k\(row),\(row),\(note)\(random.pick(lineEnds))"
            if random.chance(1, in: 20) { text += random.pick(lineEnds) }
        }
        return Array(text.utf8)
    }

    @Test("Rows with stray quotation marks cost what they cost in one piece", arguments: 0..<40)
    func rows(seed: Int) async throws {
        var random = RandomSource(seed: UInt64(seed))
        let body = table(&random, lineEnds: seed % 2 == 0 ? ["\n"] : ["\n", "\r\n"])
        let cut = try await cut(body, "text/csv", chunk: 1 + random.below(300))
        #expect(cut.parts.count > 2)
        #expect(cut.sum == cut.whole)
        let tabs = Array(
            String(decoding: body, as: UTF8.self).replacing("\u{feff}", with: "")
                .replacing("\"key\"", with: "key").replacing("\"the\nnote\"", with: "note")
                .replacing(",", with: "\t").utf8)
        let unquoted = try await self.cut(tabs, "text/tab-separated-values")
        #expect(unquoted.parts.count > 2)
        #expect(unquoted.sum == unquoted.whole)
    }

    @Test("One stray quotation mark costs its row, and no later part")
    func strayQuote() async throws {
        for note in ["5\" pipe", "\"x\"y", "\"open"] {
            let rows = (0..<300).map { "k\($0),0,\($0 == 3 ? note : "n")\n" }
            let body = Array(("key,time,note\n" + rows.joined()).utf8)
            let cut = try await cut(body, "text/csv")
            #expect(cut.sum.letters == ["bad-row k3,0,\(note)"])
            #expect(cut.sum.counts.count == 299)
            #expect(cut.sum == cut.whole)
        }
    }

    @Test(
        "Empty lines above the header are none",
        arguments: ["\n", "\r\n", "\u{feff}\n", "\n\r\n"])
    func emptyFirst(start: String) async throws {
        let rows = (0..<300).map { "k\($0),0\r\n" }
        for (type, comma) in [("text/csv", ","), ("text/tab-separated-values", "\t")] {
            let text = start + "key,time\r\n" + rows.joined()
            let cut = try await cut(Array(text.replacing(",", with: comma).utf8), type)
            #expect(cut.parts.count > 2)
            #expect(cut.sum.counts.count == 300)
            #expect(cut.sum == cut.whole)
        }
    }

    @Test(
        "A column whose name begins with a byte order mark does so in every part",
        arguments: ["\n\u{feff}", "\r\n\r\n\u{feff}", "\u{feff}\u{feff}", "\u{feff}\n\u{feff}"])
    func markedHeader(start: String) async throws {
        // A value that is read would be a dead letter.
        let rows = (0..<300).map { "x,k\($0),0\n" }
        for (type, comma) in [("text/csv", ","), ("text/tab-separated-values", "\t")] {
            let text = (start + "value,key,time\n" + rows.joined()).replacing(",", with: comma)
            for chunk in [1, 7, 100] {
                let cut = try await cut(Array(text.utf8), type, chunk: chunk)
                #expect(cut.parts.count > 2)
                #expect(cut.sum.counts.count == 300)
                #expect(cut.sum == cut.whole)
            }
        }
    }

    @Test("Empty lines that fill a part are followed by a header with a byte order mark")
    func markedHeaderBehindEmptyLines() async throws {
        let empty = [UInt8](repeating: 0x0a, count: 5000)
        for type in ["text/csv", "text/tab-separated-values"] {
            let comma = type == "text/csv" ? "," : "\t"
            let text = "\(Self.mark)value,key,time\nx,k,0\n".replacing(",", with: comma)
            for chunk in [1, 100, 10_000] {
                let cut = try await cut(empty + Array(text.utf8), type, chunk: chunk)
                #expect(cut.sum.counts == ["k": 1])
                #expect(cut.sum == cut.whole)
            }
        }
    }

    // MARK: - Lines

    private static let mark = "\u{feff}"

    @Test("A byte order mark is part of its line, wherever parts begin", arguments: 0..<20)
    func markedLines(seed: Int) async throws {
        var random = RandomSource(seed: UInt64(seed))
        let log = #" - - [22/Feb/2015:21:17:00 +0000] "GET /a" 200 1"#
        for (type, query) in [
            ("application/x-ndjson", "type=t"), ("text/x-clf", "type=t&key_field=host"),
        ] {
            var text = random.pick(["", "\n", Self.mark])
            for line in 0..<400 {
                // Where every line begins with one, so does every part.
                if seed == 0 || random.chance(1, in: 3) { text += Self.mark }
                text += type == "text/x-clf" ? "h\(line)\(log)" : #"{"key":"k\#(line)","time":0}"#
                text += random.pick(["\n", "\r\n", "\n\n"])
            }
            let cut = try await cut(
                Array(text.utf8), type, query: query, chunk: 1 + random.below(300))
            #expect(cut.parts.count > 2)
            #expect(cut.sum == cut.whole)
        }
    }

    @Test("A quotation mark that stays open for longer than a part costs one row")
    func openForLong() async throws {
        let rows = (0..<900_000).map { "k\($0 % 10),0\n" }
        let text = "key,time\n\"open,0\n" + rows.joined()
        let limits = EventPartLimits(sentMax: 3 << 20, decodedMax: 3 << 20, piece: 64)
        let cut = try await cut(Array(text.utf8), "text/csv", chunk: 1 << 16, limits: limits)
        #expect(cut.parts.count > 1)
        #expect(cut.sum.letters == ["bad-row \"open,0"])
        #expect(cut.sum == cut.whole)
    }

    // MARK: - Arrays

    private static let elements = [
        #"{"key":"d","time":0,"deep":[{"a":[1,2]},"\"\\]}"]}"#, #"{"time":0}"#,
        #"{"key":"s"},"time":0}"#, #"{"key":["s"]],"time":0}"#, "}", "}}", "nul", "12", "",
        #""text, ]}""#, #"{"key":"s" "time":0}"#, #"{"key":"s",}"#, #"[[{"key":"s"}]]"#,
    ]

    private func array(_ random: inout RandomSource, strayQuotes: Bool) -> [UInt8] {
        var elements: [String] = []
        for number in 0..<400 {
            if random.chance(1, in: 4) {
                elements.append(random.pick(Self.elements))
            } else if strayQuotes, random.chance(1, in: 50) {
                elements += [#""odd"#, #"{"key":"inside","time":0}"#, #"odd""#]
            } else {
                elements.append(#"{"key":"k\#(number)","time":\#(number)}"#)
            }
        }
        if random.chance(1, in: 2) { elements.append("") }
        let separator = random.pick([",", ", ", " ,\n"])
        return Array(
            (random.pick(["[", " [ "]) + elements.joined(separator: separator) + "]").utf8)
    }

    @Test(
        "Elements with stray brackets and quotation marks cost what they cost in one piece",
        arguments: 0..<40)
    func elements(seed: Int) async throws {
        var random = RandomSource(seed: UInt64(seed))
        let body = array(&random, strayQuotes: seed % 2 == 1)
        for type in ["application/json", "application/cloudevents-batch+json"] {
            let cut = try await cut(body, type, chunk: 1 + random.below(300))
            #expect(cut.parts.count > 2)
            #expect(cut.sum == cut.whole)
        }
    }

    @Test("Empty elements at the edges of parts are dead letters all the same")
    func emptyElements() async throws {
        let event = #"{"key":"k","time":0}"#
        let long = #"{"key":"k","time":0,"x":"\#(String(repeating: "x", count: 1500))"}"#
        for text in [
            "[,\(long),\(event)]", "[\(long),]", "[\(long),,\(long),,]", "[ , \(long) , ]",
        ] {
            let cut = try await cut(Array(text.utf8), "application/json")
            #expect(cut.sum == cut.whole, "\(text.prefix(5))")
            #expect(!cut.whole.letters.isEmpty)
        }
        let noArray = await #expect(throws: IngestError.self) {
            _ = try await cut(Array(String(repeating: event, count: 200).utf8), "application/json")
        }
        #expect(noArray == .notAnArray(found: UInt8(ascii: "{")))
    }

    @Test("White space around a long array, or in an empty one, is dropped")
    func whiteAroundArray() async throws {
        let event = #"{"key":"k","time":0}"#
        let white = String(repeating: " \n", count: 5 << 19)
        let limits = EventPartLimits(sentMax: 3 << 20, decodedMax: 4 << 20, piece: 64)
        for (text, events) in [
            ("[\(event)]\(white)", 1), ("\(white)[\(event)]", 1), ("[\(white)\(event)]", 1),
            ("\(Self.mark)\(white)[\(white)\(event),\(event)]\(white)", 2),
            ("\(white)[\(white)]\(white)", 0),
        ] {
            for chunk in [1 << 16, 8 << 20] {
                let cut = try await cut(
                    Array(text.utf8), "application/json", chunk: chunk, limits: limits)
                #expect(cut.sum.counts.values.reduce(0, +) == UInt64(events))
                #expect(cut.sum == cut.whole)
            }
        }
        // A mark behind white space is none, whatever was dropped before it.
        let refused = await #expect(throws: IngestError.self) {
            _ = try await cut(
                Array("\(white)\(Self.mark)[\(event)]".utf8), "application/json",
                chunk: 1 << 16, limits: limits)
        }
        #expect(refused == .notAnArray(found: 0xef))
    }

    // MARK: - Halves

    /// Halves a body, and its halves, for as long as that can be done, and folds what is left.
    private static func halved(
        _ body: [UInt8], _ parameters: ParseParameters
    ) throws(IngestError) -> (sum: Outcome, pieces: Int) {
        guard let halves = EventHalves(of: body, format: parameters.format) else {
            return (sum: try fold(body, parameters), pieces: 1)
        }
        let first = try halved(halves.first, parameters)
        let second = try halved(halves.second, parameters)
        return (sum: first.sum + second.sum, pieces: first.pieces + second.pieces)
    }

    private static func lines(_ random: inout RandomSource) -> [UInt8] {
        var text = random.pick(["", "\n", mark, mark + mark])
        for line in 0..<200 {
            if random.chance(1, in: 3) { text += mark }
            text += random.pick([#"{"key":"k\#(line)","time":0}"#, "x", ""])
            text += random.pick(["\n", "\r\n", "\n\n"])
        }
        return Array(text.utf8)
    }

    @Test("Halves come to what the body does, down to single events", arguments: 0..<20)
    func halves(seed: Int) throws {
        var random = RandomSource(seed: UInt64(seed))
        let events = array(&random, strayQuotes: seed % 2 == 1)
        let rows = table(&random, lineEnds: seed % 2 == 0 ? ["\n"] : ["\n", "\r\n"])
        for (body, format) in [
            (Self.lines(&random), EventFormat.ndjson), (rows, .csv), (events, .jsonArray),
            (events, .cloudEventBatch), (Array("[,,,1, ,]".utf8), .jsonArray),
        ] {
            let parameters = ParseParameters(format: format, defaultType: "t")
            let halved = try Self.halved(body, parameters)
            #expect(halved.sum == (try Self.fold(body, parameters)), "\(format)")
            #expect(halved.pieces > (body.count < 100 ? 2 : 30), "\(format)")
        }
    }

    @Test("What is one event, or none, has no halves")
    func noHalves() {
        for (text, format) in [
            ("", EventFormat.ndjson), ("{}\n", .ndjson), ("x", .commonLog), ("[]", .jsonArray),
            ("[ ]", .jsonArray), ("[,]", .jsonArray), ("[1]", .cloudEventBatch), ("{}", .jsonArray),
            ("key,time\n", .csv), ("key,time\na,0\n", .csv), ("key\ttime\na\t0", .tsv),
            ("\"key", .csv), ("{}\n{}\n", .cloudEvent), ("{}\n", .binary),
        ] {
            #expect(EventHalves(of: Array(text.utf8), format: format) == nil, "\(text)")
        }
    }

    // MARK: - Endless lines

    private static let longCases: [(String, String, String, String)] = [
        ("application/x-ndjson", "", #"{"key":"a","time":0}"#, #"{"key":"b","time":0,"x":""#),
        ("application/x-ndjson", "", #"{"key":"a","time":0}"#, #"{"key":"b","time":0} "#),
        ("text/csv", "key,time\n", "a,0", "b,0,"), ("text/csv", "key,time\n", "a,0", "b,\"0"),
        ("text/csv", "key,time\n", "\",a\",0", "b,\"\"\""),
        ("text/tab-separated-values", "key\ttime\n", "a\t0", "b\t\""),
        ("text/x-clf", "", #"h - - [22/Feb/2015:21:17:00 +0000] "GET /a" 200 1"#, "h - "),
    ]

    @Test("A line without an end is one dead letter, and the others count", arguments: 0..<7)
    func endless(number: Int) async throws {
        let (type, head, event, start) = Self.longCases[number]
        let byte: UInt8 = start.hasSuffix(" ") ? 0x20 : 0x78
        let long = Array(start.utf8) + [UInt8](repeating: byte, count: 5 << 20)
        let lines = Array((event + "\n").utf8)
        let limits = EventPartLimits(sentMax: 3 << 20, decodedMax: 4 << 20, piece: 64)
        for chunk in [100_000, 8 << 20] {
            let body = Array(head.utf8) + lines + long + [0x0a] + lines + lines
            let cut = try await cut(body, type, chunk: chunk, limits: limits)
            #expect(cut.sum.letters.count == 1)
            #expect(cut.sum.letters.allSatisfy { $0.hasPrefix("line-too-long") })
            #expect(cut.sum.counts.values.reduce(0, +) == 3)
            if chunk < 1 << 20 { #expect(cut.parts.allSatisfy { $0.count < 3 << 20 }) }
            // The last line needs no end.
            let last = try await self.cut(
                Array(head.utf8) + lines + long, type, chunk: chunk, limits: limits)
            #expect(last.sum.letters.count == 1)
            #expect(last.sum.counts.values.reduce(0, +) == 1)
        }
    }

    @Test("An endless line of white space is no event, unless something stands at its end")
    func endlessWhite() async throws {
        let event = Array("{\"key\":\"a\",\"time\":0}\r\n".utf8)
        let white = [UInt8](repeating: 0x20, count: 5 << 20)
        let limits = EventPartLimits(sentMax: 3 << 20, decodedMax: 4 << 20, piece: 64)
        for (tail, dead) in [("\r\n", 0), ("x\n", 1), ("{\"key\":\"b\",\"time\":0}\n", 1)] {
            let body = event + white + Array(tail.utf8) + event
            let cut = try await cut(
                body, "application/x-ndjson", chunk: 1 << 16, limits: limits)
            #expect(cut.sum.counts == ["a": 2])
            #expect(cut.sum.letters.count == dead)
            #expect(cut.whole.letters.count == dead)
        }
    }
}
