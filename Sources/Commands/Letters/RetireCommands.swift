import ArgumentParser
import Client
import Foundation

struct DeadLettersReplayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Count dead letters after all, read under another mapping.",
        discussion: """
            Each letter that can be counted now is counted once, however often this is run, and \
            is listed no longer; the others stay. Letters that are JSON are read as such, others \
            need --format, and rows of CSV and TSV --columns, their header.

            Examples: quipu dlq replay --reason missing-key --key-field repo
                      quipu dlq replay --type view --format csv --columns id,at --key-field id
            """)

    @OptionGroup var filter: LetterOptions

    @Option(help: "ndjson, json, csv, tsv, clf.")
    var format: String?

    @Option(help: "The header of rows, as it stood in the file.")
    var columns: String?

    @Option(help: "The type of events that name none; else the one that the letter shows.")
    var defaultType: String?

    @OptionGroup var fields: FieldOptions

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let query =
            filter.query + [
                ("format", format), ("columns", columns), ("default_type", defaultType),
                ("key_field", fields.keyField), ("time_field", fields.timeField),
                ("type_field", fields.typeField), ("value_field", fields.valueField),
            ]
        var run = RetireRun(counts: ["replayed", "already", "still_dead"], json: result.json)
        try await connection.withClient { client in
            try await run.perform(client) { QueryCall.replay(query, page: $0) }
        }
        guard !result.json else { return }
        for error in run.errors {
            Output.error(
                "quipu: dlq replay: \(LetterText.batch(error["batch"])) line "
                    + "\(error["line"]?.plain ?? "?"): \(error["reason"]?.plain ?? "?"): "
                    + TextTable.printable(error["detail"]?.plain ?? ""))
        }
        print(
            "\(LetterText.count(run.sum("replayed"))) counted, \(run.sum("still_dead")) still dead"
                + run.before)
    }
}

struct DeadLettersPurgeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "purge",
        abstract: "Take dead letters off the list, for good.",
        discussion: """
            All that the options select: without any, all there are. The totals of their batches \
            stay as they are. On a terminal it asks first; a script is taken at its word.

            With --parked it discards one parked batch instead: one that 'quipu dlq list' shows \
            as damaged, or with a forgotten outcome. Others may still be counted, and are refused.

            Example: quipu dlq purge --reason bad-json --to -30d --yes
            """)

    @OptionGroup var filter: LetterOptions

    @Option(
        help: ArgumentHelp(
            "Discard this parked batch instead, on whichever node has it.",
            valueName: "producer/sequence"))
    var parked: String?

    @Flag(help: "Do not ask.")
    var yes = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func validate() throws {
        guard let parked else { return }
        guard filter.isEmpty else {
            throw ValidationError("--parked names one batch: give no other selection with it")
        }
        guard LetterOptions.parts(of: parked) != nil else {
            throw ValidationError(
                "--parked \(parked): give PRODUCER/SEQUENCE, as 'quipu dlq list' shows it")
        }
    }

    func run() async throws {
        if let parked, let parts = LetterOptions.parts(of: parked) {
            try await connection.withClient { client in
                guard yes || Self.confirms("Discard the parked batch \(parked)") else {
                    throw CommandFailure("dlq purge: not done")
                }
                let done = try await ParkedDiscard(
                    client: client, producer: parts.producer, sequence: parts.sequence
                ).run { if result.json { Output.body($0) } }
                if !result.json { print(done) }
            }
            return
        }
        var run = RetireRun(counts: ["purged", "already"], json: result.json)
        try await connection.withClient { client in
            guard try await isMeant(client) else { throw CommandFailure("dlq purge: not done") }
            try await run.perform(client) { QueryCall.purge(filter.query, page: $0) }
        }
        if !result.json { print("\(LetterText.count(run.sum("purged"))) purged" + run.before) }
    }

    /// Asks, where somebody is there to answer.
    private func isMeant(_ client: QuipuClient) async throws -> Bool {
        guard !yes, isatty(STDIN_FILENO) == 1 else { return true }
        let call = QueryCall.deadLetters(filter.query, limit: 1, page: nil)
        let total = try await client.perform(call).json()["total"]?.int ?? 0
        return Self.confirms("Purge \(LetterText.count(total))")
    }

    private static func confirms(_ question: String) -> Bool {
        guard isatty(STDIN_FILENO) == 1 else { return true }
        Output.progress("\(question)? [y/N] ")
        return ["y", "yes"].contains(readLine()?.lowercased() ?? "")
    }
}

/// Asks again until a node says that nothing is left, and adds up what the answers say.
struct RetireRun {
    private let counts: [String]
    private let json: Bool
    private var sums: [String: Int] = [:]
    /// The first few letters that stayed, as the first answer with any names them.
    private(set) var errors: [JSONValue] = []

    init(counts: [String], json: Bool) {
        self.counts = counts
        self.json = json
    }

    func sum(_ name: String) -> Int { sums[name] ?? 0 }

    /// For the end of a summary.
    var before: String {
        let already = sum("already")
        return already > 0 ? ", \(already) were purged or replayed before" : ""
    }

    mutating func perform(
        _ client: QuipuClient, _ call: (String?) -> HTTPCall
    ) async throws {
        var page: String?
        repeat {
            let reply = try await client.perform(call(page))
            if json { Output.body(reply.body) }
            let answer = try reply.json()
            for name in counts { sums[name, default: 0] += answer[name]?.int ?? 0 }
            if errors.isEmpty { errors = answer["errors"]?.array ?? [] }
            page = answer["next"]?.string
            if page != nil, Output.errorIsTerminal {
                let text = counts.map { "\($0.replacing("_", with: " ")) \(sum($0))" }
                Output.progress("\r\(text.joined(separator: ", "))… ")
            }
        } while page != nil
    }
}
