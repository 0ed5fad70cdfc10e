package import Storage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Holds a data directory for one process, as long as this lives: an advisory lock on the file
/// `LOCK`, which the kernel lets go of when the process ends, however it ends.
package final class DirectoryLock: Sendable {
    static let file = "LOCK"

    private let descriptor: Int32

    /// - Parameter root: an existing directory.
    package init(root: String) throws(StorageError) {
        let path = "\(root)/\(Self.file)"
        let descriptor = SystemCall.retrying {
            SystemCall.open(path, O_RDWR | O_CREAT | O_CLOEXEC, permissions: 0o600)
        }
        guard descriptor >= 0 else { throw SystemCall.error("open", path) }
        guard SystemCall.retrying({ flock(descriptor, LOCK_EX | LOCK_NB) }) == 0 else {
            let error: StorageError =
                errno == EWOULDBLOCK ? .locked(path: root) : SystemCall.error("lock", path)
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }
}
