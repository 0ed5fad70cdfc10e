import Client
import Foundation

/// Counts what it is told on standard input, a key a line, exactly once: what was read and flushed
/// is safe whatever happens to this program, and the next run sends what is left.
///
///     swift run --package-path Examples/SendEvents SendEvents 127.0.0.1:8181 my-spool < keys.txt
@main
struct SendEvents {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3, let node = NodeAddress(arguments[1]) else {
            print("usage: SendEvents HOST:PORT SPOOL-DIRECTORY")
            exit(2)
        }
        let client = QuipuClient(nodes: [node])
        let spool = try Spool(directory: arguments[2])
        var options = ProducerOptions()
        options.type = "view"
        let producer = Producer(client: client, options: options, spool: spool)

        while let key = readLine() {
            let event = Event(key: key, time: Date())
            try await producer.append(event.line())
        }
        // On disk from here on.
        try await producer.flush()
        let report = try await producer.finish()
        print("\(report.counted) counted, \(report.dead) dead letters")

        let metrics = await producer.metrics()
        for node in metrics.nodes {
            print("\(node.address): \(node.state), \(node.latency.map { "\($0)" } ?? "not asked")")
        }
        if let kept = metrics.spool?.batches, kept > 0 {
            print("\(kept) batches are kept in \(spool.directory): run it again")
        }
        await client.shutdown()
        exit(report.failures.isEmpty ? 0 : 1)
    }
}

private struct Event: Encodable {
    let key: String
    let time: Date

    func line() throws -> String {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .iso8601
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}
