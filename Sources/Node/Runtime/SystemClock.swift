internal import CDispatch
package import Core
internal import Glibc

/// The only place where the node reads clocks.
package enum SystemClock {
    package static var now: Now {
        Now(monotonic: monotonic, wall: wall)
    }

    /// The same clock as `Monitor` waits on.
    package static var monotonic: Instant {
        Instant(nanoseconds: read(CLOCK_MONOTONIC))
    }

    package static var wall: WallTime {
        WallTime(milliseconds: floorDivide(read(CLOCK_REALTIME), 1_000_000))
    }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        let status = clock_gettime(clock, &time)
        precondition(status == 0, "clock \(clock) cannot be read")
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
