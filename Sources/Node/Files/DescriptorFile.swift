import Storage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A file: where it is written, a descriptor that is closed with the last reference; where it is
/// only read, one that the pool may close and open again between two reads.
final class DescriptorFile: StoredFile {
    /// The one that it was opened under.
    let path: String
    private let slot: DescriptorSlot
    private let pool: DescriptorPool
    private let calls: FileCalls
    /// Bytes that the disk cannot read are lost. Not so on a cold disk, which may be on its way
    /// out, or back.
    private let unreadableIsLost: Bool

    init(
        path: String, slot: DescriptorSlot, pool: DescriptorPool, calls: FileCalls,
        unreadableIsLost: Bool
    ) {
        self.path = path
        self.slot = slot
        self.pool = pool
        self.calls = calls
        self.unreadableIsLost = unreadableIsLost
    }

    /// Once, whatever it answers: the descriptor is free even where a signal came between, and may
    /// be another file's by the second try. What had to be durable was synced before.
    deinit {
        pool.end(slot)
    }

    /// The descriptor, open until the slot's `leave`. A file that cannot be opened again was not
    /// looked at, unless the disk says that it cannot read it.
    private func enter() throws(StorageError) -> Int32 {
        do throws(DescriptorPool.Loss) {
            return try pool.enter(slot)
        } catch {
            switch error {
            case .refused(let failure):
                if unreadableIsLost, SystemCall.isUnreadable(failure.code) {
                    throw SystemCall.readError(path, at: 0, code: failure.code)
                }
                throw .failed(
                    operation: "open", path: path, detail: SystemCall.message(failure.code))
            case .replaced:
                throw .failed(
                    operation: "open", path: path,
                    detail: "another file has its name; restart the node")
            case .ended:
                preconditionFailure("a file is read that nobody refers to")
            }
        }
    }

    func endWriting() {
        pool.share(slot)
    }

    func size() throws(StorageError) -> UInt64 {
        let descriptor = try enter()
        defer { slot.leave() }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw SystemCall.error("stat", path) }
        return UInt64(status.st_size)
    }

    /// What the disk cannot read is asked for once more; then it is damage, as if other bytes stood
    /// there.
    func read(at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
        guard count > 0 else { return [] }
        let descriptor = try enter()
        defer { slot.leave() }
        var failure: StorageError?
        var isSecondTry = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = 0
            while filled < count {
                // `filled < count`, the buffer's capacity: the rest of it begins there.
                let rest = UnsafeMutableBufferPointer(rebasing: buffer[filled...])
                let got = SystemCall.retrying {
                    calls.read(
                        descriptor, rest.baseAddress, rest.count, Int64(offset) + Int64(filled))
                }
                guard got >= 0 else {
                    if SystemCall.isUnreadable(errno), !isSecondTry {
                        isSecondTry = true
                        continue
                    }
                    let place = offset + UInt64(filled)
                    failure =
                        unreadableIsLost
                        ? SystemCall.readError(path, at: place)
                        : SystemCall.error("read", path)
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
        let descriptor = try enter()
        defer { slot.leave() }
        // Many small pieces become one call; a large one is written from where it lies.
        var gathered: [UInt8] = []
        var position = offset
        for piece in pieces {
            if gathered.count + piece.count <= Self.gatherMax {
                gathered.append(contentsOf: piece)
                continue
            }
            try writeWhole(gathered, &position, to: descriptor)
            gathered.removeAll(keepingCapacity: true)
            if piece.count > Self.gatherMax / 4 {
                try writeWhole(piece, &position, to: descriptor)
            } else {
                gathered.append(contentsOf: piece)
            }
        }
        try writeWhole(gathered, &position, to: descriptor)
    }

    private static let gatherMax = 1 << 20

    private func writeWhole(
        _ bytes: [UInt8], _ position: inout UInt64, to descriptor: Int32
    ) throws(StorageError) {
        var written = 0
        while written < bytes.count {
            let start = written
            let at = Int64(position) + Int64(start)
            let count = bytes.withUnsafeBytes { buffer in
                SystemCall.retrying {
                    calls.write(
                        descriptor, buffer.baseAddress?.advanced(by: start),
                        buffer.count - start, at)
                }
            }
            guard count >= 0 else { throw SystemCall.error("write", path) }
            // No failure to the system, which leaves `errno` as it was; tried again for ever it
            // would hang.
            guard count > 0 else {
                throw .failed(operation: "write", path: path, detail: "not a byte was taken")
            }
            written += count
        }
        position += UInt64(bytes.count)
    }

    func truncate(to size: UInt64) throws(StorageError) {
        let descriptor = try enter()
        defer { slot.leave() }
        let result = SystemCall.retrying { calls.truncate(descriptor, Int64(size)) }
        guard result == 0 else { throw SystemCall.error("truncate", path) }
    }

    /// Not every file system can, and a full one will not: nothing rests on it. What the next write
    /// needs may be there all the same.
    func reserve(through end: UInt64) {
        guard let descriptor = slot.enter() else { return }
        defer { slot.leave() }
        _ = calls.reserve(descriptor, Int64(clamping: end))
    }

    /// Cut at its own size, a file loses the blocks behind its end, and nothing else. Where that is
    /// refused they go with the file.
    func releaseReserve() {
        guard let descriptor = slot.enter() else { return }
        defer { slot.leave() }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return }
        _ = calls.truncate(descriptor, Int64(status.st_size))
    }

    /// Tried once: after a sync that did not succeed nobody knows which bytes the system has given
    /// up, and a second one may succeed without them.
    func sync() throws(StorageError) {
        let descriptor = try enter()
        defer { slot.leave() }
        guard calls.sync(descriptor) == 0 else {
            throw .syncFailed(path: path, detail: SystemCall.message(errno))
        }
    }
}
