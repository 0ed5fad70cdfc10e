import ArgumentParser
import Client

struct RepairCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Wait until all replicas hold the same, proved by an audit.",
        discussion: """
            Nodes copy what they lack and heal what is damaged by themselves. This makes every \
            node read its files now, so that damage is found at once, and audits the cluster again \
            until nothing lags and nothing differs. A node that is down is named at once; where \
            all other nodes hold the same and nothing but that node is missing, it ends with exit \
            1 after 15 s. A cluster has one state: --all says the same.

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
        let (report, failure) = try await connection.withClient { try await watch($0) }
        if result.json {
            Output.body(report.body)
        } else {
            for line in AuditTable.lines(try report.json()) { print(line) }
        }
        if let failure { throw CommandFailure("repair: \(failure)") }
    }

    /// The last audit, and what was left then; nil: nothing.
    private func watch(_ client: QuipuClient) async throws -> (NodeAnswer, failure: String?) {
        let showsProgress = Output.errorIsTerminal && !result.json
        let clock = ContinuousClock()
        let start = clock.now
        let limit = Quantity.duration(timeout) ?? .zero
        var watch = RepairWatch()
        let down = try await client.cluster().nodes.filter { $0.state.hasPrefix("D") }
        if let news = watch.begin(away: down.map(\.name)) {
            Output.error("quipu: repair: \(news)")
        }
        while true {
            let reply = try await DiskReading.wait(for: client, showsProgress: showsProgress) {
                client, since, wait, _ in
                try await client.perform(QueryCall.audit(since: since, wait: wait))
            }
            let time = clock.now - start
            switch watch.take(try reply.json(), at: time) {
            case .done:
                return (reply, failure: nil)
            case .hopeless(let why):
                return (reply, failure: why)
            case .again(let news):
                guard time < limit else {
                    return (reply, failure: "not done after \(timeout): \(watch.remains)")
                }
                if let news { Output.error("quipu: repair: \(news)") }
            }
            if showsProgress { Output.progress("\r\u{1b}[Kreplicas catch up…") }
            try await Task.sleep(for: .seconds(1))
        }
    }
}
