import Foundation
import Core
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import Node
import Replication
import Synchronization
import Testing

@Suite struct HTTPServerTests {
    /// Runs the server on a free port while `body` speaks with it.
    private static func serve(
        _ fixture: APIFixture, _ body: (Int) async throws -> Void
    ) async throws {
        let (ports, found) = AsyncStream<Int>.makeStream()
        let server = HTTPServer(
            api: fixture.api, endpoint: Endpoint(host: "127.0.0.1", port: 0),
            group: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
            onListening: { found.yield($0) })
        let task = Task { try await server.run() }
        defer { task.cancel() }
        for await port in ports {
            try await body(port)
            break
        }
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
