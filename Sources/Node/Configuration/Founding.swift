internal import Ring
package import Storage
internal import Wire

/// What the cluster of a data directory was made with and holds for its life: which partition a
/// window lies in, how long it is, who its replicas are. With other values a node would look for
/// counts where they are not, and answer with a wrong number; so it remembers them, in `CLUSTER`
/// (docs/formats/cluster.md), and refuses to start with others.
package enum Founding {
    private static let file = CheckedFile(
        name: NodeFiles.cluster, magic: "quipuclu", version: 1,
        remedy: "what this directory's cluster was made with cannot be read; put back the file of "
            + "a snapshot or that of another node, which is the same")

    /// May be changed while the whole cluster is down, or by versions of their own.
    private static let mutable: Set = ["retention", "rules"]
    private static let placement = "placement"

    /// Compares, and writes nothing but in an empty directory: there what the cluster is made with
    /// is durable when this returns.
    ///
    /// - Parameter directory: for the message.
    /// - Throws: `NodeStartError.founding` where it was made otherwise.
    package static func verify(
        _ configuration: ClusterConfiguration, _ directory: String, _ files: any FileSystem
    ) throws {
        let current = values(configuration)
        let stored = try load(from: files)
        guard try holdsData(files) else {
            if stored != current { try store(current, in: files) }
            return
        }
        var known = stored ?? current
        // Earlier releases remembered nothing, and placed by key.
        if stored == nil { known.fields[known.fields.count - 1].value = byKey }
        try compare(current, known, directory, files)
    }

    /// Compares, and writes nothing: for whoever reads a directory without starting from it.
    ///
    /// - Returns: the file, to be read with the others; empty where the directory remembers
    ///   nothing, as one of an earlier release.
    /// - Throws: `NodeStartError.founding` where it was made otherwise. With another digest key or
    ///   window all of its tables would look damaged, so that is to be heard first.
    package static func inspect(
        _ configuration: ClusterConfiguration, _ directory: String, _ files: any FileSystem
    ) throws -> [DirectoryCheck.Beside] {
        guard try files.list(".").contains(NodeFiles.cluster) else { return [] }
        if let stored = try readable(files) {
            try compare(values(configuration), stored, directory, files)
        }
        return [
            DirectoryCheck.Beside(NodeFiles.cluster, "what the cluster was made with") {
                () throws(StorageError) in _ = try load(from: files)
            }
        ]
    }

    /// nil where it is damaged: a finding like any other, once it is read with the others.
    private static func readable(
        _ files: any FileSystem
    ) throws(StorageError) -> ClusterFingerprint? {
        do throws(StorageError) {
            return try load(from: files)
        } catch {
            guard error.isDamage else { throw error }
            return nil
        }
    }

    private static func compare(
        _ current: ClusterFingerprint, _ stored: ClusterFingerprint, _ directory: String,
        _ files: any FileSystem
    ) throws {
        let differences = current.differences(from: stored)
        guard !differences.isEmpty else { return }
        throw NodeStartError.founding(
            directory: directory, differences, holdsTables: try holdsTables(files))
    }

    /// In a directory of an earlier release, once it has been found to be sound.
    package static func keep(
        _ configuration: ClusterConfiguration, _ files: any FileSystem
    ) throws(StorageError) {
        if try load(from: files) == nil { try store(configuration, in: files) }
    }

    /// Returns when it is durable.
    package static func store(
        _ configuration: ClusterConfiguration, in files: any FileSystem
    ) throws(StorageError) {
        try store(values(configuration), in: files)
    }

    private static let byKey = KeyPlacement.Rule.key.rawValue

    /// The placement is the last.
    private static func values(_ configuration: ClusterConfiguration) -> ClusterFingerprint {
        // The handshake leaves its default out, as before there was a choice; a refusal names it.
        let fields = configuration.fingerprint.fields.filter {
            !mutable.contains($0.name) && $0.name != placement
        }
        return ClusterFingerprint(
            fields + [.init(placement, configuration.placement.rawValue)])
    }

    private static func holdsData(_ files: any FileSystem) throws(StorageError) -> Bool {
        let names = try files.list(".")
        if names.contains(FileNames.manifest) { return true }
        for directory in FileNames.dataDirectories where names.contains(directory) {
            if try !files.list(directory).isEmpty { return true }
        }
        return false
    }

    /// Something was counted and written to files: emptying the directory loses it. Where there are
    /// none yet, the log may still hold some batches.
    private static func holdsTables(_ files: any FileSystem) throws(StorageError) -> Bool {
        let names = try files.list(".")
        for directory in FileNames.dataDirectories
        where directory != FileNames.logDirectory && names.contains(directory) {
            if try !files.list(directory).isEmpty { return true }
        }
        return false
    }

    private static func load(
        from files: any FileSystem
    ) throws(StorageError) -> ClusterFingerprint? {
        try file.load(from: files) { reader throws(DecodeError) in
            var fields: [ClusterFingerprint.Field] = []
            for _ in 0..<(try reader.count(ofSize: 2)) {
                fields.append(try reader.fingerprintField())
            }
            return ClusterFingerprint(fields)
        }
    }

    private static func store(
        _ fingerprint: ClusterFingerprint, in files: any FileSystem
    ) throws(StorageError) {
        try file.store(in: files) { writer in
            writer.write(count: fingerprint.fields.count)
            for field in fingerprint.fields { writer.write(field) }
        }
    }
}
