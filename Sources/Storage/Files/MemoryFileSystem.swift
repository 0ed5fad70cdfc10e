import Core
import Synchronization

/// A file system in memory that knows what was synced, per file and per directory entry, so that a
/// crash can lose exactly what a real one may lose. After the idea of pebble's `vfs.MemFS` and of
/// LevelDB's `fault_injection_test`.
///
/// A failed sync behaves as on Linux by default: the file still reads as written, but those bytes
/// are never made durable by any later sync, only by writing them again (`SyncLoss`).
package final class MemoryFileSystem: FileSystem {
    /// What the next operations should suffer.
    package enum Fault: Hashable, Sendable {
        case inputOutput
        case diskFull
        /// Only half of a write arrives before the error; other operations fail whole.
        case shortWrite
        /// As much, and then the disk is full.
        case shortDiskFull

        var cutsWrites: Bool { self == .shortWrite || self == .shortDiskFull }
    }

    /// What a failed sync does to the bytes it was to make durable (Rebello et al., ATC 2020).
    package enum SyncLoss: CaseIterable, Sendable {
        /// They are still read, and are clean as far as the kernel knows: ext4, xfs.
        case marksClean
        /// They are still read and still dirty: a later sync may succeed honestly.
        case keepsDirty
        /// The file reads as it was last durable: btrfs.
        case reverts
    }

    struct Inode {
        var data: [UInt8] = []
        /// What a crash leaves for certain.
        var durable: [UInt8] = []
        /// What was done since the last sync, in order.
        var pending: [PendingData] = []
    }

    enum PendingData {
        case write(offset: Int, bytes: [UInt8])
        case truncate(size: Int)
    }

    enum PendingName {
        case link(path: String, inode: Int)
        case unlink(path: String)
        case rename(path: String, target: String, inode: Int)
        /// The old name of what went to another directory, whose link there comes before.
        case leave(path: String, target: String, inode: Int)
    }

    struct State {
        var inodes: [Int: Inode] = [:]
        var nextInode = 0
        var names: [String: Int] = [:]
        var durableNames: [String: Int] = [:]
        var pendingNames: [PendingName] = []
        var directories: Set<String> = ["."]
        var operations = 0
        var changes = 0
        var failAt: Int?
        var failsOnward = false
        var fault = Fault.inputOutput
        var capacity = Int.max
        var syncFailures = 0
        var syncLoss = SyncLoss.marksClean
        var failedSyncs = 0
        /// Sectors that cannot be read, by inode.
        var unreadable: [Int: Set<Int>] = [:]
        var misreads: [String: (count: Int, isLast: Bool)] = [:]
        var misreadAhead: MisreadAhead?
        var hasMisread = false
        /// Itself before each change, while somebody wants them.
        var kept: [State]?
    }

    let state: Mutex<State>

    package init() {
        state = Mutex(State())
    }

    init(state: sending State) {
        self.state = Mutex(state)
    }

    // MARK: Faults

    /// How many operations were asked for so far: the coordinate of `fail(at:)`.
    package var operations: Int { state.withLock { $0.operations } }

    /// How many of them could change what a power cut leaves: not a read, a listing, or a sync of
    /// what is synced.
    package var changes: Int { state.withLock { $0.changes } }

    /// Makes the operation with this number fail, and with `onward` every later one too.
    package func fail(at operation: Int, with fault: Fault, onward: Bool = false) {
        state.withLock { state in
            state.failAt = operation
            state.fault = fault
            state.failsOnward = onward
        }
    }

    package func clearFaults() {
        state.withLock { state in
            state.failAt = nil
            state.syncFailures = 0
            state.misreadAhead = nil
        }
    }

    /// Makes the next `count` file syncs fail.
    package func failSyncs(_ count: Int, _ loss: SyncLoss = .marksClean) {
        state.withLock { state in
            state.syncFailures = count
            state.syncLoss = loss
        }
    }

    /// What a sync that fails by `fail(at:)` does to its bytes.
    package func setSyncLoss(_ loss: SyncLoss) {
        state.withLock { $0.syncLoss = loss }
    }

    /// From here on what it holds is kept before each change, synced or not: one life then shows
    /// every moment at which the power may fail. What changes nothing has the moment after it.
    package func keepStates() {
        state.withLock { $0.kept = [] }
    }

    /// Before each change since `keepStates`, and now; the `operations` of each say when.
    package var keptStates: [MemoryFileSystem] {
        let states = state.withLock { ($0.kept ?? []) + [$0.copy()] }
        return states.map { MemoryFileSystem(state: $0) }
    }

    /// How many syncs have failed.
    package var failedSyncs: Int { state.withLock { $0.failedSyncs } }

    package var usedBytes: Int { state.withLock { $0.usedBytes } }

    /// Whether `setCapacity` was called with less than everything.
    package var isLimited: Bool { state.withLock { $0.capacity != .max } }

    package var freeBytes: Int {
        state.withLock { $0.capacity == .max ? .max : $0.capacity - $0.usedBytes }
    }

    /// The bytes that all files together may hold.
    package func setCapacity(_ bytes: Int) {
        state.withLock { $0.capacity = bytes }
    }

    // MARK: Looking from outside

    /// Every file with its bytes, for comparing two recoveries.
    package var contents: [String: [UInt8]] {
        state.withLock { state in
            state.names.mapValues { state.inodes[$0]?.data ?? [] }
        }
    }

    /// Changes bytes behind the store's back, durable at once: bit rot.
    package func overwrite(_ path: String, with bytes: [UInt8]) {
        state.withLock { state in
            let inode = state.names[path] ?? state.makeInode()
            state.names[path] = inode
            state.durableNames[path] = inode
            state.inodes[inode] = Inode(data: bytes, durable: bytes)
        }
    }

    /// Removes a file behind the store's back, durable at once.
    package func forget(_ path: String) {
        state.withLock { state in
            state.names[path] = nil
            state.durableNames[path] = nil
        }
    }

    /// A copy that shares nothing, synced or not as this one.
    package func clone() -> MemoryFileSystem {
        MemoryFileSystem(state: state.withLock { $0.copy() })
    }

    /// The files below a directory as a copy on another disk, all of it durable.
    package func copy(of directory: String) -> MemoryFileSystem {
        let copy = MemoryFileSystem()
        state.withLock { state in
            let prefix = directory + "/"
            for path in state.directories where path.hasPrefix(prefix) {
                let inside = String(path.dropFirst(prefix.count))
                copy.state.withLock { _ = $0.directories.insert(inside) }
            }
            for (path, inode) in state.names where path.hasPrefix(prefix) {
                let bytes = state.inodes[inode]?.data ?? []
                copy.overwrite(String(path.dropFirst(prefix.count)), with: bytes)
            }
        }
        return copy
    }

    // MARK: FileSystem

    package func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StoredFile {
        let inode = try state.withLock { state throws(StorageError) in
            let isNew = mode != .read && state.names[path] == nil
            try state.count("open", path, changes: isNew || mode == .replace)
            if let inode = state.names[path] {
                if mode == .replace { state.truncate(inode, to: 0) }
                return inode
            }
            guard mode != .read else { throw .notFound(path: path) }
            guard state.directories.contains(Self.directory(of: path)) else {
                throw .notFound(path: Self.directory(of: path))
            }
            let inode = state.makeInode()
            state.names[path] = inode
            state.pendingNames.append(.link(path: path, inode: inode))
            return inode
        }
        return MemoryFile(path: path, inode: inode, fileSystem: self)
    }

    package func list(_ directory: String) throws(StorageError) -> [String] {
        try state.withLock { state throws(StorageError) in
            try state.count("list", directory, changes: false)
            guard state.directories.contains(directory) else { throw .notFound(path: directory) }
            let paths = Array(state.names.keys) + state.directories.filter { $0 != "." }
            return paths.filter { Self.directory(of: $0) == directory }
                .map { directory == "." ? $0 : String($0.dropFirst(directory.count + 1)) }
                .sorted()
        }
    }

    package func rename(_ path: String, to target: String) throws(StorageError) {
        try state.withLock { state throws(StorageError) in
            try state.count("rename", path, changes: true)
            guard let inode = state.names.removeValue(forKey: path) else {
                throw .notFound(path: path)
            }
            state.names[target] = inode
            guard Self.directory(of: path) != Self.directory(of: target) else {
                state.pendingNames.append(.rename(path: path, target: target, inode: inode))
                return
            }
            state.pendingNames.append(.link(path: target, inode: inode))
            state.pendingNames.append(.leave(path: path, target: target, inode: inode))
        }
    }

    package func remove(_ path: String) throws(StorageError) {
        try state.withLock { state throws(StorageError) in
            try state.count("remove", path, changes: true)
            guard state.names.removeValue(forKey: path) != nil else { throw .notFound(path: path) }
            state.pendingNames.append(.unlink(path: path))
        }
    }

    package func link(_ path: String, as target: String) throws(StorageError) {
        try state.withLock { state throws(StorageError) in
            try state.count("link", path, changes: true)
            guard let inode = state.names[path] else { throw .notFound(path: path) }
            guard state.names[target] == nil else {
                throw .failed(operation: "link to \(target)", path: path, detail: "it exists")
            }
            guard state.directories.contains(Self.directory(of: target)) else {
                throw .notFound(path: Self.directory(of: target))
            }
            state.names[target] = inode
            state.pendingNames.append(.link(path: target, inode: inode))
        }
    }

    /// Directories are made seldom; they come and go durably at once here.
    package func createDirectory(_ path: String) throws(StorageError) {
        try state.withLock { state throws(StorageError) in
            try state.count(
                "create directory", path, changes: !state.directories.contains(path))
            state.directories.insert(path)
        }
    }

    package func removeDirectory(_ path: String) throws(StorageError) {
        try state.withLock { state throws(StorageError) in
            try state.count("remove directory", path, changes: true)
            guard state.directories.contains(path) else { throw .notFound(path: path) }
            let paths = Array(state.names.keys) + state.directories
            guard !paths.contains(where: { Self.directory(of: $0) == path && $0 != path }) else {
                throw .failed(operation: "remove", path: path, detail: "it is not empty")
            }
            state.directories.remove(path)
            // What was in it and never synced has nowhere to come back to.
            state.durableNames = state.durableNames.filter { Self.directory(of: $0.key) != path }
            state.pendingNames.removeAll { $0.directory == path }
        }
    }

    package func syncDirectory(_ path: String) throws(StorageError) {
        try state.withLock { state throws(StorageError) in
            let (mine, others) = state.splitPendingNames(of: path)
            guard state.nextFault(changes: !mine.isEmpty) == nil else {
                state.failSync(ofDirectory: path)
                throw .syncFailed(path: path, detail: "input/output error")
            }
            for change in mine { change.apply(to: &state.durableNames) }
            state.pendingNames = others
        }
    }

    static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return String(path[..<slash])
    }
}

