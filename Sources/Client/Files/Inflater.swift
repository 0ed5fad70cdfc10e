internal import CZlib

/// Undoes gzip as it streams, member after member (`cat a.gz b.gz` is one file with both contents).
///
/// A small owner of zlib's state: every pointer given to zlib is a buffer of the caller's with its
/// length beside it, and zlib writes at most `avail_out` bytes.
package final class Inflater {
    package enum Failure: Error, Hashable, Sendable {
        /// zlib calls the bytes wrong.
        case damaged(String)
    }

    /// Bytes taken from the input and bytes written to the output by one step.
    package struct Step {
        package let read: Int
        package let written: Int
    }

    private var stream = z_stream()
    /// A member began and has not ended.
    package private(set) var isWithinMember = false

    package init() {
        // 15 bits of window, 16 more to say: gzip with its header and checksum.
        let result = inflateInit2_(
            &stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(result == Z_OK, "zlib cannot start (\(result)): out of memory")
    }

    deinit {
        inflateEnd(&stream)
    }

    package func step(
        from input: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer
    ) throws(Failure) -> Step {
        guard let source = input.baseAddress, let target = output.baseAddress else {
            return Step(read: 0, written: 0)
        }
        // zlib never writes through `next_in`; its type only lacks the const.
        stream.next_in = UnsafeMutablePointer(mutating: source.assumingMemoryBound(to: UInt8.self))
        stream.avail_in = UInt32(clamping: input.count)
        stream.next_out = target.assumingMemoryBound(to: UInt8.self)
        stream.avail_out = UInt32(clamping: output.count)
        let result = inflate(&stream, Z_NO_FLUSH)
        let step = Step(
            read: min(input.count, Int(UInt32.max)) - Int(stream.avail_in),
            written: min(output.count, Int(UInt32.max)) - Int(stream.avail_out))
        switch result {
        case Z_STREAM_END:
            isWithinMember = false
            inflateReset(&stream)
        case Z_OK, Z_BUF_ERROR:
            isWithinMember = isWithinMember || step.read > 0
        default:
            throw .damaged(stream.msg.map { String(cString: $0) } ?? "zlib error \(result)")
        }
        return step
    }
}
