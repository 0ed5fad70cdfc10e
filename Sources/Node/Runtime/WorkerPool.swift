package import Core
internal import NIOCore

/// Threads that may block or compute for long, fed through a bounded queue. Tasks of Swift's
/// concurrency must do neither: their threads are as many as there are processors, and all of HTTP
/// runs on them.
package final class WorkerPool: Sendable {
    package typealias Job = @Sendable () -> Void

    private struct Waiting {
        var job: Job
        var since: Instant
    }

    private struct State {
        /// Its room is that of the most that ever waited at once, also where it is never empty.
        var queue = CircularBuffer<Waiting>()
        var isStopping = false
        var running = 0
    }

    package let meter: QueueMeter
    private let queueMax: Int
    private let monitor = Monitor(State())

    package init(
        name: String, threads: Int, queueMax: Int, standing: ThreadStanding = .usual
    ) {
        precondition(threads > 0, "a pool has threads")
        meter = QueueMeter(name)
        self.queueMax = queueMax
        monitor.withLock { $0.running = threads }
        for number in 1...threads {
            NamedThread.start(
                "\(name)-\(number)", stackBytes: 4 << 20, standing: standing
            ) { [monitor, meter] in
                Self.work(monitor, meter)
            }
        }
    }

    /// Jobs that no thread has taken yet.
    package var waiting: Int { monitor.withLock(\.queue.count) }

    /// False where the queue is full or the pool has stopped: the job will not run.
    package func submit(_ job: @escaping Job) -> Bool {
        monitor.signal { state in
            guard !state.isStopping else { return false }
            guard state.queue.count < queueMax else {
                meter.refuse()
                return false
            }
            state.queue.append(Waiting(job: job, since: SystemClock.monotonic))
            return true
        }
    }

    /// Runs `body` on one of the threads; nil where the queue is full.
    package func run<Result: Sendable>(
        _ body: @escaping @Sendable () -> Result
    ) async -> Result? {
        await withCheckedContinuation { continuation in
            let isTaken = submit { continuation.resume(returning: body()) }
            if !isTaken { continuation.resume(returning: nil) }
        }
    }

    /// Takes no more jobs, lets those that wait finish, and returns when all threads have ended, or
    /// at the deadline: then false.
    @discardableResult
    package func stop(by deadline: Instant) -> Bool {
        monitor.broadcast { $0.isStopping = true }
        return monitor.wait(until: deadline) { $0.running == 0 ? true : nil } ?? false
    }

    private static func work(_ monitor: Monitor<State>, _ meter: QueueMeter) {
        while true {
            let next: Waiting?? = monitor.wait { state in
                if let next = state.queue.popFirst() { return .some(next) }
                return state.isStopping ? .some(nil) : nil
            }
            guard let next = next ?? nil else { break }
            meter.take(since: next.since)
            next.job()
        }
        monitor.broadcast { $0.running -= 1 }
    }
}
