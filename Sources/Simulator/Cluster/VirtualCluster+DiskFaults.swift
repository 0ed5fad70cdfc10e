import Core
import NodeCore
import Storage

/// Disks that fill up for a while, and fsyncs that fail.
extension VirtualCluster {
    // MARK: - Full disks

    /// Leaves a node so little room that it may or may not meet the end of it.
    func fillDisk(_ node: VirtualNode) {
        let room = nemesisRandom.below(2 * Self.diskReserve)
        node.disk.setCapacity(node.disk.usedBytes + room)
        log("\(node.id)'s disk has \(room) bytes left")
        put(.freeDisk(node: node.index), after: .milliseconds(300 + nemesisRandom.below(5000)))
    }

    func freeDisk(_ node: VirtualNode) {
        node.disk.setCapacity(.max)
        log("\(node.id)'s disk has room again")
    }

    /// What the shell's `DiskWatch` does.
    func watchDisk(_ node: VirtualNode, _ process: VirtualProcess) throws(Violation) {
        put(.watchDisk, to: node.index, process.instance, after: .milliseconds(100))
        let free = node.disk.freeBytes
        let hasRoom = process.hasDiskRoom
        if free < Self.diskReserve { process.hasDiskRoom = false }
        if free >= Self.diskReserve * 5 / 4 { process.hasDiskRoom = true }
        let spare = free == .max ? UInt64.max : UInt64(max(0, free - Self.diskReserve))
        guard process.hasDiskRoom != hasRoom || process.diskSpare != spare else { return }
        process.diskSpare = spare
        if !process.hasDiskRoom { checks.hit(.diskLow) }
        log("\(node.id) has \(process.hasDiskRoom ? "room" : "no room") on its disk")
        try handle(.disk(hasRoom: process.hasDiskRoom, spare: spare), node, process)
        guard swarm.coldAfter != nil, node.process === process else { return }
        try handle(.coldDisk(spare: spare), node, process)
    }

    static var diskReserve: Int { 12 << 10 }

    /// The log thread's answer to a full disk: the records wait, in their order.
    func retryWrite(_ group: [LogAppend], _ node: VirtualNode, _ process: VirtualProcess) {
        checks.hit(.diskFull)
        log("\(node.id)'s log meets a full disk")
        process.log.pending = group + process.log.pending
        process.log.phase = .waiting
        put(.writeLog, to: node.index, process.instance, after: .milliseconds(100))
    }

    // MARK: - Failed fsyncs

    /// Makes the next fsync of a file fail now and then.
    func maybeFailSync(_ node: VirtualNode, _ chance: Int, in bound: Int) {
        guard !isHealed, swarm.has(.failedSyncs), diskRandom.chance(chance, in: bound) else {
            return
        }
        node.disk.failSyncs(1, diskRandom.pick(MemoryFileSystem.SyncLoss.allCases))
    }

    /// What a failed fsync leads to: the process ends and is started again without a reboot, so
    /// that it reads what the kernel shows, whatever of it is on the disk. Often the power fails
    /// soon after.
    func die(_ node: VirtualNode, _ reason: String) {
        checks.hit(.failedSync)
        crash(node, reason, keepsCache: true)
        failPowerSoon(node)
    }

    func failPowerSoon(_ node: VirtualNode) {
        guard nemesisRandom.chance(1, in: 2) else { return }
        put(.powerCut(node: node.index), after: .milliseconds(100 + nemesisRandom.below(3000)))
    }

    func cutPower(_ node: VirtualNode) {
        guard !isHealed else { return }
        crash(node, "by a power cut", isPowerCut: true)
    }
}
