import Core
import Testing
import Wire

@Suite("Batch records")
struct BatchRecordTests {
    private static let header = BatchHeader(
        id: BatchID(producer: 7, sequence: 9), createdAt: WallTime(milliseconds: 1_424_639_820_000),
        contentHash: Hash128(42), rule: .first)

    private static func record(letters: Int = 2) -> BatchRecord {
        let cells = (0..<3000).map { UInt8($0 / 7 % 200) }
        return BatchRecord.home(
            header: header, home: PartitionID(3),
            totals: BatchTotals(events: 20, counted: UInt32(20 - letters), dead: UInt32(letters)),
            slices: [
                (partition: PartitionID(1), offset: 0, length: 1000, cells: 10),
                (partition: PartitionID(5), offset: 1000, length: 0, cells: 0),
                (partition: PartitionID(200), offset: 1000, length: 2000, cells: 30),
            ], cells: cells,
            deadLetters: (0..<letters).map {
                DeadLetter(
                    line: UInt32($0 + 1), reason: .badTime, detail: "year 12000", raw: [0xff, 0x00])
            })
    }

    @Test("a record comes back whole")
    func roundTrip() throws {
        let record = Self.record()
        let decoded = try BatchRecord(decoding: record.bytes)
        #expect(decoded == record)
        #expect(decoded.header == Self.header)
        #expect(decoded.slices == record.slices)
        #expect(try decoded.deadLetters().map(\.reason) == [.badTime, .badTime])
        #expect(decoded.slice(of: PartitionID(200))?.cells == 30)
        #expect(decoded.slice(of: PartitionID(2)) == nil)
        #expect(record.bytes.count < 2000)
    }

    @Test("a body that is kept where the record was made is the one that others read")
    func madeBody() throws {
        let record = Self.record()
        let decoded = try BatchRecord(decoding: record.bytes)
        #expect(try decoded.body().count == record.madeBytes)
        #expect(decoded.madeBytes == 0)
        #expect(record.withoutMadeBody.madeBytes == 0)
        #expect(record.withoutMadeBody == record)
        #expect(try record.body() == decoded.body())
        #expect(try record.withoutMadeBody.body() == decoded.body())
        let large = BatchRecord.home(
            header: Self.header, home: PartitionID(3),
            totals: BatchTotals(events: 1, counted: 1, dead: 0),
            slices: [
                (partition: PartitionID(1), offset: 0, length: Limits.madeBodyMax + 1, cells: 1)
            ], cells: Array(repeating: 7, count: Limits.madeBodyMax + 1), deadLetters: [])
        #expect(large.madeBytes == 0)
        let kept = (0..<256).count { number in
            var header = Self.header
            header.contentHash = Hash128(UInt128(number))
            return BatchRecord.home(
                header: header, home: PartitionID(3),
                totals: BatchTotals(events: 1, counted: 1, dead: 0),
                slices: [(partition: PartitionID(1), offset: 0, length: 9, cells: 1)],
                cells: Array(repeating: 7, count: 9), deadLetters: []
            ).madeBytes > 0
        }
        #expect(kept == 252)
    }

    @Test("a subset names its slices by the same hashes")
    func subset() throws {
        let record = Self.record()
        let part = try record.subset(PartitionSet([PartitionID(200), PartitionID(7)]))
        #expect(part.kind == .slices)
        #expect(part.slices.map(\.hash) == [record.slices[2].hash])
        #expect(try part.deadLetters().isEmpty)
        let whole = try record.body()
        #expect(try part.body() == Array(whole[1000..<3000]))
    }

    @Test("an empty batch is a record")
    func empty() throws {
        let record = BatchRecord.home(
            header: Self.header, home: PartitionID(0),
            totals: BatchTotals(events: 0, counted: 0, dead: 0), slices: [], cells: [],
            deadLetters: [])
        #expect(try BatchRecord(decoding: record.bytes).partitions.isEmpty)
    }

