package import Core
package import Logging
package import Storage

/// Takes, lists and removes the snapshots of one node, one after the other, on a thread that may
/// block.
package final class SnapshotService: Sendable {
    /// A database that is copied beside the files: its name, and who copies it to a new file.
    package struct Database: Sendable {
        package var name: String
        /// Asked when a snapshot is taken.
        package var isLeftOut: @Sendable () -> Bool
        package var copy: @Sendable (_ target: String) throws -> Void

        package init(
            _ name: String, isLeftOut: @escaping @Sendable () -> Bool = { false },
            copy: @escaping @Sendable (String) throws -> Void
        ) {
            self.name = name
            self.isLeftOut = isLeftOut
            self.copy = copy
        }

        /// A small file that is written anew, into the snapshot's folder.
        init(
            file name: String,
            store: @escaping @Sendable (_ folder: DirectoryFileSystem) throws -> Void
        ) {
            self.init(name) { target in
                let folder = String(target.dropLast(name.count + 1))
                try store(DirectoryFileSystem(root: folder))
            }
        }
    }

    private let files: any FileSystem
    private let runner: StorageRunner
    /// Where `files` begins, for the databases.
    private let root: String
    private let databases: [Database]
    private let logger: Logger
    private let jobs = WorkerPool(
        name: "snapshots", threads: 1, queueMax: RuntimeLimits.snapshotJobsMax,
        standing: .bulk)

    /// - Parameter runner: the one that serves this directory: it holds back its edits.
    package init(
        files: any FileSystem, runner: StorageRunner, root: String, databases: [Database],
        logger: Logger
    ) {
        self.files = files
        self.runner = runner
        self.root = root
        self.databases = databases
        self.logger = logger
    }

    /// Removes what a crash left unfinished.
    package func start() {
        let isTaken = jobs.submit { [files, logger] in
            do throws(StorageError) {
                try Snapshots.removeUnfinished(in: files)
            } catch {
                logger.warning("an unfinished snapshot stays where it is: \(error)")
            }
        }
        precondition(isTaken, "a pool without jobs took none")
    }

    package var queue: QueueReading { jobs.meter.reading }

    package func stop(by deadline: Instant) {
        if !jobs.stop(by: deadline) {
            logger.warning("a snapshot is still being taken and is left unfinished")
        }
    }

    /// Takes one and says what it holds.
    ///
    /// - Parameter label: its name, one that `Snapshots.isName` allows, and whose it is.
    package func take(_ label: SnapshotLabel) async throws(Problem) -> SnapshotLabel {
        try await run { service throws(StorageError) in try service.takeNow(label) }
    }

    /// Those that are whole, ascending by name.
    package func list() async throws(Problem) -> [SnapshotLabel] {
        try await run { service throws(StorageError) in
            try Snapshots.list(in: service.files).compactMap { SnapshotLabel($0.label) }
        }
    }

    /// - Returns: false where there is none of this name.
    package func remove(_ name: String) async throws(Problem) -> Bool {
        try await run { service throws(StorageError) in
            let isGone = try Snapshots.remove(name, in: service.files)
            if isGone { service.logger.notice("snapshot \(name) was removed") }
            return isGone
        }
    }

    private func takeNow(_ label: SnapshotLabel) throws(StorageError) -> SnapshotLabel {
        var label = label
        let content = try runner.snapshot(label.name)
        label.tables = content.tables
        label.coldTables = content.coldTables
        label.files = content.files
        label.bytes = content.bytes
        do {
            for database in databases where !database.isLeftOut() {
                try database.copy("\(root)/\(Snapshots.path(of: label.name))/\(database.name)")
                label.databases.append(database.name)
            }
            let attributes = try Snapshots.linkAttributes(label.name, in: files)
            label.files += attributes.files
            label.bytes += attributes.bytes
        } catch {
            // Without its label it is no snapshot; it takes room until then.
            _ = try Snapshots.remove(label.name, in: files)
            throw .failed(operation: "snapshot", path: label.name, detail: "\(error)")
        }
        try Snapshots.seal(label.name, label.encoded, in: files)
        logger.notice(
            "snapshot \(label.name): \(label.files) files, \(label.bytes) bytes")
        return label
    }

    private func run<Value: Sendable>(
        _ body: @escaping @Sendable (SnapshotService) throws(StorageError) -> Value
    ) async throws(Problem) -> Value {
        let result: Result<Value, StorageError>? = await jobs.run { [self] in
            do throws(StorageError) {
                return .success(try body(self))
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let value)?: return value
        case .failure(let error)?:
            logger.error("snapshot: \(error)")
            throw Problem(
                500, "storage", "The snapshots cannot be read or written",
                "\(error); the counts are untouched")
        case nil:
            throw .withoutOutcome(
                .overloaded("\(RuntimeLimits.snapshotJobsMax) requests for snapshots wait"))
        }
    }
}
