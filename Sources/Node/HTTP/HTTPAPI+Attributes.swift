package import Catalog
internal import Core
internal import HummingbirdCore
internal import NIOCore
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

/// `PUT /v1/attributes` and `GET /v1/attributes/{key}`
extension HTTPAPI {
    func putAttributes(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["PUT", "POST"])
        try call.query.expect(only: ["key_field"])
        let format = try attributeFormat(call)
        let body = try await attributeBody(call)
        let parser: AttributeParser
        do throws(AttributeBodyError) {
            parser = try AttributeParser(
                body, format: format, keyField: call.query["key_field"] ?? "key")
        } catch {
            throw .badRequest("\(error)")
        }
        let result: AttributesPut
        do throws(AttributeFailure) {
            result = try await attributes.put(parser.entries)
        } catch {
            throw error.problem
        }
        return .json { json in
            json.field("rows", parser.entries.count + parser.rejectedCount)
            json.field("written", result.written)
            json.field("unchanged", result.unchanged)
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

    func attributes(_ call: HTTPCall, key: String) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: [])
        let bytes = try self.key(key)
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

    private func attributeFormat(_ call: HTTPCall) throws(Problem) -> AttributeFormat {
        let type = (call.header("Content-Type") ?? "").prefix { $0 != ";" }.lowercased()
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

    private func attributeBody(_ call: HTTPCall) async throws(Problem) -> [UInt8] {
        let encoding = try StreamEncoding.named(call.header("Content-Encoding"), outcome: nil)
        var body: [UInt8] = []
        let inflater = encoding.map { BodyInflater($0) }
        let max = HTTPLimits.attributesBodyMax
        var reserved = 0
        defer { bodies.give(back: reserved) }
        do {
            for try await chunk in call.body {
                let before = body.count
                try chunk.withUnsafeReadableBytes { bytes in
                    if let inflater {
                        try inflater.inflate(bytes, into: &body, max: max)
                    } else {
                        body.append(contentsOf: bytes)
                    }
                }
                if body.count > max { throw BodyInflater.Failure.tooLarge(max: max) }
                let grown = body.count - before
                guard bodies.take(grown) else {
                    throw Problem.overloaded("all bodies together hold \(bodies.max) bytes")
                }
                reserved += grown
            }
            try inflater?.finish()
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
        return body
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
