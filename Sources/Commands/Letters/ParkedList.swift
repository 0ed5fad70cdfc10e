import Client

/// The parked batches of all nodes: each knows its own alone, so each is asked.
struct ParkedList {
    /// More a node does not give at once, and more it does not keep.
    private static let pageMax = 10_000

    let client: QuipuClient
    let limit: Int

    /// Prints nothing where nothing is parked; a node that does not answer is named.
    func print() async throws {
        let cluster = try await client.cluster()
        let call = QueryCall.parked(limit: min(limit, ParkedList.pageMax))
        var table = TextTable([
            ("Parked batch", .left), ("Node", .left), ("Since", .left), ("Events", .right),
            ("Attempts", .right), ("Waits because", .left),
        ])
        var batches = 0
        var stuck = 0
        for node in cluster.nodes {
            guard let address = node.http else { continue }
            let json: JSONValue
            do {
                json = try await client.perform(call, at: [address]).json()
            } catch {
                Output.error(
                    "quipu: dlq: the parked batches of \(node.name) are not known: \(error)")
                continue
            }
            batches += json["batches"]?.int ?? 0
            for item in json["items"]?.array ?? [] {
                if item["state"] != nil { stuck += 1 }
                table.add([
                    LetterText.batch(item["batch"]), node.name,
                    item["parked"]?.plain ?? "", item["events"]?.plain ?? "",
                    item["attempts"]?.plain ?? "", item["reason"]?.plain ?? "",
                ])
            }
        }
        guard batches > 0 else { return }
        table.print()
        Swift.print(
            "\(Quantity.plural(batches, "parked batch", "parked batches")), to be counted when "
                + "their voters are back"
                + (stuck > 0
                    ? "; \(Quantity.grouped(stuck)) of those shown will not be: 'quipu dlq purge "
                        + "--parked' discards one" : "") + "\n")
    }
}
