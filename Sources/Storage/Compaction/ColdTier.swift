import Core

/// By which right a compaction writes to the cold disk.
package struct ColdClaim: Hashable, Sendable {
    /// Whose tables they will be.
    package var hostID: UInt128
    /// The manifest lists no cold table yet: the disk may become this node's. Once it lists some,
    /// an owner file that is gone means another disk, or none under the mount point.
    package var isFirst: Bool

    package init(hostID: UInt128, isFirst: Bool) {
        self.hostID = hostID
        self.isFirst = isFirst
    }
}

/// Whose cold disk it is (docs/decisions/0029-cold-tier.md). An owner file tells a disk that is
/// not mounted, or another node's, from one whose tables are lost: a node that took the one for the
/// other would set all its data aside, or remove what is not its own.
enum ColdTier {
    static let ownerFile = "\(FileNames.coldDirectory)/\(FileNames.coldOwner)"

    /// The owner that the file names; nil where there is no file, or no disk.
    static func owner(in fileSystem: any FileSystem) throws(StorageError) -> String? {
        let names: [String]
        do throws(StorageError) {
            names = try fileSystem.list(FileNames.coldDirectory)
        } catch {
            guard case .notFound = error else { throw error }
            return nil
        }
        guard names.contains(FileNames.coldOwner) else { return nil }
        let text = String(decoding: try fileSystem.readAll(ownerFile).prefix(100), as: UTF8.self)
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }

    static func isOwn(
        of identity: NodeIdentity?, in fileSystem: any FileSystem
    ) throws(StorageError) -> Bool {
        guard let identity, let owner = try owner(in: fileSystem) else { return false }
        return owner == UUIDText.format(identity.hostID)
    }

    /// Throws where the manifest lists cold tables and their disk is not there.
    static func require(
        for manifest: ManifestState, in fileSystem: any FileSystem, hasColdTier: Bool
    ) throws(StorageError) {
        let count = manifest.coldTables.count
        guard count > 0 else { return }
        let tables = "the manifest lists \(count) tables on it"
        guard hasColdTier else {
            throw .coldTierMissing(
                "\(tables), and no cold disk is configured; set cold_directory again")
        }
        guard let owner = try owner(in: fileSystem) else {
            throw .coldTierMissing(
                "\(tables), and \(ownerFile) does not exist; mount it, or correct cold_directory")
        }
        guard let identity = manifest.identity, owner == UUIDText.format(identity.hostID) else {
            throw .coldTierMissing(
                "\(tables), and \(ownerFile) names another node, \(owner); mount this node's, or "
                    + "correct cold_directory")
        }
    }

    /// The disk is this node's, durably, when it returns.
    static func claim(
        _ claim: ColdClaim, in fileSystem: any FileSystem
    ) throws(StorageError) {
        let own = UUIDText.format(claim.hostID)
        let owner = try owner(in: fileSystem)
        if let owner, owner != own {
            throw .coldTierMissing(
                "\(ownerFile) names another node, \(owner); give this one a directory of its own, "
                    + "or empty this one")
        }
        guard claim.isFirst else {
            guard owner != nil else {
                throw .coldTierMissing("\(ownerFile) does not exist any more; mount it")
            }
            return
        }
        // Whatever it says may never have reached the disk.
        try fileSystem.createDirectory(FileNames.coldDirectory)
        try fileSystem.rewrite(
            ownerFile, as: ownerFile + FileNames.draftSuffix, in: FileNames.coldDirectory,
            Array("\(own)\n".utf8))
    }
}
