import Core
import Ingest
import Testing

/// Lines that are mostly put together like the one before them, and the ways in which they are not.
private struct LineSource {
    var random: RandomSource

    private static let shapes = [
        #"{"type":"T","key":"K","time":"M"}"#,
        #"{"type":"T","key":"K","time":"M","value":V}"#,
        #" { "key" : "K" , "type":"T","ts":N , "value": V } "#,
        #"{"type":"T","key":"K","time":"M","more":{"a":[1,2,"}"],"key":"no"},"none":null}"#,
        #"{"type":"T","key":"K","key":"K","time":"M"}"#,
        #"{"key":null,"subject":"K","type":"T","time":N}"#,
        #"{"k\u0065y":"K","type":"T","time":"M"}"#,
        #"{"type":"T","key":{"a":"K"},"time":"M"}"#,
        #"{"key":N,"type":"T","time":"M"}"#,
        #"{"a":{"key":"K"},"type":"T","time":"M","key":"K"}"#,
        "{}", "[]", "{", #"{"type":"T""#, "",
    ]

    mutating func lines(_ count: Int) -> [[UInt8]] {
        var shape = LineSource.shapes[0]
        return (0..<count).map { _ in
            if random.chance(1, in: 12) {
                shape = LineSource.shapes[random.below(LineSource.shapes.count)]
            }
            var line = shape.utf8.flatMap { part($0) }
            if random.chance(1, in: 12), !line.isEmpty { damage(&line) }
            if random.chance(1, in: 12) { line.append(0x0d) }
            return line.filter { $0 != 0x0a }
        }
    }

    private mutating func part(_ byte: UInt8) -> [UInt8] {
        switch byte {
        case UInt8(ascii: "K"):
            let keys = [
                "key-\(random.below(9))", "k\(random.below(9))", "", #"é\u00e9\n"#, "日本語",
                String(repeating: "long", count: random.below(9)), #"a\"b"#, "0123456789abcdef",
                "0123456789abcdefg", #"\ud800"#,
            ]
            let isPlain = random.chance(2, in: 3)
            return Array((isPlain ? keys[0] : keys[random.below(keys.count)]).utf8)
        case UInt8(ascii: "T"):
            return Array(["view", "like", "view", "a type of more than 16"][random.below(4)].utf8)
        case UInt8(ascii: "M"):
            let minute = 10 + random.below(20)
            let second = random.below(64)
            let end = ["Z", "Z", "Z", "+01:00", "z", "?"][random.below(6)]
            return Array("2026-05-31T10:\(minute):\(second < 10 ? "0" : "")\(second)\(end)".utf8)
        case UInt8(ascii: "N"):
            return Array("\(1_780_000_000 + random.below(3600))".utf8)
        case UInt8(ascii: "V"):
            return Array(
                ["1", "-2.5", "0.0000001", "1e3", "true", "\"7\"", "01"][random.below(7)].utf8)
        default:
            return [byte]
        }
    }

    private mutating func damage(_ line: inout [UInt8]) {
        let place = random.below(line.count)
        let bytes = Array(#"" {}[],:\"#.utf8) + [0x00, 0x09, 0x80, 0xc3]
        switch random.below(4) {
        case 0: line[place] = bytes[random.below(bytes.count)]
        case 1: line.insert(bytes[random.below(bytes.count)], at: place)
        case 2: line.remove(at: place)
        default: line.removeSubrange(place...)
        }
    }
}

@Suite struct EventShapeTests {
    @Test("A line counts the same behind lines like it, behind others, and alone")
    func lines() throws {
        var source = LineSource(random: RandomSource(seed: 3))
        for round in 0..<60 {
            let lines = source.lines(1 + source.random.below(120))
            let ends = source.random.chance(1, in: 2) ? [UInt8](arrayLiteral: 0x0a) : []
            let together = try Folded(Array(lines.joined(separator: [0x0a])) + ends)
            var cells: [Folded.CellName: Measure] = [:]
            var letters: [DeadLetter] = []
            for (number, line) in lines.enumerated() {
                let alone = try Folded(line + [0x0a])
                for (name, measure) in alone.cells { cells[name, default: .zero].add(measure) }
                for var letter in alone.batch.deadLetters {
                    letter.line = UInt32(number + 1)
                    letters.append(letter)
                }
            }
            #expect(together.cells == cells, "round \(round)")
            #expect(together.batch.deadLetters == letters, "round \(round)")
        }
    }

