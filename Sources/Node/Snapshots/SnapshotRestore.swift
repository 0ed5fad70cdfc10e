internal import Core
internal import Foundation
internal import Storage

/// Puts a snapshot in the place of a stopped node's data: first beside it, read through and whole,
/// then under its name. A crash leaves the old data, or none and the new beside it.
package struct SnapshotRestore {
    private let source: String
    private let target: String
    /// The snapshot's cold tables, and the node's directory on the cold disk; nil where there is
    /// none.
    private let cold: (source: String, target: String)?
    private let configuration: ClusterConfiguration
    private let node: String
    private let replaces: Bool
    /// Told what is done, for people who wait.
    private let onProgress: (_ what: String) -> Void

    /// - Parameters:
    ///   - source: the snapshot's directory.
    ///   - node: the name of the node in `configuration`.
    ///   - data: its data directory, instead of the configured one.
    ///   - cold: where the snapshot's cold tables are; nil: where the node put them.
    ///   - replaces: data that is there is set aside.
    package init(
        from source: String, node: String, data: String?, cold: String? = nil,
        configurationPath: String, replaces: Bool, onProgress: @escaping (_ what: String) -> Void
    ) throws {
        configuration = try ClusterConfiguration.load(
            file: configurationPath, environment: ProcessInfo.processInfo.environment)
        let entry = try configuration.entry(named: node, file: configurationPath)
        let source = Self.plain(source)
        self.source = source
        self.node = node
        target = Self.plain(data ?? configuration.dataDirectory(of: entry.node))
        self.cold = configuration.coldDirectory(of: entry.node).map { directory in
            let name = source.split(separator: "/").last ?? ""
            return (
                source: cold ?? "\(directory)/\(Snapshots.directory)/\(name)", target: directory
            )
        }
        self.replaces = replaces
        self.onProgress = onProgress
    }

    /// What was done.
    package struct Report: Sendable {
        package var label: SnapshotLabel
        package var directory: String
        /// Where the data is that was there before; nil where there was none.
        package var setAside: String?
        /// The same on the cold disk.
        package var coldSetAside: String?
    }

    package func run() throws -> Report {
        let label = try label()
        var lock: DirectoryLock?
        if FileManager.default.fileExists(atPath: target) {
            lock = try lockTarget()
            guard try replaces || isEmpty(target) else { throw RestoreError.holdsData(target) }
        }
        defer { withExtendedLifetime(lock) {} }
        let staging = staging(target)
        let coldStaging = label.coldTables > 0 ? cold.map { self.staging($0.target) } : nil
        let drafts = [staging] + (coldStaging.map { [$0] } ?? [])
        for draft in drafts { try removeIfThere(draft) }
        do {
            try fill(staging, label)
            if let cold, let coldStaging { try fillCold(coldStaging, from: cold.source) }
            try check(staging, cold: coldStaging)
        } catch {
            let first = error
            do { for draft in drafts { try removeIfThere(draft) } } catch { throw first }
            throw first
        }
        var report = Report(label: label, directory: target)
        // In between there is no data at all: a start would recover from the peers, and never take
        // the one's tables for the other's.
        report.setAside = try setAside(target)
        if let cold, let coldStaging {
            report.coldSetAside = try setAside(cold.target)
            try putInPlace(coldStaging, as: cold.target)
        }
        try putInPlace(staging, as: target)
        return report
    }

    private func staging(_ path: String) -> String { path + ".restoring" }

    private func isEmpty(_ path: String) throws -> Bool {
        try FileManager.default.contentsOfDirectory(atPath: path).allSatisfy { $0 == "LOCK" }
    }

    private func removeIfThere(_ path: String) throws {
        guard FileManager.default.fileExists(atPath: path) else { return }
        try FileManager.default.removeItem(atPath: path)
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
        if label.coldTables > 0 {
            guard let cold else { throw RestoreError.noColdDisk(label) }
            guard FileManager.default.fileExists(atPath: cold.source) else {
                throw RestoreError.noColdTables(label, cold.source)
            }
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
                if directory == FileNames.logDirectory || !link(path, from: source, to: staging) {
                    try copy(path, from: source, to: staging)
                }
            }
            try files.syncDirectory(directory)
        }
        for name in [FileNames.manifest] + label.databases {
            try copy(name, from: source, to: staging)
        }
        try files.syncDirectory(".")
    }

    private func fillCold(_ staging: String, from coldSource: String) throws {
        let files = try DirectoryFileSystem.creating(root: staging)
        for name in try DirectoryFileSystem(root: coldSource).list(".") {
            onProgress("\(FileNames.coldDirectory)/\(name)")
            if !link(name, from: coldSource, to: staging) {
                try copy(name, from: coldSource, to: staging)
            }
        }
        try copy("OWNER", from: "\(source)/\(FileNames.coldDirectory)", to: staging)
        try files.syncDirectory(".")
    }

    /// False where the two are on different disks, or theirs has no links.
    private func link(_ path: String, from source: String, to staging: String) -> Bool {
        SystemCall.link("\(source)/\(path)", "\(staging)/\(path)") == 0
    }

    private func copy(_ path: String, from source: String, to staging: String) throws {
        let file = DirectoryFileSystem(root: source)
        let size = try file.open(path, .read).size()
        try file.copy(path, into: DirectoryFileSystem(root: staging), upTo: size)
    }

    /// Reads every cell and every record before the old data goes.
    private func check(_ staging: String, cold: String?) throws {
        var options = StorageOptions(
            digestKey: configuration.digestKey, window: configuration.window)
        options.hasColdTier = cold != nil
        var check = DirectoryCheck(
            DirectoryFileSystem(root: staging, cold: cold), options: options
        ) { onProgress("checking \($0)") }
        let report = try check.run()
        guard report.isSound else {
            throw RestoreError.damaged(
                source, report.lines.first { $0.contains("DAMAGED") } ?? "see 'quipu verify'")
        }
    }

    // MARK: - In its place

    /// Where it lies now; nil where there was nothing.
    private func setAside(_ path: String) throws -> String? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        if try isEmpty(path) {
            try FileManager.default.removeItem(atPath: path)
            return nil
        }
        let aside = "\(path).before-\(TimeText.stamp(SystemClock.wall))"
        try FileManager.default.moveItem(atPath: path, toPath: aside)
        return aside
    }

    private func putInPlace(_ staging: String, as path: String) throws {
        try FileManager.default.moveItem(atPath: staging, toPath: path)
        let slash = path.lastIndex(of: "/")
        let parent = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        try DirectoryFileSystem(root: parent).syncDirectory(".")
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
    case noColdDisk(SnapshotLabel)
    case noColdTables(SnapshotLabel, String)
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
        case .noColdDisk(let label):
            "the snapshot has \(label.coldTables) tables of a cold disk: set cold_directory"
        case .noColdTables(let label, let path):
            "\(path), where \(label.coldTables) cold tables of the snapshot should be, does not "
                + "exist: mount the cold disk, or name their directory with --cold"
        case .damaged(let path, let what):
            "\(path) is damaged and was not restored: \(what)"
        }
    }
}
