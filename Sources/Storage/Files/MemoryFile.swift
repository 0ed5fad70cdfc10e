import Synchronization

/// An open file of a `MemoryFileSystem`.
final class MemoryFile: StoredFile {
    let path: String
    private let inode: Int
    private let fileSystem: MemoryFileSystem

    init(path: String, inode: Int, fileSystem: MemoryFileSystem) {
        self.path = path
        self.inode = inode
        self.fileSystem = fileSystem
    }

    func size() throws(StorageError) -> UInt64 {
        fileSystem.state.withLock { UInt64($0.inodes[inode]?.data.count ?? 0) }
    }

    func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
        try fileSystem.state.withLock { state throws(StorageError) in
            try state.count("read", path, changes: false)
            let data = state.inodes[inode]?.data ?? []
            guard offset < UInt64(data.count) else { return [] }
            let start = Int(offset)
            let range = start..<start + min(count, data.count - start)
            try state.checkSectors(of: inode, range, path)
            var bytes = Array(data[range])
            state.bend(&bytes, of: path)
            state.bendAhead(&bytes, of: inode)
            return bytes
        }
    }

    func write(_ pieces: [[UInt8]], at offset: UInt64) throws(StorageError) {
        let bytes = Array(pieces.joined())
        try fileSystem.state.withLock { state throws(StorageError) in
            if let fault = state.nextFault(changes: true) {
                if fault.cutsWrites {
                    let half = Array(bytes.prefix(bytes.count / 2))
                    state.change(inode, .write(offset: Int(offset), bytes: half))
                }
                throw MemoryFileSystem.State.error(fault, "write", path)
            }
            let size = state.inodes[inode]?.data.count ?? 0
            let growth = max(0, Int(offset) + bytes.count - size)
            guard growth == 0 || state.usedBytes + growth <= state.capacity else {
                throw .diskFull(operation: "write", path: path)
            }
            state.change(inode, .write(offset: Int(offset), bytes: bytes))
        }
    }

    func truncate(to size: UInt64) throws(StorageError) {
        try fileSystem.state.withLock { state throws(StorageError) in
            try state.count("truncate", path, changes: true)
            state.truncate(inode, to: Int(size))
        }
    }

    func sync() throws(StorageError) {
        try fileSystem.state.withLock { state throws(StorageError) in
            let isDirty = state.inodes[inode]?.pending.isEmpty == false
            let failed = state.nextFault(changes: isDirty) != nil
            if failed || state.syncFailures > 0 {
                if !failed { state.syncFailures -= 1 }
                state.failSync(inode)
                throw .syncFailed(path: path, detail: "input/output error")
            }
            state.sync(inode)
        }
    }
}
