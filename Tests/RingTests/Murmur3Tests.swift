import Core
import Ring
import Testing

@Suite struct Murmur3Tests {
    @Test(
        "tokens are Cassandra's",
        arguments: [
            (Array("123".utf8), -7_468_325_962_851_647_638),
            (Array("abc".utf8), -5_434_086_359_492_102_041),
            ([UInt8](repeating: 0xfe, count: 8), -8_927_430_733_708_461_935),
            ([UInt8](repeating: 0x10, count: 8), 1_446_172_840_243_228_796),
            ([UInt8](repeating: 0x80, count: 15), -5_979_218_241_483_680_930),
            (Array("video-été".utf8), 1_490_555_589_283_402_679),
        ] as [([UInt8], Int64)])
    func vectors(bytes: [UInt8], expected: Int64) {
        #expect(Murmur3.token(of: bytes).value == expected)
    }

    @Test("text, bytes and any alignment of them have one token")
    func faces() {
        #expect(Murmur3.token(of: "video-été") == Murmur3.token(of: Array("video-été".utf8)))
        var random = RandomSource(seed: 1)
        for length in 0...70 {
            let bytes = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            for shift in 0..<8 {
                let shifted = [UInt8](repeating: 0, count: shift) + bytes
                let token = shifted.withUnsafeBytes {
                    Murmur3.token(of: UnsafeRawBufferPointer(rebasing: $0[shift...]))
                }
                #expect(token == Murmur3.token(of: bytes))
            }
        }
    }

    @Test("every byte of a key matters, whatever its length")
    func sensitivity() {
        for length in 1...40 {
            let zeros = [UInt8](repeating: 0, count: length)
            var tokens: Set<Token> = [Murmur3.token(of: zeros)]
            for position in 0..<length {
                for value: UInt8 in [1, 0x80, 0xff] {
                    var bytes = zeros
                    bytes[position] = value
                    #expect(tokens.insert(Murmur3.token(of: bytes)).inserted)
                }
            }
        }
    }

    @Test("a batch id hashes as its 24 big-endian bytes")
    func batchID() {
        let id = BatchID(
            producer: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff, sequence: 0x0102_0304_0506_0708)
        let bytes: [UInt8] = [
            0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd,
            0xee, 0xff, 1, 2, 3, 4, 5, 6, 7, 8,
        ]
        #expect(Murmur3.token(of: id) == Murmur3.token(of: bytes))
    }
}
