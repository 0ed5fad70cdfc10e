import Core

/// Reads a whole data directory as a start would, and more: every cell, every outcome and every
/// record of the log. Changes nothing; nobody may run on the directory meanwhile.
package struct DirectoryCheck {
    private let fileSystem: any FileSystem
    private let options: StorageOptions
    /// Told the file that is read next.
    private let onFile: (_ path: String) -> Void
    private let beside: [Beside]
    private var files: [File] = []
    /// Tables on a cold disk that nobody named.
    private var skipped: [TableMeta] = []

    private struct File {
        var path: String
        var bytes: UInt64
        var what: String
        var damage: [String] = []
    }

    /// A file of the directory that somebody else wrote, and can read.
    package struct Beside {
        let path: String
        let what: String
        let read: () throws(StorageError) -> Void

        /// - Parameters:
        ///   - what: what it holds, for the report.
        ///   - read: reads all of it; throws `damaged` where it is.
        package init(
            _ path: String, _ what: String, read: @escaping () throws(StorageError) -> Void
        ) {
            self.path = path
            self.what = what
            self.read = read
        }
    }

    package init(
        _ fileSystem: any FileSystem, options: StorageOptions, beside: [Beside] = [],
        onFile: @escaping (_ path: String) -> Void = { _ in }
    ) {
        self.fileSystem = fileSystem
        self.options = options
        self.beside = beside
        self.onFile = onFile
    }

    /// Throws where nothing can be said of the directory at all: its manifest is missing or
    /// damaged, or of a newer version, or the cold disk that was named is not this node's.
    package mutating func run() throws(StorageError) -> InspectReport {
        files = []
        skipped = []
        onFile(FileNames.manifest)
        let bytes = try fileSystem.readAll(FileNames.manifest)
        let manifest = try ManifestFile.read(bytes, path: FileNames.manifest).state
        if options.hasColdTier {
            try ColdTier.require(for: manifest, in: fileSystem, hasColdTier: true)
        }
        files.append(
            File(
                path: FileNames.manifest, bytes: UInt64(bytes.count),
                what: "names \(manifest.tables.count) tables"))
        let (fileSystem, options) = (fileSystem, options)
        for file in beside {
            let size = try fileSystem.open(file.path, .read).size()
            try check(file.path, size, file.what, file.read)
        }
        for meta in manifest.tables {
            guard meta.location == .hot || options.hasColdTier else {
                skipped.append(meta)
                continue
            }
            let what = "\(meta.cells) cells, \(meta.total.count) events"
            try check(meta.path, meta.size, what) { () throws(StorageError) in
                try TableHandle.open(meta, in: fileSystem, options: options).verify()
            }
        }
        for meta in manifest.history {
            try check(meta.path, meta.size, "\(meta.outcomes) outcomes") {
                () throws(StorageError) in
                try HistoryHandle.open(meta, in: fileSystem).verify()
            }
        }
        try checkAttributes()
        try checkLog(manifest)
        try checkSentence()
        return report
    }

    /// The copy of the catalog. What is wrong with it costs nothing that the database and the peers
    /// do not have: a running node writes it anew.
    private mutating func checkAttributes() throws(StorageError) {
        let names: [String]
        do throws(StorageError) {
            names = try fileSystem.list(FileNames.attributeDirectory)
        } catch {
            // Nothing was copied yet.
            guard case .notFound = error else { throw error }
            return
        }
        let fileSystem = fileSystem
        for name in names {
            guard let id = FileNames.attributesID(name) else { continue }
            let path = FileNames.attributes(id)
            let size = try fileSystem.open(path, .read).size()
            try check(path, size, "a copy of attributes") { () throws(StorageError) in
                try AttributeTable(fileSystem.open(path, .read), id: id, as: path).verify()
            }
        }
    }

    private mutating func check(
        _ path: String, _ bytes: UInt64, _ what: String, _ read: () throws(StorageError) -> Void
    ) throws(StorageError) {
        onFile(path)
        var file = File(path: path, bytes: bytes, what: what)
        do throws(StorageError) {
            try read()
        } catch {
            file.damage.append(try Self.damage(error))
        }
        files.append(file)
    }

    private mutating func checkLog(_ manifest: ManifestState) throws(StorageError) {
        onFile(FileNames.logDirectory)
        var scan = LogScan(
            fileSystem: fileSystem, options: options, start: manifest.logStart,
            covered: manifest.coveredThrough, forgotten: manifest.base.through)
        let (numbers, damage) = try scan.check()
        for number in numbers {
            let path = FileNames.log(number)
            let size = try fileSystem.open(path, .read).size()
            var file = File(path: path, bytes: size, what: "records of the log")
            for case .log(path, let offset, let what, _) in damage {
                file.damage.append("byte \(offset): \(what)")
            }
            files.append(file)
        }
        for number in numbers where !damage.contains(where: { $0.isOf(FileNames.log(number)) }) {
            try checkIndex(of: number)
        }
        // Of files that are not there.
        let present = Set(numbers.map { FileNames.log($0) })
        for case .log(let path, _, let what, _) in damage where !present.contains(path) {
            files.append(File(path: path, bytes: 0, what: "missing", damage: [what]))
        }
    }

    /// An index that cannot be read costs a start some time and nothing else; one that says
    /// something else than its log file would be believed.
    private mutating func checkIndex(of number: UInt32) throws(StorageError) {
        let path = FileNames.logIndex(number)
        var file = File(path: path, bytes: 0, what: "an index of a log file")
        do throws(StorageError) {
            file.bytes = try fileSystem.open(path, .read).size()
            onFile(path)
            let index = try LogIndex.open(number, in: fileSystem)
            if let misfit = try index.misfit(in: fileSystem) {
                file.what += " that no start uses, since \(misfit)"
            } else if let falsehood = try index.falsehood(in: fileSystem) {
                file.damage.append(falsehood)
            }
        } catch {
            switch error {
            case .notFound: return
            case .newerFormat, .damaged, .failed: file.what += " that no start uses: \(error)"
            case .diskFull, .syncFailed, .writerDead, .locked, .digestMismatch, .coldTierMissing,
                .scanTooLarge:
                throw error
            }
        }
        files.append(file)
    }

    /// A process that found its data wrong has said so to the next.
    private mutating func checkSentence() throws(StorageError) {
        guard let why = try Quarantine.sentence(in: fileSystem) else { return }
        files.append(
            File(
                path: Quarantine.sentenceFile, bytes: 0, what: "condemned",
                damage: ["\(why); the next start sets the data aside"]))
    }

    /// What is wrong with a file; what is wrong with the disk or with this build is thrown.
    private static func damage(_ error: StorageError) throws(StorageError) -> String {
        switch error {
        case .damaged(_, let offset, let what): return "byte \(offset): \(what)"
        case .notFound: return "it is missing"
        case .digestMismatch(_, let what): return what
        case .failed, .diskFull, .syncFailed, .writerDead, .newerFormat, .locked,
            .coldTierMissing, .scanTooLarge:
            throw error
        }
    }

    // MARK: - Report

    private var report: InspectReport {
        let damaged = files.filter { !$0.damage.isEmpty }
        var lines: [String] = []
        for file in files {
            lines.append("\(file.path): \(file.what), \(file.bytes) bytes")
            for what in file.damage { lines.append("\(file.path): DAMAGED, \(what)") }
        }
        for meta in skipped {
            lines.append(
                "\(meta.path): not looked at, \(meta.size) bytes on the cold disk: say where it is")
        }
        let bytes = files.reduce(0) { $0 + $1.bytes }
        lines.append("\(files.count) files, \(bytes) bytes read, \(damaged.count) damaged")
        let value = InspectValue.object([
            "clean": .flag(damaged.isEmpty), "bytes": .number(bytes),
            "not_looked_at": .list(skipped.map { .text($0.path) }),
            "files": .list(
                files.map { file in
                    .object([
                        "file": .text(file.path), "bytes": .number(file.bytes),
                        "holds": .text(file.what),
                        "damage": .list(file.damage.map { .text($0) }),
                    ])
                }),
        ])
        return InspectReport(lines: lines, value: value, isSound: damaged.isEmpty)
    }
}

extension Damage {
    /// Of this file of the log.
    fileprivate func isOf(_ path: String) -> Bool {
        if case .log(path, _, _, _) = self { true } else { false }
    }
}
