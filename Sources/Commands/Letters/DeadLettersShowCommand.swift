import ArgumentParser
import Client

struct DeadLettersShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show the dead letters of a batch with their bytes.",
        discussion: """
            Example: quipu dlq show 919656ae-d2df-b7e0-453e-58b47ae36180 3 17
            """)

    /// Of one batch, at once.
    private static let limit = 1000

    @OptionGroup var batch: BatchName

    @Argument(help: "The line; all of the batch without it.")
    var line: UInt32?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let query: [(String, String?)] = [
            ("producer", batch.producer), ("sequence", String(batch.sequence)),
            ("line", line.map { "\($0)" }),
        ]
        let limit = DeadLettersShowCommand.limit
        try await connection.withClient { client in
            var pages = LetterPages(client: client, query: query, limit: limit, page: nil)
            while let letters = try await pages.next() {
                if result.json {
                    Output.body(pages.body)
                } else {
                    for letter in letters { show(letter) }
                }
            }
            try conclude(pages)
        }
    }

    private func conclude(_ pages: LetterPages) throws {
        guard pages.seen > 0 else {
            let place = line.map { " in line \($0)" } ?? ""
            throw CommandFailure(
                "dlq show: \(batch.text) has no dead letter\(place); it may be purged or "
                    + "replayed: see 'quipu dlq list' and 'quipu batch'")
        }
        if pages.following != nil, !result.json {
            print("the first \(pages.seen); 'dlq list --batch' has pages")
        }
    }

    private func show(_ item: JSONValue) {
        print("\(LetterText.batch(item["batch"])) line \(item["line"]?.plain ?? "?")")
        let fields = [
            ("Reason", "reason"), ("Detail", "detail"), ("Type", "type"), ("Key", "key"),
            ("Time", "time"), ("Created", "created"),
        ]
        for (title, name) in fields {
            guard let value = item[name]?.string else { continue }
            print("  \(title):\(padding(title))\(TextTable.printable(value))")
        }
        let raw = item["raw"]?.string ?? ""
        print("  Bytes:\(padding("Bytes"))\(TextTable.printable(raw))")
        if item["raw_cut"] != nil { print("  (its end may be missing: it cannot be replayed)") }
        if let encoded = item["raw_base64"]?.string {
            print("  Base64:\(padding("Base64"))\(encoded)")
        }
    }

    private func padding(_ title: String) -> String {
        String(repeating: " ", count: 9 - title.count)
    }
}
