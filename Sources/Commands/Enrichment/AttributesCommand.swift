import ArgumentParser
import Client
import Core

struct AttributesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attributes",
        abstract: "What is known of keys: title, channel, category…",
        discussion: "Example: quipu attributes load videos.csv --key-field video_id",
        subcommands: [
            AttributesLoadCommand.self, AttributesGetCommand.self, AttributesDeleteCommand.self,
        ])
}

struct AttributesLoadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Load attributes from a CSV or NDJSON file (also .gz).",
        discussion: """
            A row or object gives its key the other columns or members as attributes. Loading a \
            file again changes nothing.

            Example: quipu attributes load videos.csv --key-field video_id
            """)

    /// With the longest record on top a request stays below 8 MiB, and its rows are stored well
    /// before it is no longer waited for.
    private static let part = CutLimits(events: 50_000, bytes: 6 << 20)

    @Argument(help: "The file; - is standard input.")
    var file: String

    @Option(help: "The column or member with the key; 'key' by default.")
    var keyField: String?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let cutter = FileCutter(
            files: [file], format: nil, limits: AttributesLoadCommand.part)
        try await connection.withClient { client in
            var sums: [(name: String, sum: Int)] = []
            var rows = 0
            while let chunk = try next(cutter, after: rows) {
                let reply = try await client.perform(call(chunk))
                rows += chunk.events
                if result.json {
                    Output.body(reply.body)
                    continue
                }
                let json = try reply.json()
                if let first = json["errors"]?.array?.first {
                    Output.error(
                        "quipu: attributes load: a row is not taken: line "
                            + "\(first["line"]?.plain ?? "?") of the part after "
                            + "\(Quantity.grouped(rows - chunk.events)) rows: "
                            + TextTable.printable(first["detail"]?.plain ?? ""))
                }
                for member in json.members ?? [] {
                    guard let number = member.value.int else { continue }
                    if let index = sums.firstIndex(where: { $0.name == member.name }) {
                        sums[index].sum += number
                    } else {
                        sums.append((member.name, number))
                    }
                }
            }
            if !result.json {
                let details = sums.filter { $0.name != "rows" }
                    .map { ", \(Quantity.grouped($0.sum)) \($0.name)" }.joined()
                print("\(Quantity.plural(rows, "row", "rows"))\(details)")
            }
        }
    }

    private func next(_ cutter: FileCutter, after rows: Int) throws -> CutBatch? {
        do {
            guard let chunk = try cutter.next() else { return nil }
            let formats: [EventFormat] = [.csv, .ndjson]
            guard formats.contains(where: { $0.contentType == chunk.contentType }) else {
                throw ValidationError(
                    "\(file) is neither CSV nor NDJSON: give attributes in one of these")
            }
            return chunk
        } catch let failure as FileFailure {
            throw CommandFailure("attributes load: \(failure); \(rows) rows before that are loaded")
        }
    }

    private func call(_ chunk: CutBatch) -> HTTPCall {
        HTTPCall(
            .put,
            PercentEncoding.target("/v1/attributes", query: [("key_field", keyField)]),
            headers: [HTTPCall.Header("Content-Type", chunk.contentType)], body: chunk.body)
    }
}

struct AttributesGetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "The attributes of a key.",
        discussion: "Example: quipu attributes get -2-9ZncFOHk")

    @Argument(help: "The key.")
    var key: String

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let reply = try await connection.withClient {
            try await $0.perform(QueryCall.attributes(key: key))
        }
        if result.json {
            Output.body(reply.body)
            return
        }
        let json = try reply.json()
        for member in json["attributes"]?.members ?? [] {
            print(TextTable.printable("\(member.name): \(member.value.plain)"))
        }
    }
}
