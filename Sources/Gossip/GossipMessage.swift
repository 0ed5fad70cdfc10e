package import Core

/// What nodes say to each other. Lists are in ascending order of node names, each node once.
package enum GossipMessage: Hashable, Sendable {
    /// What I hold. An empty list asks for everything.
    case syn(cluster: String, digests: [EndpointDigest])
    /// What you lack, and what I want from you.
    case ack(deltas: [EndpointDelta], requests: [EndpointDigest])
    /// What you wanted.
    case ack2(deltas: [EndpointDelta])
    /// Do you hear me?
    case probe(nonce: UInt64)
    /// I heard you, in this life of mine, and my wall clock shows this. The time is for the one who
    /// asked and is not passed on.
    case probeAnswer(nonce: UInt64, generation: Int64, wall: WallTime)
    /// I stop; my last state.
    case shutdown(EndpointDelta)
}

/// Why bytes are not a message. The connection that brought them should be closed.
package enum GossipDecodingError: Error, Hashable, Sendable, CustomStringConvertible {
    case tooLong(bytes: Int)
    case truncated(offset: Int)
    case leftOver(offset: Int)
    case unknownForm(UInt8)
    case unknownKind(UInt8)
    case tooMany(count: Int, max: Int, offset: Int)
    case badText(offset: Int)
    case badNumber(offset: Int)
    case badOrder(offset: Int)

    package var description: String {
        let what =
            switch self {
            case .tooLong(let bytes):
                "has \(bytes) bytes, at most \(GossipLimits.messageMax) are allowed"
            case .truncated(let offset): "ends too early at byte \(offset)"
            case .leftOver(let offset): "goes on after its end at byte \(offset)"
            case .unknownForm(let form): "has the unknown form \(form), an older release?"
            case .unknownKind(let kind): "is of the unknown kind \(kind)"
            case .tooMany(let count, let max, let offset):
                "claims \(count) entries at byte \(offset), at most \(max) are allowed"
            case .badText(let offset): "has an empty, long or non-UTF-8 text at byte \(offset)"
            case .badNumber(let offset): "has an impossible number before byte \(offset)"
            case .badOrder(let offset): "is not in ascending order before byte \(offset)"
            }
        return "a gossip message \(what): close the connection and check the peer's release"
    }
}
