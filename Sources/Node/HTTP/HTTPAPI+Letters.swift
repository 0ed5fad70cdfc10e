internal import Core
internal import Replication
internal import Storage

/// Listing dead letters.
extension HTTPAPI {
    static let letterFilters = ["reason", "type", "producer", "sequence", "line", "from", "to"]

    func deadLetters(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD", "DELETE"])
        if call.method == "DELETE" { return try await purgeLetters(call) }
        try call.query.expect(only: HTTPAPI.letterFilters + ["limit", "page", "consistency"])
        let limit = try limit(call)
        let query = DeadLetterQuery(
            filter: try letterFilter(call.query), limit: limit,
            after: try PageToken.place(call.query["page"]))
        let found = try await letters(query, try call.query.consistency())
        let parked = try await parkedBatches(nil, limit: limit)
        return .json { json in
            json.field(
                "items",
                array: { json in
                    for item in found.items { HTTPAPI.write(item, to: &json) }
                })
            json.field("next", found.next.map(PageToken.text(place:)))
            json.field("total", found.total)
            json.field("retired", found.retired)
            json.field("parked", object: { write(parked, to: &$0) })
        }
    }

    /// A page of letters, and where the next begins.
    struct LetterPage {
        var items: [DeadLetterItem]
        var total: UInt64
        var retired: UInt64
        var next: DeadLetterQuery.Place?
    }

    func letters(
        _ query: DeadLetterQuery, _ consistency: Consistency
    ) async throws(Problem) -> LetterPage {
        let answer = try await read(.deadLetters(query), consistency)
        guard case .deadLetters(let items, let total, let retired) = answer.result else {
            throw .unexpectedAnswer
        }
        return LetterPage(
            items: items, total: total, retired: retired,
            next: LetterList(limit: query.limit, of: items).isFull ? items.last?.place : nil)
    }

    func letterFilter(_ query: HTTPQuery) throws(Problem) -> LetterFilter {
        var filter = LetterFilter()
        if let name = query["type"] { filter.type = try type(name) }
        if let name = query["reason"] {
            filter.reason = DeadLetterReason.allCases.first { $0.name == name }
            guard filter.reason != nil else {
                let known = DeadLetterReason.allCases.map(\.name).joined(separator: ", ")
                throw .badRequest("reason=\(name) is none of \(known)")
            }
        }
        let now = clock().wall
        filter.from = try query.time("from", now: now)
        filter.to = try query.time("to", now: now)
        try readBatch(query, into: &filter)
        return filter
    }

    private func readBatch(
        _ query: HTTPQuery, into filter: inout LetterFilter
    ) throws(Problem) {
        switch (query["producer"], query["sequence"]) {
        case (nil, nil):
            guard query["line"] == nil else {
                throw .badRequest("line= is of one batch: give producer= and sequence= as well")
            }
        case (let producer?, let sequence?):
            guard let producer = UUIDText.parse(producer) else {
                throw .badRequest("producer=\(producer) is no UUID")
            }
            guard let sequence = UInt64(sequence) else {
                throw .badRequest("sequence=\(sequence) is no number below 2^64")
            }
            filter.batch = BatchID(producer: producer, sequence: sequence)
            guard let text = query["line"] else { return }
            guard let line = UInt32(text), line > 0 else {
                throw .badRequest("line=\(text) is no line number; lines count from 1")
            }
            filter.line = line
        default:
            throw .badRequest("producer= and sequence= name a batch together: give both")
        }
    }

    /// Type, key and time are those that the event would have had, null where they could not be
    /// read. Bytes that are no UTF-8 come in base64 beside the text that shows them; of an event
    /// that was too long only the first are there, which `raw_cut` says.
    private static func write(_ item: DeadLetterItem, to json: inout JSONWriter) {
        json.object { json in
            json.key("batch")
            WriteAnswer.write(item.place.id, to: &json)
            json.field("line", item.letter.line)
            json.field("reason", item.letter.reason.name)
            json.field("detail", item.letter.detail)
            json.key("raw")
            json.string(item.letter.raw)
            if !item.letter.isWhole { json.field("raw_cut", true) }
            if String(validating: item.letter.raw, as: UTF8.self) == nil {
                json.field("raw_base64", Base64.encode(item.letter.raw, .standard))
            }
            json.key("type")
            if let type = item.letter.type { json.string(type) } else { json.null() }
            json.key("key")
            if let key = item.letter.key { json.string(key) } else { json.null() }
            json.field("time", item.letter.time.map(TimeText.format))
            json.field("created", TimeText.format(item.createdAt))
        }
    }
}
