internal import Core
package import HummingbirdCore
internal import Ingest
internal import NIOCore

/// A request's body as it streams in, decoded, in parts that each become one batch. Used by one
/// task.
///
/// Its thread is that of all requests. So what takes long, undoing a compression and looking for
/// the ends of events in all of a part, is done beside it, by who folds.
package final class EventParts {
    private let buffer: PartBuffer
    private let workers: any BodyWorkers
    private let metrics: NodeMetrics
    private var chunks: RequestBody.AsyncIterator
    private var isOver = false
    private var isFinished = false

    package init(
        request: EventRequest, body: RequestBody, length: Int? = nil, budget: ByteBudget,
        workers: any BodyWorkers, metrics: NodeMetrics,
        limits: EventPartLimits = EventPartLimits(), hangUp: @escaping @Sendable () -> Void = {}
    ) {
        buffer = PartBuffer(
            request: request, length: length, room: BodyRoom(of: budget, hangUp: hangUp),
            limits: limits)
        self.workers = workers
        self.metrics = metrics
        chunks = body.makeAsyncIterator()
    }

    /// The next part; nil after the last. There is always one, be it empty.
    package func next() async throws(Problem) -> [UInt8]? {
        if let half = buffer.nextHalf() { return half }
        if isFinished { return nil }
        while true {
            if buffer.isPartFull,
                let part = try await beside(
                    buffer.size, { buffer throws(Problem) in try buffer.cut() })
            {
                return part
            }
            if isOver { break }
            if let chunk = try await chunk() {
                metrics.bytesReceived.increment(by: chunk.readableBytes)
                try await take(chunk)
            } else {
                isOver = true
                try buffer.end()
            }
        }
        isFinished = true
        guard buffer.wrapsMuch else { return try buffer.last() }
        return try await beside(buffer.size) { buffer throws(Problem) in try buffer.last() }
    }

    /// The first half of a part that is more than one batch may be, or nil of one event; the second
    /// half comes next.
    package func halve(_ part: [UInt8]) async throws(Problem) -> [UInt8]? {
        try await beside(part.count) { buffer throws(Problem) in try buffer.halve(part) }
    }

    /// What was handed out is dealt with.
    package func release() {
        buffer.release()
    }

    /// Gives back all room at once: a thread that did work for this body may hold it for a moment
    /// longer.
    package func close() {
        buffer.room.close()
    }

    private func chunk() async throws(Problem) -> ByteBuffer? {
        let next = try await buffer.room.wait { () throws(Problem) -> ByteBuffer? in
            do {
                return try await chunks.next()
            } catch {
                throw .badRequest("the body ended early: \(error)", outcome: .notAttempted)
            }
        }
        guard let next else {
            metrics.connectionsGivenWay.increment()
            throw .gaveWay
        }
        return next
    }

    private func take(_ chunk: ByteBuffer) async throws(Problem) {
        var rest = buffer.decodesMuch ? chunk : try buffer.take(chunk)
        while rest.readableBytes > 0 {
            let next = rest
            // A turn is short whatever the buffer holds already: it stands behind small batches.
            rest = try await beside(buffer.turn) { buffer throws(Problem) in
                try buffer.take(next)
            }
        }
    }

    /// Waits where it is full there: what was taken of the body would be lost.
    ///
    /// - Parameter bytes: that the work goes over.
    private func beside<Value: Sendable>(
        _ bytes: Int, _ work: @escaping @Sendable (PartBuffer) throws(Problem) -> Value
    ) async throws(Problem) -> Value {
        let buffer = buffer
        let result = await workers.run(bytes: bytes) {
            Result { () throws(Problem) in try work(buffer) }
        }
        guard let result else { throw FoldFailure.busy.problem }
        return try result.get()
    }
}
