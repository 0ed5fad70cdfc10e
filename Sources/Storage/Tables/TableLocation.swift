package import Core

/// On which of a node's disks a table lies.
package enum TableLocation: UInt8, Hashable, Comparable, Sendable, CaseIterable {
    /// Beside the log.
    case hot = 0
    /// Below `cold_directory`: another disk, or a mounted bucket.
    case cold = 1

    /// As a path of the `FileSystem`.
    package var directory: String {
        switch self {
        case .hot: FileNames.tableDirectory
        case .cold: FileNames.coldDirectory
        }
    }

    package static func < (left: TableLocation, right: TableLocation) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// Which tables belong on the cold disk, and how much it takes.
package struct ColdRule: Hashable, Sendable {
    /// Time buckets below this one are cold.
    package var before: Int64
    /// The most bytes that may be written there.
    package var room: UInt64

    package init(before: Int64, room: UInt64 = .max) {
        self.before = before
        self.room = room
    }

    /// Nothing moves; what is there already is still merged there.
    package static let none = ColdRule(before: .min)

    /// Of the buckets that ended at least `age` before `frontier`. They hold what hardly changes
    /// any more: below the frontier every batch is decided, and a late one is small.
    package init(
        after age: Duration, frontier: WallTime?, _ buckets: TimeBuckets, room: UInt64 = .max
    ) {
        self.init(before: .min, room: room)
        guard let frontier else { return }
        let reach = StorageLimits.windowReachMilliseconds
        let (time, isOver) = frontier.milliseconds.subtractingReportingOverflow(age.milliseconds)
        guard !isOver, time > -reach, time < reach else { return }
        before = buckets.bucket(of: buckets.window.window(of: WallTime(milliseconds: time)))
    }

    /// Where a table is to be written whose inputs lie at `location`.
    func location(
        of bucket: Int64, from location: TableLocation, bytes: UInt64
    ) -> TableLocation {
        bucket < before && bytes <= room ? .cold : location
    }
}

/// Where a compaction writes its table.
package enum TableDestination: Hashable, Sendable {
    case hot
    case cold(ColdClaim)

    package var location: TableLocation {
        switch self {
        case .hot: .hot
        case .cold: .cold
        }
    }
}
