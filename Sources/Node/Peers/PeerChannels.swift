import Core
import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// How the sockets are set up.
enum PeerChannels {
    private static let backlog: Int32 = 256
    /// Above the high mark a connection takes no more messages; it starts again below the low one.
    /// What is in the connection can no longer be overtaken.
    private static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(
        low: 128 << 10, high: 512 << 10)
    private static let readMax = 256 << 10

    static func listen(
        on endpoint: Endpoint, for exchange: PeerExchange, loop: any EventLoop
    ) -> EventLoopFuture<any Channel> {
        let bound = NIOLoopBound(exchange, eventLoop: loop)
        return ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    // Out of file descriptors: wait a second instead of spinning.
                    try channel.pipeline.syncOperations.addHandler(AcceptBackoffHandler())
                }
            }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.writeBufferWaterMark, value: waterMark)
            .childChannelOption(.recvAllocator, value: allocator)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        PeerLink(role: .acceptor, exchange: bound.value))
                }
            }
            .bind(host: endpoint.host, port: endpoint.port)
    }

    static func dial(
        _ endpoint: Endpoint, _ link: PeerLink, timing: PeerTiming, on loop: any EventLoop
    ) -> EventLoopFuture<any Channel> {
        let bound = NIOLoopBound(link, eventLoop: loop)
        return ClientBootstrap(group: loop)
            .connectTimeout(.nanoseconds(timing.connectTimeout.nanoseconds))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.writeBufferWaterMark, value: waterMark)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(bound.value)
                }
            }
            .connect(host: endpoint.host, port: endpoint.port)
    }

    /// A host that answered "nobody listens here", on every address that was tried.
    static func isRefusal(_ error: any Error) -> Bool {
        if let error = error as? IOError { return error.errnoCode == ECONNREFUSED }
        guard let error = error as? NIOConnectionError, !error.connectionErrors.isEmpty else {
            return false
        }
        return error.connectionErrors.allSatisfy {
            ($0.error as? IOError)?.errnoCode == ECONNREFUSED
        }
    }

    private static var allocator: AdaptiveRecvByteBufferAllocator {
        AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 16 << 10, maximum: readMax)
    }
}
