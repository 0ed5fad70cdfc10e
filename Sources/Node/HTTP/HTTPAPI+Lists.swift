internal import Core
internal import Replication
internal import Storage

/// Types and keys.
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
                            json.attributes(known, of: key)
                        }
                    }
                })
            json.field("next", keys.count == limit ? keys.last.map(PageToken.text(key:)) : nil)
        }
    }

    func limit(_ call: HTTPCall) throws(Problem) -> Int {
        try call.query.number("limit", default: HTTPLimits.pageDefault, in: 1...HTTPLimits.pageMax)
    }
}
