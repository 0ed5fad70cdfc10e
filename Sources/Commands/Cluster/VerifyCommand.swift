import ArgumentParser
package import Client
import Foundation
import Node
import Storage

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Read a node's files again, and hold them against their sums.",
        discussion: """
            Asks a running node, or with --data reads the directory of a stopped one: every cell, \
            every outcome and every record of the log, of a running node but for the file that it \
            writes to; with --data also what the cluster was made with. Changes nothing; exits \
            with 1 when anything is damaged. Tables on a cold disk are read where --cold names \
            this node's directory there, and else listed as not looked at, which is no damage. \
            'quipu audit' compares the replicas with each other.

            Example: quipu verify --all
            Example: quipu verify --data .cluster/data/n2 --config .cluster/cluster.conf
            """)

    @Option(help: "The directory of a node that does not run.")
    var data: String?

    @Option(help: "With --data: the node's directory on the cold disk.")
    var cold: String?

    @Option(help: "With --data: the cluster's description, for its digest key and window.")
    var config = "cluster.conf"

    @OptionGroup var work: NodeWork

    func validate() throws {
        if data != nil, work.all { throw ValidationError("give either --data or --all") }
        if cold != nil, data == nil { throw ValidationError("--cold goes with --data") }
    }

    func run() async throws {
        if let data {
            try verify(directory: data)
        } else {
            try await verifyRunning()
        }
    }

    // MARK: - A running node

    private func verifyRunning() async throws {
        let json = work.result.json
        let showsProgress = Output.errorIsTerminal && !json
        var damaged: [String] = []
        func show(_ reply: NodeAnswer) {
            if json { Output.body(reply.body) }
            do {
                let answer = try reply.json()
                if answer["clean"]?.bool != true { damaged.append(VerifyText.name(answer)) }
                if !json { for line in VerifyText.lines(answer) { print(line) } }
            } catch {
                damaged.append("\(reply.node): \(error)")
            }
        }
        try await work.connection.withClient { client in
            if work.all {
                try await NodeRound.ask(
                    client, "verify",
                    { try await Self.ask($0, at: $1, showsProgress: showsProgress) }, then: show)
            } else {
                show(try await Self.ask(client, at: nil, showsProgress: showsProgress))
            }
        }
        guard damaged.isEmpty else {
            throw CommandFailure(
                "verify: \(damaged.joined(separator: ", ")): damaged; docs/operating.md says "
                    + "what to do")
        }
    }

    /// The node that answered is asked again: another would read its own files.
    private static func ask(
        _ client: QuipuClient, at nodes: [NodeAddress]?, showsProgress: Bool
    ) async throws -> NodeAnswer {
        try await DiskReading.wait(for: client, showsProgress: showsProgress) {
            client, since, wait, last in
            try await client.performAtOne(
                QueryCall.verify(since: since, wait: wait), at: last.map { [$0] } ?? nodes)
        }
    }

    // MARK: - A directory

    private func verify(directory: String) throws {
        let configuration = try ClusterConfiguration.load(
            file: config, environment: ProcessInfo.processInfo.environment)
        let showsProgress = Output.errorIsTerminal && !work.result.json
        let report: InspectReport
        do {
            let lock = try DirectoryLock(root: directory)
            defer { withExtendedLifetime(lock) {} }
            var options = StorageOptions(
                digestKey: configuration.digestKey, window: configuration.window)
            options.hasColdTier = cold != nil
            let files = DirectoryFileSystem(root: directory, cold: cold)
            var check = DirectoryCheck(
                files, options: options,
                beside: try Founding.inspect(configuration, directory, files)
            ) { path in
                if showsProgress { Output.progress("\r\u{1b}[Kreading \(path)") }
            }
            defer { if showsProgress { Output.progress("\r\u{1b}[K") } }
            report = try check.run()
        } catch StorageError.locked {
            throw CommandFailure(
                "verify: a node runs on \(directory): stop it, or ask it without --data")
        } catch let error as NodeStartError {
            // It says which directory.
            throw CommandFailure(
                "verify: \(error); if --config names another cluster's file, name this one's")
        } catch {
            throw CommandFailure("verify: \(directory): \(error)")
        }
        if work.result.json {
            print(report.value.json)
        } else {
            for line in report.lines { print(line) }
        }
        guard report.isSound else {
            throw CommandFailure(
                "verify: \(directory): damaged, as standard output says where; "
                    + "docs/operating.md, \"Lost, old and damaged disks\", says what to do")
        }
    }
}

/// What a node found, for people.
package enum VerifyText {
    package static func name(_ json: JSONValue) -> String { json["node"]?.plain ?? "?" }

    package static func lines(_ json: JSONValue) -> [String] {
        let damage = json["damage"]?.array ?? []
        let tables = json["tables"]?.int ?? 0
        let read = Quantity.bytes(json["verified_bytes"]?.double ?? 0)
        let sum =
            "\(name(json)): \(read) read of \(Quantity.plural(tables, "table", "tables")), "
            + "history, log and manifest"
        guard !damage.isEmpty else { return ["\(sum), all sound"] }
        return ["\(sum), damaged:"] + damage.map { "  \($0.plain)" }
    }
}
