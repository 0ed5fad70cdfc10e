package import Core

/// Where in time the workload's events lie, in windows of the cluster's length: the same times for
/// each length, so that hours, days and time buckets are the same as well.
package struct WorkloadWindows: Hashable, Sendable {
    private let length: WindowLength
    package let perDay: Int64
    /// The first window of 2005: the time bucket that retention comes to.
    package let longAgo: Int64
    /// In November of 2025, some weeks before a run begins.
    package let recent: Int64

    /// - Parameter length: divides an hour.
    package init(_ length: WindowLength) {
        precondition(3_600_000 % length.milliseconds == 0, "\(length) does not divide an hour")
        self.length = length
        perDay = 86_400_000 / length.milliseconds
        longAgo = length.window(of: WallTime(milliseconds: 18_408_960 * 60_000))
        recent = length.window(of: WallTime(milliseconds: 29_400_000 * 60_000))
    }

    /// The first window that starts so many minutes after 1970 or later.
    package func after(minutes: Int64) -> Int64 {
        -floorDivide(-minutes * 60_000, length.milliseconds)
    }
}