extension MemoryFileSystem.PendingName {
    /// The directory whose sync makes this durable. A rename to another directory is two changes:
    /// who syncs the old one first can lose the file.
    var directory: String {
        switch self {
        case .link(let path, _), .unlink(let path), .rename(let path, _, _),
            .leave(let path, _, _):
            MemoryFileSystem.directory(of: path)
        }
    }

    /// Without a sync no file system forgets the old name before it knows the new one.
    func mayHappenAlone(_ names: [String: Int]) -> Bool {
        switch self {
        case .leave(_, let target, let inode): names[target] == inode
        case .link, .unlink, .rename: true
        }
    }

    func apply(to names: inout [String: Int]) {
        switch self {
        case .link(let path, let inode):
            names[path] = inode
        case .unlink(let path), .leave(let path, _, _):
            names[path] = nil
        case .rename(let path, let target, let inode):
            names[path] = nil
            names[target] = inode
        }
    }
}

extension MemoryFileSystem.PendingData {
    func apply(to bytes: inout [UInt8]) {
        switch self {
        case .write(let offset, let written):
            if bytes.count < offset + written.count {
                bytes.append(
                    contentsOf: repeatElement(0, count: offset + written.count - bytes.count))
            }
            bytes.replaceSubrange(offset..<offset + written.count, with: written)
        case .truncate(let size):
            if bytes.count > size {
                bytes.removeLast(bytes.count - size)
            } else {
                bytes.append(contentsOf: repeatElement(0, count: size - bytes.count))
            }
        }
    }
}

