import Core
import Wire

/// What a frame is. Sent: do not change the numbers.
package enum PeerFrameKind: UInt8, Sendable, CaseIterable {
    /// First from the dialling side: `PeerGreeting`.
    case hello = 1
    /// The accepting side's answer to a hello that fits: its own `PeerGreeting`.
    case welcome = 2
    /// The answer to one that does not: `PeerRejection`. Then the connection ends.
    case refusal = 3
    /// A number to be sent back, eight bytes.
    case ping = 4
    case pong = 5
    /// What the layers above say to each other.
    case message = 6

    package var sizeMax: Int {
        switch self {
        case .hello, .welcome: PeerLimits.greetingMax
        case .refusal: PeerLimits.refusalMax
        case .ping, .pong: 8
        case .message: Limits.frameMax
        }
    }
}

package struct PeerFrame: Hashable, Sendable {
    package var kind: PeerFrameKind
    package var payload: [UInt8]

    package init(kind: PeerFrameKind, payload: [UInt8]) {
        self.kind = kind
        self.payload = payload
    }
}

/// The nine bytes before each payload: length, checksum, kind.
package enum PeerFrameHeader {
    package static let size = 9

    /// The checksum covers the length, the kind and the payload.
    package static func bytes(
        kind: PeerFrameKind, payload: UnsafeRawBufferPointer
    ) -> (length: UInt32, checksum: UInt32, kind: UInt8) {
        let length = UInt32(payload.count)
        let checksum = checksum(length: length, kind: kind, payload: payload)
        return (length, checksum, kind.rawValue)
    }

    static func checksum(
        length: UInt32, kind: PeerFrameKind, payload: UnsafeRawBufferPointer
    ) -> UInt32 {
        let head = withUnsafeBytes(of: length.littleEndian) { Checksum.crc32c($0) }
        let seed = withUnsafeBytes(of: kind.rawValue) { Checksum.crc32c($0, extending: head) }
        return Checksum.crc32c(payload, extending: seed)
    }
}

extension PeerFrame {
    /// The frame as it is sent, for the small ones; messages are framed where they are written.
    package var encoded: [UInt8] {
        let header = payload.withUnsafeBytes { PeerFrameHeader.bytes(kind: kind, payload: $0) }
        var writer = ByteWriter(capacity: PeerFrameHeader.size + payload.count)
        writer.write(fixed: header.length)
        writer.write(fixed: header.checksum)
        writer.write(header.kind)
        writer.write(raw: payload)
        return writer.bytes
    }
}

/// Bytes that are no frame, or none that is due now. The connection ends; nothing else does.
package enum PeerFrameError: Error, Hashable, Sendable, CustomStringConvertible {
    case unknownKind(UInt8)
    case unexpectedKind(PeerFrameKind)
    case tooLarge(PeerFrameKind, declared: UInt32)
    case checksumMismatch(PeerFrameKind, length: Int)

    package var description: String {
        switch self {
        case .unknownKind(let kind):
            "a frame of unknown kind \(kind): this is no peer, or one of another version"
        case .unexpectedKind(let kind):
            "a \(kind) frame is not due at this point of the conversation"
        case .tooLarge(let kind, let declared):
            "a \(kind) frame of \(declared) bytes, at most \(kind.sizeMax) are taken"
        case .checksumMismatch(let kind, let length):
            "a \(kind) frame of \(length) bytes was damaged on its way (CRC-32C)"
        }
    }
}

/// Cuts a stream of bytes into frames, wherever the stream is cut into reads.
///
/// The header is checked as soon as it is whole; a payload's memory grows as its bytes come in. The
/// caller says which kinds are due and takes one frame at a time, so that what a frame changes
/// (a handshake that ends) already holds for the next frame of the same read.
package struct PeerFrameDecoder: Sendable {
    package var due: Set<PeerFrameKind>
    private var header: [UInt8] = []
    private var body: Body?

    private struct Body {
        let kind: PeerFrameKind
        let length: Int
        let checksum: UInt32
        var payload: [UInt8]
    }

    package init(due: Set<PeerFrameKind>) {
        self.due = due
    }

    /// Bytes that are held for a frame that is not whole yet.
    package var pendingBytes: Int { header.count + (body?.payload.count ?? 0) }

    /// Takes bytes from `offset` on until a frame is whole or the bytes end.
    package mutating func next(
        _ bytes: UnsafeRawBufferPointer, from offset: inout Int
    ) throws(PeerFrameError) -> PeerFrame? {
        if body == nil {
            let wanted = min(PeerFrameHeader.size - header.count, bytes.count - offset)
            header.append(contentsOf: piece(of: bytes, from: offset, wanted))
            offset += wanted
            guard header.count == PeerFrameHeader.size else { return nil }
            try open()
        }
        guard var body = body.take() else { return nil }
        let wanted = min(body.length - body.payload.count, bytes.count - offset)
        body.payload.append(contentsOf: piece(of: bytes, from: offset, wanted))
        offset += wanted
        guard body.payload.count == body.length else {
            self.body = body
            return nil
        }
        let checksum = body.payload.withUnsafeBytes {
            PeerFrameHeader.checksum(
                length: UInt32(body.length), kind: body.kind, payload: $0)
        }
        guard checksum == body.checksum else {
            throw .checksumMismatch(body.kind, length: body.length)
        }
        return PeerFrame(kind: body.kind, payload: body.payload)
    }

    private mutating func open() throws(PeerFrameError) {
        let length = word(at: 0)
        let checksum = word(at: 4)
        guard let kind = PeerFrameKind(rawValue: header[8]) else { throw .unknownKind(header[8]) }
        guard due.contains(kind) else { throw .unexpectedKind(kind) }
        guard length <= UInt32(kind.sizeMax) else { throw .tooLarge(kind, declared: length) }
        header.removeAll(keepingCapacity: true)
        var payload: [UInt8] = []
        payload.reserveCapacity(min(Int(length), PeerLimits.reserveAheadMax))
        body = Body(kind: kind, length: Int(length), checksum: checksum, payload: payload)
    }

    /// The slice is checked against the bytes' bounds; rebased, it is copied at once and not byte
    /// by byte.
    private func piece(
        of bytes: UnsafeRawBufferPointer, from offset: Int, _ count: Int
    ) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
    }

    private func word(at start: Int) -> UInt32 {
        UInt32(header[start]) | UInt32(header[start + 1]) << 8
            | UInt32(header[start + 2]) << 16 | UInt32(header[start + 3]) << 24
    }
}
