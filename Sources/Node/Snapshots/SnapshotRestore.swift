internal import Core
internal import Foundation
internal import Storage

/// Puts a snapshot in the place of a stopped node's data: first beside it, read through and whole,
/// then under its name. A crash leaves the old data, or none and the new beside it.
package struct SnapshotRestore {
    private let source: String
    private let target: String
    /// The node's directory on the cold disk; nil where there is none.
    private let coldTarget: String?
    /// Where the snapshot's cold tables are, if somebody said so.
    private let coldSource: String?
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
        self.source = source
        self.node = node
        let configured = configuration.dataDirectory(of: entry.node)
        target = Self.resolved(data ?? configured)
        // A copy elsewhere is not what the cold disk belongs to: the node may be running.
        let isOwn = target == Self.resolved(configured)
        coldTarget = isOwn ? configuration.coldDirectory(of: entry.node).map(Self.resolved) : nil
        coldSource = cold
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
        let coldSource = try coldSource(of: label)
        try FileManager.default.createDirectory(
            atPath: target, withIntermediateDirectories: true)
        let lock = try lockTarget()
        defer { withExtendedLifetime(lock) {} }
        let targets = [target] + (coldTarget.map { [$0] } ?? [])
        for path in targets { try checkReplaceable(path) }
        let staging = staging(target)
        let coldStaging = coldSource == nil ? nil : coldTarget.map(self.staging)
        let drafts = [staging] + (coldStaging.map { [$0] } ?? [])
        for draft in drafts { try removeIfThere(draft) }
        do {
            try fill(staging, label)
            if let coldSource, let coldStaging { try fillCold(coldStaging, from: coldSource) }
            try check(staging, cold: coldStaging)
            // Reading may have taken long.
            for path in targets { try checkReplaceable(path) }
        } catch {
            let first = error
            do { for draft in drafts { try removeIfThere(draft) } } catch { throw first }
            throw first
        }
        return try putInPlace(staging, coldStaging, label)
    }

    /// In between there is no data at all: a start would recover from the peers, and never take the
    /// tables of one for those of the other. What the cold disk holds goes with the data that lists
    /// it, also where the snapshot has nothing there: else the next start would remove it.
    private func putInPlace(
        _ staging: String, _ coldStaging: String?, _ label: SnapshotLabel
    ) throws -> Report {
        var report = Report(label: label, directory: target)
        do {
            report.setAside = try setAside(target)
            if let coldTarget { report.coldSetAside = try setAside(coldTarget) }
            if let coldStaging, let coldTarget { try putInPlace(coldStaging, as: coldTarget) }
            try putInPlace(staging, as: target)
        } catch {
            let aside = [report.setAside, report.coldSetAside].compactMap { $0 }
            throw RestoreError.brokeOff("\(error)", aside: aside, staging: staging)
        }
        return report
    }

    private func checkReplaceable(_ path: String) throws {
        guard FileManager.default.fileExists(atPath: path) else { return }
        guard try replaces || isEmpty(path) else { throw RestoreError.holdsData(path) }
        // Nothing can be renamed in the place of a mount.
        let parent = Self.parent(of: path)
        guard try Self.device(of: path) == Self.device(of: parent) else {
            throw RestoreError.isMountPoint(path)
        }
    }

    private static func device(of path: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path)[.systemNumber] as? Int
    }

    /// Where the snapshot's cold tables are; nil where it has none.
    private func coldSource(of label: SnapshotLabel) throws -> String? {
        guard label.coldTables > 0 else { return nil }
        guard let coldTarget else { throw RestoreError.noColdDisk(label) }
        let path = coldSource ?? "\(coldTarget)/\(Snapshots.directory)/\(label.name)"
        guard FileManager.default.fileExists(atPath: path) else {
            throw RestoreError.noColdTables(label, path)
        }
        return path
    }

    private func staging(_ path: String) -> String { path + ".restoring" }

    private func isEmpty(_ path: String) throws -> Bool {
        try FileManager.default.contentsOfDirectory(atPath: path).allSatisfy {
            $0 == DirectoryLock.file
        }
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
        guard Snapshots.isName(label.name),
            label.databases.allSatisfy({ Self.databases.contains($0) })
        else { throw RestoreError.badLabel(path) }
        return label
    }

    private static let databases: Set = [
        NodeFiles.catalog, NodeFiles.parked, NodeFiles.rules, NodeFiles.cluster,
    ]

    // MARK: - Files

    /// Tables and outcomes never change: where the disk allows, they get a second name. What a node
    /// goes on to write is copied.
    private func fill(_ staging: String, _ label: SnapshotLabel) throws {
        let files = try DirectoryFileSystem.creating(root: staging)
        let from = DirectoryFileSystem(root: source)
        for directory in FileNames.dataDirectories {
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
        try fillAttributes(staging)
        for name in [FileNames.manifest] + label.databases {
            try copy(name, from: source, to: staging)
        }
        try files.syncDirectory(".")
    }

    /// A table of attributes that is damaged is left out: no count depends on it.
    private func fillAttributes(_ staging: String) throws {
        let directory = FileNames.attributeDirectory
        guard FileManager.default.fileExists(atPath: "\(source)/\(directory)") else { return }
        let files = DirectoryFileSystem(root: staging)
        let from = DirectoryFileSystem(root: source)
        try files.createDirectory(directory)
        for name in try from.list(directory) {
            guard let id = FileNames.attributesID(name) else { continue }
            let path = FileNames.attributes(id)
            onProgress(path)
            do throws(StorageError) {
                try AttributeTable(from.open(path, .read), id: id, as: path).verify()
            } catch {
                onProgress("\(path) is left out: \(error)")
                continue
            }
            if !link(path, from: source, to: staging) {
                try copy(path, from: source, to: staging)
            }
        }
        try files.syncDirectory(directory)
    }

    private func fillCold(_ staging: String, from coldSource: String) throws {
        let files = try DirectoryFileSystem.creating(root: staging)
        for name in try DirectoryFileSystem(root: coldSource).list(".")
        where name.hasSuffix(FileNames.tableSuffix) {
            onProgress("\(FileNames.coldDirectory)/\(name)")
            if !link(name, from: coldSource, to: staging) {
                try copy(name, from: coldSource, to: staging)
            }
        }
        try copy(FileNames.coldOwner, from: "\(source)/\(FileNames.coldDirectory)", to: staging)
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
        try Founding.verify(configuration, source, DirectoryFileSystem(root: staging))
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
        try DirectoryFileSystem(root: Self.parent(of: path)).syncDirectory(".")
        return aside
    }

    private func putInPlace(_ staging: String, as path: String) throws {
        try FileManager.default.moveItem(atPath: staging, toPath: path)
        try DirectoryFileSystem(root: Self.parent(of: path)).syncDirectory(".")
    }

    /// Absolute, without links and slashes at its end, behind which other names would come to lie
    /// inside.
    private static func resolved(_ path: String) -> String {
        URL(fileURLWithPath: path).standardizedFileURL.resolvingSymlinksInPath().path
    }

    private static func parent(of path: String) -> String {
        URL(fileURLWithPath: path).deletingLastPathComponent().path
    }
}

