internal import CDispatch
package import Core
internal import Glibc

/// A value behind a lock, and a condition on which threads wait for it to change.
///
/// `Synchronization.Mutex` has no condition, and the waits here need deadlines on the monotonic
/// clock. Sendable because `state` is touched only while `mutex` is held; the two pointers are
/// allocated once, never move, and are freed when nobody refers to the monitor.
package final class Monitor<State>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var state: State

    package init(_ state: State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        condition = .allocate(capacity: 1)
        var attributes = pthread_condattr_t()
        Monitor.check(pthread_mutex_init(mutex, nil))
        Monitor.check(pthread_condattr_init(&attributes))
        Monitor.check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC))
        Monitor.check(pthread_cond_init(condition, &attributes))
        Monitor.check(pthread_condattr_destroy(&attributes))
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    package func withLock<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    /// Changes the state and wakes one thread that waits.
    package func signal<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
        defer { pthread_cond_signal(condition) }
        return try withLock(body)
    }

    /// Changes the state and wakes all threads that wait.
    package func broadcast<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
        defer { pthread_cond_broadcast(condition) }
        return try withLock(body)
    }

    /// Waits until `take` finds what it wants, or until `deadline`: then nil.
    package func wait<Result>(
        until deadline: Instant? = nil, _ take: (inout State) -> Result?
    ) -> Result? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = take(&state) { return result }
            guard let deadline else {
                pthread_cond_wait(condition, mutex)
                continue
            }
            let nanoseconds = max(0, deadline.nanoseconds)
            var time = timespec(
                tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
            if pthread_cond_timedwait(condition, mutex, &time) == ETIMEDOUT { return take(&state) }
        }
    }

    private static func check(_ status: Int32) {
        precondition(status == 0, "a pthread object could not be made: error \(status)")
    }
}
