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
            valueName: "producer/sequence"),
        transform: { text in
            guard let parts = LetterOptions.parts(of: text) else {
                throw ValidationError("give PRODUCER/SEQUENCE, as 'quipu dlq list' shows it")
            }
            return parts
        })
    var parked: ParkedName?

    @Flag(help: "Do not ask.")
    var yes = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    typealias ParkedName = (producer: String, sequence: String)

    /// On a terminal, unless it is told not to.
    private var asks: Bool { !yes && isatty(STDIN_FILENO) == 1 }

    func validate() throws {
        guard parked == nil || filter.isEmpty else {
            throw ValidationError("--parked names one batch: give no other selection with it")
        }
    }

    func run() async throws {
        try await connection.withClient { client in
            if let parked { try await discard(parked, client) } else { try await purge(client) }
        }
    }

    private func discard(_ parked: ParkedName, _ client: QuipuClient) async throws {
        if asks { try confirm("Discard the parked batch \(parked.producer)/\(parked.sequence)") }
        let done = try await ParkedDiscard(
            client: client, producer: parked.producer, sequence: parked.sequence
        ).run { if result.json { Output.body($0) } }
        if !result.json { print(done) }
    }

    private func purge(_ client: QuipuClient) async throws {
        if asks {
            let call = QueryCall.deadLetters(filter.query, limit: 1, page: nil)
            let total = try await client.perform(call).json()["total"]?.int ?? 0
            try confirm("Purge \(LetterText.count(total))")
        }
        var run = RetireRun(counts: ["purged", "already"], json: result.json)
        try await run.perform(client) { QueryCall.purge(filter.query, page: $0) }
        if !result.json { print("\(LetterText.count(run.sum("purged"))) purged" + run.before) }
    }

    private func confirm(_ question: String) throws {
        Output.progress("\(question)? [y/N] ")
        guard ["y", "yes"].contains(readLine()?.lowercased() ?? "") else {
            throw CommandFailure("dlq purge: not done")
        }
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
