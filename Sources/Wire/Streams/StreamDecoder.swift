/// Undoes a compression piece by piece, as it streams in. Streams that follow one another are one
/// text (`cat a.gz b.gz`), in both formats that there are.
///
/// A decoder takes and gives bytes in memory of the caller's, and nothing beyond it.
package protocol StreamDecoder: AnyObject {
    /// At least one stream has ended, and none is open: the text may end here.
    var isComplete: Bool { get }

    /// Decodes some of `input`, which may be empty, into `output`. Where neither all of `input` is
    /// read nor all of `output` is written a stream has ended: call again. Once it has failed a
    /// decoder is of no further use.
    func step(
        from input: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer
    ) throws(StreamDamage) -> StreamStep
}

/// Bytes taken from the input and bytes written to the output by one step.
package struct StreamStep: Hashable, Sendable {
    package let read: Int
    package let written: Int
}

/// What a decoder finds wrong with the bytes.
package struct StreamDamage: Error, Hashable, Sendable {
    package let reason: String

    package init(reason: String) {
        self.reason = reason
    }
}

/// The compressions that are undone.
package enum StreamEncoding: String, Sendable, CaseIterable {
    /// RFC 1952.
    case gzip
    /// The LZ4 frame format, not a block alone.
    case lz4

    package func decoder() -> any StreamDecoder {
        switch self {
        case .gzip: GzipDecoder()
        case .lz4: LZ4FrameDecoder()
        }
    }

    /// The compression whose streams begin with `head`; nil where it is none, or too short to tell.
    package static func detect(_ head: some Sequence<UInt8>) -> StreamEncoding? {
        allCases.first { encoding in
            var bytes = head.makeIterator()
            return encoding.magic.allSatisfy { bytes.next() == $0 }
        }
    }

    private var magic: [UInt8] {
        switch self {
        case .gzip: [0x1f, 0x8b]
        case .lz4: LZ4FrameDecoder.magic
        }
    }
}
