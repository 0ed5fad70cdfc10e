/// What scrubbers and verifications read: files that never change once they are whole, and the
/// manifest.
package enum DataFile: Hashable, Sendable {
    case table(TableHandle)
    case history(HistoryHandle)
    /// A file of the log that takes no more records, all of which are on the disk
    /// (`LogCursor.closedBefore`); it is hardly longer than `sizeMax` bytes.
    case log(UInt32, sizeMax: UInt64)
    /// As it stands when it is read; nobody writes to it meanwhile.
    case manifest

    package var path: String {
        switch self {
        case .table(let table): table.meta.path
        case .history(let file): file.meta.path
        case .log(let number, _): FileNames.log(number)
        case .manifest: FileNames.manifest
        }
    }

    package var isCold: Bool {
        if case .table(let table) = self { table.isCold } else { false }
    }

    /// In bytes; of the log and the manifest, whose files alone know it, what is expected.
    package var size: UInt64 {
        switch self {
        case .table(let table): table.meta.size
        case .history(let file): file.meta.size
        case .log(_, let sizeMax): sizeMax
        case .manifest: 0
        }
    }
}
