import ArgumentParser
import Client
import Foundation

/// The command line: a thin face over `Client` (everything that asks a cluster), `Node` (`quipu
/// node`) and `Simulator` (`quipu simulate`).
///
/// Its rules, for all commands: results go to standard output, anything else to standard error, one
/// line each: what, where, what to do. 0 is success, 1 a failure, 2 a wrong usage. `--json` prints
/// the body of the HTTP answer unchanged. Arguments pass through `ArgumentOrder` first, so that
/// keys and times may begin with a dash.
struct QuipuCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quipu",
        abstract: "A peer-to-peer storage node that counts events exactly.",
        discussion: """
            Commands find a node by --node HOST:PORT[,HOST:PORT…], else QUIPU_NODE, else the nodes \
            of ./cluster.conf, and try the next when one does not answer. What one node does to \
            itself (flush, compact, drain, verify, snapshot) is asked of the first alone with \
            which a connection comes about.

            Example: quipu send events.ndjson && quipu top view --from -1d
            """,
        version: "0.1.0",
        subcommands: [
            NodeCommand.self, SendCommand.self, QueryCommand.self, TopCommand.self,
            TypesCommand.self, KeysCommand.self, StatusCommand.self, RingCommand.self,
            InfoCommand.self, EndpointsCommand.self, GossipInfoCommand.self,
            PartitionsCommand.self, DeadLettersCommand.self, AttributesCommand.self,
            BatchCommand.self, AuditCommand.self, FlushCommand.self, CompactCommand.self,
            VerifyCommand.self, RepairCommand.self, DrainCommand.self, SnapshotCommand.self,
            RestoreCommand.self, InspectCommand.self,
            GenerateCommand.self, SimulateCommand.self, MeasureTablesCommand.self,
            MeasureFoldCommand.self,
        ])
}

/// A command that was understood and did not succeed.
package struct CommandFailure: Error {
    package let text: String

    init(_ text: String) {
        self.text = text
    }
}

/// The whole program, for the target that is nothing else.
package enum Program {
    /// Commands that exist in name, for the scripts that may try them.
    private static let missing: [[String]] = [
        ["join"], ["decommission"], ["remove"], ["replace"],
    ]

    /// How a command ended.
    package struct Outcome: Hashable, Sendable {
        /// What the process exits with.
        package let code: Int32
        /// The line for standard error, without the program's name; nil: there is nothing to say.
        package let line: String?

        package init(code: Int32, line: String?) {
            self.code = code
            self.line = line
        }
    }

    /// Runs the command that `arguments` name, says on standard error what is to be said of its
    /// end, and returns the exit code.
    package static func run(_ arguments: [String]) async -> Int32 {
        let outcome = await outcome(of: arguments)
        if let line = outcome.line { Output.error("quipu: \(line)") }
        return outcome.code
    }

    /// As `run`, but for the last line, which is the caller's to print.
    package static func outcome(of arguments: [String]) async -> Outcome {
        if let command = missing.first(where: { arguments.starts(with: $0) }) {
            return report("\(command.joined(separator: " ")): not in this version", code: 2)
        }
        do {
            var command = try QuipuCommand.parseAsRoot(try ArgumentOrder.arrange(arguments))
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            return Outcome(code: 0, line: nil)
        } catch let failure as CommandFailure {
            return report(failure.text, code: 1)
        } catch let error as ClientError {
            // 501 is a node's way to say what the list above says.
            if case .refused(status: 501, let detail, _) = error { return report(detail, code: 2) }
            return report("\(error)", code: 1)
        } catch let code as ExitCode {
            return Outcome(code: code.rawValue, line: nil)
        } catch {
            return conclude(error, arguments)
        }
    }

    /// Help and wrong usage, as ArgumentParser throws them.
    private static func conclude(_ error: any Error, _ arguments: [String]) -> Outcome {
        switch QuipuCommand.exitCode(for: error) {
        case .success:
            print(QuipuCommand.fullMessage(for: error))
            return Outcome(code: 0, line: nil)
        case .validationFailure:
            let help = (["quipu"] + commandPath(arguments) + ["--help"]).joined(separator: " ")
            return report("\(QuipuCommand.message(for: error)); see '\(help)'", code: 2)
        default:
            return report("\(error)", code: 1)
        }
    }

    /// The words of `arguments` that name a command.
    private static func commandPath(_ arguments: [String]) -> [String] {
        var path: [String] = []
        var commands = QuipuCommand.configuration.subcommands
        for word in arguments {
            let command = commands.first { $0.configuration.commandName == word }
            guard let command else { break }
            path.append(word)
            commands = command.configuration.subcommands
        }
        return path
    }

    private static func report(_ text: String, code: Int32) -> Outcome {
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        return Outcome(code: code, line: line)
    }
}
