internal import Glibc

/// Turns the node read-only before its disk is full: a log that cannot be written stops everything,
/// while a node that refuses new batches goes on answering and catching up. It comes back by
/// itself.
package struct DiskWatch: Sendable {
    /// Less than this and writes are refused.
    package static let floor: UInt64 = 256 << 20
    /// As much as this and they are taken again: apart from the floor, so that it does not flap.
    package static let ceiling: UInt64 = 320 << 20

    private let path: String
    private var isLow = false

    package init(path: String) {
        self.path = path
    }

    /// Bytes that this process may still write; nil where the system does not say.
    package var free: UInt64? {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return nil }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize)
    }

    /// Why writes must wait; nil where they need not.
    package mutating func judge(free: UInt64) -> String? {
        if free < DiskWatch.floor { isLow = true }
        if free >= DiskWatch.ceiling { isLow = false }
        return isLow
            ? "the disk of \(path) has \(free >> 20) MiB free, writes need \(DiskWatch.floor >> 20)"
            : nil
    }
}
