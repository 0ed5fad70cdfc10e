import Core
package import Gossip
package import Replication
package import Wire

/// One frame between peers. Frames pass through many hands: what is large lies beside it and is
/// not copied each time.
package enum PeerMessage: Hashable, Sendable {
    case gossip(GossipMessage)
    indirect case replication(ReplicationMessage)
    /// The same, where the sender waits for what comes of it, for so long and no longer. Work that
    /// nobody waits for any more is dropped where it lies, and not done.
    indirect case awaited(ReplicationMessage, patience: Duration)

    /// From here on a patience is not told apart.
    package static let patienceMax: Duration = .seconds(600)

    package func encoded() -> [UInt8] {
        switch self {
        case .gossip(let message):
            var bytes: [UInt8] = [1]
            message.encode(into: &bytes)
            return bytes
        case .replication(let message):
            var writer = ByteWriter(capacity: 256)
            writer.write(2)
            message.encode(into: &writer)
            return writer.bytes
        case .awaited(let message, let patience):
            var writer = ByteWriter(capacity: 256)
            writer.write(4)
            let told = min(max(patience, .zero), Self.patienceMax)
            writer.write(fixed: UInt32(told.milliseconds))
            message.encode(into: &writer)
            return writer.bytes
        }
    }

    package init(decoding bytes: [UInt8]) throws(DecodeError) {
        var reader = ByteReader(bytes)
        switch try reader.byte() {
        case 1:
            do throws(GossipDecodingError) {
                self = .gossip(try GossipMessage.decode(Array(bytes.dropFirst())))
            } catch {
                throw DecodeError("\(error)", at: 1)
            }
        case 2:
            self = .replication(try ReplicationMessage(from: &reader))
            try reader.finish()
        case 4:
            let patience: UInt32 = try reader.fixed()
            guard Int64(patience) <= Self.patienceMax.milliseconds else {
                throw reader.fail("a patience of \(patience) ms")
            }
            self = .awaited(
                try ReplicationMessage(from: &reader), patience: .milliseconds(Int64(patience)))
            try reader.finish()
        default:
            throw reader.fail("a message of an unknown family")
        }
    }
}
