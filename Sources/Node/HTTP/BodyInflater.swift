package import Wire

/// Undoes a body's compression piece by piece, as it streams in, under a bound.
package final class BodyInflater {
    package enum Failure: Error, Hashable, CustomStringConvertible {
        case damaged(StreamEncoding, at: UInt64, String)
        case cutOff(StreamEncoding, at: UInt64)
        /// More than `max` decoded bytes.
        case tooLarge(max: Int)

        package var description: String {
            switch self {
            case .damaged(let encoding, let offset, let what):
                "the \(encoding) body is damaged at byte \(offset): \(what)"
            case .cutOff(let encoding, let offset):
                "the \(encoding) body ends early, at byte \(offset)"
            case .tooLarge(let max):
                "the body decodes to more than \(max) bytes"
            }
        }
    }

    private static let pieceSize = 128 << 10

    private let encoding: StreamEncoding
    private let decoder: any StreamDecoder
    private let piece: UnsafeMutableRawBufferPointer
    private var offset: UInt64 = 0

    package init(_ encoding: StreamEncoding) {
        self.encoding = encoding
        decoder = encoding.decoder()
        piece = .allocate(byteCount: BodyInflater.pieceSize, alignment: 16)
    }

    deinit {
        piece.deallocate()
    }

    /// Appends what `input` decodes to, until `output` holds more than `max`: then `tooLarge`.
    package func inflate(
        _ input: UnsafeRawBufferPointer, into output: inout [UInt8], max: Int
    ) throws(Failure) {
        var rest = input
        while true {
            let step: StreamStep
            do throws(StreamDamage) {
                step = try decoder.step(from: rest, to: piece)
            } catch {
                throw .damaged(encoding, at: offset, error.reason)
            }
            offset += UInt64(step.read)
            output.append(contentsOf: piece[..<step.written])
            if output.count > max { throw .tooLarge(max: max) }
            rest = UnsafeRawBufferPointer(rebasing: rest[step.read...])
            // A piece that is full may have more behind it.
            if rest.isEmpty, step.written < piece.count { return }
            guard step.read + step.written > 0 else {
                throw .damaged(encoding, at: offset, "it cannot be decoded further")
            }
        }
    }

    /// The body is over: it must not end inside a stream.
    package func finish() throws(Failure) {
        if !decoder.isComplete { throw .cutOff(encoding, at: offset) }
    }
}

extension BodyInflater.Failure {
    var problem: Problem {
        switch self {
        case .damaged, .cutOff:
            return .badRequest("\(self); compress and send it again", outcome: .notAttempted)
        case .tooLarge:
            return Problem(
                413, "too-large", "The body is too large", "\(self); send smaller batches",
                outcome: .notCounted)
        }
    }
}

extension StreamEncoding {
    /// What the header Content-Encoding names; nil for bytes as they are.
    static func named(_ header: String?, outcome: Outcome?) throws(Problem) -> StreamEncoding? {
        switch header?.lowercased() {
        case nil, "identity"?: return nil
        case "gzip"?, "x-gzip"?: return .gzip
        case "lz4"?: return .lz4
        case let other?:
            throw Problem(
                415, "unsupported-encoding", "The body's encoding is not known",
                "Content-Encoding \(other) is not known; send gzip, lz4 (frames), or the bytes as "
                    + "they are", outcome: outcome)
        }
    }
}
