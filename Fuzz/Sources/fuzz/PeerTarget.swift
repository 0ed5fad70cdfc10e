import Core
import Gossip
import NodeCore
import Peers
import Replication
import Storage
import Wire

/// What comes from another node: messages, and the bytes of a connection.
enum PeerTarget {
    /// One message, of gossip or between replicas. What can be read is written so that it reads as
    /// the same.
    static func message(_ bytes: [UInt8]) {
        let message: PeerMessage
        do throws(DecodeError) { message = try PeerMessage(decoding: bytes) } catch { return }
        do throws(DecodeError) {
            let again = try PeerMessage(decoding: message.encoded())
            precondition(again == message, "what is written reads as something else")
        } catch {
            fatalError("what is written does not read: \(error)")
        }
    }

    // MARK: - Connections

    private static let identity = PeerIdentity(
        node: NodeID("n1"), incarnation: Incarnation(1), startNonce: 7)
    private static let other = PeerIdentity(
        node: NodeID("n2"), incarnation: Incarnation(3), startNonce: 8)
    private static let fingerprint = ClusterFingerprint([.init("cluster_name", "fuzz")])
    private static let start = Now(
        monotonic: Instant(nanoseconds: 0), wall: WallTime(milliseconds: 1_780_272_000_000))

    private struct Conversation: Equatable {
        var effects: [PeerSession.Effect] = []
        var error: PeerFrameError?
    }

    /// A connection: the first byte says which side this is, the second in what pieces bytes come.
    static func connection(_ bytes: [UInt8]) {
        guard bytes.count >= 2 else { return }
        let isAcceptor = bytes[0] & 1 == 1
        let body = Array(bytes.dropFirst(2))
        let whole = converse(body, isAcceptor: isAcceptor, piece: max(1, body.count))
        let pieces = converse(body, isAcceptor: isAcceptor, piece: Int(bytes[1]) % 64 + 1)
        precondition(whole == pieces, "pieces make a difference")
    }

    private static func converse(
        _ bytes: [UInt8], isAcceptor: Bool, piece: Int
    ) -> Conversation {
        var said = Conversation()
        var session = PeerSession(
            role: isAcceptor ? .acceptor : .dialler(of: other.node), identity: identity,
            fingerprint: fingerprint, timing: PeerTiming(), at: start, into: &said.effects)
        var decoder = PeerFrameDecoder(due: session.due)
        var begin = 0
        while begin < bytes.count, !session.isClosed {
            let end = min(bytes.count, begin + piece)
            do throws(PeerFrameError) {
                try take(Array(bytes[begin..<end]), &decoder, &session, &said)
            } catch {
                said.error = error
                return said
            }
            begin = end
        }
        return said
    }

    private static func take(
        _ piece: [UInt8], _ decoder: inout PeerFrameDecoder, _ session: inout PeerSession,
        _ said: inout Conversation
    ) throws(PeerFrameError) {
        var offset = 0
        while offset < piece.count, !session.isClosed {
            decoder.due = session.due
            let next = piece.withUnsafeBytes { buffer in
                Result { () throws(PeerFrameError) in
                    try decoder.next(buffer, from: &offset)
                }
            }
            guard let frame = try next.get() else { return }
            precondition(frame.payload.count <= frame.kind.sizeMax)
            let before = said.effects.count
            session.receive(frame, at: start.monotonic, into: &said.effects)
            if case .consult? = said.effects[before...].last {
                session.judge(nil, at: start.monotonic, into: &said.effects)
            }
        }
    }

    // MARK: - Seeds

    static func messageSeed(_ number: Int) -> [UInt8] {
        let header = Seeds.header(number)
        let batch = RecordsTarget.batch(header)
        let tag = Tag(77)
        let partitions = PartitionSet([PartitionID(1), PartitionID(130)])
        let vote = Vote(incarnation: Incarnation(2), isVoting: true)
        let series = SeriesQuery(partition: PartitionID(1), key: [0x6b], from: -4)
        let messages: [PeerMessage] = [
            .gossip(.syn(cluster: "fuzz", digests: [])), .gossip(.probe(nonce: 5)),
            .replication(
                .bind(
                    Bind(
                        tag: tag, header: header, home: PartitionID(1), record: batch,
                        isBound: true, isAdmitted: false))),
            .replication(.applySlices(tag, batch)),
            .replication(
                .applyReply(
                    ApplyReply(tag: tag, applied: partitions, isMissing: true, vote: vote))),
            .awaited(
                .read(
                    ReadAsk(
                        tag: tag, query: .series(series), partitions: partitions, role: .data,
                        isWeak: true, wantsRecent: false)), patience: .milliseconds(300)),
            .replication(
                .read(
                    ReadAsk(
                        tag: tag,
                        query: .scan(
                            ScanSpec(partitions: partitions, output: .totalsByKey),
                            top: TopSpec(k: 10, order: .sum)), partitions: partitions,
                        role: .digest, isWeak: false, wantsRecent: true))),
            .replication(.fetched(tag, [batch, batch], isLast: true)),
            .replication(
                .syncReply(
                    SyncReply(
                        tag: tag, round: 3,
                        listing: [
                            SyncEntry(
                                header: header, home: PartitionID(1), hasRecord: true,
                                applied: partitions, isFinished: true, isBound: false)
                        ], rest: [Segment(9)], olderDiffers: true, isSource: false,
                        frozen: Segment(8)))),
            .replication(
                .closeReply(
                    CloseReply(
                        tag: tag, vote: vote, frozen: Segment(9), isReady: true, isSettled: false,
                        homes: SetDigest(sum: .max, count: 3), applied: .empty))),
            .replication(.remembered(tag, AbsenceRegister())),
            .replication(.readReply(ReadReply(tag: tag, answer: .failed("how")))),
        ]
        return messages[number % messages.count].encoded()
    }

    static func connectionSeed(_ number: Int) -> [UInt8] {
        let isAcceptor = number % 2 == 1
        let greeting = PeerGreeting(
            identity: other, target: identity.node, fingerprint: fingerprint)
        var frames = [PeerFrame(kind: isAcceptor ? .hello : .welcome, payload: greeting.encoded)]
        if isAcceptor {
            frames.append(PeerFrame(kind: .ping, payload: Array(0..<8)))
            frames.append(PeerFrame(kind: .message, payload: messageSeed(number)))
        } else {
            frames.append(PeerFrame(kind: .pong, payload: Array(0..<8)))
        }
        if number % 4 >= 2 {
            let rejection = PeerRejection(.fingerprint, field: "window", theirs: "1", ours: "2")
            frames.append(PeerFrame(kind: .refusal, payload: rejection.encoded))
        }
        return [UInt8(number % 2), UInt8(number * 5)] + frames.flatMap(\.encoded)
    }
}
