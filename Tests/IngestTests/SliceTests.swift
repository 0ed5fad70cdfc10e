import Core
import Ingest
import Testing
import Wire

@Suite struct SliceTests {
    private func read(_ bytes: [UInt8], length: WindowLength? = nil) throws -> [String] {
        try bytes.withUnsafeBytes { buffer in
            var reader = SliceReader(buffer, length: length)
            var lines: [String] = []
            while let cell = try reader.next() {
                let key = String(decoding: cell.key, as: UTF8.self)
                let type = String(decoding: cell.type, as: UTF8.self)
                let values = cell.measure.values.map {
                    " \($0.count) \($0.sum) \($0.min) \($0.max)"
                }
                let mark = cell.startsSeries ? "*" : ""
                lines.append(
                    "\(mark)\(type)/\(key) \(cell.window) \(cell.measure.count)\(values ?? "")")
            }
            return lines
        }
    }

    private func error(_ bytes: [UInt8], length: WindowLength? = nil) throws -> SliceError? {
        do {
            _ = try read(bytes, length: length)
            return nil
        } catch let error as SliceError {
            return error
        }
    }

    @Test("The bytes of a slice are as the format's page has them")
    func vector() throws {
        let text = """
            {"type":"v","key":"ab","time":"1970-01-01T00:01:00Z"}
            {"type":"v","key":"ab","time":"1970-01-01T00:00:00Z","value":-0.000001}
            {"type":"w","key":"ab","time":"1969-12-31T23:59:59Z"}
            {"type":"v","key":"ab","time":"1970-01-01T00:01:30Z"}
            {"type":"v","key":"ab","time":"1970-01-01T00:00:30Z","value":0.000002}
            """
        let body = try Folded(text).batch.body
        #expect(
            body == [
                2, 0x61, 0x62, 1, 0x76, 2,  // "ab", "v", two cells
                2, 2 << 1,  // window 1: two events
                1, 2 << 1 | 1, 2, 2, 1, 4,  // window 0: two events with values: sum 1, -1 to 2
                2, 0x61, 0x62, 1, 0x77, 1,  // "ab", "w", one cell
                1, 1 << 1,  // window -1: one event
            ])
        #expect(
            try read(body, length: .minute)
                == ["*v/ab 1 2", "v/ab 0 2 2 1 -1 2", "*w/ab -1 1"])
    }

    @Test("What the writer writes the reader reads, to the ends of all ranges")
    func roundTrip() throws {
        var writer = SliceWriter(capacity: 1)
        let key = [UInt8](repeating: 0x6b, count: Limits.keyMax)
        let type = [UInt8](repeating: 0x74, count: Limits.typeMax)
        let first: Int64 = -62_135_596_800_000
        let last: Int64 = 253_402_300_799_999
        let count = SliceReader.countMax
        key.withUnsafeBytes { key in
            type.withUnsafeBytes { writer.beginSeries(key: key, type: $0, cells: 3) }
        }
        writer.append(window: first, count: count)
        writer.append(
            window: last, count: count,
            values: .init(
                count: count, sum: Int128(Int64.min) * Int128(count), min: .min, max: .min))
        writer.append(
            window: first, count: count,
            values: .init(
                count: count, sum: Int128(Int64.max) * Int128(count), min: .max, max: .max))
        let lines = try read(writer.bytes())
        #expect(lines.count == 3)
        #expect(
            lines[2].hasSuffix("\(Int128(Int64.max) * Int128(count)) \(Int64.max) \(Int64.max)"))
        writer.removeAll()
        #expect(writer.bytes() == [])
        #expect(try read([]) == [])
    }

    @Test("Every kind of damage has its error")
    func errors() throws {
        let head: [UInt8] = [1, 0x6b, 1, 0x74]
        #expect(try error([0]) == .badKeyLength(offset: 0))
        #expect(try error([0x81, 0x08]) == .badKeyLength(offset: 0))
        #expect(try error([5, 1]) == .truncated(offset: 1))
        #expect(try error([1, 0x6b, 65]) == .badTypeLength(offset: 2))
        #expect(try error(head + [0]) == .badCellCount(offset: 4))
        #expect(try error(head + [2, 0, 2]) == .badCellCount(offset: 4))
        #expect(try error(head + [1, 0]) == .badCellCount(offset: 4))
        #expect(try error(head + [1, 0, 0]) == .badCount(offset: 6))
        #expect(try error(head + [1, 0, 0x80, 0x80, 0x80, 0x80, 0x20]) == .badCount(offset: 6))
        #expect(try error(head + [1, 0x80, 0]) == .badNumber(offset: 5))
        let long = [UInt8](repeating: 0xff, count: 10)
        #expect(try error(head + [1] + long + [1, 1]) == .badNumber(offset: 5))
        #expect(try error(head + [1] + Array(long.dropLast()) + [2, 1]) == .badNumber(offset: 5))
        #expect(try error(head + [1] + Array(long.dropLast()) + [1, 2]) == .badWindow(offset: 5))
        #expect(try error(head + [1, 0, 3, 2, 0, 0, 0]) == .badValues(offset: 6))
        #expect(try error(head + [1, 0, 3, 0, 0, 0, 0]) == .badValues(offset: 6))
        #expect(try error(head + [1, 0, 3, 1, 0, 4, 2]) == .badValues(offset: 6))
        #expect(try error(head + [1, 0, 3, 1, 8, 2, 4]) == .badValues(offset: 6))
        let wide = [UInt8](repeating: 0xff, count: 18)
        #expect(try error(head + [1, 0, 3, 1] + wide + [4, 0, 0]) == .badNumber(offset: 8))
        #expect(try error(head + [1, 0, 3, 1] + wide + [0, 0, 0]) == .badNumber(offset: 8))
        #expect(try error(head + [1, 0, 3, 1, 0, 0]) == .truncated(offset: 10))
        #expect(
            "\(SliceError.badCount(offset: 6))" == "slice, byte 6: an impossible number of events")
    }

    @Test("A window that no time of the years 1 to 9999 falls in is refused")
    func windows() throws {
        var writer = SliceWriter()
        let key: [UInt8] = [0x6b]
        for (window, isRight) in [
            (Int64(4_223_371_679), true), (4_223_371_680, false), (-1_035_593_280, true),
            (-1_035_593_281, false),
        ] {
            writer.removeAll()
            key.withUnsafeBytes { writer.beginSeries(key: $0, type: $0, cells: 1) }
            writer.append(window: window, count: 1)
            #expect(try (error(writer.bytes(), length: .minute) == nil) == isRight)
            #expect(try error(writer.bytes()) == nil)
        }
    }

    @Test(
        "Any bytes at all are read to an end or an error, and every prefix of a slice is an error")
    func hostile() throws {
        var random = RandomSource(seed: 3)
        let text = (0..<50).map {
            let value = $0 % 3 == 0 ? ",\"value\":\(Int($0) * 7 - 90).5" : ""
            return #"{"type":"t\#($0 % 2)","key":"k\#($0 % 7)","time":\#($0 * 40)\#(value)}"#
        }
        let good = try Folded(text.joined(separator: "\n"))
        let body = good.batch.body
        let slice = try #require(good.batch.slices.first)
        let bytes = Array(body[slice.offset..<slice.offset + slice.length])
        let windows = SliceReader.windows(of: nil)
        #expect(
            try bytes.withUnsafeBytes { try SliceReader.validate($0, windows: windows) }
                == slice.cells)
        var ends: Set<Int> = [0]
        for cut in 0..<bytes.count where try error(Array(bytes[..<cut])) == nil { ends.insert(cut) }
        // Only at the ends of series does a prefix look whole.
        #expect(ends.count <= Set(good.cells.keys.map { $0.key + $0.type }).count)
        for _ in 0..<20_000 {
            var damaged = body
            for _ in 0...random.below(3) {
                damaged[random.below(damaged.count)] = UInt8(random.below(256))
            }
            _ = try error(damaged, length: .minute)
            let noise = (0..<random.below(60)).map { _ in
                UInt8(random.below(random.chance(1, in: 2) ? 256 : 8))
            }
            _ = try error(noise)
        }
    }
}
