import Core
import Testing
import Wire

@Suite("Bytes")
struct ByteCodecTests {
    @Test("what is written is read, at every boundary of a varint")
    func roundTrip() throws {
        var writer = ByteWriter()
        let numbers = (0..<64).flatMap { shift in
            [
                UInt64(1) << UInt64(shift), (UInt64(1) << UInt64(shift)) &- 1,
                UInt64.max >> UInt64(shift),
            ]
        }
        for number in numbers {
            writer.write(varint: number)
            writer.write(zigzag: Int64(bitPattern: number))
            writer.write(fixed: number)
        }
        writer.write(sized: "video-été")
        writer.write(
            PartitionSet([PartitionID(0), PartitionID(63), PartitionID(64), PartitionID(4095)]))
        var reader = ByteReader(writer.bytes)
        for number in numbers {
            #expect(try reader.varint() == number)
            #expect(try reader.zigzag() == Int64(bitPattern: number))
            #expect(try reader.fixed() == number)
        }
        #expect(try reader.text() == "video-été")
        #expect(
            try reader.partitions()
                == PartitionSet([
                    PartitionID(0), PartitionID(63), PartitionID(64), PartitionID(4095),
                ]))
        try reader.finish()
    }

    @Test("a count that cannot fit is refused before anything is allocated")
    func hostileCount() {
        var writer = ByteWriter()
        writer.write(varint: UInt64.max / 2)
        writer.write(fixed: UInt64(0))
        #expect(throws: DecodeError.self) {
            var reader = ByteReader(writer.bytes)
            return try reader.sized()
        }
        #expect(throws: DecodeError.self) {
            var reader = ByteReader(writer.bytes)
            return try reader.count(ofSize: 8)
        }
        #expect(throws: DecodeError.self) {
            var reader = ByteReader(writer.bytes)
            return try reader.partitions()
        }
    }

    @Test("a varint of more than 64 bits is an error")
    func longVarint() {
        for bytes in [
            [UInt8](repeating: 0xff, count: 11), [UInt8](repeating: 0x80, count: 9) + [2],
            [UInt8](repeating: 0x80, count: 3),
        ] {
            #expect(throws: DecodeError.self) {
                var reader = ByteReader(bytes)
                return try reader.varint()
            }
        }
    }

    @Test("bytes left over are an error")
    func leftOver() throws {
        var reader = ByteReader([1, 2])
        #expect(try reader.byte() == 1)
        #expect(throws: DecodeError.self) { try reader.finish() }
    }
}

@Suite("Checksums and compression")
struct ChecksumTests {
    @Test("CRC-32C has its published value, with the instruction and without")
    func vector() {
        let bytes = Array("123456789".utf8)
        #expect(Checksum.crc32c(bytes) == 0xe306_9283)
        #expect(Checksum.portableCRC32C(bytes) == 0xe306_9283)
        // RFC 3720, B.4: 32 bytes of zeroes.
        #expect(Checksum.crc32c([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
    }

    @Test("both ways agree at every length and in any pieces")
    func agreement() {
        var random = RandomSource(seed: 11)
        for length in 0..<200 {
            let bytes = (0..<length).map { _ in UInt8(random.below(256)) }
            let whole = Checksum.crc32c(bytes)
            #expect(Checksum.portableCRC32C(bytes) == whole)
            let cut = random.below(length + 1)
            let first = Checksum.crc32c(Array(bytes[..<cut]))
            #expect(Checksum.crc32c(Array(bytes[cut...]), extending: first) == whole)
        }
    }

    @Test("LZ4 gives back what it took, and refuses damage")
    func compression() throws {
        let bytes = (0..<5000).map { UInt8($0 / 50 % 251) }
        let compressed = try #require(bytes.withUnsafeBytes { LZ4Block.compress($0) })
        #expect(compressed.count < bytes.count / 4)
        let result = compressed.withUnsafeBytes { buffer in
            Result { try LZ4Block.decompress(buffer, count: bytes.count) }
        }
        #expect(try result.get() == bytes)
        for count in [0, 4999, 5001, 1 << 30] {
            #expect(throws: DecodeError.self) {
                try compressed.withUnsafeBytes { try LZ4Block.decompress($0, count: count) }
            }
        }
        #expect([UInt8](0..<64).withUnsafeBytes { LZ4Block.compress($0) } == nil)
    }
}
