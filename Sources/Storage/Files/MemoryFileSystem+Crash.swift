package import Core
import Synchronization

extension MemoryFileSystem {
    /// What becomes of the data that no sync covered.
    package enum DataLoss: CaseIterable, Sendable {
        case allLost
        case allKept
        /// The last write ends at a sector's edge.
        case lastTorn
        /// The last write ends in a sector of noise.
        case lastTornWithNoise
        /// The file has the length of its last write but zeroes in its place.
        case lastZeroed
        /// Any subset of sectors survives.
        case anySubset
    }

    /// What becomes of the names that no directory sync covered.
    package enum NameLoss: CaseIterable, Sendable {
        case allLost
        case allKept
        case anySubset
    }

    /// The file system that a start after a power cut may find; this one goes on unharmed.
    package func crash(_ random: inout RandomSource) -> MemoryFileSystem {
        let data = random.pick(DataLoss.allCases)
        let names = random.pick(NameLoss.allCases)
        return crash(data: data, names: names, &random)
    }

    package func crash(
        data: DataLoss, names: NameLoss, _ random: inout RandomSource
    ) -> MemoryFileSystem {
        let before = state.withLock { $0.copy() }
        var after = State()
        after.directories = before.directories
        after.capacity = before.capacity
        after.durableNames = before.durableNames
        for change in before.pendingNames where change.mayHappenAlone(after.durableNames) {
            let kept =
                switch names {
                case .allLost: false
                case .allKept: true
                case .anySubset: random.chance(1, in: 2)
                }
            if kept { change.apply(to: &after.durableNames) }
        }
        after.names = after.durableNames
        after.nextInode = before.nextInode
        after.unreadable = before.unreadable
        for inode in Set(after.names.values).sorted() {
            guard let file = before.inodes[inode] else { continue }
            let bytes = Self.survivor(of: file, data, &random)
            after.inodes[inode] = Inode(data: bytes, durable: bytes)
        }
        return MemoryFileSystem(state: after)
    }

    private static func survivor(
        of file: Inode, _ loss: DataLoss, _ random: inout RandomSource
    ) -> [UInt8] {
        var bytes = file.durable
        switch loss {
        case .allLost:
            break
        case .allKept:
            for change in file.pending { change.apply(to: &bytes) }
        case .lastTorn, .lastTornWithNoise, .lastZeroed:
            for change in file.pending.dropLast() { change.apply(to: &bytes) }
            guard case .write(let offset, let written) = file.pending.last else {
                for change in file.pending.suffix(1) { change.apply(to: &bytes) }
                break
            }
            tear(&bytes, offset, written, loss, &random)
        case .anySubset:
            for change in file.pending { keepSome(of: change, in: &bytes, &random) }
        }
        return bytes
    }

    private static func tear(
        _ bytes: inout [UInt8], _ offset: Int, _ written: [UInt8], _ loss: DataLoss,
        _ random: inout RandomSource
    ) {
        guard loss != .lastZeroed else {
            let zeroes = [UInt8](repeating: 0, count: written.count)
            PendingData.write(offset: offset, bytes: zeroes).apply(to: &bytes)
            return
        }
        let firstEdge = (offset / sector + 1) * sector
        let edges = Array(stride(from: firstEdge, to: offset + written.count, by: sector))
        let edge = edges.isEmpty ? offset : random.pick([offset] + edges)
        PendingData.write(offset: offset, bytes: Array(written.prefix(edge - offset)))
            .apply(to: &bytes)
        guard loss == .lastTornWithNoise else { return }
        let length = min(sector - edge % sector, offset + written.count - edge)
        let noise = (0..<length).map { _ in UInt8(random.below(256)) }
        PendingData.write(offset: edge, bytes: noise).apply(to: &bytes)
    }

    private static func keepSome(
        of change: PendingData, in bytes: inout [UInt8], _ random: inout RandomSource
    ) {
        guard case .write(let offset, let written) = change else {
            if random.chance(1, in: 2) { change.apply(to: &bytes) }
            return
        }
        var start = 0
        while start < written.count {
            let end = min(written.count, ((offset + start) / sector + 1) * sector - offset)
            if random.chance(1, in: 2) {
                PendingData.write(offset: offset + start, bytes: Array(written[start..<end]))
                    .apply(to: &bytes)
            }
            start = end
        }
    }
}
