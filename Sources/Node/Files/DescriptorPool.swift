internal import Storage
internal import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// What the system said, as its number.
struct SystemFailure: Error, Hashable {
    var code: Int32
}

/// The descriptors of one disk's files. A node keeps years of tables and history files, and a
/// process may have so many files open and no more: a file that is only read holds a descriptor
/// while it is among those that were used last, and is opened again when it is asked for.
///
/// What callers were promised holds: a file stays readable after its name is gone, since before
/// that it is opened and stays so until its last reference goes; and a file that was opened again
/// is the one that it was, by its inode, never another that was made under its name since.
///
/// The lock is held for no call of the system. Each disk has a pool, so that nobody who reads one
/// has to close, for the room, a file of the other, which may hang.
final class DescriptorPool: Sendable {
    /// Why a file that was closed cannot be read.
    enum Loss: Error, Hashable {
        case refused(SystemFailure)
        /// Another file has its name.
        case replaced
        /// Nobody refers to it.
        case ended
    }

    private let table: Mutex<DescriptorTable>
    private let calls: FileCalls
    private let closesLater: Bool

    /// What is closed for one file, when the system has no descriptor left, another thread may take
    /// before this one.
    private static let triesMax = 8

    /// - Parameter max: descriptors of files that are only read, but for those that are in use and
    ///   those whose name is gone.
    /// - Parameter closesLater: the last reference to a file may go on any thread, and on a disk
    ///   that hangs even to close takes for ever: whoever opens or removes a file next, closes it.
    init(max: Int, calls: FileCalls, closesLater: Bool = false) {
        self.closesLater = closesLater
        table = Mutex(DescriptorTable(max: max))
        self.calls = calls
    }

    var reading: OpenFilesReading {
        table.withLock { OpenFilesReading(open: $0.open, max: $0.max, reopened: $0.reopened) }
    }

    /// A descriptor that the pool has nothing to do with, unless the process has too many open:
    /// then what was not read for long is closed for it.
    func descriptor(
        _ path: String, _ flags: Int32, permissions: UInt32 = 0
    ) throws(SystemFailure) -> Int32 {
        var triesLeft = Self.triesMax
        while true {
            let descriptor = SystemCall.retrying {
                calls.open(path, flags | O_CLOEXEC, permissions)
            }
            if descriptor >= 0 { return descriptor }
            let code = errno
            triesLeft -= 1
            guard code == EMFILE || code == ENFILE, triesLeft > 0,
                let coldest = table.withLock({ $0.closeColdest() })
            else { throw SystemFailure(code: code) }
            _ = calls.close(coldest)
        }
    }

    // MARK: - Files

    /// The file ends with `end`.
    func open(
        _ path: String, _ flags: Int32, permissions: UInt32, isRead: Bool
    ) throws(SystemFailure) -> DescriptorSlot {
        table.withLock { $0.beginOpening(path) }
        do throws(SystemFailure) {
            guard isRead else {
                let slot = DescriptorSlot(try descriptor(path, flags, permissions: permissions))
                table.withLock { $0.add(slot, path: path, inode: nil) }
                return slot
            }
            close(table.withLock { $0.reserve() })
            let (descriptor, inode) = try openReserved(path, flags, permissions)
            let slot = DescriptorSlot(descriptor)
            table.withLock { $0.add(slot, path: path, inode: inode) }
            return slot
        } catch {
            table.withLock { _ = $0.endOpening(path) }
            throw error
        }
    }

    /// Nothing more is written to it: from here on it may be closed while nobody reads.
    func share(_ slot: DescriptorSlot) {
        guard let descriptor = slot.enter() else { return }
        defer { slot.leave() }
        var status = stat()
        // What cannot be told from another keeps its descriptor.
        guard fstat(descriptor, &status) == 0 else { return }
        close(table.withLock { $0.share(slot, FileInode(status)) })
    }

    /// The last reference to the file goes.
    func end(_ slot: DescriptorSlot) {
        let descriptor = table.withLock { $0.end(slot, isLater: closesLater) }
        if let descriptor { _ = calls.close(descriptor) }
    }

    /// The file's descriptor, open until the slot's `leave`.
    func enter(_ slot: DescriptorSlot) throws(Loss) -> Int32 {
        if let descriptor = slot.enter() { return descriptor }
        while true {
            let (entry, closing) = table.withLock { table in
                let entry = table.entry(of: slot)
                return (entry, entry == nil ? [] : table.reserve())
            }
            close(closing)
            guard let entry, let inode = entry.inode else { throw .ended }
            do throws(Loss) {
                return try openAgain(slot, entry.path, inode)
            } catch {
                // Somebody was faster, who may have taken its name since.
                if let descriptor = slot.enter() { return descriptor }
                guard let now = table.withLock({ $0.entry(of: slot)?.path }), now != entry.path
                else { throw error }
            }
        }
    }

    private func openAgain(
        _ slot: DescriptorSlot, _ path: String, _ wanted: FileInode
    ) throws(Loss) -> Int32 {
        let opened: Int32
        let found: FileInode
        do throws(SystemFailure) {
            (opened, found) = try openReserved(path, O_RDONLY, 0)
        } catch {
            throw .refused(error)
        }
        guard found == wanted else {
            table.withLock { $0.giveBack() }
            _ = calls.close(opened)
            throw .replaced
        }
        let used = table.withLock { $0.refill(slot, opened) }
        if used != opened { _ = calls.close(opened) }
        guard let used else { throw .ended }
        return used
    }

    /// Gives back the room where it fails.
    private func openReserved(
        _ path: String, _ flags: Int32, _ permissions: UInt32
    ) throws(SystemFailure) -> (descriptor: Int32, inode: FileInode) {
        let opened: Int32
        do throws(SystemFailure) {
            opened = try descriptor(path, flags, permissions: permissions)
        } catch {
            table.withLock { $0.giveBack() }
            throw error
        }
        var status = stat()
        guard fstat(opened, &status) == 0 else {
            let failure = SystemFailure(code: errno)
            table.withLock { $0.giveBack() }
            _ = calls.close(opened)
            throw failure
        }
        return (opened, FileInode(status))
    }

    private func close(_ descriptors: [Int32]) {
        for descriptor in descriptors { _ = calls.close(descriptor) }
    }

    // MARK: - Names

    /// Takes a name from its file, by `body`; with `target` the file gets that name, and whose it
    /// was loses it. Files that lose theirs stay readable. Where the system has no descriptor left
    /// for one, for all that could be closed, or its file is gone, it is not: readers then get an
    /// error that says nothing of what it held.
    func taking(
        _ path: String, to target: String? = nil, _ body: () throws(StorageError) -> Void
    ) throws(StorageError) {
        let files = table.withLock { $0.beginTaking([path, target].compactMap(\.self)) }
        let held = files.filter { hold($0) }
        defer {
            for slot in held { slot.leave() }
            close(table.withLock { $0.takeLeftovers() })
        }
        do throws(StorageError) {
            try body()
        } catch {
            table.withLock { $0.endTaking(path, to: target, isDone: false) }
            throw error
        }
        table.withLock { $0.endTaking(path, to: target, isDone: true) }
    }

    private func hold(_ slot: DescriptorSlot) -> Bool {
        do throws(Loss) {
            _ = try enter(slot)
            return true
        } catch {
            return false
        }
    }
}

extension FileInode {
    fileprivate init(_ status: stat) {
        self.init(device: UInt64(status.st_dev), number: UInt64(status.st_ino))
    }
}
