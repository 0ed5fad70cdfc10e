internal import Core
internal import Foundation
internal import Storage

/// Puts a snapshot in the place of a stopped node's data: first beside it, read through and whole,
/// then under its name. A crash leaves the old data, or none and the new beside it.
package struct SnapshotRestore {
    private let source: String
    private let target: String
    private let configuration: ClusterConfiguration
    private let node: String
    private let replaces: Bool
    /// Told what is done, for people who wait.
    private let onProgress: (_ what: String) -> Void

    /// - Parameters:
    ///   - source: the snapshot's directory.
    ///   - node: the name of the node in `configuration`.
    ///   - data: its data directory, instead of the configured one.
    ///   - replaces: data that is there is set aside.
    package init(
        from source: String, node: String, data: String?, configurationPath: String,
        replaces: Bool, onProgress: @escaping (_ what: String) -> Void
    ) throws {
        configuration = try ClusterConfiguration.load(
            file: configurationPath, environment: ProcessInfo.processInfo.environment)
        let entry = try configuration.entry(named: node, file: configurationPath)
        self.source = source
        self.node = node
        target = Self.plain(data ?? configuration.dataDirectory(of: entry.node))
        self.replaces = replaces
        self.onProgress = onProgress
    }

    /// What was done.
    package struct Report: Sendable {
        package var label: SnapshotLabel
        package var directory: String
        /// Where the data is that was there before; nil where there was none.
        package var setAside: String?
    }

    package func run() throws -> Report {
        let label = try label()
        let staging = target + ".restoring"
        var lock: DirectoryLock?
        if FileManager.default.fileExists(atPath: target) {
            lock = try lockTarget()
            let names = try FileManager.default.contentsOfDirectory(atPath: target)
            guard replaces || names.allSatisfy({ $0 == "LOCK" }) else {
                throw RestoreError.holdsData(target)
            }
        }
        defer { withExtendedLifetime(lock) {} }
        if FileManager.default.fileExists(atPath: staging) {
            try FileManager.default.removeItem(atPath: staging)
        }
        do {
            try fill(staging, label)
            try check(staging)
        } catch {
            let first = error
            do { try FileManager.default.removeItem(atPath: staging) } catch { throw first }
            throw first
        }
        return Report(label: label, directory: target, setAside: try putInPlace(staging))
    }

    private func lockTarget() throws -> DirectoryLock {
        do {
            return try DirectoryLock(root: target)
        } catch StorageError.locked {
            throw RestoreError.isRunning(node, target)
        }
    }

    private func label() throws -> SnapshotLabel {
        let path = "\(source)/\(Snapshots.labelFile)"
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw RestoreError.noSnapshot(source)
        }
        guard let label = SnapshotLabel(Array(bytes)) else {
            throw RestoreError.badLabel(path)
        }
        guard label.cluster == configuration.clusterName, label.node == node else {
            throw RestoreError.ofAnother(
                label, cluster: configuration.clusterName, node: node)
        }
        return label
    }

    // MARK: - Files

    /// Tables and outcomes never change: where the disk allows, they get a second name. What a node
    /// goes on to write is copied.
    private func fill(_ staging: String, _ label: SnapshotLabel) throws {
        let files = try DirectoryFileSystem.creating(root: staging)
        let from = DirectoryFileSystem(root: source)
        for directory in [
            FileNames.logDirectory, FileNames.tableDirectory, FileNames.historyDirectory,
        ] {
            try files.createDirectory(directory)
            for name in try from.list(directory) {
                let path = "\(directory)/\(name)"
                onProgress(path)
                if directory == FileNames.logDirectory || !link(path, into: staging) {
                    try copy(path, into: staging)
                }
            }
            try files.syncDirectory(directory)
        }
        for name in [FileNames.manifest] + label.databases { try copy(name, into: staging) }
        try files.syncDirectory(".")
    }

    /// False where the two are on different disks, or theirs has no links.
    private func link(_ path: String, into staging: String) -> Bool {
        SystemCall.link("\(source)/\(path)", "\(staging)/\(path)") == 0
    }

    private func copy(_ path: String, into staging: String) throws {
        let file = DirectoryFileSystem(root: source)
        let size = try file.open(path, .read).size()
        try file.copy(path, into: DirectoryFileSystem(root: staging), upTo: size)
    }

    /// Reads every cell and every record before the old data goes.
    private func check(_ staging: String) throws {
        var check = DirectoryCheck(
            DirectoryFileSystem(root: staging),
            options: StorageOptions(
                digestKey: configuration.digestKey, window: configuration.window)
        ) { onProgress("checking \($0)") }
        let report = try check.run()
        guard report.isSound else {
            throw RestoreError.damaged(
                source, report.lines.first { $0.contains("DAMAGED") } ?? "see 'quipu verify'")
        }
    }

    private func putInPlace(_ staging: String) throws -> String? {
        var setAside: String?
        let slash = target.lastIndex(of: "/")
        let parent = slash.map { $0 == target.startIndex ? "/" : String(target[..<$0]) } ?? "."
        if FileManager.default.fileExists(atPath: target) {
            let names = try FileManager.default.contentsOfDirectory(atPath: target)
            if names.allSatisfy({ $0 == "LOCK" }) {
                try FileManager.default.removeItem(atPath: target)
            } else {
                let aside = "\(target).before-\(TimeText.stamp(SystemClock.wall))"
                try FileManager.default.moveItem(atPath: target, toPath: aside)
                setAside = aside
            }
        }
        try FileManager.default.moveItem(atPath: staging, toPath: target)
        try DirectoryFileSystem(root: parent).syncDirectory(".")
        return setAside
    }

    /// Without slashes at its end, behind which other names would come to lie inside.
    private static func plain(_ path: String) -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }
}

/// Why a snapshot was not restored: what, where, what to do. Nothing was changed.
package enum RestoreError: Error, CustomStringConvertible {
    case noSnapshot(String)
    case badLabel(String)
    case ofAnother(SnapshotLabel, cluster: String, node: String)
    case holdsData(String)
    case isRunning(String, String)
    case damaged(String, String)

    package var description: String {
        switch self {
        case .noSnapshot(let path):
            "\(path) is no whole snapshot: it has no file \(Snapshots.labelFile)"
        case .badLabel(let path):
            "\(path) cannot be read: it is damaged, or of a later release"
        case .ofAnother(let label, let cluster, let node):
            "the snapshot is of \(label.node) in cluster \(label.cluster), not of \(node) in "
                + "\(cluster)"
        case .holdsData(let path):
            "\(path) holds data: --replace sets it aside, nothing is deleted"
        case .isRunning(let node, let path):
            "\(node) runs on \(path): stop it first"
        case .damaged(let path, let what):
            "\(path) is damaged and was not restored: \(what)"
        }
    }
}
