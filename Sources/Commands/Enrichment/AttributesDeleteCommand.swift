import ArgumentParser
package import Client

struct AttributesDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Forget the attributes of keys, on all nodes.",
        discussion: """
            Counts stay as they are. Deleting again changes nothing; what is loaded later stands.

            Example: quipu attributes delete -2-9ZncFOHk
            """)

    @Argument(help: "The keys; those with two dashes behind --.")
    var keys: [String]

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let total = keys.count
        let deleted = try await connection.withClient { client in
            try await AttributeDeletion.run(client, keys) { body in
                if result.json { Output.body(body) }
            }
        }
        if !result.json { print(AttributeDeletion.summary(deleted, of: total)) }
    }
}

/// Deletes keys one after the other; what was deleted before an error is named by it.
package enum AttributeDeletion {
    /// How many of the keys had attributes.
    package static func run(
        _ client: QuipuClient, _ keys: [String], _ show: ([UInt8]) -> Void = { _ in }
    ) async throws -> Int {
        var deleted = 0
        for (place, key) in keys.enumerated() {
            do {
                let call = HTTPCall(.delete, "/v1/attributes/\(PercentEncoding.encode(key))")
                let answer = try await client.perform(call)
                show(answer.body)
                if try answer.json()["deleted"]?.bool == true { deleted += 1 }
            } catch {
                throw CommandFailure(
                    "attributes delete: \(key): \(error); of \(keys.count) keys \(place) are done, "
                        + "deleting them again changes nothing")
            }
        }
        return deleted
    }

    package static func summary(_ deleted: Int, of total: Int) -> String {
        let none = total - deleted
        return Quantity.plural(deleted, "key", "keys") + " deleted"
            + (none > 0 ? ", \(Quantity.grouped(none)) had no attributes" : "")
    }
}