    @Test(
        "dead letters keep what their events would have been; those of an earlier release have none"
    )
    func letters() throws {
        let letter = DeadLetter(
            line: 7, reason: .tooLate, detail: "d", raw: [1], type: [2, 3], key: [4],
            time: WallTime(milliseconds: -5))
        let plain = DeadLetter(line: 8, reason: .badJSON, detail: "", raw: [9])
        let record = BatchRecord.home(
            header: Self.header, home: PartitionID(3),
            totals: BatchTotals(events: 2, counted: 0, dead: 2), slices: [], cells: [],
            deadLetters: [letter, plain])
        #expect(record.bytes[0] == 3)
        #expect(try BatchRecord(decoding: record.bytes).deadLetters() == [letter, plain])
        #expect(Self.record(letters: 0).bytes[0] == 1)

        // As an earlier release wrote the plain one: kind 1, and nothing behind the raw bytes.
        let named = BatchRecord.home(
            header: Self.header, home: PartitionID(3),
            totals: BatchTotals(events: 1, counted: 0, dead: 1), slices: [], cells: [],
            deadLetters: [plain])
        let stored = try named.body().count
        var old = named.bytes
        old[0] = 1
        old.removeLast()
        old[old.count - stored - 4] -= 1
        old[old.count - stored - 8] -= 1
        let read = try BatchRecord(decoding: old)
        #expect(read.kind == .home)
        #expect(try read.deadLetters() == [plain])
        let other = BatchHeader(
            id: BatchID(producer: 1, sequence: 1), createdAt: Self.header.createdAt,
            contentHash: Hash128(5), rule: .first)
        let renewed = try read.resealed(as: other, home: PartitionID(4))
        #expect(renewed.header == other && renewed.bytes[0] == 1)
        #expect(try renewed.deadLetters() == [plain])
    }

    @Test("a letter keeps the bytes of the largest event, and tells whether they are all of it")
    func largeLetters() throws {
        // Between the two middle ones an earlier release may have cut.
        let lengths = [0, 4092, 4093, 4096, 4097, Limits.lineMax]
        let letters = lengths.flatMap { length in
            [true, false].filter { $0 || length > 4092 }.map { isWhole in
                DeadLetter(
                    line: 1, reason: isWhole ? .badJSON : .lineTooLong, detail: "",
                    raw: (0..<length).map { UInt8(truncatingIfNeeded: $0 / 3) }, isWhole: isWhole)
            }
        }
        let record = BatchRecord.home(
            header: Self.header, home: PartitionID(3),
            totals: BatchTotals(
                events: UInt32(letters.count), counted: 0, dead: UInt32(letters.count)),
            slices: [], cells: [], deadLetters: letters)
        #expect(try BatchRecord(decoding: record.bytes).deadLetters() == letters)
        // What is short has the bytes that it always had.
        var writer = ByteWriter()
        writer.write(letters[1])
        #expect(writer.bytes.last == 0)
        writer = ByteWriter()
        writer.write(
            DeadLetter(
                line: 1, reason: .badJSON, detail: "",
                raw: Array(repeating: 0, count: Limits.lineMax + 1)))
        var reader = ByteReader(writer.bytes)
        #expect(throws: DecodeError.self) { try reader.deadLetter() }
    }

    @Test("no flipped byte and no cut ever traps, and a flipped body is noticed")
    func damage() throws {
        let record = Self.record()
        let body = try record.body()
        for place in record.bytes.indices {
            var bytes = record.bytes
            bytes[place] ^= 0x41
            guard let decoded = try? BatchRecord(decoding: bytes) else { continue }
            guard let read = try? decoded.body() else { continue }
            // What the slices' hashes cover is never another body; the rest the frame's checksum
            // covers.
            #expect(read.prefix(3000) == body.prefix(3000) || decoded.slices != record.slices)
        }
        for length in 0..<record.bytes.count {
            #expect(throws: DecodeError.self) {
                try BatchRecord(decoding: Array(record.bytes.prefix(length)))
            }
        }
    }
}