extension MemoryFileSystem.State {
    func copy() -> MemoryFileSystem.State {
        var copy = self
        copy.kept = nil
        return copy
    }

    mutating func makeInode() -> Int {
        nextInode += 1
        inodes[nextInode] = MemoryFileSystem.Inode()
        return nextInode
    }

    /// Counts an operation and fails it where a fault was asked for.
    mutating func count(
        _ operation: String, _ path: String, changes: Bool
    ) throws(StorageError) {
        if let fault = nextFault(changes: changes) { throw Self.error(fault, operation, path) }
    }

    /// - Parameter isChange: a power cut after it may leave something else than one before it.
    mutating func nextFault(changes isChange: Bool) -> MemoryFileSystem.Fault? {
        defer { operations += 1 }
        if isChange {
            if kept != nil {
                let now = copy()
                kept?.append(now)
            }
            changes += 1
        }
        guard let failAt else { return nil }
        return operations == failAt || (failsOnward && operations > failAt) ? fault : nil
    }

    static func error(
        _ fault: MemoryFileSystem.Fault, _ operation: String, _ path: String
    ) -> StorageError {
        switch fault {
        case .inputOutput, .shortWrite:
            .failed(operation: operation, path: path, detail: "input/output error")
        case .diskFull, .shortDiskFull:
            .diskFull(operation: operation, path: path)
        }
    }

