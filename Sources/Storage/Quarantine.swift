import Core

/// Data that can no longer be believed is set aside, as evidence, and the directory begins empty:
/// whoever holds the same restores it.
///
///     quarantine/1.0000000001.log        what was log/0000000001.log
///     quarantine/1.00000000000000000007.sst
///     quarantine/1.MANIFEST
///     cold/quarantine/1.00000000000000000003.sst
///
/// A crash in the middle leaves a directory that is still condemned, so that the next start goes on
/// with what is left. The identity stays, marked as one that must recover: a fresh manifest
/// replaces the old one last, in one step.
package enum Quarantine {
    /// Of several, only the newest are kept: each may be as large as the data.
    package static let keptMax = 2
    static let directory = "quarantine"
    /// Its text says why the next start is to set the data aside.
    static let sentenceFile = "CONDEMNED"
    private static let sentenceMax = 4096

    /// A process that runs on this data, and found it wrong, says so to the next. That the file is
    /// there is what counts: a disk may have room for its name and none for its words.
    package static func condemn(
        _ why: String, in fileSystem: any FileSystem
    ) throws(StorageError) {
        let file = try fileSystem.open(sentenceFile, .replace)
        do throws(StorageError) {
            try file.write([Array(why.utf8.prefix(sentenceMax))], at: 0)
            try file.sync()
        } catch {
            guard case .diskFull = error else { throw error }
        }
        try fileSystem.syncDirectory(".")
    }

    /// Why the data was condemned; nil where it was not.
    package static func sentence(in fileSystem: any FileSystem) throws(StorageError) -> String? {
        guard try fileSystem.list(".").contains(sentenceFile) else { return nil }
        var text = ""
        do throws(StorageError) {
            let file = try fileSystem.open(sentenceFile, .read)
            text = String(decoding: try file.read(at: 0, count: sentenceMax), as: UTF8.self)
        } catch {
            // The disk that was found wrong cannot read this either: that it is there says enough.
            guard error.isDamage else { throw error }
        }
        return text.isEmpty ? "it was condemned" : text
    }

    /// Moves log and tables away and leaves an empty directory of the same node. Cold tables stay
    /// on their disk, in a quarantine there; it must be mounted where the manifest lists some.
    ///
    /// - Returns: why cold tables stayed where they are, if they did. Then they are leftovers.
    @discardableResult
    package static func setAside(
        _ fileSystem: any FileSystem, because why: String, hasColdTier: Bool = false
    ) throws(StorageError) -> String? {
        let manifest = try oldManifest(fileSystem)
        let state = manifest.flatMap(readable)
        // Without a manifest that can be read nothing says that what is there is this node's.
        var movesCold = false
        if let state {
            try ColdTier.require(for: state, in: fileSystem, hasColdTier: hasColdTier)
            if hasColdTier { movesCold = try ColdTier.isOwn(of: state.identity, in: fileSystem) }
        }
        // A log that was moved and a manifest that was not would look like a new node's.
        try condemn(why, in: fileSystem)
        let sources = FileNames.dataDirectories
        for name in [directory] + sources { try fileSystem.createDirectory(name) }
        try fileSystem.syncDirectory(".")
        // A cold disk that only reads must not keep the node from being restored.
        let remark = movesCold ? moveCold(fileSystem) : nil
        let number = try makeRoom(fileSystem, directory)
        for source in sources {
            for name in try fileSystem.list(source) {
                try fileSystem.rename("\(source)/\(name)", to: "\(directory)/\(number).\(name)")
            }
            // The new names first: a power cut between the two leaves a file under both, and the
            // other way round under none.
            try fileSystem.syncDirectory(directory)
            try fileSystem.syncDirectory(source)
        }
        var identity = state?.identity
        if let bytes = manifest {
            let copy = try fileSystem.open("\(directory)/\(number).\(FileNames.manifest)", .replace)
            try copy.write([bytes], at: 0)
            try copy.sync()
            try fileSystem.syncDirectory(directory)
        }
        // Were all nodes to set their data aside, none may take itself for a new one.
        identity?.mustRecover = true
        try ManifestFile.replace(fileSystem, with: identity)
        if try fileSystem.list(".").contains(sentenceFile) {
            try fileSystem.remove(sentenceFile)
            try fileSystem.syncDirectory(".")
        }
        return remark
    }

    private static func oldManifest(
        _ fileSystem: any FileSystem
    ) throws(StorageError) -> [UInt8]? {
        guard try fileSystem.list(".").contains(FileNames.manifest) else { return nil }
        do throws(StorageError) {
            return try fileSystem.readAll(FileNames.manifest)
        } catch {
            // Its sectors may be what is lost: there is nothing to keep, nor to know the node by.
            guard error.isDamage else { throw error }
            return nil
        }
    }

    /// Within the cold disk, and before the manifest forgets what lies there.
    private static func moveCold(_ fileSystem: any FileSystem) -> String? {
        do throws(StorageError) {
            try renameCold(fileSystem)
            return nil
        } catch {
            return "tables on the cold disk could not be set aside: \(error)"
        }
    }

    private static func renameCold(_ fileSystem: any FileSystem) throws(StorageError) {
        let source = FileNames.coldDirectory
        let names = try fileSystem.list(source).filter {
            $0.hasSuffix(FileNames.tableSuffix)
                || $0.hasSuffix(FileNames.tableSuffix + FileNames.draftSuffix)
        }
        guard !names.isEmpty else { return }
        let target = "\(source)/\(directory)"
        try fileSystem.createDirectory(target)
        try fileSystem.syncDirectory(source)
        let number = try makeRoom(fileSystem, target)
        for name in names {
            try fileSystem.rename("\(source)/\(name)", to: "\(target)/\(number).\(name)")
        }
        try fileSystem.syncDirectory(target)
        try fileSystem.syncDirectory(source)
    }

    /// A batch that will not be counted, though nothing was wrong with it: its record, as
    /// docs/formats/batch-record.md says, under the record's number in the log.
    static func keep(
        _ record: LogRecord, in fileSystem: any FileSystem
    ) throws(StorageError) {
        try fileSystem.createDirectory(directory)
        try fileSystem.syncDirectory(".")
        let file = try fileSystem.open(
            "\(directory)/given-up.\(record.lsn.number).batch", .replace)
        try file.write([record.payload], at: 0)
        try file.sync()
        try fileSystem.syncDirectory(directory)
    }

    /// Removes all but the newest; the number of the next.
    private static func makeRoom(
        _ fileSystem: any FileSystem, _ directory: String
    ) throws(StorageError) -> Int {
        var names: [Int: [String]] = [:]
        for name in try fileSystem.list(directory) {
            guard let number = name.split(separator: ".").first.flatMap({ Int($0) }) else {
                continue
            }
            names[number, default: []].append(name)
        }
        let numbers = names.keys.sorted()
        for old in numbers.dropLast(keptMax - 1) {
            for name in names[old] ?? [] { try fileSystem.remove("\(directory)/\(name)") }
        }
        return (numbers.last ?? 0) + 1
    }

    /// What an old manifest says of the node, if anything.
    private static func readable(_ bytes: [UInt8]) -> ManifestState? {
        do throws(StorageError) {
            return try ManifestFile.read(bytes, path: FileNames.manifest).state
        } catch {
            // It is what is damaged. The node gets a new identity, as with a new disk.
            return nil
        }
    }
}
