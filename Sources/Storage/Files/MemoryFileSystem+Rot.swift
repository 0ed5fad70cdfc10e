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

    /// A misread to come.
    struct MisreadAhead {
        /// Reads that are right before it.
        var rest: Int
        /// Which bit flips: of as many as are read, counted round.
        let bit: Int
        /// The files that it may hit.
        let inodes: Set<Int>
    }

    /// One read finds a bit flipped that is whole on the disk: the one after `reads` others of the
    /// files that the manifest lists, of the log, or of the manifest. Only of files that are there
    /// by now: what is written from here on is read as it is. Until it came, or `clearFaults`.
    package func misreadOnce(after reads: Int, bit: Int) {
        state.withLock { state in
            let closed = state.names.filter { Self.isOfStore($0.key) }
            state.misreadAhead = MisreadAhead(rest: reads, bit: bit, inodes: Set(closed.values))
        }
    }

    /// Whether what `misreadOnce` asked for came to pass since this was last asked.
    package func takeMisread() -> Bool {
        state.withLock { state in
            defer { state.hasMisread = false }
            return state.hasMisread
        }
    }

    /// A copy that reads every sector, for checkers: what cannot be read is whole all the same.
    package func readable() -> MemoryFileSystem {
        let copy = clone()
        copy.state.withLock { $0.unreadable = [:] }
        return copy
    }

    private static func isOfStore(_ path: String) -> Bool {
        guard path != FileNames.manifest else { return true }
        let directories = FileNames.dataDirectories + [FileNames.coldDirectory]
        return directories.contains(directory(of: path))
            && !path.hasSuffix(FileNames.draftSuffix)
            && path != ColdTier.ownerFile
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

    mutating func bendAhead(_ bytes: inout [UInt8], of inode: Int) {
        guard let fault = misreadAhead, fault.inodes.contains(inode), !bytes.isEmpty else { return }
        guard fault.rest == 0 else {
            misreadAhead?.rest -= 1
            return
        }
        misreadAhead = nil
        hasMisread = true
        let bit = fault.bit % (bytes.count * 8)
        bytes[bit / 8] ^= 1 << UInt8(bit % 8)
    }
}
