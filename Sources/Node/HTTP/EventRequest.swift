package import Core
internal import Crypto
package import Ingest
package import Wire

/// What a request to count events says beside its body: how to read it, and under which id.
package struct EventRequest: Sendable {
    package var parameters: ParseParameters
    /// nil: the bytes as they are.
    package var encoding: StreamEncoding?
    /// The event whose data the body is; nil: the body holds events itself.
    package var envelope: CloudEventEnvelope?
    package var consistency: Consistency
    /// Level ANY: where that consistency cannot be had, the node keeps the batch and tries again.
    package var parks: Bool
    /// nil: the node seals the body itself.
    package var seal: Seal?

    /// The identity that the producer sealed.
    package struct Seal: Hashable, Sendable {
        package var id: BatchID
        package var createdAt: WallTime

        package init(id: BatchID, createdAt: WallTime) {
            self.id = id
            self.createdAt = createdAt
        }
    }

    /// The body is one batch: with the producer's identity, or as one event. It is never cut.
    package var isWhole: Bool {
        seal != nil || envelope != nil || parameters.format == .cloudEvent
    }

    /// - Parameter fields: all of the request's head, as far as there may be a CloudEvent in it.
    package init(
        query: HTTPQuery, fields: [HeaderField] = [], header: (String) -> String?
    ) throws(Problem) {
        try query.expect(
            only: ["consistency", "type", "key_field", "time_field", "type_field", "value_field"],
            outcome: .notAttempted)
        parks = query.isAny
        consistency = parks ? .quorum : try query.consistency(outcome: .notAttempted)
        if CloudEventEnvelope.isBinaryMode(header) {
            envelope = try CloudEventEnvelope(fields: fields, contentType: header("Content-Type"))
        }
        let format =
            envelope == nil ? try EventRequest.format(header("Content-Type")) : .cloudEvent
        parameters = ParseParameters(
            format: format,
            defaultType: query["type"], keyField: query["key_field"],
            timeField: query["time_field"], typeField: query["type_field"],
            valueField: query["value_field"])
        encoding = try StreamEncoding.named(header("Content-Encoding"), outcome: .notAttempted)
        seal = try EventRequest.seal(header)
    }

    // MARK: Format

    private static func format(_ contentType: String?) throws(Problem) -> EventFormat {
        let name = CloudEventEnvelope.mediaType(contentType ?? "")
        switch name {
        case "application/x-ndjson", "application/ndjson", "application/jsonl": return .ndjson
        case "application/json": return .jsonArray
        case "text/csv": return .csv
        case "text/tab-separated-values": return .tsv
        case "text/x-clf": return .commonLog
        case "application/x-quipu-batch": return .binary
        case "application/cloudevents+json": return .cloudEvent
        case "application/cloudevents-batch+json": return .cloudEventBatch
        default:
            throw Problem(
                415, "unsupported-type", "The body's format is not known",
                name.isEmpty
                    ? "the request has no Content-Type; \(known)"
                    : "Content-Type \(name) is not known; \(known)", outcome: .notAttempted)
        }
    }

    private static let known =
        "send application/x-ndjson, application/json, text/csv, text/tab-separated-values, "
        + "text/x-clf, application/cloudevents+json, application/cloudevents-batch+json, "
        + "application/x-quipu-batch, or a CloudEvent in binary mode (the header ce-specversion)"

    // MARK: Identity

    /// Times from 1970 to the end of the year 9999, so that arithmetic on them never overflows.
    private static let createdRange: ClosedRange<Int64> = 0...253_402_300_799_999

    private static func seal(_ header: (String) -> String?) throws(Problem) -> Seal? {
        let created = try created(header("Quipu-Created"))
        if let key = header("Idempotency-Key") {
            guard header("Quipu-Producer") == nil, header("Quipu-Sequence") == nil else {
                throw refused("give either Idempotency-Key or Quipu-Producer with Quipu-Sequence")
            }
            return try seal(key: HeaderText.unquoted(key), created)
        }
        switch (header("Quipu-Producer"), header("Quipu-Sequence"), created) {
        case (nil, nil, nil):
            return nil
        case (let producer?, let sequence?, let created?):
            guard let producer = UUIDText.parse(producer) else {
                throw refused("Quipu-Producer \(producer) is no UUID")
            }
            guard let sequence = UInt64(sequence) else {
                throw refused("Quipu-Sequence \(sequence) is no number below 2^64")
            }
            return Seal(id: BatchID(producer: producer, sequence: sequence), createdAt: created)
        case (let producer, let sequence, let created):
            let missing = [
                producer == nil ? "Quipu-Producer" : nil, sequence == nil ? "Quipu-Sequence" : nil,
                created == nil ? "Quipu-Created" : nil,
            ]
            throw refused(
                "\(missing.compactMap(\.self).joined(separator: " and ")) missing: "
                    + "send Quipu-Producer, Quipu-Sequence and Quipu-Created, all three or none")
        }
    }

    private static func created(_ text: String?) throws(Problem) -> WallTime? {
        guard let text else { return nil }
        guard let milliseconds = Int64(text), createdRange.contains(milliseconds) else {
            throw refused("Quipu-Created \(text) is no time in epoch milliseconds")
        }
        return WallTime(milliseconds: milliseconds)
    }

    private static func seal(key: String, _ created: WallTime?) throws(Problem) -> Seal {
        guard !key.isEmpty, key.utf8.count <= HTTPLimits.idempotencyKeyMax else {
            throw refused(
                "Idempotency-Key has \(key.utf8.count) bytes; "
                    + "send 1 to \(HTTPLimits.idempotencyKeyMax)"
            )
        }
        // In its standard form alone: of digests in hexadecimal digits one in 64 has its bits.
        let uuid = key.contains("-") ? UUIDText.parse(key) : nil
        let inKey = uuid.flatMap(timeOfVersion7)
        guard let createdAt = inKey ?? created else {
            throw refused(
                "Idempotency-Key without a time: send a UUIDv7, or Quipu-Created "
                    + "(epoch milliseconds) beside it and the same in every attempt")
        }
        if let created, created != createdAt {
            throw refused("Quipu-Created is not the time in the Idempotency-Key; send one of them")
        }
        let digest = SHA256.hash(data: Array(key.utf8))
        return Seal(
            id: BatchID(producer: ContentHash.first128(digest), sequence: 0), createdAt: createdAt)
    }

    /// The milliseconds in a UUID of version 7 (RFC 9562); nil for other versions.
    private static func timeOfVersion7(_ uuid: UInt128) -> WallTime? {
        guard uuid >> 76 & 0xf == 7, uuid >> 62 & 0x3 == 2 else { return nil }
        return WallTime(milliseconds: Int64(uuid >> 80))
    }

    private static func refused(_ detail: String) -> Problem {
        .badRequest(detail, outcome: .notAttempted)
    }
}
