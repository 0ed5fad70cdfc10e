import Core
import Ingest
import Testing

/// Events made from a seed, in any format, with what they must come to.
private struct EventSource {
    var random: RandomSource

    struct Event {
        var type: String
        var key: String
        var seconds: Int64
        var value: Int64?

        var json: String {
            let text = value.map { ",\"value\":\($0)" } ?? ""
            return "{\"type\":\"\(type)\",\"key\":\"\(key)\",\"time\":\(seconds)\(text)}"
        }

        var cloud: String {
            let time = Double(seconds)
            return #"{"specversion":"1.0","id":"1","source":"/","type":"\#(type)","#
                + #""subject":"\#(key)","time":\#(time),"data":{"value":\#(value ?? 0)}}"#
        }

        var row: String { "\(seconds),\"\(key)\",\(value.map(String.init) ?? ""),\(type)" }
    }

    mutating func next() -> Event {
        let key = String(repeating: "key", count: random.below(8)) + "\(random.below(40))"
        return Event(
            type: "t\(random.below(3))", key: key, seconds: Int64(random.below(20_000)) - 10_000,
            value: random.chance(1, in: 3) ? Int64(random.below(2001)) - 1000 : nil)
    }

    mutating func events(_ count: Int) -> [Event] {
        (0..<count).map { _ in next() }
    }
}

private typealias Cells = [Folded.CellName: Measure]

private func model(_ events: [EventSource.Event]) -> Cells {
    events.reduce(into: [:]) { cells, event in
        let window = floorDivide(event.seconds, 60)
        let name = Folded.CellName(type: event.type, key: event.key, window: window)
        cells[name, default: .zero].add(Measure(event: event.value.map { $0 * 1_000_000 }))
    }
}

@Suite struct FoldPropertyTests {
    @Test("All formats come to the same cells, which are those of a simple model")
    func formats() throws {
        var source = EventSource(random: RandomSource(seed: 1))
        for round in 0..<40 {
            let events = source.events(source.random.below(400))
            let expected = model(events)
            let lines = events.map(\.json)
            let folded = [
                try Folded(lines.joined(separator: "\n")),
                try Folded(
                    "[" + lines.joined(separator: " ,\n") + "]", ParseParameters(format: .jsonArray)
                ),
                try Folded(
                    (["time,key,value,type"] + events.map(\.row)).joined(separator: "\r\n"),
                    ParseParameters(format: .csv)),
                try Folded(
                    (["time,key,value,type"] + events.map(\.row)).joined(separator: "\n")
                        .replacing(",", with: "\t").replacing("\"", with: ""),
                    ParseParameters(format: .tsv)),
            ]
            for batch in folded {
                #expect(batch.cells == expected, "round \(round)")
                #expect(batch.batch.body == folded[0].batch.body)
            }
        }
    }

    @Test("The fold of two batches is the sum of their folds")
    func concatenation() throws {
        var source = EventSource(random: RandomSource(seed: 2))
        for _ in 0..<40 {
            let events = source.events(300).map(\.json)
            let cut = source.random.below(300)
            let first = try Folded(events[..<cut].joined(separator: "\n"))
            let second = try Folded(events[cut...].joined(separator: "\n"))
            let both = try Folded(events.joined(separator: "\n"))
            var sum = first.cells
            for (name, measure) in second.cells { sum[name, default: .zero].add(measure) }
            #expect(sum == both.cells)
        }
    }

