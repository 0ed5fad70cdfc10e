internal import Core
internal import Replication

/// The batches that this node keeps for level ANY. Each node knows its own alone.
extension HTTPAPI {
    /// `GET /v1/parked`: answered also while no quorum can be reached, when it is wanted most.
    func parked(_ call: HTTPCall) async throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        try call.query.expect(only: ["limit"])
        let listing = try await parkedBatches(nil, limit: try limit(call))
        return .json { write(listing, to: &$0) }
    }

    /// `DELETE /v1/parked/{producer}/{sequence}`: an operator's word that what lies here may go. It
    /// is taken only of what this node will never count.
    func discardParked(
        _ call: HTTPCall, _ producer: String, _ sequence: String
    ) async throws(Problem) -> HTTPReply {
        try allow(call, ["DELETE"])
        try call.query.expect(only: [])
        let id = try batchID(producer, sequence)
        guard let item = try await listing(.discardParked(id)).items.first else {
            throw Problem(
                404, "not-found", "No such batch", "batch \(id) is not parked on this node")
        }
        guard item.state.mayBeDiscarded else {
            throw Problem(
                409, "may-be-counted", "The batch may still be counted",
                "batch \(id) is submitted until it is counted, and cannot be discarded: "
                    + item.reason)
        }
        return .json { json in
            json.field("node", settings.node.name)
            json.key("batch")
            WriteAnswer.write(item.note.key.id, to: &json)
            json.field("events", item.note.events)
            json.field("state", item.state.rawValue)
            json.field("discarded", true)
        }
    }

    func isParked(_ id: BatchID) async throws(Problem) -> Bool {
        try await !parkedBatches(id, limit: 1).items.isEmpty
    }

    func parkedBatches(_ id: BatchID?, limit: Int) async throws(Problem) -> ParkedListing {
        try await listing(.parked(id, limit: limit))
    }

    private func listing(_ request: ClientRequest) async throws(Problem) -> ParkedListing {
        switch await core.request(request, deadline: deadline) {
        case .parked(let listing): return listing
        case .failed(let failure): throw failure.problem(consistency: nil)
        case .write, .status, .read, .flushed, .compacted, .verified, .audit:
            throw .unexpectedAnswer
        }
    }

    func write(_ listing: ParkedListing, to json: inout JSONWriter) {
        json.field("node", settings.node.name)
        json.field("batches", listing.count)
        json.field("bytes", listing.bytes)
        json.field(
            "items",
            array: { json in
                for item in listing.items {
                    json.object { HTTPAPI.write(item, to: &$0) }
                }
            })
    }

    private static func write(_ item: ParkedItem, to json: inout JSONWriter) {
        json.key("batch")
        WriteAnswer.write(item.note.key.id, to: &json)
        json.field("created", TimeText.format(item.note.createdAt))
        json.field("parked", TimeText.format(item.note.parkedAt))
        json.field("events", item.note.events)
        json.field("bytes", item.note.byteCount)
        json.field("attempts", item.attempts)
        json.field("reason", item.reason)
        if item.state != .waiting { json.field("state", item.state.rawValue) }
        if item.renewals > 0 {
            json.key("sealed_anew_as")
            WriteAnswer.write(item.id, to: &json)
        }
    }
}
