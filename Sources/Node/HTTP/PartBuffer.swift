internal import Core
internal import Ingest
internal import NIOCore
internal import Wire

/// What came of a body and was not handed out: the synchronous part of `EventParts`.
///
/// With the client's own id, or where the body is one event, there is exactly one part, and what
/// does not fit is refused. Else a body may be of any length: as soon as a part is as large as a
/// batch may be, it is cut behind its last whole event, and the rest begins the next. One that
/// folds to more than a batch may be is halved.
///
/// Unchecked: one thread at a time has it, that of the request's task or, while the task waits, one
/// of the workers.
final class PartBuffer: @unchecked Sendable {
    private let request: EventRequest
    private let limits: EventPartLimits
    private let inflater: BodyInflater?
    /// As announced, where the bytes are taken as they are.
    private let length: Int?
    /// Decoded and not handed out.
    private var buffer: [UInt8] = []
    private var sentOfPart = 0
    /// As much as its arrays have room for, whether they are filled or not.
    let room: BodyRoom
    /// Room of the parts that were handed out and are not dealt with.
    private var handedOut = 0
    /// Halves of parts that were more than one batch may be: the last one comes next.
    private var halves: [[UInt8]] = []
    private var roomOfHalves = 0
    private var cutter: EventCutter

    init(request: EventRequest, length: Int?, room: BodyRoom, limits: EventPartLimits) {
        self.request = request
        self.room = room
        self.limits = limits
        inflater = request.encoding.map { BodyInflater($0) }
        self.length = request.isWhole && request.encoding == nil ? length : nil
        cutter = EventCutter(format: request.parameters.format)
    }

    /// In bytes, decoded.
    var size: Int { buffer.count }

    /// Decoded bytes that one `take` comes to, about.
    var turn: Int { limits.turn }

    /// An event is to be cut off before more is taken.
    var isPartFull: Bool {
        !request.isWhole
            && (sentOfPart > limits.sentMax || buffer.count > limits.decodedMax)
    }

    /// What comes is compressed, and much came already. Small bodies are not worth the way.
    var decodesMuch: Bool { inflater != nil && buffer.count > limits.turn }

    /// The last part is to be written out inside its envelope, and is large.
    var wrapsMuch: Bool { request.envelope != nil && buffer.count > limits.turn }

    /// What is left at the end of a body.
    func last() throws(Problem) -> [UInt8] {
        cutter.keepMark(&buffer)
        var last: [UInt8] = []
        swap(&last, &buffer)
        guard let envelope = request.envelope else { return try handOut(last) }
        return try handOut(envelope.text(around: last))
    }

    /// What was handed out is dealt with.
    func release() {
        handedOut = 0
        giveBack()
        room.renew()
    }

    /// The first half of a part that was handed out and is more than one batch may be. The second
    /// comes next. Nil where there are none: it is one event.
    func halve(_ part: [UInt8]) throws(Problem) -> [UInt8]? {
        try reserve(buffer.capacity + part.count)
        guard let cut = EventHalves(of: part, format: request.parameters.format) else {
            return nil
        }
        halves.append(cut.second)
        roomOfHalves += cut.second.capacity
        return try handOut(cut.first)
    }

    /// A half that is left.
    func nextHalf() -> [UInt8]? {
        guard let half = halves.popLast() else { return nil }
        roomOfHalves -= half.capacity
        handedOut += half.capacity
        return half
    }

    private func handOut(_ part: [UInt8]) throws(Problem) -> [UInt8] {
        handedOut += part.capacity
        try settle()
        return part
    }

    /// Takes what comes next; returns what is left of it once as much was decoded as a turn is.
    func take(_ chunk: ByteBuffer) throws(Problem) -> ByteBuffer {
        var chunk = chunk
        // Small pieces, so that what one of them decodes to stays small as well.
        let pieceMax = inflater == nil ? chunk.readableBytes : limits.piece
        let turnMax = buffer.count + limits.turn
        while let piece = chunk.readSlice(length: min(chunk.readableBytes, pieceMax)),
            piece.readableBytes > 0
        {
            sentOfPart += piece.readableBytes
            if request.isWhole, sentOfPart > limits.sentMax {
                throw .bodyTooLarge("more than \(limits.sentMax) bytes are sent")
            }
            try append(piece)
            try settle()
            if buffer.count > turnMax { break }
        }
        return chunk
    }

