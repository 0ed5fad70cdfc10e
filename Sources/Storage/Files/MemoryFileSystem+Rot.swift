import Synchronization

extension MemoryFileSystem {
    /// What a disk writes whole, and loses whole. In bytes.
    static var sector: Int { 512 }

    /// From now on the sector that holds this byte cannot be read, until it is written.
    package func makeUnreadable(_ path: String, at offset: Int) {
        state.withLock { state in
            guard let inode = state.names[path] else { return }
            state.unreadable[inode, default: []].insert(offset / Self.sector)
        }
    }

    /// The next `count` reads of a file find a bit of what they ask for flipped, which is whole on
    /// the disk: a fault on the way. In the middle, or in the last byte.
    package func misread(_ path: String, _ count: Int, isLast: Bool = false) {
        state.withLock { $0.misreads[path] = (count: count, isLast: isLast) }
    }
}

extension MemoryFileSystem.State {
    /// As the files of a node tell of it (`Node`): damage, but on a cold disk a failure.
    func checkSectors(
        of inode: Int, _ range: Range<Int>, _ path: String
    ) throws(StorageError) {
        guard let lost = unreadable[inode], !range.isEmpty else { return }
        let sectors = Self.sectors(of: range)
        guard let first = lost.filter(sectors.contains).min() else { return }
        guard !FileNames.isCold(path) else { throw Self.error(.inputOutput, "read", path) }
        throw .damaged(
            path: path, offset: UInt64(max(range.lowerBound, first * MemoryFileSystem.sector)),
            what: "the disk cannot read it: input/output error")
    }

    /// A disk puts what is written over a lost sector somewhere else.
    mutating func healSectors(of inode: Int, by change: MemoryFileSystem.PendingData) {
        guard let lost = unreadable[inode] else { return }
        switch change {
        case .write(let offset, let bytes):
            guard !bytes.isEmpty else { return }
            unreadable[inode] = lost.subtracting(Self.sectors(of: offset..<offset + bytes.count))
        case .truncate(let size):
            unreadable[inode] = lost.filter { $0 * MemoryFileSystem.sector < size }
        }
    }

    private static func sectors(of range: Range<Int>) -> ClosedRange<Int> {
        let sector = MemoryFileSystem.sector
        return range.lowerBound / sector...(range.upperBound - 1) / sector
    }

    mutating func bend(_ bytes: inout [UInt8], of path: String) {
        guard let fault = misreads[path], fault.count > 0, !bytes.isEmpty else { return }
        misreads[path]?.count -= 1
        bytes[fault.isLast ? bytes.count - 1 : bytes.count / 2] ^= 1
    }
}
