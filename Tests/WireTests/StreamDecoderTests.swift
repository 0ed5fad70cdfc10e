import CLZ4
import Core
import Testing
import Wire

@Suite("Compressed streams")
struct StreamDecoderTests {
    /// An LZ4 frame by liblz4, of blocks of 64 KiB.
    static func lz4(
        _ bytes: [UInt8], linked: Bool = true, checksums: Bool = true, dictionary: UInt32 = 0
    ) -> [UInt8] {
        var preferences = LZ4F_preferences_t()
        preferences.frameInfo.blockSizeID = LZ4F_max64KB
        preferences.frameInfo.blockMode = linked ? LZ4F_blockLinked : LZ4F_blockIndependent
        preferences.frameInfo.contentChecksumFlag =
            checksums ? LZ4F_contentChecksumEnabled : LZ4F_noContentChecksum
        preferences.frameInfo.dictID = dictionary
        let bound = LZ4F_compressFrameBound(bytes.count, &preferences)
        return [UInt8](unsafeUninitializedCapacity: bound) { target, count in
            bytes.withUnsafeBytes { source in
                count = LZ4F_compressFrame(
                    target.baseAddress, bound, source.baseAddress, source.count, &preferences)
            }
        }
    }

    /// `ab\n` by the program gzip.
    private static let gzip: [UInt8] = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x4b, 0x4c, 0xe2, 0x02, 0x00,
        0x3e, 0x98, 0x4a, 0x01, 0x03, 0x00, 0x00, 0x00,
    ]

    private func decode(
        _ bytes: [UInt8], _ encoding: StreamEncoding, piece: Int = 1 << 20, room: Int = 1 << 16
    ) throws -> (text: [UInt8], isComplete: Bool) {
        let decoder = encoding.decoder()
        let output = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 1)
        defer { output.deallocate() }
        var text: [UInt8] = []
        var start = 0
        while start < bytes.count {
            let end = min(start + piece, bytes.count)
            var isFull = true
            while start < end || isFull {
                let step = try bytes[start..<end].withUnsafeBytes {
                    try decoder.step(from: $0, to: output)
                }
                text += output[..<step.written]
                start += step.read
                isFull = step.written == room
                #expect(step.read + step.written > 0 || start == end)
            }
        }
        return (text, decoder.isComplete)
    }

    private let text: [UInt8] = {
        var random = RandomSource(seed: 1)
        return (0..<300_000).map { _ in UInt8(97 + random.below(4)) }
    }()

    @Test("LZ4 frames are undone whatever pieces they come in", arguments: [1, 7, 1000, 1 << 20])
    func pieces(piece: Int) throws {
        for (linked, checksums) in [(true, true), (false, false)] {
            let packed = Self.lz4(text, linked: linked, checksums: checksums)
            #expect(packed.count < text.count)
            for room in [100, 1 << 16] where piece > 1 || room > 100 {
                let decoded = try decode(packed, .lz4, piece: piece, room: room)
                #expect(decoded.text == text)
                #expect(decoded.isComplete)
            }
        }
    }

    @Test("Streams that follow one another are one text; skippable frames are skipped")
    func streams() throws {
        let skippable: [UInt8] = [0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]
        let frames = Self.lz4([1, 2]) + skippable + Self.lz4([]) + Self.lz4([3], checksums: false)
        for piece in [1, 3, 100] {
            let decoded = try decode(frames, .lz4, piece: piece)
            #expect(decoded.text == [1, 2, 3])
            #expect(decoded.isComplete)
            let members = try decode(Self.gzip + Self.gzip, .gzip, piece: piece)
            #expect(members.text == Array("ab\nab\n".utf8))
            #expect(members.isComplete)
        }
    }

    @Test("A text that ends inside a stream is not complete, at any byte")
    func cutOff() throws {
        for (packed, encoding) in [(Self.lz4(Array(text[..<500])), .lz4), (Self.gzip, .gzip)]
            as [([UInt8], StreamEncoding)]
        {
            for length in packed.indices {
                #expect(try !decode(Array(packed[..<length]), encoding, piece: 9).isComplete)
                let two = packed + packed[..<length]
                #expect(try decode(two, encoding, piece: 9).isComplete == (length == 0))
            }
        }
    }

    @Test("Damage, bytes behind the end and other formats are told")
    func damage() throws {
        var packed = Self.lz4(Array(text[..<2000]))
        for place in packed.indices {
            packed[place] ^= 0x10
            // A length that is too large is noticed at the end of the bytes.
            do {
                #expect(try !decode(packed, .lz4).isComplete, "byte \(place)")
            } catch is StreamDamage {
                packed[place] ^= 0x10
                continue
            }
            packed[place] ^= 0x10
        }
        for encoding in StreamEncoding.allCases {
            let whole = encoding == .gzip ? Self.gzip : packed
            for tail in [[0], Array("{}\n{}\n".utf8)] as [[UInt8]] {
                do {
                    #expect(try !decode(whole + tail, encoding).isComplete)
                } catch is StreamDamage {
                    continue
                }
            }
            #expect(throws: StreamDamage.self) {
                try decode(Array("{\"type\":\"view\"}".utf8), encoding)
            }
            #expect(try !decode([], encoding).isComplete)
        }
    }

    @Test("A frame that needs a dictionary is refused", arguments: [1, 4, 5, 6, 100])
    func dictionary(piece: Int) {
        #expect(throws: StreamDamage(reason: "the frame needs a dictionary")) {
            try decode(Self.lz4([]) + Self.lz4([1, 2, 3], dictionary: 9), .lz4, piece: piece)
        }
    }

    @Test("What compression a stream has is seen by its first bytes")
    func detection() {
        #expect(StreamEncoding.detect(Self.gzip) == .gzip)
        #expect(StreamEncoding.detect(Self.lz4([1])) == .lz4)
        for text in ["", "{", "\u{1f}", "type,key"] {
            #expect(StreamEncoding.detect(text.utf8) == nil)
        }
    }
}
