internal import NIOCore

/// How soon to look for more of a request: at once, unless look after look found crumbs. Each look
/// costs the same for a byte as for many thousands, and what has come by then is found by the next
/// one as well: so a client that sends a byte a second costs a look in seconds, and one that
/// streams small pieces quickly has them taken in larger ones.
struct ReadPace {
    /// In this look.
    private var bytes = 0
    /// A head or a request became whole in this look.
    private var hasAdvanced = false
    /// Looks in a row that found next to nothing.
    private var poor = 0

    /// A look that finds fewer bytes found next to nothing.
    private static let bytesMin = 512
    /// So many are followed by another at once: a client may well begin in small pieces.
    private static let poorFree = 4
    static let delayMin: Duration = .milliseconds(25)
    static let delayMax: Duration = .seconds(2)

    mutating func advanced() {
        hasAdvanced = true
    }

    mutating func took(_ count: Int) {
        bytes += count
    }

    mutating func endLook() {
        poor = hasAdvanced || bytes >= Self.bytesMin ? 0 : poor + 1
        hasAdvanced = false
        bytes = 0
    }

    /// nil: at once.
    var delay: Duration? {
        guard poor > Self.poorFree else { return nil }
        let doublings = min(poor - Self.poorFree - 1, 16)
        return min(Self.delayMin * (1 << doublings), Self.delayMax)
    }
}

/// A connection's reads, put off by its pace where many connections are open: with few there is
/// nothing to save. What comes meanwhile lies in the socket. Belongs to one event loop.
final class PacedReads {
    var pace = ReadPace()
    private let connections: OpenConnections
    private var later: Scheduled<Void>?

    init(_ connections: OpenConnections) {
        self.connections = connections
    }

    var isPutOff: Bool { later != nil }

    func read(_ context: ChannelHandlerContext) {
        guard later == nil else { return }
        guard let delay = pace.delay, connections.isCrowded else { return context.read() }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        // Those that came together shall not all be looked at together.
        let wait = TimeAmount(delay * Double.random(in: 0.5...1))
        later = context.eventLoop.scheduleTask(in: wait) {
            let (this, context) = bound.value
            this.later = nil
            context.read()
        }
    }

    /// No look is put off any more.
    func end() {
        later?.cancel()
        later = nil
    }
}
