import Core
import Storage
import Testing
import Wire

@Suite struct BlockWalkTests {
    // MARK: Walking

    private static func cells(_ raw: [UInt8]) throws(DecodeError) -> BlockModel {
        var model = BlockModel()
        var walk = try BlockWalk(raw, buckets: BlockModel.buckets)
        while try walk.next() {
            var part = BlockModel.Part(
                partition: Int(walk.partition.index), key: Array(walk.key), type: Array(walk.type),
                cells: [])
            let last = model.parts.last
            let isSame = last.map { $0.partition == part.partition && $0.key == part.key } ?? false
            #expect(walk.isSameKey == isSame)
            while let cell = try walk.nextCell() {
                part.cells.append(BlockModel.Cell(window: cell.window, measure: cell.measure))
            }
            model.parts.append(part)
        }
        return model
    }

    private static func sums(
        _ raw: [UInt8], in range: WindowRange
    ) throws(DecodeError) -> [SeriesPart] {
        var sums: [SeriesPart] = []
        var walk = try BlockWalk(raw, buckets: BlockModel.buckets)
        var part = SeriesPart()
        while try walk.next() {
            try walk.sum(in: range, into: &part)
            sums.append(part)
        }
        return sums
    }

    /// How a walk that stops in the middle of parts ends: the number of parts.
    private static func skipped(
        _ raw: [UInt8], _ random: inout RandomSource
    ) throws(DecodeError) -> Int {
        var parts = 0
        var walk = try BlockWalk(raw, buckets: BlockModel.buckets)
        while try walk.next() {
            for _ in 0..<random.below(4) { _ = try walk.nextCell() }
            parts += 1
        }
        return parts
    }

    private static func value<Value>(_ body: () throws(DecodeError) -> Value) -> Value? {
        do throws(DecodeError) { return try body() } catch { return nil }
    }

    /// The walk agrees with the plain reader, whether bytes are refused or read, and however they
    /// are walked over. True where they are read.
    @discardableResult
    private static func agree(_ raw: [UInt8], _ random: inout RandomSource) -> Bool {
        let plain = value { () throws(DecodeError) in try BlockModel(plainly: raw) }
        #expect(value { () throws(DecodeError) in try cells(raw) } == plain, "\(raw)")
        for range in (plain ?? BlockModel()).ranges(&random) {
            let found = value { () throws(DecodeError) in try sums(raw, in: range) }
            #expect(found == plain?.sums(in: range), "\(raw) in \(range)")
        }
        let parts = value { () throws(DecodeError) in try skipped(raw, &random) }
        #expect(parts == plain?.parts.count, "\(raw)")
        return plain != nil
    }

    @Test("Of random blocks a walk tells every cell, and the sum of any range of windows")
    func walksRandomBlocks() throws {
        var random = RandomSource(seed: 41)
        for round in 0..<300 {
            let model = BlockModel.random(&random, parts: round % 40)
            let raw = model.encoded()
            #expect(try Self.cells(raw) == model)
            #expect(Self.agree(raw, &random))
        }
    }

    @Test("A copy of a walk goes its own way, also in the middle of a key")
    func copies() throws {
        var random = RandomSource(seed: 48)
        let model = BlockModel.random(&random, parts: 60)
        let raw = model.encoded()
        for stop in 0..<60 {
            var walk = try BlockWalk(raw, buckets: BlockModel.buckets)
            for _ in 0...stop { #expect(try walk.next()) }
            var copy = walk
            #expect(Array(copy.key) == model.parts[stop].key)
            for part in model.parts.dropFirst(stop + 1) {
                #expect(try walk.next())
                #expect(Array(walk.key) == part.key)
                #expect(Array(walk.type) == part.type)
            }
            #expect(try !walk.next())
            #expect(Array(copy.key) == model.parts[stop].key)
            for part in model.parts.dropFirst(stop + 1) {
                #expect(try copy.next())
                #expect(Array(copy.key) == part.key)
                #expect(Array(copy.type) == part.type)
            }
            #expect(try !copy.next())
        }
    }

    // MARK: Damage

    @Test("A truncated block is refused, and one with a shorter column is as the plain reader says")
    func truncations() throws {
        var random = RandomSource(seed: 42)
        for _ in 0..<30 {
            let raw = BlockModel.random(&random, parts: 4).encoded()
            for count in raw.indices {
                #expect(!Self.agree(Array(raw[0..<count]), &random))
            }
            let (parts, columns) = try Self.columns(of: raw)
            for place in columns.indices {
                for count in columns[place].indices {
                    var shorter = columns
                    shorter[place].removeLast(columns[place].count - count)
                    #expect(!Self.agree(Self.block(parts, shorter), &random))
                }
                var longer = columns
                longer[place].append(UInt8(random.below(256)))
                #expect(!Self.agree(Self.block(parts, longer), &random))
            }
        }
    }

    @Test("With any bit flipped or byte replaced a block is refused or read as it then stands")
    func flippedBytes() throws {
        var random = RandomSource(seed: 43)
        var read = 0
        for _ in 0..<12 {
            let raw = BlockModel.random(&random, parts: 5).encoded()
            for place in raw.indices {
                var others = (0..<8).map { raw[place] ^ 1 << UInt8($0) }
                others += [0, 0x7f, 0x80, 0xff]
                for other in others {
                    var damaged = raw
                    damaged[place] = other
                    if Self.agree(damaged, &random) { read += 1 }
                }
            }
        }
        #expect(read > 0)
    }

    @Test("Random numbers in the columns are refused or read as they stand")
    func randomColumns() throws {
        var random = RandomSource(seed: 44)
        for _ in 0..<4000 {
            let (parts, columns) = try Self.columns(
                of: BlockModel.random(&random, parts: 1 + random.below(3)).encoded())
            var changed = columns
            let place = random.below(5)
            var writer = ByteWriter()
            for _ in 0..<1 + random.below(6) {
                writer.write(varint: random.next() >> UInt64(random.below(64)))
            }
            let start = random.below(changed[place].count + 1)
            let end = start + random.below(changed[place].count - start + 1)
            changed[place].replaceSubrange(start..<end, with: writer.bytes)
            Self.agree(Self.block(parts, changed), &random)
        }
    }

    // MARK: Single faults

    private static func columns(of raw: [UInt8]) throws -> (parts: Int, columns: [[UInt8]]) {
        var reader = ByteReader(raw)
        let parts = try reader.count(ofSize: 5)
        var sizes: [Int] = []
        for _ in 0..<5 { sizes.append(try reader.count(ofSize: 1)) }
        return (parts, try sizes.map { try reader.raw($0) })
    }

    private static func block(_ parts: Int, _ columns: [[UInt8]]) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(count: parts)
        for column in columns { writer.write(count: column.count) }
        for column in columns { writer.write(raw: column) }
        return writer.bytes
    }

