import Core
import Ingest
import Testing
import Wire

/// A binary batch, written byte by byte as its page has it.
struct BinaryBatchSource {
    var types: [[UInt8]] = []
    var keys: [[UInt8]] = []
    var events = ByteWriter()
    var count: UInt32 = 0

    mutating func add(_ type: UInt64, _ key: UInt64, _ delta: Int64, _ value: Int64? = nil) {
        events.write(varint: type << 1 | (value == nil ? 0 : 1))
        events.write(varint: key)
        events.write(zigzag: delta)
        if let value { events.write(zigzag: value) }
        count += 1
    }

    var body: [UInt8] {
        var body = ByteWriter()
        for table in [types, keys] {
            body.write(count: table.count)
            for text in table { body.write(sized: text) }
        }
        body.write(raw: events.bytes)
        return body.bytes
    }

    var bytes: [UInt8] { BinaryBatchHead(events: count, body: body).bytes + body }

    static func texts(_ texts: String...) -> [[UInt8]] { texts.map { Array($0.utf8) } }
}

@Suite("Binary batches")
struct BinaryBatchTests {
    private let binary = ParseParameters(format: .binary)

    private func refusal(_ bytes: [UInt8]) throws -> String {
        do {
            _ = try Folded(bytes, binary)
        } catch let error as IngestError {
            guard case .badBatch(let offset, let detail) = error else { return "\(error)" }
            return "\(offset): \(detail)"
        }
        Issue.record("\(bytes) was folded")
        return ""
    }

    /// A batch whose head is right for this body.
    private func framed(_ body: [UInt8], events: UInt32) -> [UInt8] {
        BinaryBatchHead(events: events, body: body).bytes + body
    }

    private var example: BinaryBatchSource {
        var batch = BinaryBatchSource(
            types: BinaryBatchSource.texts("v", "w"), keys: BinaryBatchSource.texts("ab", "c"))
        batch.add(0, 0, 60_000)
        batch.add(0, 0, -60_000, -1)
        batch.add(1, 0, -1)
        batch.add(0, 0, 90_001)
        batch.add(0, 0, -60_000, 2)
        batch.add(1, 1, 0)
        return batch
    }

