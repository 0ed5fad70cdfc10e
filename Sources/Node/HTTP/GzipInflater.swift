internal import CZlib

/// Undoes gzip piece by piece, as it streams in. Members that follow one another are one text, as
/// RFC 1952 §2.2 has it.
package final class GzipInflater {
    package enum Failure: Error, Hashable, CustomStringConvertible {
        case damaged(at: UInt64, String)
        case cutOff(at: UInt64)
        /// More than `max` decoded bytes.
        case tooLarge(max: Int)

        package var description: String {
            switch self {
            case .damaged(let offset, let what):
                "the gzip body is damaged at byte \(offset): \(what)"
            case .cutOff(let offset):
                "the gzip body ends early, at byte \(offset)"
            case .tooLarge(let max):
                "the body decodes to more than \(max) bytes"
            }
        }
    }

    /// Allocated once and never moved: zlib keeps a pointer back to it.
    private let stream: UnsafeMutablePointer<z_stream>
    private var offset: UInt64 = 0
    /// Inside a member, or before the first one.
    private var isOpen = true

    package init() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 15 bits of window, and 16 for "gzip and nothing else".
        let status = inflateInit2_(
            stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(status == Z_OK, "zlib could not be initialised: \(status)")
    }

    deinit {
        inflateEnd(stream)
        stream.deinitialize(count: 1)
        stream.deallocate()
    }

    /// Appends what `input` decodes to, until `output` holds more than `max`: then `tooLarge`.
    package func inflate(
        _ input: UnsafeRawBufferPointer, into output: inout [UInt8], max: Int
    ) throws(Failure) {
        guard let start = input.bindMemory(to: UInt8.self).baseAddress else { return }
        stream.pointee.next_in = UnsafeMutablePointer(mutating: start)
        stream.pointee.avail_in = UInt32(input.count)
        var piece = [UInt8](repeating: 0, count: GzipInflater.pieceSize)
        while true {
            if !isOpen {
                guard stream.pointee.avail_in > 0 else { break }
                inflateReset(stream)
                isOpen = true
            }
            let before = stream.pointee.avail_in
            var status = Z_OK
            var produced = 0
            piece.withUnsafeMutableBufferPointer { buffer in
                stream.pointee.next_out = buffer.baseAddress
                stream.pointee.avail_out = UInt32(buffer.count)
                status = CZlib.inflate(stream, Z_NO_FLUSH)
                produced = buffer.count - Int(stream.pointee.avail_out)
            }
            offset += UInt64(before - stream.pointee.avail_in)
            output.append(contentsOf: piece[..<produced])
            if output.count > max { throw .tooLarge(max: max) }
            switch status {
            case Z_STREAM_END:
                isOpen = false
            case Z_OK where produced == piece.count || stream.pointee.avail_in > 0:
                continue
            case Z_OK, Z_BUF_ERROR:
                return
            default:
                let what = stream.pointee.msg.map { String(cString: $0) } ?? "zlib error \(status)"
                throw .damaged(at: offset, what)
            }
        }
    }

    /// The body is over: it must not end inside a member.
    package func finish() throws(Failure) {
        if isOpen { throw .cutOff(at: offset) }
    }

    private static let pieceSize = 128 << 10
}