    /// Holds as much of the budget as there is room for in memory.
    private func settle() throws(Problem) {
        try reserve(buffer.capacity)
        giveBack()
    }

    /// Takes what a buffer with room for so many bytes lacks of the budget.
    private func reserve(_ bytes: Int) throws(Problem) {
        let missing = bytes + handedOut + roomOfHalves - room.held
        guard missing > 0 else { return }
        guard room.take(missing) else {
            throw .overloaded("all bodies together hold \(room.max) bytes")
        }
    }

    private func giveBack() {
        let spare = room.held - buffer.capacity - handedOut - roomOfHalves
        if spare > 0 { room.give(back: spare) }
    }

    /// The most that a whole body may decode to. In base64, inside an envelope, it grows.
    private var wholeMax: Int {
        request.envelope == nil ? limits.decodedMax : min(limits.decodedMax, limits.sentMax)
    }

    private func append(_ piece: ByteBuffer) throws(Problem) {
        let place = buffer.count
        defer { cutter.skip(&buffer, from: place) }
        guard let inflater else {
            try makeRoom(for: piece.readableBytes)
            piece.withUnsafeReadableBytes { buffer.append(contentsOf: $0) }
            return
        }
        // What is cut afterwards may be led beyond the bound by one piece.
        let max = request.isWhole ? wholeMax : limits.decodedMax * 2
        let result = piece.withUnsafeReadableBytes { bytes in
            Result { () throws(BodyInflater.Failure) in
                try inflater.inflate(bytes, into: &buffer, max: max)
            }
        }
        if case .failure(let failure) = result { throw failure.problem }
    }

    /// An array that grows is moved each time it doubles: with the length in hand it moves less
    /// often. But a length costs its sender nothing, and so gets no more memory than four times
    /// what came.
    private func makeRoom(for bytes: Int) throws(Problem) {
        guard let length, buffer.count + bytes > buffer.capacity else { return }
        let room = max(buffer.count + bytes, min(length, buffer.count * 4))
        try reserve(room)
        buffer.reserveCapacity(room)
    }

    /// The body is over.
    func end() throws(Problem) {
        if let inflater {
            do throws(BodyInflater.Failure) {
                try inflater.finish()
            } catch {
                throw error.problem
            }
        }
        if request.isWhole, buffer.count > wholeMax {
            throw BodyInflater.Failure.tooLarge(max: wholeMax).problem
        }
    }

    /// Nil where no event ends yet.
    func cut() throws(Problem) -> [UInt8]? {
        let cut = cutter.cut(&buffer, max: limits.decodedMax)
        // What is left over was sent, in about this proportion, with the next part.
        sentOfPart = min(sentOfPart, buffer.count)
        switch cut {
        case .part(let part): return try handOut(part)
        case .more: return nil
        case .never:
            throw Problem(
                413, "too-large", "The body is too large",
                "no event ends in \(buffer.count) bytes of the body; send smaller events",
                outcome: .notCounted)
        }
    }
}

package struct EventPartLimits {
    /// As sent, of one batch.
    package var sentMax: Int
    /// Decoded, of one batch.
    package var decodedMax: Int
    /// Sent bytes that are decoded at once: gzip makes at most about a thousand times as many of
    /// them, LZ4 255 times.
    package var piece: Int
    /// Decoded bytes after which others have their turn: other requests where the thread is
    /// theirs, other bodies and batches where it is that of folding.
    package var turn = 128 << 10

    package init(
        sentMax: Int = Limits.bodySentMax, decodedMax: Int = Limits.bodyDecodedMax,
        piece: Int = 2 << 10
    ) {
        self.sentMax = sentMax
        self.decodedMax = decodedMax
        self.piece = piece
    }
}
