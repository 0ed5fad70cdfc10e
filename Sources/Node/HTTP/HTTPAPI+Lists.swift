internal import Core
internal import Replication
internal import Storage

/// Types, keys and dead letters.
extension HTTPAPI {
    func types(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: ["consistency"])
        let spec = ScanSpec(partitions: PartitionSet(), output: .types)
        let answer = try await read(.scan(spec, top: nil), try call.query.consistency())
        guard case .scan(.types(let types)) = answer.result else { throw .unexpectedAnswer }
        return .json { json in
            json.field(
                "items",
                array: { json in
                    for type in types {
                        json.object { json in
                            json.key("type")
                            json.string(type)
                        }
                    }
                })
            json.field("next", nil as String?)
        }
    }

    func keys(_ call: HTTPCall, type: String) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: ["prefix", "limit", "page", "consistency"])
        let limit = try limit(call)
        let after = try PageToken.key(call.query["page"])
        let spec = ScanSpec(
            partitions: PartitionSet(), type: try self.type(type),
            output: .keys(
                prefix: Array((call.query["prefix"] ?? "").utf8), after: after, limit: limit))
        let answer = try await read(.scan(spec, top: nil), try call.query.consistency())
        guard case .scan(.keys(let keys)) = answer.result else { throw .unexpectedAnswer }
        let known = await attributes.attributes(of: keys)
        return .json { json in
            json.field(
                "items",
                array: { json in
                    for key in keys {
                        json.object { json in
                            json.key("key")
                            json.string(key)
                            json.attributes(known.map { $0[key] })
                        }
                    }
                })
            json.field("next", keys.count == limit ? keys.last.map(PageToken.text(key:)) : nil)
        }
    }

    func deadLetters(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        if call.method == "DELETE" { throw .notInThisVersion("purging dead letters") }
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: ["reason", "type", "limit", "page", "consistency"])
        let type = try call.query["type"].map { name throws(Problem) in try self.type(name) }
        var reason: DeadLetterReason?
        if let name = call.query["reason"] {
            reason = DeadLetterReason.allCases.first { $0.name == name }
            guard reason != nil else {
                let known = DeadLetterReason.allCases.map(\.name).joined(separator: ", ")
                throw .badRequest("reason=\(name) is none of \(known)")
            }
        }
        let limit = try limit(call)
        let query = DeadLetterQuery(
            reason: reason, type: type ?? nil, limit: limit,
            after: try PageToken.place(call.query["page"]))
        let answer = try await read(.deadLetters(query), try call.query.consistency())
        guard case .deadLetters(let items, let total) = answer.result else {
            throw .unexpectedAnswer
        }
        let parked = try await parkedBatches(nil, limit: limit)
        return .json { json in
            json.field(
                "items",
                array: { json in
                    for item in items { HTTPAPI.write(item, to: &json) }
                })
            json.field(
                "next",
                items.count == limit ? items.last.map { PageToken.text(place: $0.place) } : nil)
            json.field("total", total)
            json.field("parked", object: { write(parked, to: &$0) })
        }
    }

    /// Type, key and time are those that the event would have had, null where they could not be
    /// read. Bytes that are no UTF-8 come in base64 beside the text that shows them.
    private static func write(_ item: DeadLetterItem, to json: inout JSONWriter) {
        json.object { json in
            json.key("batch")
            WriteAnswer.write(item.place.id, to: &json)
            json.field("line", item.letter.line)
            json.field("reason", item.letter.reason.name)
            json.field("detail", item.letter.detail)
            json.key("raw")
            json.string(item.letter.raw)
            if String(validating: item.letter.raw, as: UTF8.self) == nil {
                json.field("raw_base64", Base64.encode(item.letter.raw, .standard))
            }
            json.key("type")
            if let type = item.letter.type { json.string(type) } else { json.null() }
            json.key("key")
            if let key = item.letter.key { json.string(key) } else { json.null() }
            json.field("time", item.letter.time.map(TimeText.format))
        }
    }

    func limit(_ call: HTTPCall) throws(Problem) -> Int {
        try call.query.number("limit", default: HTTPLimits.pageDefault, in: 1...HTTPLimits.pageMax)
    }
}
