import Wire

/// Compressed bodies: in pieces, whose size the first byte says, as whole.
enum StreamTarget {
    private static let textMax = 1 << 20

    private struct Decoded: Equatable {
        var text: [UInt8] = []
        var isComplete = false
        var isDamaged = false
    }

    static func decode(_ bytes: [UInt8], _ encoding: StreamEncoding) throws {
        let size = Int(bytes.first ?? 0) % 64 + 1
        let stream = Array(bytes.dropFirst())
        let whole = decode(stream, encoding, piece: max(1, stream.count), room: 1 << 16)
        let pieces = decode(stream, encoding, piece: size, room: 1000)
        // Of what is damaged, more or less may have come out before it was noticed.
        precondition(whole.isDamaged == pieces.isDamaged, "pieces make a difference")
        if !whole.isDamaged { precondition(whole == pieces, "pieces make a difference") }
    }

    private static func decode(
        _ bytes: [UInt8], _ encoding: StreamEncoding, piece: Int, room: Int
    ) -> Decoded {
        let decoder = encoding.decoder()
        let output = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 1)
        defer { output.deallocate() }
        var decoded = Decoded()
        var start = 0
        do throws(StreamDamage) {
            while start < bytes.count, decoded.text.count < textMax {
                let end = min(start + piece, bytes.count)
                var isFull = true
                while start < end || isFull, decoded.text.count < textMax {
                    let step = try bytes[start..<end].withUnsafeBytes { input in
                        Result { () throws(StreamDamage) in
                            try decoder.step(from: input, to: output)
                        }
                    }.get()
                    precondition(step.written <= room && step.read <= end - start)
                    precondition(step.read + step.written > 0 || start == end, "it stands still")
                    decoded.text += output[..<step.written]
                    start += step.read
                    isFull = step.written == room
                }
            }
        } catch {
            decoded.isDamaged = true
        }
        decoded.text.removeLast(max(0, decoded.text.count - textMax))
        // Where it was stopped at the bound nothing is known of the end.
        decoded.isComplete = decoder.isComplete && decoded.text.count < textMax
        return decoded
    }
}
