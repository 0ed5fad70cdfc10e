import Foundation
import Core
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import Node
import Replication
import ServiceLifecycle
import Synchronization
import Testing

@Suite struct HTTPServerTests {
    /// Runs the server on a free port while `body` speaks with it.
    private static func serve(
        _ fixture: APIFixture, _ bounds: ConnectionBounds = .init(openFilesMax: 4096),
        _ body: (Int) async throws -> Void
    ) async throws {
        let (ports, found) = AsyncStream<Int>.makeStream()
        let server = server(fixture, bounds) { found.yield($0) }
        let task = Task { try await server.run() }
        defer { task.cancel() }
        for await port in ports {
            try await body(port)
            break
        }
    }

    private static func server(
        _ fixture: APIFixture, _ bounds: ConnectionBounds = .init(openFilesMax: 4096),
        onListening: @escaping @Sendable (Int) -> Void
    ) -> HTTPServer {
        HTTPServer(
            api: fixture.api, endpoint: Endpoint(host: "127.0.0.1", port: 0),
            group: MultiThreadedEventLoopGroup.singleton, bounds: bounds,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
            onListening: onListening)
    }

    /// Sends bytes, and gives all that comes until the server closes.
    private static func exchange(_ port: Int, _ text: String) async throws -> String {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            try await outbound.write(ByteBuffer(string: text))
            var answer = ""
            do {
                for try await chunk in inbound { answer += String(buffer: chunk) }
            } catch let error as IOError where error.errnoCode == 104 {
                // Reset: the server closed on what it did not want to read.
            }
            return answer
        }
    }

    @Test("Keys come through the server with one decoding, and answers with their length")
    func path() async throws {
        let fixture = try APIFixture { _ in
            .read(ReadAnswer(result: .series([]), replicas: [], consistency: .quorum))
        }
        try await Self.serve(fixture) { port in
            let answer = try await Self.exchange(
                port,
                "GET /v1/counts/view/a%2Fb%23%25?step=all HTTP/1.1\r\nHost: x\r\n"
                    + "Connection: close\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(answer.contains(#""key":"a/b#%""#))
            let parts = answer.split(separator: "\r\n\r\n", maxSplits: 1)
            #expect(answer.lowercased().contains("content-length: \(parts[1].utf8.count)\r\n"))
        }
    }

    @Test("An answer to HEAD says the length of the answer to GET, and has no body")
    func head() async throws {
        let fixture = try APIFixture()
        try await Self.serve(fixture) { port in
            for path in ["/openapi.json", "/v1/nothing"] {
                var lengths: [String] = []
                for method in ["GET", "HEAD"] {
                    let answer = try await Self.exchange(
                        port, "\(method) \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    let parts = answer.components(separatedBy: "\r\n\r\n")
                    #expect(parts[1].isEmpty == (method == "HEAD"))
                    lengths += parts[0].lowercased().components(separatedBy: "\r\n").filter {
                        $0.hasPrefix("content-length: ")
                    }
                }
                let isAlike = lengths.count == 2 && lengths[0] == lengths[1]
                #expect(isAlike, "\(path): \(lengths)")
            }
        }
    }

    @Test("Who is silent first and then sends a request in crumbs is answered")
    func patience() async throws {
        let fixture = try APIFixture()
        try await Self.serve(fixture) { port in
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(host: "127.0.0.1", port: port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                            wrappingChannelSynchronously: channel)
                    }
                }
            let answer = try await channel.executeThenClose { inbound, outbound in
                try await Task.sleep(for: .milliseconds(50))
                for crumb in "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" {
                    try await outbound.write(ByteBuffer(string: String(crumb)))
                    try await Task.sleep(for: .milliseconds(1))
                }
                var answer = ""
                for try await chunk in inbound { answer += String(buffer: chunk) }
                return answer
            }
            #expect(answer.hasPrefix("HTTP/1.1 200"))
        }
    }

    private static func connect(_ port: Int) async throws -> any Channel {
        try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port).get()
    }

    private static func poll(_ what: String, until isMet: () -> Bool) async throws {
        for _ in 0..<1000 {
            if isMet() { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("\(what)")
    }

    @Test("Beyond the bound silent connections give way, and a newcomer is answered")
    func crowd() async throws {
        let fixture = try APIFixture()
        let bounds = ConnectionBounds(max: 4, begunMax: 2)
        try await Self.serve(fixture, bounds) { port in
            var silent: [any Channel] = []
            let metrics = fixture.metrics
            for number in 1...6 {
                silent.append(try await Self.connect(port))
                // Two event loops would take two of them in any order.
                try await Self.poll("it is at the door") {
                    metrics.connectionsOpened[0].value == UInt64(number)
                }
            }
            try await Self.poll("two give way") {
                metrics.connectionsGivenWay.value == 2 && metrics.connectionsEnded[0].value == 2
            }
            let answer = try await Self.exchange(
                port, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 200"))
            try await Self.poll("the first ones were closed") {
                silent.map(\.isActive).prefix(2).allSatisfy { !$0 }
            }
            #expect(silent.last?.isActive == true)
            #expect(metrics.connectionsGivenWay.value == 3)
            for channel in silent { channel.close(promise: nil) }
            try await Self.poll("all are gone") {
                metrics.connectionsEnded[0].value == metrics.connectionsOpened[0].value
            }
            #expect(metrics.connectionsOpened[1].value == 1)
        }
    }

    @Test("A newcomer is answered where all others have begun a request and rest; one gives way")
    func fullOfBegun() async throws {
        let fixture = try APIFixture()
        try await Self.serve(fixture, ConnectionBounds(max: 3, begunMax: 3)) { port in
            let metrics = fixture.metrics
            let request = "GET /livez HTTP/1.1\r\nHost: x\r\n"
            var resting: [any Channel] = []
            for number in 1...3 {
                let channel = try await Self.connect(port)
                try await channel.writeAndFlush(ByteBuffer(string: request + "\r\n"))
                resting.append(channel)
                try await Self.poll("it is answered") {
                    metrics.answers[1].value == UInt64(number)
                }
            }
            for number in 1...3 {
                let answer = try await Self.exchange(
                    port, request + "Connection: close\r\n\r\n")
                #expect(answer.hasPrefix("HTTP/1.1 200"), "\(number)")
                try await Self.poll("it is gone, and one for whom it came") {
                    metrics.connectionsOpened[1].value == metrics.connectionsEnded[1].value + 2
                }
            }
            #expect(metrics.connectionsGivenWay.value == 1)
            #expect(resting.count(where: \.isActive) == 2)
            for channel in resting { channel.close(promise: nil) }
        }
    }

    @Test("A server that shuts down waits for nobody who is silent or in the midst of a head")
    func shutDown() async throws {
        let fixture = try APIFixture()
        let (ports, found) = AsyncStream<Int>.makeStream()
        let server = Self.server(fixture) { found.yield($0) }
        let group = ServiceGroup(
            services: [Running(server: server)],
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        let task = Task { try await group.run() }
        for await port in ports {
            var channels: [any Channel] = []
            for _ in 0..<20 { channels.append(try await Self.connect(port)) }
            try await channels[0].writeAndFlush(ByteBuffer(string: "GET /livez HT"))
            let answered = try await Self.connect(port)
            try await answered.writeAndFlush(
                ByteBuffer(string: "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"))
            try await Self.poll("the one with a whole head came in") {
                fixture.metrics.connectionsOpened[1].value == 1
                    && fixture.metrics.connectionsOpened[0].value == 21
            }
            await group.triggerGracefulShutdown()
            try await task.value
            for channel in channels + [answered] { try await channel.closeFuture.get() }
            break
        }
        #expect(fixture.metrics.connectionsEnded[0].value == 21)
    }

    private struct Running: Service {
        let server: HTTPServer

        func run() async throws { try await server.run() }
    }

    @Test("Events are counted over a socket, two requests on one connection")
    func events() async throws {
        let fixture = try APIFixture { _ in
            .write(.counted(duplicate: false, required: 2, acknowledged: 3))
        }
        let body = #"{"type":"view","key":"a","time":"2026-01-01T00:00:01Z"}"# + "\n"
        func request(_ more: String) -> String {
            "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
                + "\(more)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
        }
        try await Self.serve(fixture) { port in
            let answer = try await Self.exchange(
                port, request("") + request("Connection: close\r\n"))
            #expect(answer.components(separatedBy: "HTTP/1.1 200 OK").count == 3)
            #expect(answer.contains(#""sequence":0"#))
            #expect(answer.contains(#""sequence":1"#))
        }
    }

    @Test("Who waits for 100 Continue hears it before the body")
    func proceed() async throws {
        let fixture = try APIFixture()
        try await Self.serve(fixture) { port in
            let answer = try await Self.exchange(
                port,
                "POST /v1/events HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                    + "Connection: close\r\n"
                    + "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}")
            #expect(answer.hasPrefix("HTTP/1.1 100 Continue\r\n"))
            #expect(answer.contains("HTTP/1.1 415"))
        }
    }

    @Test("A body that is declared too large is refused before it is read, the connection ends")
    func declared() async throws {
        let fixture = try APIFixture()
        try await Self.serve(fixture) { port in
            let answer = try await Self.exchange(
                port,
                "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
                    + "Quipu-Producer: \(UUIDText.format(1))\r\nQuipu-Sequence: 1\r\n"
                    + "Quipu-Created: 1767225600000\r\nContent-Length: 99999999\r\n\r\n{")
            #expect(answer.hasPrefix("HTTP/1.1 413"))
            #expect(fixture.core.requests.isEmpty)
        }
    }

    @Test("What cannot be read as a request is answered with a problem all the same")
    func unreadable() async throws {
        let fixture = try APIFixture()
        let fields = String(repeating: "A: b\r\n", count: HTTPLimits.headerCountMax + 100)
        try await Self.serve(fixture) { port in
            for lines in ["no field\r\n", fields] {
                let request = "POST /v1/events HTTP/1.1\r\n\(lines)\r\n"
                let answer = try await Self.exchange(port, request)
                #expect(answer.hasPrefix("HTTP/1.1 400"), "\(answer)")
                let parts = answer.components(separatedBy: "\r\n\r\n")
                #expect(parts.count == 2)
                let head = parts[0].lowercased()
                #expect(head.contains("content-type: application/problem+json"))
                #expect(head.contains("content-length: \(parts.last?.utf8.count ?? 0)"))
                #expect(parts.last?.contains(#""outcome":"not-attempted""#) == true)
            }
        }
    }

    @Test("Headers beyond the bound and bytes that are no HTTP end the connection, not the server")
    func garbage() async throws {
        let fixture = try APIFixture()
        try await Self.serve(fixture) { port in
            let long = String(repeating: "h", count: 2 * HTTPLimits.headersMax)
            _ = try await Self.exchange(port, "GET / HTTP/1.1\r\nX: \(long)\r\n\r\n")
            _ = try await Self.exchange(port, "\u{1}\u{2}\u{3} no http at all\r\n\r\n")
            let answer = try await Self.exchange(
                port, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 200"))
        }
    }
}
