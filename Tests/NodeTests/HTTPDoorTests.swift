import NIOCore
import NIOEmbedded
import Node
import Testing

@Suite("The door of a connection") struct HTTPDoorTests {
    private let silent = IdleConnections(max: 3)

    private final class Visit {
        var entered = 0
        var ended = 0
    }

    /// What stands behind the door, and takes what comes through it.
    private final class Inside: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
    }

    private func connect(_ visit: Visit) throws -> EmbeddedChannel {
        let door = HTTPDoor(silent) { _ in visit.entered += 1 } onEnd: { visit.ended += 1 }
        let channel = EmbeddedChannel(handler: door)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/n1")).wait()
        return channel
    }

    @Test("the first byte opens it, and everything goes through, that byte too")
    func enter() throws {
        let visit = Visit()
        let channel = try connect(visit)
        #expect(visit.entered == 0 && silent.count == 1)
        try channel.writeInbound(ByteBuffer(string: "G"))
        #expect(visit.entered == 1 && silent.count == 0)
        try channel.writeInbound(ByteBuffer(string: "ET"))
        #expect(visit.entered == 1 && visit.ended == 0)
        #expect(try channel.readInbound(as: ByteBuffer.self) == ByteBuffer(string: "G"))
        #expect(try channel.readInbound(as: ByteBuffer.self) == ByteBuffer(string: "ET"))
        channel.embeddedEventLoop.advanceTime(by: .seconds(1000))
        #expect(channel.isActive, "what is inside has timers of its own")
        _ = try channel.finish()
        #expect(visit.ended == 0)
    }

    @Test("who says nothing is closed in the end, and who leaves is forgotten")
    func leave() throws {
        let idleMax = TimeAmount(HTTPLimits.idleMax)
        let visit = Visit()
        let channel = try connect(visit)
        channel.embeddedEventLoop.advanceTime(by: idleMax - .seconds(1))
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: idleMax + .seconds(1))
        #expect(!channel.isActive && visit.ended == 1 && visit.entered == 0)
        #expect(silent.count == 0)
        let events: [any Sendable] = [ChannelEvent.inputClosed, ChannelShouldQuiesceEvent()]
        for event in events {
            let visit = Visit()
            let channel = try connect(visit)
            channel.pipeline.fireUserInboundEventTriggered(event)
            channel.embeddedEventLoop.run()
            #expect(!channel.isActive && visit.ended == 1, "\(event)")
        }
        #expect(silent.count == 0)
    }

    @Test("of too many the oldest goes")
    func bound() throws {
        let channels = try (0..<4).map { _ in try connect(Visit()) }
        for channel in channels { channel.embeddedEventLoop.run() }
        #expect(channels.map(\.isActive) == [false, true, true, true])
        #expect(silent.count == 3)
        for channel in channels { _ = try channel.finish(acceptAlreadyClosed: true) }
    }

    @Test("connections take three quarters of what may be open, most of them silent ones")
    func bounds() {
        let ample = ConnectionBounds(openFilesMax: 1 << 17)
        #expect(ample.silent == HTTPLimits.silentMax && ample.begun == HTTPLimits.begunMax)
        let few = ConnectionBounds(openFilesMax: 1024)
        #expect(few.max <= 768 && few.begun > 100 && few.silent > 3 * few.begun)
        #expect(ConnectionBounds(openFilesMax: 0).begun > 0)
    }
}
