import Core
import Wire

/// The manifest on the disk: read once at the start, then appended to, edit by edit, each durable
/// before the next. Grown too long, it is written anew as one snapshot and put in place by a
/// rename.
struct ManifestFile {
    private(set) var state: ManifestState
    private let fileSystem: any FileSystem
    private var file: any StoredFile
    private var offset: UInt64
    private var chain: RecordScan.Chain
    private var isDead = false

    /// Opens the manifest or makes an empty one. A torn last edit is cut; damage before it is an
    /// error, since without the manifest no number here can be believed.
    ///
    /// - Parameter isStart: what stands in the file may never have reached the disk, so it is
    ///   written anew.
    /// - Parameter admit: throws where nothing may be changed here.
    static func open(
        _ fileSystem: any FileSystem, isStart: Bool = false,
        admit: (ManifestState) throws(StorageError) -> Void = { _ throws(StorageError) in }
    ) throws(StorageError) -> ManifestFile {
        let names = try fileSystem.list(".")
        if names.contains(FileNames.manifestDraft) {
            try fileSystem.remove(FileNames.manifestDraft)
        }
        guard names.contains(FileNames.manifest) else {
            return try create(fileSystem, state: ManifestState(), number: LSN(1))
        }
        let bytes = try fileSystem.readAll(FileNames.manifest)
        let reading = try read(bytes, path: FileNames.manifest)
        if isStart || reading.end < UInt64(bytes.count) {
            // What was misread must not take the place of what is on the disk, nor be cut from it.
            fileSystem.dropCached(FileNames.manifest)
            guard try fileSystem.readAll(FileNames.manifest) == bytes else {
                throw .damaged(
                    path: FileNames.manifest, offset: 0, what: "it reads differently twice")
            }
        }
        try admit(reading.state)
        let file: any StoredFile
        if isStart {
            file = try fileSystem.rewrite(
                FileNames.manifest, as: FileNames.manifestDraft, in: ".",
                Array(bytes.prefix(Int(reading.end))))
        } else {
            file = try fileSystem.open(FileNames.manifest, .write)
            if reading.end < UInt64(bytes.count) { try file.truncate(to: reading.end) }
            try file.sync()
            try fileSystem.syncDirectory(".")
        }
        return ManifestFile(
            state: reading.state, fileSystem: fileSystem, file: file, offset: reading.end,
            chain: reading.chain)
    }

    struct Reading {
        var state = ManifestState()
        var chain = RecordScan.Chain(next: LSN(1), previousChecksum: 0)
        var end: UInt64 = 0
        var edits: [(offset: UInt64, header: RecordFrame.Header, content: Content)] = []
    }

    enum Content {
        case snapshot(ManifestState)
        case edit(ManifestEdit)
    }

    /// What the bytes say; throws on any damage but a torn tail.
    static func read(_ bytes: [UInt8], path: String) throws(StorageError) -> Reading {
        try ManifestFormat.checkHeader(bytes, path: path)
        var reading = Reading()
        // The first record is a snapshot and begins the chain, whatever its number.
        let first = bytes.withUnsafeBytes { RecordFrame.parse($0, at: ManifestFormat.headerSize) }
        guard case .success(let header) = first,
            header.kind == ManifestFormat.Kind.snapshot.rawValue
        else {
            throw .damaged(
                path: path, offset: UInt64(ManifestFormat.headerSize),
                what: "the manifest does not begin with a snapshot")
        }
        var scan = RecordScan(
            bytes, from: ManifestFormat.headerSize,
            chain: RecordScan.Chain(
                next: header.lsn, previousChecksum: header.previousChecksum), isSealed: false)
        while let event = scan.next() {
            switch event {
            case .record(let header, let offset):
                try reading.take(header, offset, bytes, path)
            case .damage(let offset, let what, let missing):
                throw .damaged(
                    path: path, offset: UInt64(offset), what: "edit \(missing): \(what)")
            case .tornTail(let offset), .end(let offset):
                reading.end = UInt64(offset)
            }
        }
        reading.chain = scan.chain
        reading.state.edits = scan.chain.next.number - 1
        return reading
    }

    /// Appends an edit and makes it durable. After `diskFull` it may be tried again; after any
    /// other error nothing more is written.
    ///
    /// - Parameter sizeMax: past it the file is written anew.
    mutating func commit(
        _ edit: ManifestEdit, sizeMax: UInt64 = UInt64(StorageLimits.manifestFileMax)
    ) throws(StorageError) {
        guard !isDead else { throw .writerDead(path: FileNames.manifest) }
        if let objection = state.objection(to: edit) {
            preconditionFailure("a manifest edit does not follow the state: \(objection)")
        }
        do throws(StorageError) {
            try append(edit)
            if offset > sizeMax { try rewrite() }
        } catch {
            if case .diskFull = error { throw error }
            isDead = true
            throw error
        }
    }