    @Test(
        "The bytes of a batch are as the format's page has them, and come to the same as lines do")
    func vector() throws {
        let bytes = example.bytes
        #expect(
            bytes.dropFirst(16) == [
                2, 1, 0x76, 1, 0x77,  // two types: "v", "w"
                2, 2, 0x61, 0x62, 1, 0x63,  // two keys: "ab", "c"
                0, 0, 0xc0, 0xa9, 0x07,  // "v" of "ab" at 60,000
                1, 0, 0xbf, 0xa9, 0x07, 1,  // 60,000 earlier, value -0.000001
                2, 0, 1,  // "w", 1 earlier
                0, 0, 0xa2, 0xfe, 0x0a,  // 90,001 later
                1, 0, 0xbf, 0xa9, 0x07, 4,  // 60,000 earlier, value 0.000002
                2, 1, 0,  // "w" of "c", at the same time
            ])
        #expect(bytes.prefix(12) == [0xf7, 0x51, 0x42, 1, 6, 0, 0, 0, 39, 0, 0, 0])
        let text = """
            {"type":"v","key":"ab","time":"1970-01-01T00:01:00Z"}
            {"type":"v","key":"ab","time":"1970-01-01T00:00:00Z","value":-0.000001}
            {"type":"w","key":"ab","time":"1969-12-31T23:59:59.999Z"}
            {"type":"v","key":"ab","time":"1970-01-01T00:01:30Z"}
            {"type":"v","key":"ab","time":"1970-01-01T00:00:30Z","value":0.000002}
            {"type":"w","key":"c","time":"1970-01-01T00:00:30Z"}
            """
        #expect(try Folded(bytes, binary).batch == Folded(text).batch)
    }

    @Test("Events come to the same cells as the same events in lines")
    func model() throws {
        var random = RandomSource(seed: 8)
        var folder = BatchFolder(seed: 3)
        for round in 0..<60 {
            var batch = BinaryBatchSource()
            batch.types = (0..<3).map { Array("type\($0)".utf8) }
            batch.keys = (0..<40).map { Array("key\($0 * $0)".utf8) }
            var lines = ""
            var time: Int64 = 0
            for _ in 0..<random.below(400) {
                let (type, key) = (random.below(3), random.below(40))
                let delta = Int64(random.below(200_000)) - 100_000
                let value = random.chance(1, in: 3) ? Int64(random.below(2001)) - 1000 : nil
                batch.add(UInt64(type), UInt64(key), delta, value)
                time += delta
                let text = value.map { ",\"value\":\"\($0)e-6\"" } ?? ""
                lines += "{\"type\":\"type\(type)\",\"key\":\"key\(key * key)\","
                lines += "\"time\":\(Double(time) / 1000)\(text)}\n"
            }
            let folded = try Folded(&folder, batch.bytes, binary)
            #expect(try folded.batch == Folded(lines).batch, "round \(round)")
        }
    }

    @Test("Batches that follow one another are one body, and their events are numbered through")
    func concatenated() throws {
        var bad = BinaryBatchSource(
            types: BinaryBatchSource.texts("v"), keys: BinaryBatchSource.texts("", "ab"))
        bad.add(0, 1, 60_000)
        bad.add(0, 0, 0)
        let empty = BinaryBatchSource()
        let folded = try Folded(bad.bytes + empty.bytes + example.bytes + bad.bytes, binary)
        #expect(folded.batch.deadLetters.map(\.line) == [2, 10])
        #expect(folded.reasons == ["missing-key", "missing-key"])
        #expect(folded.byKey == ["ab": 7, "c": 1])
        #expect(try Folded([], binary).batch.totals.events == 0)
    }

    @Test("What can be read but not counted is a dead letter with the bytes of its event")
    func unsound() throws {
        let long = [UInt8](repeating: 0x6b, count: Limits.keyMax + 1)
        let keys = [Array("k".utf8), [], long, [0x61, 0xff], Array(long.dropLast())]
        let types = [
            Array("t".utf8), [], [UInt8](repeating: 0x74, count: Limits.typeMax + 1), [0xc3],
        ]
        let last: Int64 = 253_402_300_799_999
        let first: Int64 = -62_135_596_800_000
        let cases: [(UInt64, UInt64, Int64, String?)] = [
            (0, 0, 60_000, nil), (0, 4, 60_000, nil), (0, 1, 60_000, "missing-key"),
            (0, 2, 60_000, "key-too-long"), (0, 3, 60_000, "bad-utf8"),
            (1, 0, 60_000, "missing-type"), (2, 0, 60_000, "type-too-long"),
            (3, 0, 60_000, "bad-utf8"), (0, 0, last, nil), (0, 0, last + 1, "bad-time"),
            (0, 0, first, nil), (0, 0, first - 1, "bad-time"), (0, 0, .max, "bad-time"),
            (0, 0, .min, "bad-time"), (3, 1, .max, "missing-key"), (3, 0, .max, "bad-utf8"),
        ]
        let rules = FoldRules(futureLimit: .seconds(400_000_000_000))
        for (type, key, time, reason) in cases {
            var batch = BinaryBatchSource(types: types, keys: keys)
            batch.add(0, 0, 60_000)
            batch.add(type, key, time &- 60_000, 5)
            batch.add(0, 0, 60_000 &- time)
            let folded = try Folded(batch.bytes, binary, rules: rules)
            #expect(folded.reasons == (reason.map { [$0] } ?? []), "\(type) \(key) \(time)")
            // The times behind it are right all the same.
            #expect(folded.cells[.init(type: "t", key: "k", window: 1)]?.count ?? 0 >= 2)
            guard let letter = folded.batch.deadLetters.first else { continue }
            var event = ByteWriter()
            event.write(varint: type << 1 | 1)
            event.write(varint: key)
            event.write(zigzag: time &- 60_000)
            event.write(zigzag: 5)
            #expect(letter.raw == event.bytes)
            #expect(letter.line == 2)
            #expect(letter.key == (key == 0 ? keys[0] : nil))
            #expect(letter.type == (type == 0 ? types[0] : nil))
            #expect((letter.time == nil) == (time < first || time > last))
        }
        var typed = binary
        typed.defaultType = "hit"
        var batch = BinaryBatchSource(types: types, keys: keys)
        for _ in 0..<3 { batch.add(1, 0, 0) }
        #expect(try Folded(batch.bytes, typed).byType == ["hit": 3])
    }

    @Test("Events too late or in the future are told by their time")
    func judged() throws {
        let rules = FoldRules(futureLimit: .seconds(1), lateness: .seconds(1))
        var batch = BinaryBatchSource(
            types: BinaryBatchSource.texts("t"), keys: BinaryBatchSource.texts("k"))
        batch.add(0, 0, FoldFixture.createdAt.milliseconds)
        batch.add(0, 0, -1001)
        batch.add(0, 0, 2002)
        batch.add(0, 0, -1)
        let folded = try Folded(batch.bytes, binary, rules: rules)
        #expect(folded.reasons == ["too-late", "in-the-future"])
        #expect(folded.batch.totals.counted == 2)
    }

    @Test("Fields cannot be named where there are none")
    func parameters() {
        var parameters = binary
        parameters.valueField = "data.amount"
        #expect(throws: IngestError.self) { try Folded(example.bytes, parameters) }
        #expect(throws: IngestError.self) { try Folded([], parameters) }
    }

    @Test("Every way in which a batch can be malformed refuses the whole body, and names the byte")
    func malformed() throws {
        let good = example.bytes
        #expect(try refusal(Array(good.dropLast())).contains("is cut off"))
        #expect(try refusal(Array(good.prefix(9))).contains("head of a binary batch is cut off"))
        #expect(try refusal(good + [0xf7]).hasPrefix("56: the head"))
        #expect(try refusal(Array("{}{}{}{}{}{}{}{}".utf8)) == "0: no binary batch begins")
        var other = good
        other[3] = 2
        #expect(try refusal(good + other) == "58: a binary batch of version 2")
        let number = "a number is longer than it needs to be, or has more than 64 bits"
        let bodies: [([UInt8], UInt32, String)] = [
            ([], 0, "16: a binary batch ends early"), ([0], 0, "17: a binary batch ends early"),
            ([0x80, 0], 0, "18: \(number)"),
            ([UInt8](repeating: 0xff, count: 10) + [1], 0, "26: \(number)"),
            ([2, 0], 0, "17: \(BinaryBatchTests.counts)"),
            ([1, 5, 0x61], 0, "18: \(BinaryBatchTests.counts)"),
            ([1, 1, 0x74, 1, 1, 0x6b], 1, "22: \(BinaryBatchTests.counts)"),
            ([1, 1, 0x74, 1, 1, 0x6b, 2, 0, 0], 1, "24: \(BinaryBatchTests.names)"),
            ([1, 1, 0x74, 1, 1, 0x6b, 0, 1, 0], 1, "24: \(BinaryBatchTests.names)"),
            ([1, 1, 0x74, 1, 1, 0x6b, 1, 0, 0], 1, "25: a binary batch ends early"),
            (
                [1, 1, 0x74, 1, 1, 0x6b, 0, 0, 0, 0], 1,
                "25: bytes follow a binary batch's last event"
            ),
            ([0, 0, 0], 0, "18: bytes follow a binary batch's last event"),
        ]
        for (body, events, expected) in bodies {
            #expect(try refusal(framed(body, events: events)) == expected)
        }
    }

    private static let counts =
        "a binary batch has more texts or events than bytes, or than are allowed"
    private static let names = "an event names a type or key that its batch does not have"

    @Test("Tables have as many texts as their limits say, and no more")
    func tables() throws {
        for (limit, place) in [
            (ParseLimits.binaryTypesMax, \BinaryBatchSource.types),
            (ParseLimits.binaryKeysMax, \BinaryBatchSource.keys),
        ] {
            var batch = BinaryBatchSource()
            batch[keyPath: place] = Array(repeating: [], count: limit)
            #expect(try Folded(batch.bytes, binary).batch.totals.events == 0)
            batch[keyPath: place].append([])
            #expect(try refusal(batch.bytes).hasSuffix(BinaryBatchTests.counts))
        }
    }

    @Test("Any bit that changes is noticed")
    func damage() throws {
        let good = example.bytes
        for place in good.indices {
            for bit in 0..<8 {
                var bad = good
                bad[place] ^= 1 << UInt8(bit)
                #expect(try !refusal(bad).isEmpty)
            }
        }
    }

    @Test("Any bytes under a true checksum balance or are refused, and never trap")
    func hostile() throws {
        var random = RandomSource(seed: 12)
        var folder = BatchFolder()
        let body = example.body
        for _ in 0..<20_000 {
            var bytes = body
            for _ in 0...random.below(3) {
                bytes[random.below(bytes.count)] = UInt8(
                    random.below(random.chance(1, in: 2) ? 256 : 8))
            }
            do {
                let events = random.chance(1, in: 4) ? UInt32(random.below(9)) : 6
                _ = try Folded(&folder, framed(bytes, events: events), binary)
            } catch IngestError.badBatch {
                continue
            }
        }
    }
}
