import Core

// The bytes of a message. Numbers are little-endian; frames (with their checksum) are of the Wire
// module, so that a message is either whole or absent, and no checksum is needed here.
//
//     message  = form u8 (1), kind u8, body, end of bytes
//     1 SYN    = cluster text, digests           2 ACK = deltas, requests (as digests)
//     3 ACK2   = deltas                          4 PROBE = nonce u64
//     5 ANSWER = nonce u64, generation i64, wall i64 (UTC, milliseconds)
//     6 SHUTDOWN = delta
//     digests  = count u16, digest ...           digest = node text, generation i64, version u64
//     deltas   = count u16, delta ...
//     delta    = node text, generation i64, heartbeat u64, after u64, count u8, value ...
//     value    = key u8, version u64, text
//     text     = length u16, UTF-8
//
// Nodes ascend strictly in a list, and keys in a delta. Names are not empty. Generations are not
// negative, and positive in a delta. Versions of a delta's values are above its `after`.

extension GossipMessage {
    private static let form: UInt8 = 1

    package func encode(into bytes: inout [UInt8]) {
        bytes.append(Self.form)
        switch self {
        case .syn(let cluster, let digests):
            bytes.append(1)
            bytes.appendText(cluster)
            bytes.append(digests: digests)
        case .ack(let deltas, let requests):
            bytes.append(2)
            bytes.append(deltas: deltas)
            bytes.append(digests: requests)
        case .ack2(let deltas):
            bytes.append(3)
            bytes.append(deltas: deltas)
        case .probe(let nonce):
            bytes.append(4)
            bytes.appendNumber(nonce)
        case .probeAnswer(let nonce, let generation, let wall):
            bytes.append(5)
            bytes.appendNumber(nonce)
            bytes.appendNumber(generation)
            bytes.appendNumber(wall.milliseconds)
        case .shutdown(let delta):
            bytes.append(6)
            bytes.append(delta: delta)
        }
    }

    package static func decode(_ bytes: [UInt8]) throws(GossipDecodingError) -> GossipMessage {
        try decode(bytes[...])
    }

    package static func decode(
        _ bytes: ArraySlice<UInt8>
    ) throws(GossipDecodingError) -> GossipMessage {
        guard bytes.count <= GossipLimits.messageMax else { throw .tooLong(bytes: bytes.count) }
        var reader = GossipReader(bytes)
        let form = try reader.byte()
        guard form == Self.form else { throw .unknownForm(form) }
        let kind = try reader.byte()
        let message: GossipMessage
        switch kind {
        case 1:
            let cluster = try reader.text(max: GossipLimits.nameMax)
            message = .syn(cluster: cluster, digests: try reader.digests())
        case 2:
            let deltas = try reader.deltas()
            message = .ack(deltas: deltas, requests: try reader.digests())
        case 3: message = .ack2(deltas: try reader.deltas())
        case 4: message = .probe(nonce: try reader.number())
        case 5:
            let nonce: UInt64 = try reader.number()
            let generation = try reader.generation(min: 1)
            message = .probeAnswer(
                nonce: nonce, generation: generation, wall: try reader.wallTime())
        case 6: message = .shutdown(try reader.delta())
        default: throw .unknownKind(kind)
        }
        try reader.end()
        return message
    }
}

extension EndpointDigest {
    var encodedSize: Int { 2 + node.name.utf8.count + 16 }
}

extension EndpointDelta {
    var encodedSize: Int {
        values.reduce(2 + node.name.utf8.count + 25) { $0 + 11 + $1.text.utf8.count }
    }
}

extension [UInt8] {
    fileprivate mutating func appendNumber(_ number: some FixedWidthInteger) {
        for shift in stride(from: 0, to: number.bitWidth, by: 8) {
            append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }

    fileprivate mutating func appendText(_ text: String) {
        precondition(text.utf8.count <= Int(UInt16.max), "a gossip text is too long to be sent")
        appendNumber(UInt16(text.utf8.count))
        append(contentsOf: text.utf8)
    }

    fileprivate mutating func append(digests: [EndpointDigest]) {
        appendNumber(UInt16(digests.count))
        for digest in digests {
            appendText(digest.node.name)
            appendNumber(digest.generation)
            appendNumber(digest.version)
        }
    }

    fileprivate mutating func append(deltas: [EndpointDelta]) {
        appendNumber(UInt16(deltas.count))
        for delta in deltas { append(delta: delta) }
    }

    fileprivate mutating func append(delta: EndpointDelta) {
        appendText(delta.node.name)
        appendNumber(delta.generation)
        appendNumber(delta.heartbeat)
        appendNumber(delta.after)
        append(UInt8(delta.values.count))
        for value in delta.values {
            append(value.key.number)
            appendNumber(value.version)
            appendText(value.text)
        }
    }
}