    /// A part of one key and type with these distances of windows and heads of counts.
    private static func part(first: UInt64, _ distances: [UInt64], _ heads: [UInt64]) -> [UInt8] {
        var windows = ByteWriter()
        windows.write(varint: first)
        for distance in distances { windows.write(varint: distance) }
        var counts = ByteWriter()
        for head in heads { counts.write(varint: head) }
        var lengths = ByteWriter()
        lengths.write(count: heads.count)
        return block(
            1, [[0, 0, 1, 97, 1, 98], lengths.bytes, windows.bytes, counts.bytes, []])
    }

    @Test(
        "Windows that stand still, leap or leave what is plausible are refused wherever they stand")
    func windows() {
        var random = RandomSource(seed: 45)
        let heads = [UInt64](repeating: 2, count: 21)
        let sound = [UInt64](repeating: 1, count: 20)
        #expect(Self.agree(Self.part(first: 0, sound, heads), &random))
        for place in sound.indices {
            for distance in [0, UInt64(Int64.max / 4) + 1, UInt64(Int64.max / 4), .max] {
                var damaged = sound
                damaged[place] = distance
                #expect(!Self.agree(Self.part(first: 0, damaged, heads), &random))
            }
        }
        // The last plausible window, and one beyond it at the end of a run of short distances.
        let reach = UInt64(StorageLimits.windowReachMilliseconds / 60_000)
        #expect(Self.agree(Self.part(first: 2 * (reach - 20), sound, heads), &random))
        #expect(!Self.agree(Self.part(first: 2 * (reach - 19), sound, heads), &random))
        #expect(Self.agree(Self.part(first: 2 * reach - 1, sound, heads), &random))
        #expect(!Self.agree(Self.part(first: 2 * reach + 1, sound, heads), &random))
    }

    @Test("A count beyond 2^56 is refused, and so is a series whose sum would overflow")
    func counts() throws {
        var random = RandomSource(seed: 46)
        let most = StorageLimits.measureCountMax
        #expect(Self.agree(Self.part(first: 2, [1], [most << 1, 2]), &random))
        #expect(!Self.agree(Self.part(first: 2, [1], [2, most << 1 + 2]), &random))
        // Cell by cell it can be read; as a sum it is an error and no trap.
        let many = Self.part(
            first: 2, [UInt64](repeating: 1, count: 299),
            [UInt64](repeating: most << 1, count: 300))
        #expect(try Self.cells(many).parts[0].cells.count == 300)
        #expect(throws: DecodeError.self) { try Self.sums(many, in: WindowRange()) }
    }

    @Test("Numbers of ten bytes are read, and longer or greater ones refused")
    func longNumbers() {
        var random = RandomSource(seed: 47)
        for bytes in 1...11 {
            for last: UInt8 in [0, 1, 2, 0x7f] {
                let number = [UInt8](repeating: 0x80, count: bytes - 1) + [last]
                let raw = Self.block(1, [[0, 0, 1, 97, 1, 98], [1], number, [2], []])
                let isNumber = bytes < 10 || (bytes == 10 && last <= 1)
                let window = isNumber && bytes <= 10 ? UInt64(last) << (7 * UInt64(bytes - 1)) : 0
                let reach = UInt64(StorageLimits.windowReachMilliseconds / 60_000)
                let isSound = isNumber && window >> 1 <= reach
                #expect(Self.agree(raw, &random) == isSound, "\(number)")
            }
        }
    }
}
