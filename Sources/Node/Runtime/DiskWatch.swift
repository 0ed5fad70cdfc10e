internal import Glibc

/// Turns the node read-only before its disk is full: a log that cannot be written stops everything,
/// while a node that refuses new batches goes on answering and catching up. It comes back by
/// itself.
package struct DiskWatch: Sendable {
    /// Room for what a node that takes nothing new has yet to write: two memtables as files, marks,
    /// a copy of the last log file at a start.
    package static let reserveDefault = 256 << 20

    /// Less than this and writes are refused.
    private let reserve: UInt64
    /// As much as this and they are taken again: apart from the reserve, so that it does not flap.
    private let enough: UInt64
    private let path: String
    private var isLow = false

    package init(path: String, reserve: Int) {
        self.path = path
        self.reserve = UInt64(reserve)
        enough = self.reserve + self.reserve / 4
    }

    /// Bytes that this process may still write; nil where the system does not say.
    package var free: UInt64? {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return nil }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize)
    }

    /// Bytes beyond the reserve.
    package func spare(of free: UInt64) -> UInt64 { free > reserve ? free - reserve : 0 }

    /// Why writes must wait; nil where they need not.
    package mutating func judge(free: UInt64) -> String? {
        if free < reserve { isLow = true }
        if free >= enough { isLow = false }
        return isLow
            ? "the disk of \(path) has \(free >> 20) MiB free, writes need \(reserve >> 20)"
            : nil
    }
}
