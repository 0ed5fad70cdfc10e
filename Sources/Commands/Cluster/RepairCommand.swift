import ArgumentParser
import Client

struct RepairCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Wait until all replicas hold the same, proved by an audit.",
        discussion: """
            Nodes copy what they lack and heal what is damaged by themselves. This makes every \
            node read its files now, so that damage is found at once, and audits the cluster again \
            until nothing lags and nothing differs. A cluster has one state: --all says the same.

            Example: quipu repair --timeout 30m
            """)

    @Option(help: "How long to wait at most.")
    var timeout = "10m"

    @Flag(help: "Every node of the cluster, as without it.")
    var all = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var result: ResultOptions

    func validate() throws {
        guard Quantity.duration(timeout) != nil else {
            throw ValidationError("--timeout \(timeout): give a duration, such as 60s or 2m")
        }
    }

    func run() async throws {
        let showsProgress = Output.errorIsTerminal && !result.json
        let clock = ContinuousClock()
        let end = clock.now + (Quantity.duration(timeout) ?? .zero)
        let reply = try await connection.withClient { client in
            while true {
                let reply = try await DiskReading.wait(for: client, showsProgress: showsProgress) {
                    client, since, wait, _ in
                    try await client.perform(QueryCall.audit(since: since, wait: wait))
                }
                if RepairCommand.isDone(try reply.json()) || clock.now >= end { return reply }
                if showsProgress { Output.progress("\r\u{1b}[Kreplicas catch up…") }
                try await Task.sleep(for: .seconds(1))
            }
        }
        let json = try reply.json()
        if result.json {
            Output.body(reply.body)
        } else {
            for line in AuditTable.lines(json) { print(line) }
        }
        guard RepairCommand.isDone(json) else {
            throw CommandFailure(
                "repair: not done after \(timeout): a node may be away (quipu status), or "
                    + "docs/operating.md says what to do with a difference that stays")
        }
    }

    /// All nodes answered, and nothing lags or differs.
    private static func isDone(_ json: JSONValue) -> Bool {
        json["clean"]?.bool == true && json["lagging"]?.int == 0
            && json["balance"]?.string == "equal"
    }
}
