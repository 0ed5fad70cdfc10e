import ArgumentParser
import Node

struct RestoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Put a snapshot in the place of a stopped node's data.",
        discussion: """
            The snapshot is copied beside the data, read through, and put in its place at once; \
            data that was there is set aside, never deleted. A node whose peers live then takes \
            from them what came after the snapshot. Where the whole cluster goes back, restore \
            each node and start each with --accept-loss; docs/operating.md says how.

            Example: quipu restore .cluster/data/n1/snapshots/before-upgrade \
            --config .cluster/cluster.conf --name n1 --replace
            """)

    @Argument(help: "The snapshot's directory.")
    var snapshot: String

    @Option(help: "The cluster's description.")
    var config = "cluster.conf"

    @Option(help: "The node's name in it.")
    var name: String

    @Option(help: "The node's own directory, instead of <data_directory>/<name>.")
    var data: String?

    @Option(help: "The snapshot's cold tables, instead of <cold_directory>/<name>/snapshots/…")
    var cold: String?

    @Flag(help: "Set aside the data that is there.")
    var replace = false

    func run() throws {
        let showsProgress = Output.errorIsTerminal
        defer { if showsProgress { Output.progress("\r\u{1b}[K") } }
        let report: SnapshotRestore.Report
        do {
            let restore = try SnapshotRestore(
                from: snapshot, node: name, data: data, cold: cold, configurationPath: config,
                replaces: replace
            ) { what in
                if showsProgress { Output.progress("\r\u{1b}[K\(what)") }
            }
            report = try restore.run()
        } catch {
            throw CommandFailure("restore: \(error)")
        }
        if showsProgress { Output.progress("\r\u{1b}[K") }
        print(
            "\(name): \(report.directory) is as it was at \(report.label.created) "
                + "(snapshot \(report.label.name), \(report.label.files) files)")
        for aside in [report.setAside, report.coldSetAside] {
            if let aside { print("what was there before is in \(aside)") }
        }
    }
}