/// Why a snapshot was not restored: what, where, what to do. But for `brokeOff` nothing was
/// changed.
package enum RestoreError: Error, CustomStringConvertible {
    case noSnapshot(String)
    case badLabel(String)
    case ofAnother(SnapshotLabel, cluster: String, node: String)
    case holdsData(String)
    case isRunning(String, String)
    case isMountPoint(String)
    case brokeOff(String, aside: [String], staging: String)
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
        case .isMountPoint(let path):
            "\(path) is a mount point, in whose place nothing can be put: let the node's directory "
                + "be a folder in it"
        case .brokeOff(let why, let aside, let staging):
            "\(why): it broke off between two renames; the snapshot is in \(staging)"
                + (aside.isEmpty
                    ? "" : ", what was there before in \(aside.joined(separator: ", "))")
                + ": move one of them to its place"
        case .noColdDisk(let label):
            "the snapshot has \(label.coldTables) tables of a cold disk: set cold_directory, and "
                + "restore to the configured data directory"
        case .noColdTables(let label, let path):
            "\(path), where \(label.coldTables) cold tables of the snapshot should be, does not "
                + "exist: mount the cold disk, or name their directory with --cold"
        case .damaged(let path, let what):
            "\(path) is damaged and was not restored: \(what)"
        }
    }
}
