internal import Foundation

/// A spool's files in a real directory, held for one process by an advisory lock, which the kernel
/// lets go of when the process ends, however it ends.
package final class SpoolDirectory: SpoolFiles {
    private static let lockName = "LOCK"

    private let path: String
    private let lock: Int32

    /// Makes the directory where it is missing.
    package init(_ path: String) throws(SpoolError) {
        self.path = path
        if mkdir(path, 0o700) != 0 {
            if errno == ENOENT { throw .noParent(directory: path) }
            if errno != EEXIST { throw DiskCall.error("make", path) }
        }
        let name = "\(path)/\(SpoolDirectory.lockName)"
        let descriptor = DiskCall.retrying {
            Foundation.open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        }
        guard descriptor >= 0 else { throw DiskCall.error("open", name) }
        guard DiskCall.retrying({ flock(descriptor, LOCK_EX | LOCK_NB) }) == 0 else {
            let error: SpoolError =
                errno == EWOULDBLOCK ? .inUse(directory: path) : DiskCall.error("lock", name)
            close(descriptor)
            throw error
        }
        lock = descriptor
        let names = try entries()
        let others = names.filter { $0 != SpoolDirectory.lockName }
        if !others.contains(where: { SpoolJournal.number($0) != nil }) {
            guard others.isEmpty else { throw .foreign(directory: path) }
            // Whoever made the directory may have died before its name was durable.
            try SpoolDirectory.sync(SpoolDirectory.parent(of: path))
        }
    }

    deinit {
        close(lock)
    }

    package func names() throws(SpoolError) -> [String] {
        try entries()
    }

    package func open(_ name: String, creating: Bool) throws(SpoolError) -> any SpoolFile {
        try DiskFile("\(path)/\(name)", creating: creating)
    }

    package func remove(_ name: String) throws(SpoolError) {
        guard unlink("\(path)/\(name)") == 0 else {
            throw DiskCall.error("remove", "\(path)/\(name)")
        }
    }

    package func syncNames() throws(SpoolError) {
        try SpoolDirectory.sync(path)
    }

    private func entries() throws(SpoolError) -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: path)
        } catch {
            throw .failed(operation: "list", path: path, detail: error.localizedDescription)
        }
    }

    private static func parent(of path: String) -> String {
        URL(fileURLWithPath: path).deletingLastPathComponent().path
    }

    private static func sync(_ directory: String) throws(SpoolError) {
        let descriptor = DiskCall.retrying {
            Foundation.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        guard descriptor >= 0 else { throw DiskCall.error("open", directory) }
        let result = fsync(descriptor)
        let error = result == 0 ? nil : DiskCall.error("sync", directory)
        close(descriptor)
        if let error { throw error }
    }
}

/// One open file.
private final class DiskFile: SpoolFile {
    private let path: String
    private let descriptor: Int32

    init(_ path: String, creating: Bool) throws(SpoolError) {
        self.path = path
        let flags = O_RDWR | O_CLOEXEC | (creating ? O_CREAT : 0)
        descriptor = DiskCall.retrying { Foundation.open(path, flags, 0o600) }
        guard descriptor >= 0 else { throw DiskCall.error("open", path) }
    }

    deinit {
        close(descriptor)
    }

    func size() throws(SpoolError) -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw DiskCall.error("look at", path) }
        return Int(status.st_size)
    }

    func read(at offset: Int, count: Int) throws(SpoolError) -> [UInt8] {
        var failure: SpoolError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            while initialized < count {
                // Within the buffer: `initialized` is below `count`, its capacity.
                let result = DiskCall.retrying {
                    pread(
                        descriptor, buffer.baseAddress.map { $0 + initialized },
                        count - initialized, off_t(offset + initialized))
                }
                guard result >= 0 else {
                    failure = DiskCall.error("read", path)
                    return
                }
                if result == 0 { return }
                initialized += result
            }
        }
        if let failure { throw failure }
        return bytes
    }

    func write(_ bytes: [UInt8], at offset: Int) throws(SpoolError) {
        var written = 0
        while written < bytes.count {
            let result = bytes.withUnsafeBytes { buffer in
                DiskCall.retrying {
                    pwrite(
                        descriptor, buffer.baseAddress.map { $0 + written }, bytes.count - written,
                        off_t(offset + written))
                }
            }
            guard result > 0 else { throw DiskCall.error("write", path) }
            written += result
        }
    }

    func truncate(to size: Int) throws(SpoolError) {
        guard DiskCall.retrying({ ftruncate(descriptor, off_t(size)) }) == 0 else {
            throw DiskCall.error("cut", path)
        }
    }

    func sync() throws(SpoolError) {
        // Once: after a failure the kernel may call the bytes clean.
        guard fsync(descriptor) == 0 else { throw DiskCall.error("sync", path) }
    }
}

private enum DiskCall {
    /// Tries again when a signal came between. Not for syncs.
    static func retrying<Number: SignedInteger>(_ call: () -> Number) -> Number {
        while true {
            let result = call()
            if result != -1 || errno != EINTR { return result }
        }
    }

    /// What `errno` says of an operation that just failed.
    static func error(_ operation: String, _ path: String) -> SpoolError {
        let code = errno
        return switch code {
        case ENOSPC, EDQUOT: .diskFull(path: path)
        default:
            .failed(operation: operation, path: path, detail: String(cString: strerror(code)))
        }
    }
}
