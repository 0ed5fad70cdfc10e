import Storage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// An open file: a descriptor that is closed with the last reference.
final class DescriptorFile: StoredFile {
    let path: String
    private let descriptor: Int32

    init(path: String, descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }

    func size() throws(StorageError) -> UInt64 {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw SystemCall.error("stat", path) }
        return UInt64(status.st_size)
    }

    func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
        guard count > 0 else { return [] }
        var failure: StorageError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = 0
            while filled < count {
                // `filled < count`, the buffer's capacity: the rest of it begins there.
                let rest = UnsafeMutableBufferPointer(rebasing: buffer[filled...])
                let got = SystemCall.retrying {
                    pread(descriptor, rest.baseAddress, rest.count, off_t(offset) + off_t(filled))
                }
                guard got >= 0 else {
                    failure = SystemCall.error("read", path)
                    return
                }
                guard got > 0 else { return }
                filled += got
            }
        }
        if let failure { throw failure }
        return bytes
    }

    func write(_ pieces: [[UInt8]], at offset: UInt64) throws(StorageError) {
        // Many small pieces become one call; a large one is written from where it lies.
        var gathered: [UInt8] = []
        var position = offset
        for piece in pieces {
            if gathered.count + piece.count <= Self.gatherMax {
                gathered.append(contentsOf: piece)
                continue
            }
            try writeWhole(gathered, &position)
            gathered.removeAll(keepingCapacity: true)
            if piece.count > Self.gatherMax / 4 {
                try writeWhole(piece, &position)
            } else {
                gathered.append(contentsOf: piece)
            }
        }
        try writeWhole(gathered, &position)
    }

    private static let gatherMax = 1 << 20

    private func writeWhole(_ bytes: [UInt8], _ position: inout UInt64) throws(StorageError) {
        var written = 0
        while written < bytes.count {
            let start = written
            let at = off_t(position) + off_t(start)
            let count = bytes.withUnsafeBytes { buffer in
                SystemCall.retrying {
                    pwrite(
                        descriptor, buffer.baseAddress?.advanced(by: start),
                        buffer.count - start, at)
                }
            }
            guard count > 0 else { throw SystemCall.error("write", path) }
            written += count
        }
        position += UInt64(bytes.count)
    }

    func truncate(to size: UInt64) throws(StorageError) {
        let result = SystemCall.retrying { ftruncate(descriptor, off_t(size)) }
        guard result == 0 else { throw SystemCall.error("truncate", path) }
    }

    /// The data and the length; the times of the file may lag behind.
    func sync() throws(StorageError) {
        #if canImport(Glibc)
            let result = SystemCall.retrying { fdatasync(descriptor) }
        #else
            let result = SystemCall.retrying { fcntl(descriptor, F_FULLFSYNC) }
        #endif
        guard result == 0 else {
            throw .syncFailed(path: path, detail: SystemCall.message(errno))
        }
    }
}
