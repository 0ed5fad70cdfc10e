internal import CLZ4

/// LZ4 frames through liblz4, frame after frame, skippable ones among them.
///
/// A frame's checksums are checked where it has them: those of blocks and of the content are its
/// writer's choice (the program `lz4` writes the latter), only its header always has one. liblz4
/// keeps at most two blocks and a window, 8.2 MiB, whatever a frame says.
package final class LZ4FrameDecoder: StreamDecoder {
    static let magic: [UInt8] = [0x04, 0x22, 0x4d, 0x18]
    /// Of the byte behind the magic number: the frame names a dictionary.
    private static let dictionaryFlag: UInt8 = 1

    private let context: OpaquePointer
    package private(set) var isComplete = false
    /// The first bytes of the frame under way.
    private var head: [UInt8] = []

    package init() {
        var context: OpaquePointer?
        let status = LZ4F_createDecompressionContext(&context, UInt32(LZ4F_VERSION))
        guard LZ4F_isError(status) == 0, let context else {
            preconditionFailure("liblz4 cannot start: \(LZ4FrameDecoder.name(status))")
        }
        self.context = context
    }

    deinit {
        LZ4F_freeDecompressionContext(context)
    }

    package func step(
        from input: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer
    ) throws(StreamDamage) -> StreamStep {
        var read = input.count
        var written = output.count
        let status = LZ4F_decompress(
            context, output.baseAddress, &written, input.baseAddress, &read, nil)
        guard LZ4F_isError(status) == 0 else {
            throw StreamDamage(reason: LZ4FrameDecoder.name(status))
        }
        try look(at: input[..<read])
        // What is left to read of the frame: nothing.
        let hasEnded = status == 0 && read > 0
        if hasEnded { head = [] }
        if read > 0 { isComplete = hasEnded }
        return StreamStep(read: read, written: written)
    }

    /// Without its dictionary a frame would decode to something else, and perhaps have no checksum
    /// that says so.
    private func look(at bytes: Slice<UnsafeRawBufferPointer>) throws(StreamDamage) {
        let wanted = LZ4FrameDecoder.magic.count + 1
        guard head.count < wanted, !bytes.isEmpty else { return }
        head += bytes.prefix(wanted - head.count)
        if head.count == wanted, head.starts(with: LZ4FrameDecoder.magic),
            head[wanted - 1] & LZ4FrameDecoder.dictionaryFlag != 0
        {
            throw StreamDamage(reason: "the frame needs a dictionary")
        }
    }

    private static func name(_ status: Int) -> String {
        LZ4F_getErrorName(status).map { String(cString: $0) } ?? "lz4 error \(status)"
    }
}
