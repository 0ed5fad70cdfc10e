import ArgumentParser
import Foundation
import Node
import Storage

struct InspectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show what is in a table, log or manifest file.",
        discussion: """
            Reads the file and changes nothing; exits 1 when something in it is damaged. With \
            --config a table's cells are recounted against its digest as well. A table of \
            attributes (attributes/….att) is an sstable, too.

            Example: quipu inspect log .cluster/data/n1/log/0000000001.log
            """)

    enum Kind: String, ExpressibleByArgument, CaseIterable {
        case sstable, log, manifest
    }

    @Argument(help: "sstable, log or manifest.")
    var kind: Kind

    @Argument(help: "The file.")
    var file: String

    @Option(help: "The cluster's description: its digest key and window.")
    var config: String?

    @Flag(help: "Print a JSON object: what the text says, by name.")
    var json = false

    func run() async throws {
        let url = URL(fileURLWithPath: file)
        let name = url.lastPathComponent
        let files = DirectoryFileSystem(root: url.deletingLastPathComponent().path)
        let report: InspectReport
        do {
            report =
                switch kind {
                case .sstable:
                    try Inspection.table(name, in: files, options: try options())
                case .log: try Inspection.log(name, in: files)
                case .manifest: try Inspection.manifest(name, in: files)
                }
        } catch let error as StorageError {
            throw CommandFailure("\(file): \(error)")
        }
        if json {
            print(report.value.json)
        } else {
            for line in report.lines { print(line) }
        }
        guard report.isSound else {
            throw CommandFailure(
                "inspect: \(file): damaged, as standard output says where; "
                    + "docs/operating.md, \"Lost, old and damaged disks\", says what to do")
        }
    }

    private func options() throws -> StorageOptions? {
        guard let config else { return nil }
        let configuration = try ClusterConfiguration.load(
            file: config, environment: ProcessInfo.processInfo.environment)
        return StorageOptions(
            digestKey: configuration.digestKey,
            window: configuration.window)
    }
}