    var usedBytes: Int {
        Set(names.values).reduce(0) { $0 + (inodes[$1]?.data.count ?? 0) }
    }

    func splitPendingNames(
        of directory: String
    ) -> (mine: [MemoryFileSystem.PendingName], others: [MemoryFileSystem.PendingName]) {
        (
            pendingNames.filter { $0.directory == directory },
            pendingNames.filter { $0.directory != directory }
        )
    }

    mutating func change(_ inode: Int, _ change: MemoryFileSystem.PendingData) {
        healSectors(of: inode, by: change)
        var file = inodes[inode] ?? MemoryFileSystem.Inode()
        inodes[inode] = nil
        change.apply(to: &file.data)
        file.pending.append(change)
        inodes[inode] = file
    }

    mutating func truncate(_ inode: Int, to size: Int) {
        change(inode, .truncate(size: size))
    }

    mutating func failSync(_ inode: Int) {
        failedSyncs += 1
        switch syncLoss {
        case .marksClean:
            inodes[inode]?.pending = []
        case .keepsDirty:
            break
        case .reverts:
            inodes[inode]?.pending = []
            let durable = inodes[inode]?.durable ?? []
            inodes[inode]?.data = durable
        }
    }

    /// Names are lost as data is. A directory that reverts shows its durable names again.
    mutating func failSync(ofDirectory directory: String) {
        failedSyncs += 1
        if syncLoss == .keepsDirty { return }
        pendingNames = splitPendingNames(of: directory).others
        guard syncLoss == .reverts else { return }
        func isInside(_ path: String) -> Bool {
            MemoryFileSystem.directory(of: path) == directory
        }
        names = names.filter { !isInside($0.key) }
        for (path, inode) in durableNames where isInside(path) { names[path] = inode }
    }

    mutating func sync(_ inode: Int) {
        var file = inodes[inode] ?? MemoryFileSystem.Inode()
        inodes[inode] = nil
        for change in file.pending { change.apply(to: &file.durable) }
        file.pending = []
        inodes[inode] = file
    }
}
