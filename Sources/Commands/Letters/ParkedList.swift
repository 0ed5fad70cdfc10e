package import Client
import Node

/// The parked batches of all nodes: each knows its own alone, so each is asked.
package struct ParkedList {
    private let client: QuipuClient
    private let limit: Int

    /// - Parameter limit: how many of each node are shown at most.
    package init(client: QuipuClient, limit: Int) {
        self.client = client
        self.limit = limit
    }

    /// What is for people, line by line, without any where nothing is parked; and of each node
    /// whose batches are not known, why.
    package func read() async throws -> (lines: [String], unknown: [String]) {
        let cluster = try await client.cluster()
        let call = QueryCall.parked(limit: min(limit, HTTPLimits.pageMax))
        var table = TextTable([
            ("Parked batch", .left), ("Node", .left), ("Since", .left), ("Events", .right),
            ("Attempts", .right), ("State", .left), ("Waits because", .left),
        ])
        var (batches, waiting, stuck) = (0, 0, 0)
        var unknown: [String] = []
        for node in cluster.nodes {
            guard let address = node.http else {
                unknown.append("\(node.name): no address known")
                continue
            }
            let json: JSONValue
            do {
                json = try await client.perform(call, at: [address]).json()
            } catch {
                unknown.append("\(node.name): \(error)")
                continue
            }
            batches += json["batches"]?.int ?? 0
            for item in json["items"]?.array ?? [] {
                // Only of one that will never be counted a node names a state.
                let state = item["state"]?.plain
                if state == nil { waiting += 1 } else { stuck += 1 }
                table.add([
                    LetterText.batch(item["batch"]), node.name,
                    item["parked"]?.plain ?? "", item["events"]?.plain ?? "",
                    item["attempts"]?.plain ?? "", state ?? "waiting",
                    item["reason"]?.plain ?? "",
                ])
            }
        }
        guard batches > 0 else { return (lines: [], unknown: unknown) }
        let summary =
            Quantity.plural(batches, "parked batch", "parked batches")
            + (waiting + stuck < batches
                ? ", \(Quantity.grouped(waiting + stuck)) of them shown" : "")
            + ", \(Quantity.grouped(waiting)) to be counted when their voters are back"
            + (stuck > 0
                ? "; \(Quantity.grouped(stuck)) of those shown never will be: 'quipu dlq purge "
                    + "--parked' discards one" : "")
        return (lines: table.lines() + [summary, ""], unknown: unknown)
    }

    /// Prints nothing where nothing is parked; a node that does not answer is named.
    func print() async throws {
        let (lines, unknown) = try await read()
        for line in unknown {
            Output.error("quipu: dlq: the parked batches of a node are not known: \(line)")
        }
        for line in lines { Swift.print(line) }
    }
}
