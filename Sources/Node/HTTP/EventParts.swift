internal import Core
package import HummingbirdCore
internal import Ingest
internal import NIOCore
internal import Wire

/// A request's body as it streams in, decoded, in parts that each become one batch.
///
/// With the client's own id, or where the body is one event, there is exactly one part, and what
/// does not fit is refused. Else a body may be of any length: as soon as a part is as large as a
/// batch may be, it is cut behind its last whole event, and the rest begins the next. Used by one
/// task.
package final class EventParts {
    private let request: EventRequest
    private let budget: ByteBudget
    private let metrics: NodeMetrics
    private let limits: EventPartLimits
    private var chunks: RequestBody.AsyncIterator
    private let inflater: BodyInflater?
    /// As announced, where the bytes are taken as they are.
    private let length: Int?
    /// Decoded and not handed out.
    private var buffer: [UInt8] = []
    private var sentOfPart = 0
    private var isOver = false
    private var isFinished = false
    /// Bytes of the budget that this body holds: as many as its arrays have room for, whether they
    /// are filled or not.
    private var reserved = 0
    /// Room of the parts that were handed out and are not dealt with.
    private var handedOut = 0
    private var cutter: EventCutter

    package init(
        request: EventRequest, body: RequestBody, length: Int? = nil, budget: ByteBudget,
        metrics: NodeMetrics, limits: EventPartLimits = EventPartLimits()
    ) {
        self.request = request
        self.budget = budget
        self.metrics = metrics
        self.limits = limits
        chunks = body.makeAsyncIterator()
        inflater = request.encoding.map { BodyInflater($0) }
        self.length = request.isWhole && request.encoding == nil ? length : nil
        cutter = EventCutter(format: request.parameters.format)
    }

    deinit {
        budget.give(back: reserved)
    }

    /// The next part; nil after the last. There is always one, be it empty.
    package func next() async throws(Problem) -> [UInt8]? {
        if isFinished { return nil }
        while true {
            if isPartFull, let part = try cut() { return part }
            if isOver { break }
            if let chunk = try await chunk() {
                metrics.bytesReceived.increment(by: chunk.readableBytes)
                try await take(chunk)
            } else {
                isOver = true
                try end()
            }
        }
        isFinished = true
        cutter.keepMark(&buffer)
        var last: [UInt8] = []
        swap(&last, &buffer)
        guard let envelope = request.envelope else { return try handOut(last) }
        return try handOut(envelope.text(around: last))
    }

    /// What was handed out is dealt with.
    package func release() {
        handedOut = 0
        giveBack()
    }

    private func handOut(_ part: [UInt8]) throws(Problem) -> [UInt8] {
        handedOut += part.capacity
        try settle()
        return part
    }

    private var isPartFull: Bool {
        !request.isWhole
            && (sentOfPart > limits.sentMax || buffer.count > limits.decodedMax)
    }

    private func chunk() async throws(Problem) -> ByteBuffer? {
        do {
            return try await chunks.next()
        } catch {
            throw .badRequest("the body ended early: \(error)", outcome: .notAttempted)
        }
    }

    private func take(_ chunk: ByteBuffer) async throws(Problem) {
        var chunk = chunk
        // Small pieces, so that what one of them decodes to stays small as well.
        let pieceMax = inflater == nil ? chunk.readableBytes : limits.piece
        while let piece = chunk.readSlice(length: min(chunk.readableBytes, pieceMax)),
            piece.readableBytes > 0
        {
            sentOfPart += piece.readableBytes
            if request.isWhole, sentOfPart > limits.sentMax {
                throw .bodyTooLarge("more than \(limits.sentMax) bytes are sent")
            }
            let before = buffer.count
            try append(piece)
            try settle()
            // The thread is that of all requests: a few bytes may decode to very many.
            if buffer.count - before > limits.turn { await Task.yield() }
        }
    }

    /// Holds as much of the budget as there is room for in memory.
    private func settle() throws(Problem) {
        try reserve(buffer.capacity)
        giveBack()
    }

    /// Takes what a buffer with so much room lacks of the budget.
    private func reserve(_ room: Int) throws(Problem) {
        let missing = room + handedOut - reserved
        guard missing > 0 else { return }
        guard budget.take(missing) else {
            throw .overloaded("all bodies together hold \(budget.max) bytes")
        }
        reserved += missing
    }

    private func giveBack() {
        let spare = reserved - buffer.capacity - handedOut
        guard spare > 0 else { return }
        reserved -= spare
        budget.give(back: spare)
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

    private func end() throws(Problem) {
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
    private func cut() throws(Problem) -> [UInt8]? {
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
    /// Decoded bytes of one piece after which other requests have their turn.
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
