internal import CZlib

/// gzip through zlib, member after member (RFC 1952 §2.2). Every member is checked against its
/// CRC-32.
package final class GzipDecoder: StreamDecoder {
    /// Allocated once and never moved: zlib keeps a pointer back to it.
    private let stream: UnsafeMutablePointer<z_stream>
    package private(set) var isComplete = false

    package init() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 15 bits of window, and 16 for "gzip and nothing else".
        let status = inflateInit2_(
            stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(status == Z_OK, "zlib cannot start (\(status)): out of memory")
    }

    deinit {
        inflateEnd(stream)
        stream.deinitialize(count: 1)
        stream.deallocate()
    }

    package func step(
        from input: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer
    ) throws(StreamDamage) -> StreamStep {
        let source = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        // zlib never writes through `next_in`; its type only lacks the const.
        stream.pointee.next_in = source.map { UnsafeMutablePointer(mutating: $0) }
        stream.pointee.avail_in = UInt32(clamping: input.count)
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(clamping: output.count)
        let status = inflate(stream, Z_NO_FLUSH)
        let step = StreamStep(
            read: min(input.count, Int(UInt32.max)) - Int(stream.pointee.avail_in),
            written: min(output.count, Int(UInt32.max)) - Int(stream.pointee.avail_out))
        switch status {
        case Z_STREAM_END:
            isComplete = true
            inflateReset(stream)
        case Z_OK, Z_BUF_ERROR:
            if step.read > 0 { isComplete = false }
        default:
            let reason = stream.pointee.msg.map { String(cString: $0) }
            throw StreamDamage(reason: reason ?? "zlib error \(status)")
        }
        return step
    }
}
