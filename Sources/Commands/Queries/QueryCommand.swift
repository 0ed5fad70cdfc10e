import ArgumentParser
import Client

struct QueryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "query",
        abstract: "Count the events of a key, per window and in total.",
        discussion: """
            Examples: quipu query watch BurntSushi/xsv --from 2015-02-22 --step 1h
                      quipu query '*' -2-9ZncFOHk --from -15m --format chart
                      quipu query view kurzgesagt --by channel --step 1d
                      quipu query view --step 1h -- --abc   a key with two dashes
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case table
        case json
        case csv
        case chart
    }

    @Argument(help: "The events' type; '*' sums all types.")
    var type: String

    @Argument(help: "The key; with --by a value of that attribute.")
    var key: String

    @Option(
        help: """
            An attribute that was loaded by 'quipu attributes load': counts all keys together \
            whose value of it is KEY (of a number or true its text).
            """)
    var by: String?

    @OptionGroup var range: RangeOptions

    @Option(
        help: """
            The length of a window: 1m, 1h, 1d, all or the cluster's own; by default 1m, or the \
            cluster's where that is longer.
            """)
    var step: String?

    @Option(help: "ONE, QUORUM, ALL, LOCAL_ONE or LOCAL_QUORUM.")
    var consistency = ConsistencyLevel.quorum

    @Option(help: "table, json, csv or chart.")
    var format = Format.table

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func run() async throws {
        let call = QueryCall.counts(
            type: type, key: key, by: by, range: range.range, step: step,
            consistency: consistency)
        let reply = try await connection.withClient { try await $0.perform(call) }
        switch result.json ? .json : format {
        case .json:
            Output.body(reply.body)
        case .table:
            let answer = try reply.reading(CountsAnswer.init(json:))
            for line in CountsTable(answer, type: type, key: key).lines() { print(line) }
        case .csv:
            let answer = try reply.reading(CountsAnswer.init(json:))
            for line in CountsTable.csv(answer) { print(line) }
        case .chart:
            let answer = try reply.reading(CountsAnswer.init(json:))
            let chart = CountsChart(
                answer, type: type, key: key, columns: Output.columns)
            for line in chart.lines() { print(line) }
        }
    }
}
