/// Why the catalog could not do what was asked. None of these touches a count: an answer goes out
/// without attributes, a load is refused.
package enum CatalogError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file cannot be opened or made.
    case cannotOpen(file: String, reason: String)
    /// Another process holds the file.
    case locked(file: String)
    /// A later release made the file.
    case madeByLaterRelease(file: String, version: Int)
    /// The file was found damaged and set aside; the next call meets a new one.
    case damaged(file: String, reason: String)
    /// Disk full, read error.
    case failed(file: String, reason: String)

    package var description: String {
        switch self {
        case .cannotOpen(let file, let reason):
            "\(file): cannot be opened (\(reason)): check the folder and its permissions"
        case .locked(let file):
            "\(file): locked by another process: end what has it open and try again"
        case .madeByLaterRelease(let file, let version):
            "\(file): has layout \(version), this release knows \(CatalogSchema.version): "
                + "run the later release, or move the file away (peers refill it)"
        case .damaged(let file, let reason):
            "\(file): lost (\(reason)): a new one is filled from this node's copy and the peers"
        case .failed(let file, let reason):
            "\(file): \(reason): check the disk's space and health"
        }
    }
}

/// A damaged or lost file, for the log and the status.
package struct CatalogIncident: Hashable, Sendable, CustomStringConvertible {
    /// Where it was set aside; nil where it was gone.
    package var file: String?
    package var reason: String

    package var description: String {
        "the catalog was lost (\(reason))" + (file.map { " and set aside as \($0)" } ?? "")
            + "; a new one is filled from the node's copy and the peers"
    }
}
