package import Catalog
internal import Core
internal import HummingbirdCore
internal import NIOCore
internal import NodeCore
internal import Wire

/// Where the API reads and writes attributes. Nothing here ever fails a count.
package protocol AttributeServing: Sendable {
    /// The attributes of those keys that have any; nil where neither the catalog nor its copy can
    /// be read, or not in time.
    func attributes(of keys: [[UInt8]]) async -> KnownAttributes?
    /// The plain value of one attribute of each key; nil where they cannot be read.
    func values(of name: [UInt8], for keys: [[UInt8]]) async -> KnownValues?
    /// The keys whose attribute has a plain value, ascending, at most `limit`; nil where they
    /// cannot be read.
    func keys(with value: [UInt8], of name: [UInt8], limit: Int) async -> KnownKeys?
    func put(_ entries: [AttributeEntry]) async throws(AttributeFailure) -> AttributesPut
    func delete(_ key: [UInt8]) async throws(AttributeFailure) -> CatalogDeletion
    func row(of key: [UInt8]) async throws(AttributeFailure) -> KnownRow
}

package struct AttributesPut: Hashable, Sendable {
    package var written: Int
    /// Rows whose content was there already.
    package var unchanged: Int

    package init(written: Int, unchanged: Int) {
        self.written = written
        self.unchanged = unchanged
    }
}

package enum AttributeFailure: Error, Sendable {
    case busy
    case catalog(CatalogError)
}

/// `PUT /v1/attributes`, `GET` and `DELETE /v1/attributes/{key}`
///
/// A load that cannot be read stores nothing. Else it is stored in slices, in order, however many
/// rows it has: one that breaks off has stored the rows of the slices before. Sending it again is
/// harmless, what is there already does not change.
extension HTTPAPI {
    func putAttributes(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["PUT", "POST"])
        try call.query.expect(only: ["key_field"])
        let format = try attributeFormat(call)
        try await admitAttributes()
        let room = BodyRoom(of: bodies, hangUp: call.hangUp)
        defer { room.close() }
        let body = try await attributeBody(call, room)
        var parser = try await attributeParser(body, format, call.query["key_field"] ?? "key")
        var sum = AttributesPut(written: 0, unchanged: 0)
        do throws(Problem) {
            while let slice = try await attributeSlice(parser) {
                defer { bodies.give(back: slice.bytes) }
                parser = slice.parser
                if slice.entries.isEmpty { continue }
                // A load may take longer than disk or clock stay as they are.
                try await admitAttributes()
                let put = try await store(slice.entries)
                sum.written += put.written
                sum.unchanged += put.unchanged
            }
        } catch {
            var problem = error
            let stored = sum.written + sum.unchanged
            if stored > 0 {
                problem.detail += "; the first \(stored) rows are stored, send all of them again"
            }
            throw problem
        }
        return .json { json in
            json.field("rows", parser.rows)
            json.field("written", sum.written)
            json.field("unchanged", sum.unchanged)
            json.field("rejected", parser.rejectedCount)
            json.field(
                "errors",
                array: { json in
                    for reject in parser.rejects {
                        json.object { json in
                            json.field("line", reject.line)
                            json.field("detail", reject.detail)
                        }
                    }
                })
        }
    }

    /// A row takes room that flushes may need, and its version is this node's clock: where that is
    /// doubted the peers would not take it, or it would win against theirs.
    private func admitAttributes() async throws(Problem) {
        if let refusal = diskRefusal { throw .withoutOutcome(refusal) }
        if let view = await core.view(), let why = view.clockReason {
            throw .withoutOutcome(.notReadyToWrite("\(why), or send to another node"))
        }
    }

    /// Ready to read the first row of a body.
    private func attributeParser(
        _ body: [UInt8], _ format: AttributeFormat, _ keyField: String
    ) async throws(Problem) -> AttributeParser {
        let result = await folds.run(bytes: body.count) {
            Result { () throws(AttributeBodyError) in
                try AttributeParser(body, format: format, keyField: keyField)
            }
        }
        guard let result else { throw .attributesWait }
        switch result {
        case .success(let parser):
            return parser
        case .failure(let error):
            throw .badRequest("\(error)")
        }
    }

    private struct AttributeSlice: Sendable {
        /// Behind the slice's rows.
        var parser: AttributeParser
        var entries: [AttributeEntry]
        /// Taken from the budget of all bodies.
        var bytes: Int
    }

    /// The next rows of a load; nil at its end. Behind the first slice a full queue is waited for,
    /// as within a body of events.
    private func attributeSlice(
        _ parser: AttributeParser
    ) async throws(Problem) -> AttributeSlice? {
        let result = await foldQueue.whenRoom(isPatient: parser.rows > 0) {
            await readSlice(parser)
        }
        guard let result else { throw .attributesWait }
        return try result.get()
    }

    /// Nil where the queue is full. Short work, in the pool of small batches.
    private func readSlice(
        _ parser: AttributeParser
    ) async -> Result<AttributeSlice?, Problem>? {
        let bodies = bodies
        let max = HTTPLimits.attributeBytesAtOnce
        return await folds.run(bytes: max) { () -> Result<AttributeSlice?, Problem> in
            var parser = parser
            let entries = parser.next(rows: HTTPLimits.attributeRowsAtOnce, bytes: max)
            guard let entries else { return .success(nil) }
            let bytes = entries.reduce(0) { $0 + $1.footprint }
            guard bodies.take(bytes) else { return .failure(.attributesFull(bodies.max)) }
            return .success(AttributeSlice(parser: parser, entries: entries, bytes: bytes))
        }
    }

    private func store(
        _ entries: [AttributeEntry]
    ) async throws(Problem) -> AttributesPut {
        do throws(AttributeFailure) {
            return try await attributes.put(entries)
        } catch {
            throw error.problem
        }
    }

    func attributes(_ call: HTTPCall, key: String) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD", "DELETE"])
        try call.query.expect(only: [])
        let bytes = try self.key(key)
        if call.method == "DELETE" { return try await deleteAttributes(key, bytes) }
        let known: KnownRow
        do throws(AttributeFailure) {
            known = try await attributes.row(of: bytes)
        } catch {
            throw error.problem
        }
        guard let row = known.row, let content = row.json else {
            if known.isStale { throw .catalogFilling(key) }
            throw Problem(
                404, "not-found", "No attributes", "no attributes are known for the key \(key)")
        }
        return .json { json in
            json.field("key", key)
            json.key("attributes")
            json.raw(String(decoding: content, as: UTF8.self))
            json.field("version", row.version)
            if known.isStale { json.field("attributes_stale", true) }
        }
    }

    /// Deleting again changes nothing, and says so.
    private func deleteAttributes(
        _ key: String, _ bytes: [UInt8]
    ) async throws(Problem) -> HTTPReply {
        try await admitAttributes()
        let deletion: CatalogDeletion
        do throws(AttributeFailure) {
            deletion = try await attributes.delete(bytes)
        } catch {
            throw error.problem
        }
        return .json { json in
            json.field("key", key)
            json.field("version", deletion.version)
            json.field("deleted", deletion.hadContent)
        }
    }

    private func attributeFormat(_ call: HTTPCall) throws(Problem) -> AttributeFormat {
        let type = CloudEventEnvelope.mediaType(call.header("Content-Type") ?? "")
        switch type {
        case "text/csv": return .csv
        case "application/x-ndjson", "application/ndjson", "application/jsonl": return .ndjson
        default:
            throw Problem(
                415, "unsupported-type", "The body's format is not known",
                "Content-Type \(type.isEmpty ? "is missing" : "\(type) is not known"); "
                    + "send text/csv or application/x-ndjson")
        }
    }

    /// - Parameter room: holds what the body takes of the budget.
    private func attributeBody(
        _ call: HTTPCall, _ room: BodyRoom
    ) async throws(Problem) -> [UInt8] {
        let encoding = try StreamEncoding.named(call.header("Content-Encoding"), outcome: nil)
        let body = AttributeBody(encoding, max: HTTPLimits.attributesBodyMax)
        do {
            var chunks = call.body.makeAsyncIterator()
            while true {
                let next = try await room.wait { try await chunks.next() }
                guard let next else {
                    metrics.connectionsGivenWay.increment()
                    throw Problem.withoutOutcome(.gaveWay)
                }
                guard let chunk = next else { break }
                let before = body.bytes.count
                if encoding == nil {
                    try body.take(chunk)
                } else {
                    try await inflate(chunk, into: body)
                }
                let grown = body.bytes.count - before
                guard room.take(grown) else { throw Problem.attributesFull(bodies.max) }
            }
            try body.finish()
        } catch let failure as BodyInflater.Failure {
            var problem = failure.problem
            problem.outcome = nil
            throw problem
        } catch let problem as Problem {
            var problem = problem
            problem.outcome = nil
            throw problem
        } catch {
            throw .badRequest("the body ended early: \(error)")
        }
        return body.bytes
    }

    /// A few bytes may decode to very many: that is work for who folds.
    private func inflate(_ chunk: ByteBuffer, into body: AttributeBody) async throws {
        let result = await foldQueue.run(bytes: body.bytes.count) {
            Result { () throws(BodyInflater.Failure) in try body.take(chunk) }
        }
        guard let result else { throw Problem.attributesWait }
        try result.get()
    }
}

