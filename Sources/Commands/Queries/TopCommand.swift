import ArgumentParser
package import Client

struct TopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "The exact greatest keys of a type.",
        discussion: """
            Examples: quipu top watch --from 2015-02-22T21:00:00Z --to 2015-02-22T22:00:00Z -k 5
                      quipu top view --by channel --from -1d
            """)

    enum Measure: String, ExpressibleByArgument, CaseIterable {
        case count
        case sum
    }

    @Argument(help: "The events' type; '*' sums all types.")
    var type: String

    @OptionGroup var range: RangeOptions

    @Option(name: .customShort("k"), help: "How many rows.")
    var count = 10

    @Option(help: "key, or an attribute to group by.")
    var by = "key"

    @Option(help: "count or sum.")
    var measure = Measure.count

    @Option(help: "ONE, QUORUM, ALL, LOCAL_ONE or LOCAL_QUORUM.")
    var consistency = ConsistencyLevel.quorum

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func validate() throws {
        guard count > 0 else { throw ValidationError("-k \(count): give at least 1") }
    }

    func run() async throws {
        let call = QueryCall.top(
            type: type, range: range.range, count: count, by: by, measure: measure.rawValue,
            consistency: consistency)
        let reply = try await connection.withClient { try await $0.perform(call) }
        if result.json {
            Output.body(reply.body)
            return
        }
        let answer = try reply.reading(TopAnswer.init(json:))
        for line in TopTable.lines(answer, by: by) { print(line) }
    }
}

/// The greatest keys as lines of text.
package enum TopTable {
    private static let attributeColumns = 60

    package static func lines(_ answer: TopAnswer, by: String) -> [String] {
        let valued = answer.rows.contains { $0.measure.sum != nil }
        // A group has the attribute by which it was made, and its key shows that.
        let attributed = by == "key" && answer.rows.contains { !$0.attributes.isEmpty }
        var table = TextTable(
            [("Rank", .right), (by == "key" ? "Key" : by, .left), ("Count", .right)]
                + (valued ? [("Sum", .right)] : []) + (attributed ? [("Attributes", .left)] : []))
        for row in answer.rows {
            let attributes = row.attributes.map { "\($0.name): \($0.value.plain)" }
            // The group of the keys that have no such attribute.
            let isRest = by != "key" && row.attributes.isEmpty
            table.add(
                [String(row.rank), isRest ? "(none)" : row.key, String(row.measure.count)]
                    + (valued ? [row.measure.sum ?? ""] : [])
                    + (attributed
                        ? [
                            TextTable.cut(
                                attributes.joined(separator: ", "), columns: attributeColumns)
                        ] : []))
        }
        return table.lines() + answer.retained.remarks + answer.attributesState.remarks
    }
}
