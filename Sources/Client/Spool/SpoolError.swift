/// Why a spool cannot go on. After any of these but `batchTooLarge`, `notOneLine` and `isFull`
/// nothing more is written by this process; what was sealed is safe and is found by the next.
public enum SpoolError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Another process holds the spool.
    case inUse(directory: String)
    /// The directory holds other things.
    case foreign(directory: String)
    /// The directory in which the spool's would be made does not exist.
    case noParent(directory: String)
    /// The disk has no room.
    case diskFull(path: String)
    /// A call of the operating system failed.
    case failed(operation: String, path: String, detail: String)
    /// What lies there is not what was written: not the end that a crash leaves.
    case damaged(file: String, offset: Int, detail: String)
    /// A batch of more bytes than a record may hold.
    case batchTooLarge(bytes: Int, limit: Int)
    /// An event that was appended is not one line; `offset` is that of its line feed in bytes.
    case notOneLine(offset: Int)
    /// More inputs than positions can be kept of.
    case tooManyInputs(limit: Int)
    /// The spool has reached its size, and nothing is being sent that would make room.
    case isFull(bytes: Int)

    /// What happened, where, and what to do, on one line.
    public var description: String {
        switch self {
        case .inUse(let directory):
            "spool \(directory): another process sends from it; wait for it, or name another "
                + "directory"
        case .foreign(let directory):
            "spool \(directory): holds other files and is no spool; name an empty or a new one"
        case .noParent(let directory):
            "spool \(directory): the directory above it does not exist; make it first"
        case .diskFull(let path):
            "spool: the disk of \(path) is full; nothing is lost: make room, run again"
        case .failed(let operation, let path, let detail):
            "spool: \(operation) \(path): \(detail); what was sealed is kept: check the disk "
                + "and run the same again"
        case .damaged(let file, let offset, let detail):
            "spool: \(file) is damaged at byte \(offset): \(detail); no crash does that: check the "
                + "disk, and see 'A damaged spool' in docs/operating.md"
        case .batchTooLarge(let bytes, let limit):
            "spool: a batch of \(bytes) bytes, of \(limit) at most; make smaller batches"
        case .notOneLine(let offset):
            "append: the event goes on behind a line feed at byte \(offset), and would be counted "
                + "as several; append one event at a time, on one line"
        case .tooManyInputs(let limit):
            "spool: the positions of its inputs take more than \(limit) bytes; send the rest by a "
                + "spool of another directory"
        case .isFull(let bytes):
            "spool: it is full (\(bytes) bytes) and nothing can be sent; what it holds is kept"
        }
    }
}
