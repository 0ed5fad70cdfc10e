internal import Core

extension SealedBatch {
    /// The request that every attempt repeats unchanged.
    package var call: HTTPCall {
        HTTPCall(
            .post, target,
            headers: [
                HTTPCall.Header("Content-Type", contentType),
                HTTPCall.Header("Quipu-Producer", UUIDText.format(id.producer)),
                HTTPCall.Header("Quipu-Sequence", String(id.sequence)),
                HTTPCall.Header("Quipu-Created", String(createdAt.milliseconds)),
            ], body: body)
    }

    /// Whether a node may park it: what its own request asks for, whatever its sender now does.
    package var mayBeParked: Bool {
        let query = target.split(separator: "?", maxSplits: 1).dropFirst().first ?? ""
        return query.split(separator: "&").contains("consistency=\(ConsistencyLevel.any.rawValue)")
    }

    /// Asks what became of it.
    package var statusCall: HTTPCall {
        QueryCall.batch(
            producer: UUIDText.format(id.producer), sequence: id.sequence,
            createdAt: Timestamp(milliseconds: createdAt.milliseconds))
    }
}

extension EventError {
    /// nil where it is not as a node says it.
    init?(json: JSONValue) {
        guard let line = json["line"]?.int, let reason = json["reason"]?.string else { return nil }
        self.line = line
        self.reason = reason
        detail = json["detail"]?.string
    }
}