    /// Reads the file again; throws where it does not end with the edit that was written last.
    /// Returns its size.
    func check() throws(StorageError) -> UInt64 {
        let size = try soundSize()
        let bytes = try fileSystem.readAll(FileNames.manifest).prefix(Int(size))
        let reading = try Self.read(Array(bytes), path: FileNames.manifest)
        guard reading.end == size, reading.chain == chain else {
            throw .damaged(
                path: FileNames.manifest, offset: reading.end,
                what: "it does not end with edit \(state.edits)")
        }
        return size
    }

    /// The bytes of all edits: what a failed append left behind them is no part of the manifest.
    func soundSize() throws(StorageError) -> UInt64 {
        guard !isDead else { throw .writerDead(path: FileNames.manifest) }
        return offset
    }

    private mutating func append(_ edit: ManifestEdit) throws(StorageError) {
        let payload = ManifestFormat.bytes(edit)
        let frame = RecordFrame.header(
            kind: ManifestFormat.Kind.edit.rawValue, lsn: chain.next,
            synced: LSN(chain.next.number - 1), previousChecksum: chain.previousChecksum,
            payload: payload)
        try file.write([frame.bytes, payload], at: offset)
        try file.sync()
        offset += UInt64(frame.bytes.count + payload.count)
        chain = RecordScan.Chain(next: chain.next.next, previousChecksum: frame.checksum)
        state.apply(edit)
        state.edits = chain.next.number - 1
    }

    /// Puts a manifest without anything but an identity in the place of whatever is there.
    static func replace(
        _ fileSystem: any FileSystem, with identity: NodeIdentity?
    ) throws(StorageError) {
        var state = ManifestState()
        if let identity { state.apply(ManifestEdit(identity: identity)) }
        _ = try create(fileSystem, state: state, number: LSN(1))
    }

    private mutating func rewrite() throws(StorageError) {
        do throws(StorageError) {
            self = try Self.create(fileSystem, state: state, number: chain.next)
        } catch {
            // The edit itself is durable: a full disk only keeps the manifest long.
            guard case .diskFull = error else { throw error }
        }
    }

    private static func create(
        _ fileSystem: any FileSystem, state: ManifestState, number: LSN
    ) throws(StorageError) -> ManifestFile {
        let payload = ManifestFormat.bytes(state)
        let frame = RecordFrame.header(
            kind: ManifestFormat.Kind.snapshot.rawValue, lsn: number,
            synced: LSN(number.number - 1), previousChecksum: 0, payload: payload)
        let pieces = [ManifestFormat.header, frame.bytes, payload]
        let file = try fileSystem.open(FileNames.manifestDraft, .replace)
        try file.write(pieces, at: 0)
        try file.sync()
        try fileSystem.rename(FileNames.manifestDraft, to: FileNames.manifest)
        try fileSystem.syncDirectory(".")
        var state = state
        state.edits = number.number
        return ManifestFile(
            state: state, fileSystem: fileSystem, file: file,
            offset: pieces.reduce(0) { $0 + UInt64($1.count) },
            chain: RecordScan.Chain(next: number.next, previousChecksum: frame.checksum))
    }

    private init(
        state: ManifestState, fileSystem: any FileSystem, file: any StoredFile, offset: UInt64,
        chain: RecordScan.Chain
    ) {
        self.state = state
        self.fileSystem = fileSystem
        self.file = file
        self.offset = offset
        self.chain = chain
    }
}

extension ManifestFile.Reading {
    fileprivate mutating func take(
        _ header: RecordFrame.Header, _ offset: Int, _ bytes: [UInt8], _ path: String
    ) throws(StorageError) {
        let start = offset + RecordFrame.size
        let payload = Array(bytes[start..<start + header.length])
        let content: ManifestFile.Content
        do throws(DecodeError) {
            switch ManifestFormat.Kind(rawValue: header.kind) {
            case .snapshot: content = .snapshot(try ManifestFormat.state(payload))
            case .edit: content = .edit(try ManifestFormat.edit(payload))
            case nil: throw DecodeError("an edit of kind \(header.kind)", at: 3)
            }
        } catch {
            throw .damaged(path: path, offset: UInt64(offset), what: error.description)
        }
        switch content {
        case .snapshot(let state):
            self.state = state
        case .edit(let edit):
            if let objection = state.objection(to: edit) {
                throw .damaged(path: path, offset: UInt64(offset), what: objection)
            }
            state.apply(edit)
        }
        edits.append((UInt64(offset), header, content))
    }
}
