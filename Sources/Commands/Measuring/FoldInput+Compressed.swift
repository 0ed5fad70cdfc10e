internal import Ingest
package import Node
internal import Wire

// Bodies that are small on their way and large where they arrive, and such as begin again and
// again. Made by hand: a compressor would not make the worst.
extension FoldInput {
    /// The batch itself, as a node comes to it: no more than it takes.
    ///
    /// - Parameter max: decoded bytes.
    package func text(max: Int) throws(BodyInflater.Failure) -> [UInt8] {
        guard let encoding else { return bytes }
        let inflater = BodyInflater(encoding)
        var text: [UInt8] = []
        let failure: BodyInflater.Failure? = bytes.withUnsafeBytes { buffer in
            var start = 0
            while start < buffer.count {
                let end = min(start + Self.piece, buffer.count)
                do throws(BodyInflater.Failure) {
                    try inflater.inflate(
                        UnsafeRawBufferPointer(rebasing: buffer[start..<end]), into: &text,
                        max: max)
                } catch {
                    return error
                }
                start = end
            }
            return nil
        }
        if let failure { throw failure }
        try inflater.finish()
        return text
    }

    /// As sent, decoded at once.
    private static let piece = 16 << 10

    /// About `size` bytes that decode to a hundred times as many, or to nothing.
    static func compressed(_ name: String, size: Int) -> FoldInput? {
        switch name {
        case "bomb, gzip":
            return FoldInput(name, .ndjson, type: "t", encoding: .gzip, gzipBomb(size))
        case "bomb, lz4":
            return FoldInput(name, .ndjson, type: "t", encoding: .lz4, lz4Bomb(size))
        case "empty streams, gzip":
            let empty = gzipHead + [3, 0] + [UInt8](repeating: 0, count: 8)
            return FoldInput(name, .ndjson, type: "t", encoding: .gzip, repeated(empty, upTo: size))
        case "empty streams, lz4":
            let empty = lz4Head + [0, 0, 0, 0]
            return FoldInput(name, .ndjson, type: "t", encoding: .lz4, repeated(empty, upTo: size))
        default:
            return nil
        }
    }

    private static let gzipHead: [UInt8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]
    /// Independent blocks of at most 4 MiB, and the checksum of that.
    private static let lz4Head: [UInt8] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73]

    private static func repeated(_ piece: [UInt8], upTo size: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size + piece.count)
        while bytes.count < size { bytes += piece }
        return bytes
    }

    /// A stream of one literal and copies of it, 258 in 13 bits; it has no end.
    private static func gzipBomb(_ size: Int) -> [UInt8] {
        var bytes = gzipHead
        bytes.reserveCapacity(size + 8)
        var word: UInt64 = 0
        var bits = 0
        func put(_ value: UInt64, _ count: Int) {
            word |= value << UInt64(bits)
            bits += count
            while bits >= 8 {
                bytes.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
                bits -= 8
            }
        }
        // The last block, by the fixed codes, whose bits come from the top; the literal `x`.
        put(0b011, 3)
        put(0b00010101, 8)
        // Length 258 (code 285), distance 1.
        while bytes.count < size { put(0b00000_10100011, 13) }
        return bytes
    }

    /// Blocks of a literal, a copy of it that is as long as a block may be, and five literals.
    private static func lz4Bomb(_ size: Int) -> [UInt8] {
        var block: [UInt8] = [0x1f, 0x78, 1, 0]
        block += [UInt8](repeating: 0xff, count: 16_000) + [0]
        block += [0x50] + [UInt8](repeating: 0x78, count: 5)
        let length = (0..<4).map { UInt8(truncatingIfNeeded: block.count >> ($0 * 8)) }
        return lz4Head + repeated(length + block, upTo: size) + [0, 0, 0, 0]
    }
}