    @Test("A line that ends with the batch is read to its last byte and not beyond")
    func lastLine() throws {
        let line = #"{"type":"t","key":"k","time":0}"#
        for cut in 0...line.utf8.count {
            let folded = try Folded(line + "\n" + line.prefix(cut))
            #expect(folded.batch.totals.counted == (cut == line.utf8.count ? 2 : 1))
            #expect(folded.batch.totals.dead == (1..<line.utf8.count ~= cut ? 1 : 0))
        }
    }

    @Test("An event of more members or longer names than are remembered is read all the same")
    func largeEvents() throws {
        let many = (0..<100).map { #""m\#($0)":\#($0)"# }.joined(separator: ",")
        let long = #""\#(String(repeating: "n", count: 5000))":1"#
        for members in [many, long] {
            let line = #"{\#(members),"type":"t","key":"k","time":0}"# + "\n"
            let folded = try Folded(String(repeating: line, count: 5))
            #expect(folded.byKey == ["k": 5])
        }
    }

    @Test("A batch of other fields is not read like the one before it")
    func otherFields() throws {
        var folder = BatchFolder()
        let line = #"{"type":"t","key":"a","other":"b","time":0}"# + "\n"
        let lines = Array(String(repeating: line, count: 3).utf8)
        let first = try Folded(&folder, lines, ParseParameters(format: .ndjson))
        let second = try Folded(
            &folder, lines, ParseParameters(format: .ndjson, keyField: "other"))
        #expect(first.byKey == ["a": 3])
        #expect(second.byKey == ["b": 3])
    }

    @Test("Characters of zero are no time, whatever was read before")
    func zeros() throws {
        let zeros = String(repeating: #"\u0000"#, count: 10)
        let early = zeros + "T00:00:00Z"
        let all = zeros + String(repeating: #"\u0000"#, count: 6) + ":00Z"
        for time in [early, all] {
            let folded = try Folded(#"{"type":"t","key":"k","time":"\#(time)"}"#)
            #expect(folded.reasons == ["bad-time"])
        }
    }
}

@Suite struct CellTableTests {
    @Test("Windows of one series are told apart, in whichever order they come")
    func windows() throws {
        var random = RandomSource(seed: 5)
        for count in [1, 2, 8, 9, 10, 500, 3000] {
            let ascending = (0..<count).map { $0 }
            let orders = [
                ascending, ascending.reversed(), ascending + ascending.reversed(),
                ascending.flatMap { [$0, $0 / 2, $0] },
                (0..<count * 2).map { _ in random.below(count) },
            ]
            for order in orders {
                let lines = order.map { #"{"type":"t","key":"k","time":\#($0 * 60),"value":1}"# }
                let folded = try Folded(lines.joined(separator: "\n"))
                let expected = order.reduce(into: [Int64: UInt64]()) {
                    $0[Int64($1), default: 0] += 1
                }
                #expect(folded.byWindow == expected)
                for (name, measure) in folded.cells {
                    #expect(measure.values?.count == expected[name.window])
                }
            }
        }
    }

    @Test("Many types, and keys with the same ends, are told apart")
    func names() throws {
        let names = (0..<300).flatMap { number in
            let middle = number < 100 ? "0\(number)" : "\(number)"
            return ["beginning\(middle)the same end", "\(number)", "\(number)12345678"]
        }
        let lines = names.map { #"{"type":"\#($0)","key":"\#($0)","time":0}"# }
        let folded = try Folded((lines + lines).joined(separator: "\n"))
        let expected = Dictionary(names.map { ($0, 2) }, uniquingKeysWith: +)
        #expect(folded.byKey == expected.mapValues { UInt64($0) })
        #expect(folded.byType == expected.mapValues { UInt64($0) })
    }
}
