import ArgumentParser
import Node

struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "Run a node in the foreground.",
        discussion: """
            The file describes the whole cluster and is the same for every node; --name picks \
            this one. SIGTERM drains: requests under way end, the memtable is flushed, the peers \
            are told.

            Example: quipu node --config cluster.conf --name n1
            """)

    @Option(help: "The cluster's description.")
    var config = "cluster.conf"

    @Option(help: "This node's name in it.")
    var name: String

    @Option(help: "This node's own directory, instead of <data_directory>/<name>.")
    var data: String?

    @Flag(
        help: """
            Go on although the disk lost data that no peer can give back. What was acknowledged \
            may be missing for good; only for when the other replicas never come back.
            """)
    var acceptLoss = false

    func run() async throws {
        ProcessMemory.keepFreedBuffers()
        try await NodeService.run(
            configurationPath: config, name: name, dataDirectory: data, acceptsLoss: acceptLoss)
    }
}