    @Test("Neither the seed nor what was folded before shows in a result")
    func purity() throws {
        var source = EventSource(random: RandomSource(seed: 4))
        var used = BatchFolder(seed: 99)
        let parameters = ParseParameters(format: .ndjson)
        for round in 0..<30 {
            let count = round % 5 == 0 ? 6000 : 100
            let text = source.events(count).map(\.json).joined(separator: "\n") + "\nbad\n"
            let fresh = try Folded(text)
            let again = try Folded(&used, Array(text.utf8), parameters)
            #expect(fresh.batch == again.batch)
            #expect(throws: IngestError.self) {
                try Folded(&used, [], ParseParameters(format: .jsonArray))
            }
        }
    }

    @Test("Series and cells stand in the order of their first appearance")
    func order() throws {
        let one = try Folded(
            #"{"key":"k","type":"t","time":60}"# + "\n" + #"{"key":"k","type":"t","time":0}"#)
        let other = try Folded(
            #"{"key":"k","type":"t","time":0}"# + "\n" + #"{"key":"k","type":"t","time":60}"#)
        #expect(one.cells == other.cells)
        #expect(one.batch.body != other.batch.body)
    }

    @Test("Tables grow: a hundred thousand distinct cells of few and of many series")
    func growth() throws {
        for series in [1, 300, 100_000] {
            let lines = (0..<100_000).map {
                "{\"key\":\"\($0 % series)\",\"type\":\"t\",\"time\":\($0 * 60)}"
            }
            let folded = try Folded((lines + lines).joined(separator: "\n"))
            #expect(folded.cells.count == 100_000)
            #expect(folded.cells.values.allSatisfy { $0.count == 2 })
        }
    }

    @Test("A batch of many cells leaves no trace, and its memory is given back")
    func largeThenSmall() throws {
        var folder = BatchFolder()
        let parameters = ParseParameters(format: .csv, defaultType: "t")
        let rows = (0..<300_000).map { "\($0),0\n" }.joined()
        let large = try Folded(&folder, Array(("key,time\n" + rows).utf8), parameters)
        #expect(large.cells.count == 300_000)
        let small = try Folded(&folder, Array("key,time\na,0\na,0\n".utf8), parameters)
        #expect(small.byKey == ["a": 2])
        let again = try Folded(&folder, Array("key,time\nb,0\n".utf8), parameters)
        #expect(again.byKey == ["b": 1])
    }

    @Test("Damaged batches of every format balance, and never trap")
    func damage() throws {
        var source = EventSource(random: RandomSource(seed: 5))
        var folder = BatchFolder()
        let alphabet =
            Array("{}[]\",:\\\n\r\t 0123456789.eE+-truefalsn/uGET".utf8) + [0, 0xff, 0xc3, 0xa9]
        for round in 0..<6000 {
            let events = source.events(4)
            let format = EventFormat.allCases[round % EventFormat.allCases.count]
            let log = #"h - - [22/Feb/2015:21:17:00 +0000] "GET /a HTTP/1.1" 200 1 "-" "a""#
            var bytes: [UInt8] =
                switch format {
                case .ndjson: Array(events.map(\.json).joined(separator: "\n").utf8)
                case .jsonArray: Array(("[" + events.map(\.json).joined(separator: ",") + "]").utf8)
                case .csv:
                    Array("time,key,value,type\n\(events.map(\.row).joined(separator: "\n"))".utf8)
                case .tsv: Array("time\tkey\ttype\n1\ta\tb\n2\tc\td\n".utf8)
                case .commonLog: Array("\(log)\n\(log)\n".utf8)
                case .cloudEvent: Array(events[0].cloud.utf8)
                case .cloudEventBatch:
                    Array(("[" + events.map(\.cloud).joined(separator: ",") + "]").utf8)
                case .binary: BinaryBatchSource().bytes
                }
            for _ in 0...source.random.below(6) where !bytes.isEmpty {
                let position = source.random.below(bytes.count)
                switch source.random.below(4) {
                case 0: bytes[position] = source.random.pick(alphabet)
                case 1: bytes.insert(source.random.pick(alphabet), at: position)
                case 2: bytes.remove(at: position)
                default: bytes.removeLast(source.random.below(min(bytes.count, 9)))
                }
            }
            do {
                // `Folded` checks that the totals balance.
                _ = try Folded(&folder, bytes, ParseParameters(format: format))
            } catch is IngestError {
                #expect(format != .ndjson && format != .commonLog)
            }
        }
    }

    @Test("Noise in every format balances, and never traps")
    func noise() throws {
        var random = RandomSource(seed: 6)
        var folder = BatchFolder()
        for round in 0..<6000 {
            let bytes = (0..<random.below(80)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let format = EventFormat.allCases[round % EventFormat.allCases.count]
            do {
                _ = try Folded(&folder, bytes, ParseParameters(format: format, defaultType: "t"))
            } catch is IngestError {
                #expect(format != .ndjson && format != .commonLog)
            }
        }
    }

    @Test("Parse parameters have one encoding, and different ones differ in it")
    func canonicalBytes() {
        let parameters = ParseParameters(format: .tsv, defaultType: "t", valueField: "é")
        #expect(
            parameters.canonicalBytes
                == [4, 1, 1, 0, 0, 0, 0x74, 0, 0, 0, 1, 2, 0, 0, 0, 0xc3, 0xa9])
        let all = [
            ParseParameters(format: .csv), ParseParameters(format: .ndjson),
            ParseParameters(format: .csv, defaultType: ""),
            ParseParameters(format: .csv, keyField: ""),
            ParseParameters(format: .csv, keyField: "a", timeField: "b"),
            ParseParameters(format: .csv, keyField: "ab"),
            ParseParameters(format: .csv, timeField: "ab"),
            ParseParameters(format: .csv, typeField: "ab"),
        ]
        #expect(Set(all.map(\.canonicalBytes)).count == all.count)
    }
}
