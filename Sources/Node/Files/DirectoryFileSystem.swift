package import Storage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The files of one node, below one directory, through the operating system's own calls. Every call
/// blocks: the shell makes them on its file threads. What begins with `cold/` lies below a second
/// directory, on another disk. What is only read is open while it is used (`DescriptorPool`).
package final class DirectoryFileSystem: FileSystem {
    private let root: String
    private let cold: String?
    private let calls: FileCalls
    private let hotPool: DescriptorPool
    /// nil where there is no other disk.
    private let coldPool: DescriptorPool?

    /// - Parameter root: an existing directory.
    /// - Parameter cold: what `cold` stands for, made with the first table there; its parent is
    ///   the operator's. nil: a directory of the root, like any other.
    /// - Parameter bounds: of files that are only read.
    package init(
        root: String, cold: String? = nil, bounds: FileBounds = FileBounds(),
        calls: FileCalls = FileCalls()
    ) {
        self.root = root
        self.cold = cold
        self.calls = calls
        hotPool = DescriptorPool(max: bounds.hot, calls: calls)
        coldPool = cold.map { _ in
            DescriptorPool(max: bounds.cold, calls: calls, closesLater: true)
        }
    }

    /// Makes the directory and its parents where they are missing, and syncs the parent, so that
    /// what is later synced inside cannot vanish with its name.
    package static func creating(
        root: String, cold: String? = nil, bounds: FileBounds = FileBounds()
    ) throws(StorageError) -> DirectoryFileSystem {
        var path = root.hasPrefix("/") ? "/" : ""
        for part in root.split(separator: "/") {
            let parent = path.isEmpty ? "." : path
            path += (path.isEmpty || path.hasSuffix("/") ? "" : "/") + part
            let system = DirectoryFileSystem(root: parent)
            if try system.makeDirectory(at: path) { try system.syncDirectory(".") }
        }
        return DirectoryFileSystem(root: root, cold: cold, bounds: bounds)
    }

    /// By disk.
    package var openFiles: [(disk: String, reading: OpenFilesReading)] {
        [("hot", hotPool.reading)] + (coldPool.map { [("cold", $0.reading)] } ?? [])
    }

    private func pool(of path: String) -> DescriptorPool {
        if let coldPool, FileNames.isCold(path) { coldPool } else { hotPool }
    }

    /// A path for people and for the system's calls.
    func absolute(_ path: String) -> String {
        if let cold, FileNames.isCold(path) {
            return cold + path.dropFirst(FileNames.coldDirectory.count)
        }
        return path == "." ? root : root + "/" + path
    }

    package func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StoredFile {
        let flags: Int32 =
            switch mode {
            case .read: O_RDONLY
            case .write: O_RDWR | O_CREAT
            case .replace: O_RDWR | O_CREAT | O_TRUNC
            }
        let full = absolute(path)
        let isHot = !FileNames.isCold(path)
        let pool = pool(of: path)
        do throws(SystemFailure) {
            let slot = try pool.open(full, flags, permissions: 0o600, isRead: mode == .read)
            return DescriptorFile(
                path: full, slot: slot, pool: pool, calls: calls, unreadableIsLost: isHot)
        } catch {
            guard mode == .read, isHot, SystemCall.isUnreadable(error.code) else {
                throw SystemCall.error("open", full, code: error.code)
            }
            throw SystemCall.readError(full, at: 0, code: error.code)
        }
    }

    package func dropCached(_ path: String) {
        #if canImport(Glibc)
            do throws(SystemFailure) {
                // Through the pool: where no descriptor is left, another file gives its own, as it
                // would to who reads this one next.
                let descriptor = try pool(of: path).descriptor(absolute(path), O_RDONLY)
                _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
                _ = calls.close(descriptor)
            } catch {
                // Whoever reads it next is told what is wrong with it: it does not matter here.
            }
        #endif
    }

    package func list(_ directory: String) throws(StorageError) -> [String] {
        let full = absolute(directory)
        guard let stream = opendir(full) else { throw SystemCall.error("list", full) }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else { break }
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        guard errno == 0 else { throw SystemCall.error("list", full) }
        return names.sorted()
    }

    package func rename(_ path: String, to target: String) throws(StorageError) {
        precondition(
            FileNames.isCold(path) == FileNames.isCold(target),
            "no rename goes from one disk to another")
        let full = absolute(path)
        let fullTarget = absolute(target)
        try pool(of: path).taking(full, to: fullTarget) { () throws(StorageError) in
            guard SystemCall.rename(full, fullTarget) == 0 else {
                throw SystemCall.error("rename to \(fullTarget)", full)
            }
        }
    }

    package func remove(_ path: String) throws(StorageError) {
        let full = absolute(path)
        try pool(of: path).taking(full) { () throws(StorageError) in
            guard unlink(full) == 0 else { throw SystemCall.error("remove", full) }
        }
    }

    package func link(_ path: String, as target: String) throws(StorageError) {
        let full = absolute(path)
        let fullTarget = absolute(target)
        guard SystemCall.link(full, fullTarget) == 0 else {
            throw SystemCall.error("link as \(fullTarget)", full)
        }
    }

    package func removeDirectory(_ path: String) throws(StorageError) {
        let full = absolute(path)
        guard rmdir(full) == 0 else { throw SystemCall.error("remove directory", full) }
    }

    package func createDirectory(_ path: String) throws(StorageError) {
        _ = try makeDirectory(at: absolute(path))
        guard let cold, path == FileNames.coldDirectory else { return }
        // Nobody else can, since the directory above is outside; nor was it done for certain where
        // the directory was made before.
        guard let slash = cold.lastIndex(of: "/"), slash > cold.startIndex else { return }
        try DirectoryFileSystem(root: String(cold[..<slash]), calls: calls).syncDirectory(".")
    }

    package func syncDirectory(_ path: String) throws(StorageError) {
        let full = absolute(path)
        let descriptor: Int32
        do throws(SystemFailure) {
            descriptor = try pool(of: path).descriptor(full, O_RDONLY | O_DIRECTORY)
        } catch {
            throw SystemCall.error("open", full, code: error.code)
        }
        defer { _ = calls.close(descriptor) }
        guard calls.syncDirectory(descriptor) == 0 else {
            throw .syncFailed(path: full, detail: SystemCall.message(errno))
        }
    }

    /// True where it was made, false where it stood already.
    private func makeDirectory(at full: String) throws(StorageError) -> Bool {
        if mkdir(full, 0o700) == 0 { return true }
        guard errno == EEXIST else { throw SystemCall.error("create directory", full) }
        return false
    }
}
