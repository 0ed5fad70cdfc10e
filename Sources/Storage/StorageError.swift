/// What can go wrong with files. The shell ends the process on `syncFailed` and `writerDead`, turns
/// read-only on `diskFull`, and stops voting for what `damaged` names.
package enum StorageError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The operating system refused; `detail` is its own word.
    case failed(operation: String, path: String, detail: String)
    case notFound(path: String)
    case diskFull(operation: String, path: String)
    /// What was not synced may be lost, and a second attempt would lie about it.
    case syncFailed(path: String, detail: String)
    /// An earlier sync or write failed; nothing may be written any more.
    case writerDead(path: String)
    case damaged(path: String, offset: UInt64, what: String)
    case newerFormat(path: String, version: UInt16, known: UInt16)
    /// Another process holds the data directory.
    case locked(path: String)
    /// Files that do not hold what they were written from: a memtable, or other tables.
    case digestMismatch(path: String, what: String)
    /// The manifest lists tables on a cold disk that is not there. Nothing is damaged.
    case coldTierMissing(String)
    /// A scan that would hold more than `StorageLimits.scanBytesMax`.
    case scanTooLarge(bytes: Int)

    package var description: String {
        switch self {
        case .failed(let operation, let path, let detail):
            "\(operation) of \(path) failed: \(detail)"
        case .notFound(let path):
            "\(path) does not exist"
        case .diskFull(let operation, let path):
            "\(operation) of \(path) failed: the disk is full; once there is room it goes on"
        case .syncFailed(let path, let detail):
            "fsync of \(path) failed: \(detail); the process must end and replay its log"
        case .writerDead(let path):
            "\(path) takes no more writes after a failure; restart the node"
        case .damaged(let path, let offset, let what):
            "\(path) is damaged at byte \(offset): \(what); the other replicas hold its content"
        case .newerFormat(let path, let version, let known):
            "\(path) has format version \(version), this build knows \(known): upgrade the node"
        case .locked(let path):
            "\(path) is held by another process: a data directory serves one node only"
        case .digestMismatch(let path, let what):
            "\(path) does not hold what was to be written: \(what); it is refused"
        case .coldTierMissing(let what):
            "the cold disk is not there: \(what)"
        case .scanTooLarge(let bytes):
            "a replica would hold \(bytes) bytes of keys and counts to answer, more than it may"
        }
    }

    /// The file that it is about; nil where it is about none.
    package var path: String? {
        switch self {
        case .failed(_, let path, _), .notFound(let path), .diskFull(_, let path),
            .syncFailed(let path, _), .writerDead(let path), .damaged(let path, _, _),
            .newerFormat(let path, _, _), .locked(let path), .digestMismatch(let path, _):
            path
        case .coldTierMissing, .scanTooLarge:
            nil
        }
    }

    package var isDamage: Bool {
        if case .damaged = self { true } else { false }
    }

    /// What was written is not what it was written from.
    package var isMismatch: Bool {
        if case .digestMismatch = self { true } else { false }
    }

    /// True where going on would risk what was acknowledged.
    package var isFatal: Bool {
        switch self {
        case .syncFailed, .writerDead, .digestMismatch: true
        case .failed, .notFound, .diskFull, .damaged, .newerFormat, .locked, .coldTierMissing,
            .scanTooLarge:
            false
        }
    }
}