/// Unchecked: the request's task waits while a worker has it.
private final class AttributeBody: @unchecked Sendable {
    private(set) var bytes: [UInt8] = []
    private let inflater: BodyInflater?
    private let max: Int

    init(_ encoding: StreamEncoding?, max: Int) {
        inflater = encoding.map { BodyInflater($0) }
        self.max = max
    }

    func take(_ chunk: ByteBuffer) throws(BodyInflater.Failure) {
        let result = chunk.withUnsafeReadableBytes { bytes in
            Result { () throws(BodyInflater.Failure) in
                guard let inflater else { return self.bytes.append(contentsOf: bytes) }
                try inflater.inflate(bytes, into: &self.bytes, max: max)
            }
        }
        try result.get()
        if bytes.count > max { throw .tooLarge(max: max) }
    }

    func finish() throws(BodyInflater.Failure) {
        try inflater?.finish()
    }
}

extension Problem {
    /// Folding and loads share threads.
    fileprivate static let attributesWait = withoutOutcome(
        .overloaded("as many batches and loads as may wait to be read"))

    fileprivate static func attributesFull(_ max: Int) -> Problem {
        withoutOutcome(.overloaded("all bodies together hold \(max) bytes"))
    }
}

extension AttributeFailure {
    var problem: Problem {
        switch self {
        case .busy:
            var problem = Problem(
                503, "catalog", "The catalog is busy",
                "it did not answer in time, or too many calls wait for it; try again")
            problem.retryAfter = HTTPLimits.retryAfterSeconds
            return problem
        case .catalog(let error):
            var problem = Problem(503, "catalog", "The catalog cannot be used", "\(error)")
            problem.retryAfter = HTTPLimits.retryAfterSeconds
            return problem
        }
    }
}
