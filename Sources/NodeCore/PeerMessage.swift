package import Gossip
package import Replication
package import Wire

/// One frame between peers.
package enum PeerMessage: Hashable, Sendable {
    case gossip(GossipMessage)
    case replication(ReplicationMessage)

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
        default:
            throw reader.fail("a message of an unknown family")
        }
    }
}
