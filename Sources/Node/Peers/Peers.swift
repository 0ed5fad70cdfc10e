/// Peers: how the nodes of one cluster speak with each other.
///
/// Every node listens on its peer address and dials every other node, so there are two TCP
/// connections per pair. A message travels on the connection that its *sender* dialled; the
/// accepting side writes nothing back but the handshake's answer and pongs. Sharing one connection
/// would save a socket and cost a tie-break whenever both dial at once, and a connection that one
/// side believes in and the other has forgotten would hold up both directions. With one per
/// direction, "am I connected to n2" is this node's own knowledge, and one direction's
/// backpressure never stops the other.
///
/// From bytes to messages:
///
///     bytes → PeerFrameDecoder → PeerSession → message
///             (size, checksum)   (handshake, pings, silence)
///
/// Both are synchronous values that are tested without a socket. `PeerLink` is the NIO handler that
/// feeds them, `PeerExchange` owns all connections on one event loop (who is dialled, when again,
/// who is admitted), `PeerTransport` is the face that any thread may call.
///
/// What holds:
///
/// - Before the handshake is done nothing but handshake frames is read, at most
///   `PeerLimits.greetingMax` bytes of them, for at most `PeerTiming.handshakeDeadline`, from at
///   most `PeerLimits.strangersMax` connections. Whoever sends garbage loses its connection and
///   nothing else happens.
/// - A frame is refused by its header: a length above its kind's bound allocates nothing. Below the
///   bound memory grows with the bytes that came, not with those that were announced.
/// - A message is delivered whole, with a matching CRC-32C, or not at all. It may be lost (the
///   connection ended, the queue was full) and overtaken (a bulk message by an urgent one): all
///   protocols above are idempotent and have deadlines of their own.
/// - What waits for one peer is at most `PeerLimits.queuedBytesMax`; beyond it `send` says false.
/// - Two live processes under one name: the one that came second is refused, unless the first has
///   been silent for `PeerTiming.twinSilence`.
///
/// The bytes are laid out in docs/formats/peer-protocol.md.
package enum PeerLimits {
    /// Hello and welcome: names and the cluster's fingerprint.
    package static let greetingMax = 64 << 10
    package static let refusalMax = 4 << 10
    package static let fingerprintFieldsMax = 64
    /// Accepted connections that have not finished their handshake. One more ends the oldest.
    package static let strangersMax = 64
    /// What may wait for one peer, in its queue and in its connection together.
    package static let queuedBytesMax = 256 << 20
    /// Messages of one priority in a row while lower ones wait, after which one of those goes out.
    package static let runMax = 64
    /// A message that is awaited and has at most so many bytes overtakes batches.
    package static let promptMax = 16 << 10
    /// Frames are gathered to about this many bytes per write.
    package static let writeBatch = 64 << 10
    /// Large frames are written in pieces of this size, so that progress is seen as it happens.
    package static let writePiece = 1 << 20
    /// What a message's buffer reserves before its bytes are there.
    package static let reserveAheadMax = 64 << 10
}

/// The protocol's clocks. Tests shorten them.
package struct PeerTiming: Sendable {
    /// From the first byte to the end of the handshake. Too low: slow peers never get in. Too high:
    /// idle strangers hold places.
    package var handshakeDeadline: Duration = .seconds(5)
    package var connectTimeout: Duration = .seconds(2)
    /// The dialling side asks for a sign of life this often.
    package var pingInterval: Duration = .seconds(1)
    /// A connection on which nothing moved for so long is dead (a half-open TCP connection does not
    /// say so by itself). Too low: a busy machine loses its connections.
    package var silenceMax: Duration = .seconds(5)
    /// An old connection that was heard within this time defends its name against a newcomer.
    package var twinSilence: Duration = .seconds(2)
    /// How long a peer must go on calling this process a twin before it is reported: a crash and a
    /// quick restart look like a twin for a moment.
    package var twinPatience: Duration = .seconds(6)
    package var redialFirst: Duration = .milliseconds(20)
    package var redialMax: Duration = .seconds(1)
    /// How often the clocks above are looked at.
    package var tick: Duration = .milliseconds(200)

    package init() {}
}
