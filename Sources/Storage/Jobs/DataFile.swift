/// A file that never changes once the manifest lists it: what scrubbers and verifications read.
package enum DataFile: Hashable, Sendable {
    case table(TableHandle)
    case history(HistoryHandle)

    package var path: String {
        switch self {
        case .table(let table): table.meta.path
        case .history(let file): file.meta.path
        }
    }

    package var isCold: Bool {
        if case .table(let table) = self { table.meta.location == .cold } else { false }
    }

    /// In bytes.
    package var size: UInt64 {
        switch self {
        case .table(let table): table.meta.size
        case .history(let file): file.meta.size
        }
    }

    /// Opens the file anew and reads all of it, from the disk: what lies in memory, in the process
    /// or in the system's cache of pages, says nothing about the disk.
    func verify(
        in fileSystem: any FileSystem, options: StorageOptions
    ) throws(StorageError) {
        fileSystem.dropCached(path)
        switch self {
        case .table(let table):
            try TableHandle.open(table.meta, in: fileSystem, options: options).verify()
        case .history(let file):
            try HistoryHandle.open(file.meta, in: fileSystem).verify()
        }
    }

    func damage(_ what: String) -> Damage {
        switch self {
        case .table(let table): .table(meta: table.meta, what: what)
        case .history(let file): .history(path: file.meta.path, what: what)
        }
    }
}
