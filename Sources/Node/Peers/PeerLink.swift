import Core
import NIOCore

/// The NIO handler of one connection: bytes into frames, frames into the session, its effects out.
/// Lives on the exchange's event loop.
final class PeerLink: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    let role: PeerSession.Role
    private let exchange: PeerExchange
    private var session: PeerSession?
    private var decoder = PeerFrameDecoder(due: [])
    private(set) var channel: (any Channel)?
    /// Where a dialling link takes its messages from, and in which epoch.
    private var source: (outbox: PeerOutbox, epoch: Int)?

    init(role: PeerSession.Role, exchange: PeerExchange) {
        self.role = role
        self.exchange = exchange
    }

    var peer: PeerIdentity? { session?.peer }
    var lastHeard: Instant? { session?.lastHeard }
    var peerRules: [RuleNotice] { session?.peerRules ?? [] }
    var divergence: RuleDivergence? { session?.divergence }
    var remoteAddress: String {
        channel?.remoteAddress.map { "\($0)" } ?? "an address that is gone"
    }

    // MARK: From the channel

    func channelActive(context: ChannelHandlerContext) {
        channel = context.channel
        guard exchange.began(self) else {
            context.close(promise: nil)
            return
        }
        var effects: [PeerSession.Effect] = []
        session = PeerSession(
            role: role, identity: exchange.identity, fingerprint: exchange.fingerprint,
            timing: exchange.timing, at: exchange.clock(), into: &effects)
        perform(effects)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = unwrapInboundIn(data)
        // The pointer is used inside this call only; the session copies what it keeps.
        buffer.withUnsafeReadableBytes { read($0) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        drain()
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(.endedByPeer)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(.transport("\(error)"))
        context.close(promise: nil)
    }

    // MARK: From the exchange

    func advance() {
        input { $0.advance(to: $1, into: &$2) }
    }

    func moved() {
        session?.moved(at: exchange.now())
    }

    func fail(_ closing: PeerClosing) {
        input { session, _, effects in session.fail(closing, into: &effects) }
    }

    func dismiss(_ rejection: PeerRejection) {
        input { session, _, effects in session.dismiss(rejection, into: &effects) }
    }

    func setReading(_ isReading: Bool) {
        channel?.setOption(.autoRead, value: isReading).assumeIsolated().whenFailure { [self] in
            fail(.transport("reading cannot be switched: \($0)"))
        }
    }

    /// Messages of this outbox are written from now on.
    func take(from outbox: PeerOutbox, epoch: Int) {
        source = (outbox, epoch)
        drain()
    }

    /// Writes what waits, as long as the connection takes it.
    func drain() {
        guard let channel, let source, session?.isClosed == false else { return }
        source.outbox.wake()
        while channel.isWritable {
            let batch = source.outbox.take(bytes: PeerLimits.writeBatch)
            if batch.isEmpty { break }
            write(frame(batch, channel), channel, source)
            // The kernel takes milliseconds for a megabyte: what came meanwhile may go first.
            channel.flush()
        }
    }

    // MARK: Inside

    private func frame(_ batch: [[UInt8]], _ channel: any Channel) -> ByteBuffer {
        let size = batch.reduce(0) { $0 + PeerFrameHeader.size + $1.count }
        var buffer = channel.allocator.buffer(capacity: size)
        for message in batch {
            message.withUnsafeBytes { payload in
                let header = PeerFrameHeader.bytes(kind: .message, payload: payload)
                buffer.writeInteger(header.length, endianness: .little)
                buffer.writeInteger(header.checksum, endianness: .little)
                buffer.writeInteger(header.kind)
                buffer.writeBytes(payload)
            }
        }
        return buffer
    }

    private func write(
        _ whole: ByteBuffer, _ channel: any Channel, _ source: (outbox: PeerOutbox, epoch: Int)
    ) {
        var rest = whole
        while let piece = rest.readSlice(
            length: min(rest.readableBytes, PeerLimits.writePiece)), piece.readableBytes > 0
        {
            let count = piece.readableBytes
            channel.write(piece).assumeIsolated().whenComplete { [self] result in
                source.outbox.written(count, epoch: source.epoch)
                if case .success = result { moved() }
            }
        }
    }

    private func read(_ bytes: UnsafeRawBufferPointer) {
        session?.heard(at: exchange.now())
        var offset = 0
        while offset < bytes.count, session?.isClosed == false {
            decoder.due = session?.due ?? []
            do throws(PeerFrameError) {
                guard let frame = try decoder.next(bytes, from: &offset) else { return }
                input { session, now, effects in
                    session.receive(frame, at: now, into: &effects)
                }
            } catch {
                fail(.badFrame(error))
            }
        }
    }

    private func input(
        _ change: (inout PeerSession, Instant, inout [PeerSession.Effect]) -> Void
    ) {
        guard session != nil else { return }
        var effects: [PeerSession.Effect] = []
        if var changed = session.take() {
            change(&changed, exchange.now(), &effects)
            session = changed
        }
        perform(effects)
    }

    private func perform(_ effects: [PeerSession.Effect]) {
        for effect in effects {
            switch effect {
            case .send(let frame):
                channel?.writeAndFlush(ByteBuffer(bytes: frame.encoded), promise: nil)
            case .consult(let identity):
                let rejection = exchange.consult(identity, self)
                input { $0.judge(rejection, at: $1, into: &$2) }
            case .open(let peer):
                exchange.opened(self, peer)
            case .deliver(let message):
                if let peer { exchange.deliver(message, from: peer.node) }
            case .close(let closing):
                source = nil
                exchange.closed(self, closing)
                channel?.close(promise: nil)
            }
        }
    }
}
