internal import Core
internal import Foundation
internal import Glibc
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import ServiceLifecycle
internal import Storage
internal import UnixSignals

/// A whole node as a process: what is started in which order, and ended in the reverse.
///
///     lock the directory → recover, store the generation → catalog → core, log → peers → HTTP
///
/// SIGTERM drains: no new connections, requests under way finish, the memtable is flushed, the
/// peers are told, files are closed. All of it takes at most `drainMax` and `closeMax`, and what
/// was not flushed by then is in the log.
package enum NodeService {
    /// For requests under way and the flush.
    package static let drainMax: Duration = .seconds(20)
    package static let flushMax: Duration = .seconds(10)
    /// For threads to end and files to close.
    package static let closeMax: Duration = .seconds(6)

    /// Runs a node until SIGTERM or SIGINT. Errors are for people: one line each.
    package static func run(
        configurationPath: String, name: String, dataDirectory: String?, acceptsLoss: Bool = false
    ) async throws {
        let configuration = try ClusterConfiguration.load(
            file: configurationPath, environment: ProcessInfo.processInfo.environment)
        let entry = try configuration.entry(named: name, file: configurationPath)
        var logger = Logger(label: name, factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = Logger.Level(rawValue: configuration.logLevel.rawValue) ?? .info
        for warning in configuration.warnings { logger.warning("\(warning)") }
        let openFilesMax = ProcessUse.raiseOpenFilesMax() ?? ProcessUse.openFilesUsual
        let openFiles = FileBounds(openFilesMax: openFilesMax)
        let connections = ConnectionBounds(openFilesMax: openFilesMax)
        if openFilesMax < ProcessUse.openFilesFew {
            logger.warning(
                """
                this process may have only \(openFilesMax) files open: of its tables \
                \(openFiles.hot) stay open, the others are opened for each read, and it takes \
                \(connections.max) connections; raise the limit (ulimit -Hn, LimitNOFILE of a unit)
                """)
        }
        // A client that goes away while it is written to is an error of that write, not of the
        // process.
        signal(SIGPIPE, SIG_IGN)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: max(2, System.coreCount))
        for loop in group.makeIterator() { loop.execute { ThreadStanding.prompt.take() } }
        let node = try await RunningNode.open(
            configuration, entry: entry,
            directory: dataDirectory ?? configuration.dataDirectory(of: entry.node),
            acceptsLoss: acceptsLoss, openFiles: openFiles, group: group, logger: logger)
        let server = HTTPServer(
            api: node.api, endpoint: entry.http, group: group,
            bounds: connections, logger: logger,
            onListening: { [logger] port in
                logger.notice("HTTP is listened to on \(entry.http.host):\(port)")
            })
        var services = ServiceGroupConfiguration(
            services: [
                .init(service: CoreService(node: node)),
                .init(
                    service: HTTPService(server: server, state: node.state),
                    successTerminationBehavior: .gracefullyShutdownGroup,
                    failureTerminationBehavior: .gracefullyShutdownGroup),
            ],
            gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        services.maximumGracefulShutdownDuration = drainMax
        do {
            try await ServiceGroup(configuration: services).run()
        } catch is CancellationError {
            logger.warning("some requests were not finished in time")
        }
        logger.notice("stopped")
        try await group.shutdownGracefully()
    }

    /// Ends the process at once: what it could still say or write may be wrong.
    @Sendable
    static func halt(_ reason: String) {
        say("halted: \(reason)")
        Glibc._exit(RuntimeLimits.haltStatus)
    }

    /// Ends the process, and begins it anew on an empty directory: what is in it is wrong, and the
    /// peers hold what it should be. The process id stays the same.
    static func condemn(_ reason: String, _ files: DirectoryFileSystem) {
        do throws(StorageError) {
            try Quarantine.condemn(reason, in: files)
        } catch {
            halt("\(reason); the data could not be condemned: \(error)")
        }
        say("condemned, starts anew: \(reason)")
        var arguments = CommandLine.arguments.map { strdup($0) }
        arguments.append(nil)
        closeAllAtExec()
        // This thread has the signals of the pool that it came from.
        var signals = sigset_t()
        sigemptyset(&signals)
        pthread_sigmask(SIG_SETMASK, &signals, nil)
        execv("/proc/self/exe", arguments)
        halt("\(reason); the process could not be started anew: start it by hand")
    }

    /// Sockets are opened without that flag: the new process could not listen on its own ports.
    private static func closeAllAtExec() {
        let limit = ProcessUse.openFilesLimit?.rlim_cur ?? 1 << 16
        let last = Int32(clamping: min(limit, 1 << 20))
        for descriptor in 3..<last { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    }

    private static func say(_ text: String) {
        let line = Array("quipu: \(text)\n".utf8)
        _ = line.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    /// Ends after HTTP has: flush, farewell, files.
    private struct CoreService: Service {
        let node: RunningNode

        func run() async throws {
            var hasTime = true
            do {
                try await gracefulShutdown()
            } catch {
                hasTime = false
            }
            await node.close(flush: hasTime)
        }
    }

    /// Turns new requests away while those under way finish.
    private struct HTTPService: Service {
        let server: HTTPServer
        let state: ServingState

        func run() async throws {
            try await withGracefulShutdownHandler {
                try await server.run()
            } onGracefulShutdown: {
                state.drain()
            }
        }
    }
}

/// Why a node does not start.
package enum NodeStartError: Error, CustomStringConvertible {
    case damaged(directory: String, [String])
    /// The directory is of a cluster that was made otherwise. Nothing was changed.
    case founding(directory: String, [ClusterFingerprint.Difference], holdsTables: Bool)
    /// Nothing was changed.
    case coldDisk(directory: String, cold: String?, String)

    package var description: String {
        switch self {
        case .damaged(let directory, let damage):
            "\(directory) is damaged (\(damage.count) places, the first: \(damage.first ?? "?")): "
                + "no other replica holds what it held; restore a backup, or start it with "
                + "--accept-loss, which sets the data aside and goes on without"
        case .founding(let directory, let differences, let holdsTables):
            Self.founding(directory, differences, holdsTables)
        case .coldDisk(let directory, let cold, let what):
            "\(directory): \(what) (the cold directory of this node is "
                + "\(cold ?? "not configured")); nothing was changed"
        }
    }
    /// A typo at the very first start is found at the second one, by whoever corrected it: then
    /// nothing is lost with the directory.
    private static func founding(
        _ directory: String, _ differences: [ClusterFingerprint.Difference], _ holdsTables: Bool
    ) -> String {
        let all = differences.map {
            "\($0.field) \($0.theirs), cluster.conf says \($0.ours)"
                + ($0.field == "digest_key" ? " (check values, not the keys)" : "")
        }
        let remedy =
            holdsTables
            ? ", or, for another cluster, start in an empty directory; this one holds counts"
            : "; if no batch was ever sent to this cluster, empty the directories of its nodes "
                + "instead, and nothing is lost"
        return "\(directory) was made with \(all.joined(separator: "; ")): what a cluster is made "
            + "with holds for its life, and \(directory)/\(NodeFiles.cluster) remembers it; "
            + "nothing was changed; write cluster.conf as it was\(remedy)"
    }
}
