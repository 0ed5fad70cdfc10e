import Client
import Core
import Synchronization

/// A cluster without sockets or clocks: it answers as told and remembers what it was sent. Time
/// moves only by sleeping and by answers that take time.
actor ScriptedCluster: Transport {
    struct Request: Sendable, Hashable {
        let node: NodeAddress
        let call: HTTPCall

        func header(_ name: String) -> String? {
            call.headers.first { $0.name == name }?.value
        }
    }

    enum Answer: Sendable {
        case reply(HTTPReply)
        case failure(TransportFailure)
    }

    private(set) var requests: [Request] = []
    private(set) var active = 0
    private(set) var activeMax = 0
    private let answer: @Sendable (Request, Int) -> Answer

    /// `answer` gets the request and how many came before it.
    init(_ answer: @escaping @Sendable (Request, Int) -> Answer) {
        self.answer = answer
    }

    func perform(
        _ call: HTTPCall, at node: NodeAddress, timeout: Duration
    ) async throws(TransportFailure) -> HTTPReply {
        let request = Request(node: node, call: call)
        let answer = answer(request, requests.count)
        requests.append(request)
        active += 1
        activeMax = max(activeMax, active)
        for _ in 0..<5 { await Task.yield() }
        active -= 1
        switch answer {
        case .reply(let reply): return reply
        case .failure(let failure): throw failure
        }
    }

    static let nodes = (1...3).map { NodeAddress(host: "node\($0)", port: 8180 + $0) }

    nonisolated func client(nodes: [NodeAddress] = ScriptedCluster.nodes) -> QuipuClient {
        QuipuClient(nodes: nodes, transport: self)
    }

    static func counted(_ events: Int, dead: Int = 0, duplicate: Bool = false) -> Answer {
        .reply(
            HTTPReply(
                status: 200,
                body: Array(
                    """
                    {"outcome": "counted", "events": \(events), "counted": \(events - dead),
                     "dead": \(dead), "duplicate": \(duplicate), "errors": []}
                    """.utf8)))
    }

    static func parked(_ events: Int) -> Answer {
        .reply(
            HTTPReply(
                status: 202,
                body: Array(
                    """
                    {"outcome": "parked", "events": \(events), "counted": 0, "dead": 0,
                     "parked": \(events), "duplicate": false, "errors": []}
                    """.utf8)))
    }

    static func problem(
        _ status: Int, outcome: String? = nil, retryAfter: Duration? = nil, fields: String = ""
    ) -> Answer {
        let name = outcome.map { "\"outcome\": \"\($0)\", " } ?? ""
        return .reply(
            HTTPReply(
                status: status, retryAfter: retryAfter,
                body: Array("{\(name)\(fields)\"detail\": \"says \(status)\"}".utf8)))
    }
}

/// A clock that a test's sleeps move.
final class ScriptedTime: Sendable {
    private let instant = Mutex(Instant.zero)

    var now: Instant { instant.withLock { $0 } }

    func move(by duration: Duration) {
        instant.withLock { $0 = $0 + duration }
    }

    var time: ClientTime {
        ClientTime(
            seed: 7, identity: 42,
            now: {
                Now(monotonic: self.now, wall: WallTime(milliseconds: 1_767_225_600_000))
            },
            sleep: { duration in
                self.move(by: duration)
                await Task.yield()
            })
    }
}
